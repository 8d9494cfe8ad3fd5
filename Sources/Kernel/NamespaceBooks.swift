// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Handshake

/// What the kernel's own books say of one network namespace at one moment.
public struct NamespaceBooks: Sendable {
    /// The kernel's number of the namespace, which no other gets until the next boot (unlike its
    /// inode number); nil: this kernel does not tell (before 5.14).
    public var cookie: UInt64?
    /// By the names that nstat prints, see `MptcpCounters`.
    public var counters: [String: UInt64]
}

extension NetworkNamespace {
    /// SO_NETNS_COOKIE, asm-generic/socket.h.
    private static let netnsCookie: Int32 = 71

    /// Reads the counters of the namespace, and which namespace it is.
    ///
    /// - Throws: `KernelError` when the namespace is gone, or can't be entered or read.
    public func books() throws(KernelError) -> NamespaceBooks {
        var cookie: UInt64?
        let counters = try inside { () throws(KernelError) in
            cookie = Self.cookieHere()
            return try MptcpCounters.readHere()
        }
        return NamespaceBooks(cookie: cookie, counters: counters)
    }

    /// The kernel's number of the namespace, see `NamespaceBooks.cookie`.
    ///
    /// - Throws: `KernelError` when the namespace is gone, or can't be entered.
    public func cookie() throws(KernelError) -> UInt64? {
        try inside { () throws(KernelError) in Self.cookieHere() }
    }

    private static func cookieHere() -> UInt64? {
        let descriptor = mps_datagram_socket(AF_UNIX, 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var cookie: UInt64 = 0
        var length = socklen_t(MemoryLayout<UInt64>.size)
        guard getsockopt(descriptor, SOL_SOCKET, netnsCookie, &cookie, &length) == 0 else { return nil }
        return cookie
    }

    /// ns, CLOCK_REALTIME: the namespace is at least as old as that. One with a name in /run/netns
    /// tells when it got the name; one that only processes hold, when it was first looked at.
    ///
    /// - Throws: `KernelError` when nothing leads to it any more.
    public func notMadeAfter() throws(KernelError) -> Int64 {
        try open().changeTime(of: label)
    }
}

/// An attempt to connect that had not been decided.
public struct HalfOpen: Hashable, Sendable {
    public var local: Endpoint
    public var remote: Endpoint
    public var side: Side
}

/// Every attempt in the namespace that may be one of MPTCP's: sockets that wait for a SYN-ACK,
/// SYN-ACKs that wait for an ACK.
///
/// - Throws: `KernelError` when the namespace or its table can't be read.
public func readHalfOpen(in namespace: NetworkNamespace) throws(KernelError) -> Set<HalfOpen> {
    var tables = try SocketTables(of: namespace)
    var found: Set<HalfOpen> = []
    for socket in try tables.read(.tcp, in: [.synSent, .synReceived]) ?? [] {
        let side: Side = socket.state == .synSent ? .client : .server
        if side == .client, socket.isSubflow == false { continue }
        found.insert(HalfOpen(local: socket.local, remote: socket.remote, side: side))
    }
    return found
}
