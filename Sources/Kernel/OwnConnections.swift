// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Synchronization
import SystemPackage

/// MPTCP connections of mpscope's own, to find out what this kernel does where nothing tells: in a
/// network namespace that nobody else is in and that ends with them.
public enum OwnConnections {
    /// Connects an MPTCP socket to a TCP listener, which makes it fall back, and then one to an MPTCP
    /// listener. Both are over when it returns.
    ///
    /// - Parameters:
    ///   - address: of both ends, in 127.0.0.0/8, as a number (127.0.0.1 is 0x7f000001).
    ///   - threadName: of the thread that makes them; at most 15 bytes.
    ///   - begin: called with the namespace's inode before the first.
    /// - Throws: `KernelError` when this process may not make a namespace, or a connection fails.
    public static func makePair(
        address: UInt32, threadName: String, begin: @escaping @Sendable (UInt32) -> Void
    ) throws(KernelError) {
        // A thread can't come back from a namespace that has no other way in: it ends there.
        let outcome = Outcome()
        let work = Box {
            do throws(KernelError) {
                _ = mps_thread_name(threadName)
                try Self.work(address, begin)
            } catch {
                outcome.error.withLock { $0 = error }
            }
        }
        var id = pthread_t()
        let failed = pthread_create(
            &id, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body()
                return nil
            }, Unmanaged.passRetained(work).toOpaque())
        guard failed == 0 else {
            throw KernelError(
                "start a thread", "for a namespace of its own", code: Errno(rawValue: failed),
                remedy: "raise RLIMIT_NPROC")
        }
        pthread_join(id, nil)
        if let error = outcome.error.withLock({ $0 }) { throw error }
    }

    private final class Outcome: Sendable {
        let error = Mutex<KernelError?>(nil)
    }

    private final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private static func work(_ address: UInt32, _ begin: (UInt32) -> Void) throws(KernelError) {
        guard mps_netns_unshare() == 0 else {
            throw .last("make a network namespace", "of its own", remedy: "that takes CAP_SYS_ADMIN")
        }
        guard mps_link_up("lo") == 0 else {
            throw .last("bring up", "lo in a namespace of its own", remedy: "that takes CAP_NET_ADMIN")
        }
        let home = try OwnedDescriptor(
            opening: NetworkNamespace.homePath, to: "open the own network namespace")
        begin(UInt32(truncatingIfNeeded: try home.inode(of: NetworkNamespace.homePath)))
        for listening in [Int32(IPPROTO_TCP), protocolMPTCP] {
            let listener = try bound(listening, address)
            guard listen(listener.descriptor.rawValue, 1) == 0 else {
                throw .last("listen", "in a namespace of its own")
            }
            let client = try bound(protocolMPTCP, address)
            var to = try name(of: listener)
            let result = withUnsafePointer(to: &to) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(client.descriptor.rawValue, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard result == 0 else {
                throw .last("connect", "in a namespace of its own")
            }
        }
    }

    private static let protocolMPTCP: Int32 = 262

    private static func bound(_ transport: Int32, _ address: UInt32) throws(KernelError) -> OwnedDescriptor {
        let descriptor = mps_stream_socket(AF_INET, transport)
        guard descriptor >= 0 else {
            throw .last("make a socket", "of protocol \(transport)", remedy: "net.mptcp.enabled may be 0")
        }
        let owned = OwnedDescriptor(adopting: FileDescriptor(rawValue: descriptor))
        var at = sockaddr_in()
        at.sin_family = sa_family_t(AF_INET)
        at.sin_addr.s_addr = address.bigEndian
        let result = withUnsafePointer(to: &at) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw .last("bind", "in a namespace of its own") }
        return owned
    }

    private static func name(of socket: borrowing OwnedDescriptor) throws(KernelError) -> sockaddr_in {
        var at = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &at) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(socket.descriptor.rawValue, $0, &length)
            }
        }
        guard result == 0 else { throw .last("name", "a socket of its own") }
        return at
    }
}
