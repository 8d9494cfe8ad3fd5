// SPDX-License-Identifier: Apache-2.0

import CLibmnl
import Glibc

/// A netlink socket of one network namespace: made inside it, it then serves from anywhere.
struct NetlinkSocket: ~Copyable {
    /// What the kernel fills at once at most, see NLMSG_GOODSIZE and netlink_recvmsg.
    static let bufferSize = 32768

    private let socket: OpaquePointer

    /// - Parameters:
    ///   - bus: NETLINK_SOCK_DIAG and the like.
    ///   - remedy: what to do if there is no such bus.
    /// - Throws: `KernelError` when the namespace cannot be entered, or netlink not be opened.
    init(_ bus: Int32, in namespace: NetworkNamespace, remedy: String? = nil) throws(KernelError) {
        socket = try namespace.inside { () throws(KernelError) in
            let action = "open a netlink socket in the network namespace"
            guard let socket = mnl_socket_open2(bus, Int32(SOCK_CLOEXEC.rawValue)) else {
                throw .last(action, namespace.label, remedy: remedy)
            }
            if mnl_socket_bind(socket, 0, pid_t(MNL_SOCKET_AUTOPID)) < 0 {
                let error = KernelError.last(action, namespace.label)
                mnl_socket_close(socket)
                throw error
            }
            return socket
        }
        // The kernel answers at once; this only keeps a broken one from stopping everything.
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(
            mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit {
        mnl_socket_close(socket)
    }

    /// Sends the message; -1 and errno if not.
    func send(_ message: UnsafeMutablePointer<nlmsghdr>) -> Int {
        mnl_socket_sendto(socket, message, Int(message.pointee.nlmsg_len))
    }

    /// Waits for a datagram; how long it is, -1 and errno if none came or it is longer than `buffer`.
    func receive(into buffer: inout [UInt8]) -> Int {
        mnl_socket_recvfrom(socket, &buffer, buffer.count)
    }
}
