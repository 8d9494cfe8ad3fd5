// SPDX-License-Identifier: Apache-2.0

import Handshake

/// A number for each case of an enumeration of plain cases: the byte it is kept in. It serves as
/// the place in a table of 256 and means nothing else.
@inline(__always)
func ordinal<Word: CaseIterable>(_ word: Word) -> Int {
    precondition(MemoryLayout<Word>.size == 1)
    return withUnsafeBytes(of: word) { Int($0[0]) }
}

/// The members `reason` and `advice`, encoded once for each reason.
struct ReasonText: ~Copyable {
    private var text = ByteBuffer(capacity: 8192)
    private var places = [(start: Int, count: Int)](repeating: (0, 0), count: 256)

    init() {
        for reason in Reason.allCases {
            let start = text.count
            text.append(",\"reason\":\"")
            text.append(json: reason.rawValue)
            text.append("\",\"advice\":\"")
            text.append(json: reason.advice)
            text.append("\"")
            places[ordinal(reason)] = (start, text.count - start)
        }
    }

    @inline(__always)
    borrowing func write(_ reason: Reason, to line: inout ByteBuffer) {
        let place = places[ordinal(reason)]
        line.append(text, from: place.start, count: place.count)
    }
}

/// How often each case of an enumeration came up.
struct Counts<Word: CaseIterable & RawRepresentable & Sendable>: Sendable where Word.RawValue == String {
    private var counts = [UInt64](repeating: 0, count: 256)

    mutating func count(_ word: Word) { counts[ordinal(word)] &+= 1 }

    /// Those that came up, in the order of their declaration.
    var seen: [WordCount] {
        Word.allCases.compactMap { word in
            let count = counts[ordinal(word)]
            return count == 0 ? nil : WordCount(word.rawValue, count)
        }
    }
}
