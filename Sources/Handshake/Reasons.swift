// SPDX-License-Identifier: Apache-2.0

/// Why an attempt did not end as MPTCP: what **this end alone** can know.
public enum Reason: String, Sendable, CaseIterable {
    // fallback
    case synackWithoutMptcp = "synack_without_mptcp"
    case listenerIsTcp = "listener_is_tcp"
    case synWithoutMptcp = "syn_without_mptcp"
    case ackWithoutMptcp = "ack_without_mptcp"
    case synWithMptcpDropped = "syn_with_mptcp_dropped"
    case blackhole
    case md5SigFallback = "md5_sig_fallback"
    case mpFallbackTokenInit = "mp_fallback_token_init"
    case mpCapableEndpAttempt = "mp_capable_endp_attempt"
    case mptcpDisabledAtConnect = "mptcp_disabled_at_connect"
    // of joins
    case synackWithoutMpJoin = "synack_without_mp_join"
    case ackWithoutMpJoin = "ack_without_mp_join"
    case mpJoinNoTokenFound = "mp_join_no_token_found"
    case mpJoinRejected = "mp_join_rejected"
    case mpJoinAckHMacFailure = "mp_join_ack_hmac_failure"
    case mpJoinSynAckHMacFailure = "mp_join_synack_hmac_failure"
    case mismatchPort = "mismatch_port"
    case rstMptcpError = "rst_mptcp_error"
    case rstNoResources = "rst_no_resources"
    case rstProhibited = "rst_prohibited"
    case rstMiddlebox = "rst_middlebox"
    // fallback after the handshake
    case mpCapableDataFallback = "mp_capable_data_fallback"
    case dssFallback = "dss_fallback"
    case dataCsumErr = "data_csum_err"
    case mpFailRx = "mp_fail_rx"
    case dssCorruptionFallback = "dss_corruption_fallback"
    case infiniteMapping = "infinite_mapping"
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

    /// Whether it is what one of the kernel's counters says.
    var isKernels: Bool {
        switch self {
        case .blackhole, .md5SigFallback, .mpFallbackTokenInit, .mpJoinNoTokenFound, .mpJoinRejected,
            .mpJoinAckHMacFailure,
            .mpJoinSynAckHMacFailure, .mismatchPort:
            true
        default: false
        }
    }

    /// One sentence that tells a person what to look at next.
    public var advice: String {
        switch self {
        case .synackWithoutMptcp:
            "The SYN-ACK came back without MP_CAPABLE: check that the peer's listener is an MPTCP "
                + "socket and that its net.mptcp.enabled is 1; if both hold, a middlebox strips the option."
        case .listenerIsTcp:
            "The client asked for MPTCP but this listener is a plain TCP socket: open it with "
                + "IPPROTO_MPTCP or run it under mptcpize (on the multipath-tcp.org stack: set "
                + "net.mptcp.mptcp_enabled to 1) and restart it."
        case .synWithoutMptcp:
            "The SYN carried no MP_CAPABLE: the client is plain TCP, or something on the path strips "
                + "the option; trace the client's end to tell them apart."
        case .ackWithoutMptcp:
            "The third ACK came without MP_CAPABLE: something strips the option from this end's SYN-ACK or from "
                + "the client's ACK; if --steps shows this end's SYN-ACK without it, look at this machine's "
                + "firewall and at MPTcpExtMPFallbackTokenInit, else trace the client's end."
        case .synWithMptcpDropped:
            "SYNs with MP_CAPABLE went unanswered and one without got through: a middlebox drops "
                + "them; look for a firewall that rejects TCP option 30."
        case .mptcpDisabledAtConnect:
            "The kernel did not ask for MPTCP at connect: the blackhole state may hold (see "
                + "net.mptcp.blackhole_timeout; writing it clears the state), TCP MD5 or AO may be in use; the "
                + "out-of-tree stack never asks on loopback."
        case .blackhole:
            "The kernel does not ask for MPTCP for a while, because SYNs with MP_CAPABLE were dropped before: "
                + "find the middlebox that drops TCP option 30; any write to net.mptcp.blackhole_timeout, even of the "
                + "same value, ends the state."
        case .mpFallbackTokenInit:
            "The kernel found no free token for the connection: its table is full of connections or of "
                + "half-open handshakes; look for a SYN flood and for connections that are never closed."
        case .mpCapableEndpAttempt:
            "A new connection was tried at the port that the path manager opened for further subflows only: "
                + "clients must connect to the service's own port."
        case .md5SigFallback:
            "The socket uses TCP MD5 signatures, which leave no room for MPTCP's options: use one or the other."
        case .synackWithoutMpJoin:
            "The SYN-ACK came without MP_JOIN: what answers at that address is no MPTCP listener of the same "
                + "server (a plain TCP socket, a load balancer), or a middlebox strips the option there."
        case .ackWithoutMpJoin:
            "The third ACK came without MP_JOIN: something on this path strips the option from the client's "
                + "ACK; trace the client's end."
        case .mpJoinNoTokenFound:
            "No connection of this host has the token that the MP_JOIN asks for: it has ended, or fell back, or a "
                + "load balancer sends the client's paths to different servers."
        case .mpJoinRejected:
            "The connection takes no more subflows: raise `ip mptcp limits set subflows`, or look whether it "
                + "fell back or its path manager is userspace."
        case .mpJoinAckHMacFailure:
            "The HMAC of the third ACK is wrong: somebody without the keys tried to join, or a middlebox "
                + "changed the option; look at where the packets come from."
        case .mpJoinSynAckHMacFailure:
            "The HMAC of the SYN-ACK is wrong: what answered at that address does not know the connection's "
                + "keys; look at load balancers and middleboxes there."
        case .mismatchPort:
            "The MP_JOIN reached a port that was not announced for this connection: look at `ip mptcp endpoint` "
                + "of this host and at port translation on the path."
        case .rstMptcpError:
            "The peer refused with MP_TCPRST reason 1, an MPTCP-specific error (it does not know the token, or "
                + "an option was missing): trace the peer's end."
        case .rstNoResources:
            "The peer refused with MP_TCPRST reason 2, lack of resources: look at the load of the peer."
        case .rstProhibited:
            "The peer refused with MP_TCPRST reason 3, administratively prohibited: look at `ip mptcp limits` "
                + "at the peer."
        case .rstMiddlebox:
            "The subflow was reset with MP_TCPRST reason 6: MPTCP's options are changed or stripped on this "
                + "path; look for middleboxes."
        case .mpCapableDataFallback:
            "The first packets after the handshake came without MPTCP options: something strips them after the "
                + "SYN, or the third ACK lost its option on the path; trace the peer's end."
        case .dssFallback:
            "Data came without its DSS option: a middlebox began to strip MPTCP options, or it splits or joins "
                + "segments; look for proxies and offloading on the path from the peer."
        case .dataCsumErr:
            "The DSS checksum was wrong: something changes the payload on the path, as application gateways "
                + "do for FTP or SIP; look for them."
        case .mpFailRx:
            "The peer found a wrong DSS checksum and said so with MP_FAIL: something changes the payload on the "
                + "path to it, as application gateways do for FTP or SIP; look for them."
        case .dssCorruptionFallback:
            "The DSS options did not fit the data: something on the path splits, joins or repeats segments without "
                + "understanding MPTCP; look for proxies and offloading."
        case .infiniteMapping:
            "The connection goes on without DSS (infinite mapping): something strips MPTCP's options from data, or "
                + "from the SYN-ACK on its way to the client; trace the other end."
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
