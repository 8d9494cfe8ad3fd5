// SPDX-License-Identifier: Apache-2.0

/// A value of a record.
package enum JSON: Hashable, Sendable, CustomStringConvertible {
    case text(String)
    case number(Int)
    case flag(Bool)
    case list([JSON])
    case object([String: JSON])

    package var description: String {
        switch self {
        case .text(let text): text
        case .number(let number): "\(number)"
        case .flag(let flag): "\(flag)"
        case .list(let values): "[\(values.map(\.description).joined(separator: " "))]"
        case .object(let members):
            "{\(members.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " "))}"
        }
    }
}

/// An address and a port, as records have them.
package struct Place: Hashable, Sendable, CustomStringConvertible {
    package let addr: String
    package let port: Int

    package init(addr: String, port: Int) {
        self.addr = addr
        self.port = port
    }

    package var description: String { "\(addr) \(port)" }
}

/// One record.
package struct Line: Hashable, Sendable, CustomStringConvertible {
    package let fields: [String: JSON]

    package init(fields: [String: JSON]) { self.fields = fields }

    package init(_ bytes: ArraySlice<UInt8>) throws(Trouble) {
        let value = bytes.withUnsafeBytes { JSONReader.value(of: $0) }
        guard case .object(let members)? = value else {
            throw Trouble("no JSON object: \(String(decoding: bytes, as: UTF8.self))")
        }
        fields = members
    }

    /// All lines of a file; the last must end, too.
    package static func all(_ bytes: [UInt8]) throws(Trouble) -> [Line] {
        guard bytes.last == UInt8(ascii: "\n") else { throw Trouble("the last line has no end") }
        var lines: [Line] = []
        for piece in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast() {
            lines.append(try Line(piece))
        }
        return lines
    }

    /// A token as records have it; tools leave leading zeros out.
    package static func token(_ text: String) -> String {
        String(repeating: "0", count: max(0, 8 - text.count)) + text
    }

    package var description: String { JSON.object(fields).description }

    package var type: String { text("type") ?? "" }

    package func text(_ key: String) -> String? {
        if case .text(let text)? = fields[key] { text } else { nil }
    }

    package func number(_ key: String) -> Int? {
        if case .number(let number)? = fields[key] { number } else { nil }
    }

    package func flag(_ key: String) -> Bool? {
        if case .flag(let flag)? = fields[key] { flag } else { nil }
    }

    package func end(_ key: String) -> Place? {
        guard case .object(let object)? = fields[key], case .text(let addr)? = object["addr"],
            case .number(let port)? = object["port"]
        else { return nil }
        return Place(addr: addr, port: port)
    }

    /// The address of an end that may have no port.
    package func address(_ key: String) -> String? {
        if case .object(let object)? = fields[key], case .text(let addr)? = object["addr"] {
            addr
        } else {
            nil
        }
    }

    /// The numbers of an object.
    package func numbers(_ key: String) -> [String: Int] {
        guard case .object(let object)? = fields[key] else { return [:] }
        return object.compactMapValues { if case .number(let number) = $0 { number } else { nil } }
    }

    /// `outcome`, or `outcome reason`: a handshake in words.
    package var verdict: String {
        (text("outcome") ?? "?") + (text("reason").map { " \($0)" } ?? "")
    }
}
