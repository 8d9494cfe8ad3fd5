// SPDX-License-Identifier: Apache-2.0

import Glibc

/// An address as the socket calls take it.
struct SocketAddress {
    private var storage = sockaddr_storage()
    let length: socklen_t
    let family: CInt

    /// `text`: an IPv4 or IPv6 address.
    init(_ text: String, port: UInt16) throws(ScenarioError) {
        var done: CInt = 0
        if text.utf8.contains(UInt8(ascii: ":")) {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            done = inet_pton(AF_INET6, text, &address.sin6_addr)
            family = AF_INET6
            length = socklen_t(MemoryLayout<sockaddr_in6>.size)
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: address, as: sockaddr_in6.self) }
        } else {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            done = inet_pton(AF_INET, text, &address.sin_addr)
            family = AF_INET
            length = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: address, as: sockaddr_in.self) }
        }
        guard done == 1 else { throw .usage("\(text): not an IP address") }
    }

    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }

    /// Puts another IPv4 address (127.0.0.1 being 0x7f000001) in the place of the one it has.
    mutating func setIPv4(_ address: UInt32) {
        // After the family and the port.
        withUnsafeMutableBytes(of: &storage) {
            $0.storeBytes(of: address.bigEndian, toByteOffset: 4, as: UInt32.self)
        }
    }

    /// An IPv4 address as a number.
    var ipv4: UInt32 {
        withUnsafeBytes(of: storage) { UInt32(bigEndian: $0.load(fromByteOffset: 4, as: UInt32.self)) }
    }

    /// The port a socket is bound to.
    static func localPort(of socket: CInt) throws(ScenarioError) -> UInt16 {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &length) }
        }
        guard result == 0 else { throw .failed("getsockname", on: "socket \(socket)", -errno) }
        // sin_port and sin6_port are in the same place.
        return withUnsafeBytes(of: storage) { UInt16(bigEndian: $0.load(fromByteOffset: 2, as: UInt16.self)) }
    }
}

/// Sockets as actors need them.
enum ActorSocket {
    /// socket(2): a descriptor, or -1 and errno.
    static func open(_ address: SocketAddress, _ number: CInt, blocking: Bool) -> CInt {
        let kind = CInt(
            SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | (blocking ? 0 : SOCK_NONBLOCK.rawValue))
        return socket(address.family, kind, number)
    }

    static func make(_ address: SocketAddress, _ number: CInt, blocking: Bool) throws(ScenarioError) -> CInt {
        let raw = open(address, number, blocking: blocking)
        guard raw >= 0 else {
            throw .failed(
                "socket", on: "protocol \(number)", -errno,
                advice: errno == ENOPROTOOPT || errno == EPROTONOSUPPORT
                    ? "this kernel has no MPTCP, or net.mptcp.enabled is 0" : "")
        }
        return raw
    }

    static func listener(
        _ address: SocketAddress, _ number: CInt, dual: Bool, backlog: CInt
    ) throws(ScenarioError) -> CInt {
        let raw = try make(address, number, blocking: true)
        try set(raw, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR")
        if address.family == AF_INET6 {
            try set(raw, CInt(IPPROTO_IPV6), IPV6_V6ONLY, dual ? 0 : 1, "IPV6_V6ONLY")
        }
        guard address.withPointer({ bind(raw, $0, $1) }) == 0 else {
            throw .failed("bind", on: "the server's socket", -errno)
        }
        guard listen(raw, backlog) == 0 else { throw .failed("listen", on: "the server's socket", -errno) }
        return raw
    }

    private static func set(
        _ socket: CInt, _ level: CInt, _ option: CInt, _ value: CInt, _ name: String
    ) throws(ScenarioError) {
        var value = value
        guard setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<CInt>.size)) == 0 else {
            throw .failed("setsockopt(\(name))", on: "socket \(socket)", -errno)
        }
    }
}
