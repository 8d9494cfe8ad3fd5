// SPDX-License-Identifier: Apache-2.0

import CLibmnl
import Glibc
import Handshake
import SystemPackage

/// The socket tables of one network namespace, read by sock_diag. The netlink socket serves from
/// anywhere, so one thread can read all namespaces.
public struct SocketTables: ~Copyable {
    private let socket: NetlinkSocket
    private let namespace: String
    private var sequence: UInt32 = 0

    /// Messages of the kernel that made no sense and were left out; any is worth reporting.
    public private(set) var malformed = 0

    /// IPPROTO_MPTCP: too large for the request's own field, hence the attribute.
    private static let protocolMptcp: UInt32 = 262
    /// How often a table that changed while it was read is read again.
    private static let attempts = 8

    /// - Throws: `KernelError` when the namespace cannot be entered, or netlink not be opened.
    public init(of namespace: NetworkNamespace) throws(KernelError) {
        self.namespace = namespace.label
        socket = try NetlinkSocket(
            NETLINK_SOCK_DIAG, in: namespace,
            remedy: "the kernel needs CONFIG_INET_DIAG (modprobe inet_diag)")
    }

    /// Every socket of `table`, IPv4 then IPv6, that is in one of `states`, each once, in the
    /// kernel's order. MPTCP connections that fell back stand in the table of MPTCP as long as
    /// their MPTCP socket lives.
    ///
    /// - Returns: nil when this kernel cannot list that table (no tcp_diag or mptcp_diag).
    /// - Throws: `KernelError` for any other failure, and when the table kept changing.
    public mutating func read(
        _ table: TransportProtocol, in states: [SocketState]
    ) throws(KernelError) -> [InetSocket]? {
        var found: [InetSocket] = []
        for family in [AF_INET, AF_INET6] {
            var answer = try dump(table, family: family, states: states)
            for _ in 1..<Self.attempts where answer == .interrupted {
                answer = try dump(table, family: family, states: states)
            }
            switch answer {
            case .unknownTable: return nil
            case .interrupted:
                throw KernelError(
                    "list the sockets of", namespace,
                    cause: "the table changed during each of \(Self.attempts) attempts",
                    remedy: "try again when fewer sockets are opened and closed")
            case .complete(let sockets): found += sockets
            }
        }
        // A socket that moves in its table while that is read can be met twice. Its cookie alone does
        // not tell: an MPTCP listener's goes on to every connection that it takes.
        var seen: Set<Identity> = []
        return found.filter {
            $0.cookie == 0
                || seen.insert(Identity(cookie: $0.cookie, local: $0.local, remote: $0.remote)).inserted
        }
    }

    private struct Identity: Hashable {
        var cookie: UInt64
        var local: Endpoint
        var remote: Endpoint
    }

    private enum Answer: Equatable {
        case complete([InetSocket])
        case interrupted
        case unknownTable
    }

    private mutating func dump(
        _ table: TransportProtocol, family: Int32, states: [SocketState]
    ) throws(KernelError) -> Answer {
        sequence &+= 1
        try send(table, family: family, states: states)
        var sockets: [InetSocket] = []
        var buffer = [UInt8](repeating: 0, count: NetlinkSocket.bufferSize)
        var senseless = 0
        let (end, broken) = socket.receiveAnswer(to: sequence, into: &buffer) { type, datagram, payload in
            guard type == SOCK_DIAG_BY_FAMILY else { return }
            if let one = InetSocket(datagram, payload: payload, table: table) {
                sockets.append(one)
            } else {
                senseless += 1
            }
        }
        malformed += senseless + broken
        switch end {
        case .complete: return .complete(sockets)
        case .interrupted: return .interrupted
        case .refused(let code) where code.isGone: return .unknownTable
        case .refused(let code), .failed(let code): throw failure(code)
        }
    }

    private func send(
        _ table: TransportProtocol, family: Int32, states: [SocketState]
    ) throws(KernelError) {
        let sent = withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) { buffer -> Int? in
            guard let header = mnl_nlmsg_put_header(buffer.baseAddress) else { return nil }
            header.pointee.nlmsg_type = UInt16(SOCK_DIAG_BY_FAMILY)
            header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
            header.pointee.nlmsg_seq = sequence
            var request = inet_diag_req_v2()
            request.sdiag_family = UInt8(family)
            request.idiag_states = states.reduce(0) { $0 | 1 << UInt32($1.rawValue) }
            // For MPTCP the field stays 0, which no table answers to: a kernel that does not know
            // the attribute then refuses, rather than listing raw sockets (255) in its place.
            if table == .tcp { request.sdiag_protocol = UInt8(IPPROTO_TCP) }
            // Of MPTCP it is what is wanted; without TCP's, which is long, the kernel does not tell
            // what is a subflow.
            request.idiag_ext = 1 << (UInt8(INET_DIAG_INFO) - 1)
            let size = MemoryLayout<inet_diag_req_v2>.size
            mnl_nlmsg_put_extra_header(header, size)?
                .copyMemory(from: &request, byteCount: size)
            if table == .mptcp {
                mnl_attr_put_u32(header, UInt16(INET_DIAG_REQ_PROTOCOL), Self.protocolMptcp)
            }
            return socket.send(header)
        }
        guard let sent, sent > 0 else { throw failure() }
    }

    private func failure(_ code: Errno = .current) -> KernelError {
        KernelError("list the sockets of", namespace, code: code)
    }
}
