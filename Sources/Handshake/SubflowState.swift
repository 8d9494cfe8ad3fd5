// SPDX-License-Identifier: Apache-2.0

/// The states of a subflow in the mirrored machine. docs/state-machine.md holds each against
/// the kernel code that puts the real socket there.
public enum SubflowState: UInt8, Sendable, CaseIterable {
    /// Nothing is known of it yet.
    case none
    /// An MPTCP socket was made and has not connected.
    case created

    // client
    /// The SYN asks for MP_CAPABLE.
    case synSent
    /// The socket is MPTCP, its SYN does not ask (any more).
    case synSentUnasked
    /// The SYN of a plain TCP socket (`--all-tcp`).
    case tcpSynSent
    /// The SYN-ACK agreed to MP_CAPABLE.
    case synackReceived
    /// The SYN-ACK came without it, though it was asked for.
    case synackReceivedPlain
    /// TCP is established, the options of the SYN-ACK are not yet read.
    case tcpEstablished

    // server
    /// A SYN with MP_CAPABLE reached an MPTCP listener.
    case synReceived
    /// A SYN without it reached an MPTCP listener.
    case synReceivedPlain
    /// A SYN with it reached a TCP listener.
    case synReceivedByTcp
    /// Neither end speaks MPTCP (`--all-tcp`).
    case tcpSynReceived
    /// The SYN-ACK left with MP_CAPABLE.
    case synackSent
    /// It left without, though it was asked for.
    case synackSentPlain
    /// The third ACK carried MP_CAPABLE.
    case ackReceived
    /// The third ACK came without.
    case ackReceivedPlain
    /// The kernel cloned an msk for the connection.
    case accepted

    // additional subflows, of ours
    /// The SYN asks for MP_JOIN.
    case joinSynSent
    /// The SYN-ACK carried MP_JOIN.
    case joinSynackReceived
    /// It came without.
    case joinSynackReceivedPlain
    /// TCP is established, the peer has not confirmed the join yet.
    case joinTcpEstablished
    /// A RST answered the SYN.
    case joinRefused
    /// A RST came later, before the join was confirmed.
    case joinReset

    // additional subflows, of the peer's
    /// A SYN with MP_JOIN reached an MPTCP listener.
    case joinSynReceived
    /// It reached a TCP listener.
    case joinSynReceivedByTcp
    /// The SYN-ACK left with MP_JOIN.
    case joinSynackSent
    /// It left without.
    case joinSynackSentPlain
    /// The third ACK carried MP_JOIN.
    case joinAckReceived
    /// It came without.
    case joinAckReceivedPlain

    // both
    /// The subflow carries the connection's data.
    case joined
    case mptcpEstablished
    /// Established as TCP where one end wanted MPTCP.
    case fallback
    /// Established as TCP; nobody wanted MPTCP.
    case plain
    /// A RST came before the handshake was over.
    case reset
    /// The subflow is gone, its MPTCP socket not yet.
    case subflowClosed
    case closed

    /// The word in records: shape `syn_sent_unasked`.
    public var name: String {
        switch self {
        case .none: "none"
        case .created: "created"
        case .synSent: "syn_sent"
        case .synSentUnasked: "syn_sent_unasked"
        case .tcpSynSent: "tcp_syn_sent"
        case .synackReceived: "synack_received"
        case .synackReceivedPlain: "synack_received_plain"
        case .tcpEstablished: "tcp_established"
        case .synReceived: "syn_received"
        case .synReceivedPlain: "syn_received_plain"
        case .synReceivedByTcp: "syn_received_by_tcp"
        case .tcpSynReceived: "tcp_syn_received"
        case .synackSent: "synack_sent"
        case .synackSentPlain: "synack_sent_plain"
        case .ackReceived: "ack_received"
        case .ackReceivedPlain: "ack_received_plain"
        case .accepted: "accepted"
        case .joinSynSent: "join_syn_sent"
        case .joinSynackReceived: "join_synack_received"
        case .joinSynackReceivedPlain: "join_synack_received_plain"
        case .joinTcpEstablished: "join_tcp_established"
        case .joinRefused: "join_refused"
        case .joinReset: "join_reset"
        case .joinSynReceived: "join_syn_received"
        case .joinSynReceivedByTcp: "join_syn_received_by_tcp"
        case .joinSynackSent: "join_synack_sent"
        case .joinSynackSentPlain: "join_synack_sent_plain"
        case .joinAckReceived: "join_ack_received"
        case .joinAckReceivedPlain: "join_ack_received_plain"
        case .joined: "joined"
        case .mptcpEstablished: "mptcp_established"
        case .fallback: "fallback"
        case .plain: "plain"
        case .reset: "reset"
        case .subflowClosed: "subflow_closed"
        case .closed: "closed"
        }
    }

    /// What the state means, for docs/state-machine.md.
    public var meaning: String {
        switch self {
        case .none: "nothing is known of it yet"
        case .created: "an MPTCP socket was made and has not connected"
        case .synSent: "client: the SYN asks for MP_CAPABLE"
        case .synSentUnasked: "client: the socket is MPTCP, its SYN does not ask (any more)"
        case .tcpSynSent: "client: the SYN of a plain TCP socket (`--all-tcp`)"
        case .synackReceived: "client: the SYN-ACK agreed to MP_CAPABLE"
        case .synackReceivedPlain: "client: the SYN-ACK came without MP_CAPABLE, though it was asked for"
        case .tcpEstablished: "client: TCP is established, the options of the SYN-ACK are not yet read"
        case .synReceived: "server: a SYN with MP_CAPABLE reached an MPTCP listener"
        case .synReceivedPlain: "server: a SYN without MP_CAPABLE reached an MPTCP listener"
        case .synReceivedByTcp: "server: a SYN with MP_CAPABLE reached a TCP listener"
        case .tcpSynReceived: "server: neither end speaks MPTCP (`--all-tcp`)"
        case .synackSent: "server: the SYN-ACK left with MP_CAPABLE"
        case .synackSentPlain: "server: the SYN-ACK left without MP_CAPABLE, though it was asked for"
        case .ackReceived: "server: the third ACK carried MP_CAPABLE"
        case .ackReceivedPlain: "server: the third ACK came without MP_CAPABLE"
        case .accepted: "server: the kernel cloned an msk for the connection"
        case .joinSynSent: "client of a join: the SYN asks for MP_JOIN"
        case .joinSynackReceived: "client of a join: the SYN-ACK carried MP_JOIN"
        case .joinSynackReceivedPlain: "client of a join: the SYN-ACK came without MP_JOIN"
        case .joinTcpEstablished:
            "client of a join: TCP is established, the peer has not confirmed the join yet"
        case .joinRefused: "client of a join: a RST answered the SYN"
        case .joinReset: "client of a join: a RST came later, before the join was confirmed"
        case .joinSynReceived: "server of a join: a SYN with MP_JOIN reached an MPTCP listener"
        case .joinSynReceivedByTcp: "server of a join: a SYN with MP_JOIN reached a TCP listener"
        case .joinSynackSent: "server of a join: the SYN-ACK left with MP_JOIN"
        case .joinSynackSentPlain:
            "server of a join: the SYN-ACK left without MP_JOIN, though it was asked for"
        case .joinAckReceived: "server of a join: the third ACK carried MP_JOIN"
        case .joinAckReceivedPlain: "server of a join: the third ACK came without MP_JOIN"
        case .joined: "the additional subflow carries the connection's data"
        case .mptcpEstablished: "both ends speak MPTCP"
        case .fallback: "established as TCP where one end wanted MPTCP"
        case .plain: "established as TCP; nobody wanted MPTCP (`--all-tcp`)"
        case .reset: "a RST came before the handshake was over"
        case .subflowClosed: "the subflow is gone, its MPTCP socket not yet"
        case .closed: "the connection is over"
        }
    }
}
