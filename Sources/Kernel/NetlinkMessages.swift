// SPDX-License-Identifier: Apache-2.0

/// Reading numbers at places that came from outside: every access is bounded.
extension RawSpan {
    /// The number at `offset` in the machine's byte order; nil when it is not all there.
    func integer<Number: FixedWidthInteger & BitwiseCopyable>(
        _ type: Number.Type = Number.self, at offset: Int
    ) -> Number? {
        guard offset >= 0, offset <= byteCount - MemoryLayout<Number>.size else { return nil }
        return unsafeLoadUnaligned(fromByteOffset: offset, as: type)
    }

    /// The bytes of `range` as far as they are there.
    func bytes(_ range: Range<Int>) -> [UInt8] {
        range.clamped(to: 0..<byteCount).compactMap { integer(UInt8.self, at: $0) }
    }
}

/// The head of one netlink message and where its payload is.
struct NetlinkMessage: Equatable {
    var type: UInt16
    var flags: UInt16
    var sequence: UInt32
    var payload: Range<Int>
}

/// Walks the messages of one datagram (struct nlmsghdr, linux/netlink.h).
struct NetlinkMessageCursor {
    private var offset = 0
    /// A length did not fit the datagram; nothing behind it was read.
    private(set) var broken = false

    mutating func next(in datagram: RawSpan) -> NetlinkMessage? {
        if broken || offset >= datagram.byteCount { return nil }
        guard let length = datagram.integer(UInt32.self, at: offset),
            let type = datagram.integer(UInt16.self, at: offset + 4),
            let flags = datagram.integer(UInt16.self, at: offset + 6),
            let sequence = datagram.integer(UInt32.self, at: offset + 8),
            length >= 16, Int(length) <= datagram.byteCount - offset
        else {
            broken = true
            return nil
        }
        defer { offset += (Int(length) + 3) & ~3 }
        return NetlinkMessage(
            type: type, flags: flags, sequence: sequence, payload: offset + 16..<offset + Int(length))
    }
}

/// Walks the attributes of a message or of an attribute (struct nlattr).
struct NetlinkAttributeCursor {
    private var rest: Range<Int>

    init(_ range: Range<Int>) { rest = range }

    /// The type, without the bits for nesting and byte order, and where the payload is.
    mutating func next(in datagram: RawSpan) -> (type: UInt16, payload: Range<Int>)? {
        guard rest.count >= 4, rest.upperBound <= datagram.byteCount,
            let length = datagram.integer(UInt16.self, at: rest.lowerBound),
            let type = datagram.integer(UInt16.self, at: rest.lowerBound + 2),
            length >= 4, Int(length) <= rest.count
        else { return nil }
        let payload = rest.lowerBound + 4..<rest.lowerBound + Int(length)
        rest = min(rest.lowerBound + (Int(length) + 3) & ~3, rest.upperBound)..<rest.upperBound
        return (type & 0x3fff, payload)
    }
}
