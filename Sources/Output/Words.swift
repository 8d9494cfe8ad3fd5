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
    /// Pieces of the text: `,"reason":"…"`, `,"advice":"…"`, and of the latter the part before the
    /// unit is named.
    private struct Place {
        var start = 0
        var reason = 0
        var advice = 0
        var head = 0
        var unit = UnitPlace.nowhere
    }

    private var text = ByteBuffer(capacity: 16384)
    private var places = [Place](repeating: Place(), count: 256)

    init() {
        for reason in Reason.allCases {
            var place = Place(start: text.count, unit: reason.unitPlace)
            text.append(",\"reason\":\"")
            text.append(json: reason.rawValue)
            text.append("\"")
            place.reason = text.count - place.start
            let start = text.count
            text.append(",\"advice\":\"")
            let length = text.count - start
            text.append(json: reason.advice)
            text.append("\"")
            place.advice = text.count - start
            var head = ByteBuffer()
            head.append(json: String(reason.adviceHead))
            place.head = length + head.count
            places[ordinal(reason)] = place
        }
    }

    /// Writes the reason, the kernel's name of it, and the advice, which may name the unit that
    /// was found last.
    @inline(__always)
    borrowing func write(
        _ reason: Reason?, _ kernelReason: KernelReason?, _ names: borrowing CgroupNames,
        to line: inout ByteBuffer
    ) {
        let place = reason.map { places[ordinal($0)] }
        if let place { line.append(text, from: place.start, count: place.reason) }
        if let kernelReason {
            line.append(",\"kernel_reason\":\"")
            line.append(kernelReason.rawValue)
            line.append("\"")
        }
        guard let place else { return }
        let advice = place.start &+ place.reason
        if place.unit != .nowhere, names.hasUnit {
            line.append(text, from: advice, count: place.head)
            names.writeAdvice(place.unit, to: &line)
            line.append(".\"")
        } else {
            line.append(text, from: advice, count: place.advice)
        }
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
