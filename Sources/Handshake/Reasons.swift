// SPDX-License-Identifier: Apache-2.0

/// Why an attempt did not end as MPTCP: what **this end alone** can know.
public enum Reason: String, Sendable, CaseIterable {
    // fallback
    case synackWithoutMptcp = "synack_without_mptcp"
    case listenerIsTcp = "listener_is_tcp"
    case synWithoutMptcp = "syn_without_mptcp"
    case ackWithoutMptcp = "ack_without_mptcp"
    case synWithMptcpDropped = "syn_with_mptcp_dropped"
    case mptcpDisabledAtConnect = "mptcp_disabled_at_connect"
    // refused, reset, timeout
    case rstToSyn = "rst_to_syn"
    case rstInHandshake = "rst_in_handshake"
    case noSynack = "no_synack"
    case noAck = "no_ack"
    case connectFailed = "connect_failed"
    // aborted
    case closedByProcess = "closed_by_process"
    case traceEnded = "trace_ended"
    case notFollowed = "not_followed"

    /// One sentence that tells a person what to look at next.
    public var advice: String {
        switch self {
        case .synackWithoutMptcp:
            "The SYN-ACK came back without MP_CAPABLE: check that the peer's listener is an MPTCP "
                + "socket and that its net.mptcp.enabled is 1; if both hold, a middlebox strips the option."
        case .listenerIsTcp:
            "The client asked for MPTCP but this listener is a plain TCP socket: open it with "
                + "IPPROTO_MPTCP (or run it under mptcpize) and restart it."
        case .synWithoutMptcp:
            "The SYN carried no MP_CAPABLE: the client is plain TCP, or something on the path strips "
                + "the option; trace the client's end to tell them apart."
        case .ackWithoutMptcp:
            "The third ACK came without MP_CAPABLE: something strips the option from this end's SYN-ACK "
                + "or from the client's ACK, this machine's own firewall included; trace the client's end."
        case .synWithMptcpDropped:
            "SYNs with MP_CAPABLE went unanswered and one without got through: a middlebox drops "
                + "them; look for a firewall that rejects TCP option 30."
        case .mptcpDisabledAtConnect:
            "The kernel did not ask for MPTCP at connect: the blackhole state may hold (see "
                + "net.mptcp.blackhole_timeout; writing it clears the state), TCP MD5 or AO may be in use."
        case .rstToSyn:
            "Nothing listens on that address and port, or a firewall rejects it."
        case .rstInHandshake:
            "A RST ended the handshake: look at the peer's log and at firewalls between."
        case .noSynack:
            "No SYN was answered: check the route, the peer and firewalls that drop silently."
        case .noAck:
            "The client never completed the handshake: it vanished, or its third ACK is lost on the path."
        case .connectFailed:
            "connect() failed before any answer came: look at the route to the peer, at ICMP errors and at firewalls."
        case .closedByProcess:
            "The process closed the socket before the handshake ended: look at its connect timeout."
        case .traceEnded:
            "The trace ended before the handshake did: trace longer."
        case .notFollowed:
            "mpscope lost sight of this handshake (see the lost records): use a larger --buffer-size."
        }
    }
}

extension Reason {
    /// All reasons as Markdown: docs/reasons.md is this text.
    public static var document: String {
        var text = """
            # Reasons

            Made by `mpscope reasons` from the one table in `Sources/Handshake/Reasons.swift`; a test
            holds this page against it.

            Why an attempt did not end as MPTCP: what that end alone can know. Where the two ends of a
            connection give different reasons, both are right.

            | reason | advice |
            |---|---|

            """
        for reason in allCases { text += "| `\(reason.rawValue)` | \(reason.advice) |\n" }
        return text
    }
}
