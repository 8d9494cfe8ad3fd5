// SPDX-License-Identifier: Apache-2.0

import CLibmnl
import Glibc
import SystemPackage

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

    /// How an answer ended.
    enum End {
        case complete
        /// What was listed changed meanwhile.
        case interrupted
        /// The kernel said no.
        case refused(Errno)
        /// Nothing more came, or it could not be read: errno.
        case failed(Errno)
    }

    /// Takes the answer to one message to its end.
    /// - Parameters:
    ///   - sequence: the message's; what belongs to others is passed over.
    ///   - buffer: of `bufferSize` bytes.
    ///   - take: gets each message of the answer: its type, and where in the datagram its payload is.
    /// - Returns: the end, and how many datagrams broke off in the middle of a message.
    func receiveAnswer(
        to sequence: UInt32, into buffer: inout [UInt8],
        _ take: (_ type: Int32, _ datagram: RawSpan, _ payload: Range<Int>) -> Void
    ) -> (end: End, broken: Int) {
        var interrupted = false
        var broken = 0
        while true {
            let count = mnl_socket_recvfrom(socket, &buffer, buffer.count)
            guard count > 0 else { return (.failed(.current), broken) }
            let datagram = buffer.span.bytes.extracting(first: count)
            var messages = NetlinkMessageCursor()
            while let message = messages.next(in: datagram) {
                // What is left of an attempt that was given up.
                if message.sequence != sequence { continue }
                if Int32(message.flags) & NLM_F_DUMP_INTR != 0 { interrupted = true }
                switch Int32(message.type) {
                case NLMSG_DONE, NLMSG_ERROR:
                    // Both begin with the negative error number, 0 being success.
                    let status: Int32 = datagram.integer(at: message.payload.lowerBound) ?? 0
                    if status < 0 { return (.refused(Errno(rawValue: 0 &- status)), broken) }
                    return (interrupted ? .interrupted : .complete, broken)
                case let type:
                    take(type, datagram, message.payload)
                    // The only one.
                    if Int32(message.flags) & NLM_F_MULTI == 0 { return (.complete, broken) }
                }
            }
            if messages.broken { broken += 1 }
        }
    }
}
