// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Sends SYNs that nobody will ever follow up, each from an address and port of its own that are
/// not this machine's: a SYN flood. Says "ready", once told "go" sends, says "begun" after a tenth
/// of them, and "flooded" with their number and the time it took.
enum FloodActor {
    static func run(_ options: ActorOptions, _ parent: inout ParentLink) throws(ScenarioError) {
        let count = try options.requiredNumber("count")
        let target = try SocketAddress(try options.required("address"), port: 0)
        var syn = FloodSYN(
            to: target.ipv4, port: try options.port(),
            from: try SocketAddress(try options.required("from"), port: 0).ipv4,
            option: options["option"] == "join" ? FloodSYN.join : FloodSYN.capable)
        // The kernel fills in the IP header's length and checksum, but leaves the source.
        let raw = socket(AF_INET, CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), CInt(IPPROTO_RAW))
        guard raw >= 0 else { throw .failed("socket", on: "a raw socket", -errno) }
        defer { close(raw) }
        try parent.say("ready")
        try parent.await("go")
        let start = Deadline.now()
        for number in 0..<count {
            syn.become(number)
            let sent = syn.bytes.withUnsafeBytes { bytes in
                target.withPointer { sendto(raw, bytes.baseAddress, bytes.count, 0, $0, $1) }
            }
            guard sent == syn.bytes.count else { throw .failed("sendto", on: "SYN \(number)", -errno) }
            // Whoever takes them may have to be let run, or the queue overflows.
            if number % 64 == 63 { sched_yield() }
            if number == count / 10 { try parent.say("begun") }
        }
        try parent.say("flooded \(count) wall_ns=\(Deadline.now() - start)")
    }
}

/// A SYN with an MPTCP option, as bytes from the IPv4 header on.
private struct FloodSYN {
    /// MP_CAPABLE version 1 with HMAC-SHA256 (RFC 8684, section 3.1).
    static let capable: [UInt8] = [30, 4, 0x01, 0x01]
    /// MP_JOIN with address id 1, a token and a nonce (section 3.2).
    static let join: [UInt8] = [30, 12, 0x10, 1, 0, 0, 0, 0, 0x6d, 0x70, 0x73, 0x63]

    private static let tcp = 20
    private static let options = 40
    /// Of the token in MP_JOIN.
    private static let token = options + 4

    private(set) var bytes: [UInt8]
    private let first: UInt32
    private let isJoin: Bool

    init(to: UInt32, port: UInt16, from: UInt32, option: [UInt8]) {
        first = from
        isJoin = option.count == Self.join.count
        let length = UInt8(20 + 20 + option.count)
        // Version and header length, total length, protocol; source and destination.
        bytes = [0x45, 0, 0, length, 0, 0, 0, 0, 64, UInt8(IPPROTO_TCP), 0, 0, 0, 0, 0, 0]
        bytes += [UInt8(to >> 24), UInt8(to >> 16 & 0xff), UInt8(to >> 8 & 0xff), UInt8(to & 0xff)]
        // Ports, numbers, length and SYN, window, checksum, urgent pointer.
        bytes += [0, 0, UInt8(port >> 8), UInt8(port & 0xff), 0, 0, 0, 1, 0, 0, 0, 0]
        bytes += [UInt8(20 + option.count) << 2, 0x02, 0xff, 0xff, 0, 0, 0, 0]
        bytes += option
    }

    /// The one with this number: another source and, for MP_JOIN, another token.
    mutating func become(_ number: Int) {
        put(first &+ UInt32(truncatingIfNeeded: number & 0xffff), at: 12)
        let port = 1024 + (number >> 16) * 31 + (number & 0x1f)
        bytes[Self.tcp] = UInt8(port >> 8 & 0xff)
        bytes[Self.tcp + 1] = UInt8(port & 0xff)
        if isJoin { put(0x7f00_0000 | UInt32(truncatingIfNeeded: number), at: Self.token) }
        let sum = checksum()
        bytes[Self.tcp + 16] = UInt8(sum >> 8)
        bytes[Self.tcp + 17] = UInt8(sum & 0xff)
    }

    private mutating func put(_ value: UInt32, at place: Int) {
        for byte in 0..<4 { bytes[place + byte] = UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * byte)) }
    }

    /// TCP's, with the pseudo header's addresses, protocol and length.
    private mutating func checksum() -> UInt16 {
        bytes[Self.tcp + 16] = 0
        bytes[Self.tcp + 17] = 0
        var sum = UInt32(IPPROTO_TCP) + UInt32(bytes.count - Self.tcp)
        for place in stride(from: 12, to: bytes.count, by: 2) {
            sum += UInt32(bytes[place]) << 8 | UInt32(bytes[place + 1])
        }
        while sum > 0xffff { sum = (sum & 0xffff) + (sum >> 16) }
        return ~UInt16(sum)
    }
}
