// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Who tries to join somebody else's connection: TCP segments made by hand, over IPv4. The kernel
/// that it runs on must be kept from answering what comes back (`Act.filterSent`).
struct Forger: ~Copyable {
    private let socket: Descriptor
    private let local: (address: [UInt8], port: UInt16)
    private let remote: (address: [UInt8], port: UInt16)
    private var sequence: UInt32 = 1_000_000
    private var acknowledged: UInt32 = 0

    private enum Flag {
        static let syn: UInt8 = 0x02
        static let rst: UInt8 = 0x04
        static let ack: UInt8 = 0x10
    }

    init(
        from local: (address: String, port: UInt16), to remote: (address: String, port: UInt16)
    ) throws(ScenarioError) {
        let raw = Glibc.socket(
            AF_INET, CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), CInt(IPPROTO_TCP))
        guard raw >= 0 else { throw .failed("socket", on: "a raw socket", -errno) }
        let socket = Descriptor(owning: raw)
        for (address, call) in [(local.address, bind), (remote.address, connect)] {
            let address = try SocketAddress(address, port: 0)
            guard address.withPointer({ call(raw, $0, $1) }) == 0 else {
                throw .failed("bind or connect", on: "a raw socket", -errno)
            }
        }
        let localBytes = try Self.bytes(local.address)
        let remoteBytes = try Self.bytes(remote.address)
        self.socket = socket
        self.local = (localBytes, local.port)
        self.remote = (remoteBytes, remote.port)
    }

    /// Sends a SYN that joins the connection of this token; what came back: "synack" or "rst".
    mutating func join(token: UInt32) throws(ScenarioError) -> String {
        let maximum: [UInt8] = [2, 4, 0x05, 0xb4]
        let join: [UInt8] = [30, 12, 0x10, 9] + Self.big(token) + [1, 2, 3, 4]
        try send(Flag.syn, maximum + join)
        sequence &+= 1
        return try answer()
    }

    /// Sends the third ACK, with an HMAC of nobody's; what came back.
    mutating func acknowledge() throws(ScenarioError) -> String {
        try send(Flag.ack, [30, 24, 0x10, 0] + [UInt8](repeating: 0x5a, count: 20))
        return try answer()
    }

    private func send(_ flags: UInt8, _ options: [UInt8]) throws(ScenarioError) {
        var segment = Self.big(local.port) + Self.big(remote.port) + Self.big(sequence)
        segment += Self.big(acknowledged) + [UInt8((20 + options.count) / 4) << 4, flags, 0xff, 0xff]
        segment += [0, 0, 0, 0] + options
        let pseudo = local.address + remote.address + [0, 6] + Self.big(UInt16(segment.count))
        let sum = Self.checksum(pseudo + segment)
        segment.replaceSubrange(16..<18, with: Self.big(sum))
        guard Glibc.send(socket.raw, segment, segment.count, CInt(MSG_NOSIGNAL)) == segment.count else {
            throw .failed("send", on: "a raw socket", -errno)
        }
    }

    /// The next segment for this port.
    private mutating func answer() throws(ScenarioError) -> String {
        var packet = [UInt8](repeating: 0, count: 2048)
        let deadline = Deadline()
        while !deadline.hasPassed {
            var entry = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, deadline.milliseconds) > 0 else { continue }
            let count = recv(socket.raw, &packet, packet.count, 0)
            // An IPv4 header comes first.
            let start = Int(packet[0] & 15) * 4
            guard count >= start + 20 else { continue }
            let segment = packet[start..<count]
            guard Self.number(segment.prefix(4)) == UInt32(remote.port) << 16 | UInt32(local.port) else {
                continue
            }
            let flags = packet[start + 13]
            if flags & Flag.rst != 0 { return "rst" }
            guard flags & (Flag.syn | Flag.ack) == Flag.syn | Flag.ack else { continue }
            acknowledged = Self.number(packet[(start + 4)..<(start + 8)]) &+ 1
            return "synack"
        }
        throw .deadline(awaited: "answer", from: "the path", seconds: deadline.seconds, diagnostics: "")
    }

    private static func big(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian, Array.init) }
    private static func big(_ number: UInt16) -> [UInt8] { withUnsafeBytes(of: number.bigEndian, Array.init) }
    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func bytes(_ address: String) throws(ScenarioError) -> [UInt8] {
        let bytes = address.split(separator: ".").compactMap { UInt8($0) }
        guard bytes.count == 4 else { throw .usage("\(address): not an IPv4 address") }
        return bytes
    }

    /// Of the Internet: the complement of the ones' complement sum; an even number of bytes.
    private static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count - 1, by: 2) {
            sum += UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1])
        }
        while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
        return ~UInt16(sum)
    }
}
