// SPDX-License-Identifier: Apache-2.0

/// What a transition decides.
public enum Verdict: Hashable, Sendable {
    case nothing
    /// The handshake is over.
    case decide(Outcome, Reason?)
    /// The attempt to add a subflow is over.
    case join(JoinOutcome, Reason?)
    /// A connection that had MPTCP lost it.
    case fallBack(Reason?)
    /// The connection is over.
    case close
}

/// One row of the mirror: in one of these states, this step, if these things are true and
/// those are not, leads to that state.
public struct Transition: Sendable {
    public var from: [SubflowState]
    public var on: Step
    public var all: Facts
    public var none: Facts
    /// nil: the state stays.
    public var to: SubflowState?
    public var verdict: Verdict
    /// The lines of the handshake's walk, and the mainline function, that it mirrors.
    public var mirrors: String

    init(
        _ from: [SubflowState], _ on: Step, _ all: Facts = [], unless none: Facts = [],
        to: SubflowState?, _ verdict: Verdict, _ mirrors: String
    ) {
        self.from = from
        self.on = on
        self.all = all
        self.none = none
        self.to = to
        self.verdict = verdict
        self.mirrors = mirrors
    }

    init(
        _ from: [SubflowState], _ on: Step, _ all: Facts = [], unless none: Facts = [],
        to: SubflowState?, _ mirrors: String
    ) {
        self.init(from, on, all, unless: none, to: to, .nothing, mirrors)
    }
}

/// The one table of all transitions. Rows are tried from the top; the first that fits is taken.
public struct TransitionTable: Sendable {
    public let rows: [Transition]
    /// For each state and step: where in `order` its rows begin; `order` holds row numbers.
    private let starts: [UInt16]
    private let order: [UInt16]

    private static let steps = Step.allCases.count

    public init(_ rows: [Transition] = TransitionTable.kernel) {
        self.rows = rows
        var cells = [[UInt16]](repeating: [], count: SubflowState.allCases.count * Self.steps)
        for (number, row) in rows.enumerated() {
            for state in Set(row.from) {
                cells[Int(state.rawValue) * Self.steps + Int(row.on.rawValue)].append(UInt16(number))
            }
        }
        var starts: [UInt16] = [0]
        var order: [UInt16] = []
        for cell in cells {
            order += cell
            starts.append(UInt16(order.count))
        }
        self.starts = starts
        self.order = order
    }

    /// The number of the row for what was observed, nil when the mirrored machine does not allow it.
    public func row(from state: SubflowState, on step: Step, _ facts: Facts) -> Int? {
        let cell = Int(state.rawValue) * Self.steps + Int(step.rawValue)
        var at = Int(starts[cell])
        let end = Int(starts[cell + 1])
        while at < end {
            let number = Int(order[at])
            if facts.isSuperset(of: rows[number].all), facts.isDisjoint(with: rows[number].none) {
                return number
            }
            at += 1
        }
        return nil
    }
}

extension TransitionTable {
    private static let clientOpen: [SubflowState] = [
        .synSent, .synSentUnasked, .tcpSynSent, .synackReceived, .synackReceivedPlain, .tcpEstablished,
    ]
    private static let serverOpen: [SubflowState] = [
        .synReceived, .synReceivedPlain, .synReceivedByTcp, .tcpSynReceived,
        .synackSent, .synackSentPlain, .ackReceived, .ackReceivedPlain, .accepted,
    ]

    /// The kernel's handshake, mainline Linux.
    public static let kernel: [Transition] = client + server + joinClient + joinServer + both

    private static let client: [Transition] = [
        // create socket, and connect
        .init(
            [.none], .socketCreated, [.mptcpSocket], to: .created,
            "create socket: mptcp_init_tcp_sock | mptcp_init_sock"),
        .init(
            [.none, .created], .synSent, [.mptcpSocket, .requestsMptcp], to: .synSent,
            "send SYN: tcp_connect, request_mptcp = 1 | mptcp_connect, tcp_connect"),
        .init(
            [.none, .created], .synSent, [.mptcpSocket], to: .synSentUnasked,
            "(no line) | mptcp_connect: mptcp_is_disabled, MD5, token exhaustion"),
        .init(
            [.none], .synSent, [.plainSocket], to: .tcpSynSent,
            "send SYN: tcp_connect"),

        // the SYN as it leaves, and again
        .init(
            [.synSent], .synSent, [.optionCapable], to: nil,
            "send SYN: mptcp_syn_options, OPTION_MP_CAPABLE | mptcp_syn_options"),
        .init(
            [.synSent], .synSent, [.optionAbsent], to: nil,
            "(no line) | after mptcp_active_detect_blackhole, or stripped by this machine's own firewall"),
        .init(
            [.synSentUnasked, .tcpSynSent], .synSent, to: nil,
            "send SYN: tcp_transmit_skb | tcp_transmit_skb"),

        // receive SYN-ACK
        .init(
            [.synSent], .synackReceived, [.optionCapable], to: .synackReceived,
            "receive SYN-ACK: tcp_rcv_synsent_state_process | tcp_rcv_synsent_state_process"),
        .init(
            [.synSent], .synackReceived, to: .synackReceivedPlain,
            "receive SYN-ACK: tcp_rcv_synsent_state_process | tcp_rcv_synsent_state_process"),
        .init(
            [.synackReceived, .synackReceivedPlain, .synSentUnasked, .tcpSynSent, .tcpEstablished],
            .synackReceived, to: nil,
            "receive SYN-ACK, again"),
        .init(
            [.synSent, .synackReceived], .established, [.mptcpSocket], to: .tcpEstablished,
            "receive SYN-ACK: tcp_set_state(sk, TCP_ESTABLISHED) | tcp_finish_connect"),
        .init(
            [.synackReceivedPlain, .synSentUnasked], .established, [.mptcpSocket], to: nil,
            "receive SYN-ACK: tcp_set_state(sk, TCP_ESTABLISHED) | tcp_finish_connect"),
        .init(
            [.tcpSynSent], .established, [.plainSocket], to: .plain, .decide(.tcp, nil),
            "receive SYN-ACK: tcp_set_state(sk, TCP_ESTABLISHED) | tcp_finish_connect"),

        // the client's verdict
        .init(
            [.none, .synSent, .synackReceived, .tcpEstablished, .reset], .mptcpEstablished, [.capable],
            to: .mptcpEstablished, .decide(.mptcp, nil),
            "receive SYN-ACK: mptcp_rcv_synsent_state_process, mptcp_update_metasocket "
                + "| subflow_finish_connect, mptcp_set_state"),
        .init(
            [.none, .synSent, .synSentUnasked, .synackReceivedPlain, .tcpEstablished], .fallback,
            [.droppedSyns], to: .fallback, .decide(.fallback, .synWithMptcpDropped),
            "(no line) | subflow_finish_connect: mpc_drop"),
        .init(
            [.synSentUnasked], .fallback, [.blackhole], to: .fallback, .decide(.fallback, .blackhole),
            "(no line) | mptcp_connect: mptcp_active_should_disable"),
        .init(
            [.synSentUnasked], .fallback, [.md5], to: .fallback, .decide(.fallback, .md5SigFallback),
            "(no line) | mptcp_connect: md5sig_info"),
        .init(
            [.synSentUnasked], .fallback, [.tokensGone], to: .fallback,
            .decide(.fallback, .mpFallbackTokenInit),
            "(no line) | mptcp_connect: mptcp_token_new_connect"),
        .init(
            [.synSentUnasked], .fallback, to: .fallback, .decide(.fallback, .mptcpDisabledAtConnect),
            "(no line) | subflow_finish_connect: mptcp_check_fallback"),
        .init(
            [.synSent, .synackReceivedPlain, .tcpEstablished, .reset], .fallback,
            to: .fallback, .decide(.fallback, .synackWithoutMptcp),
            "receive SYN-ACK: mptcp_rcv_synsent_state_process without the option "
                + "| subflow_finish_connect: mptcp_try_fallback"),
        .init(
            [.none], .fallback, to: .fallback, .decide(.fallback, nil),
            "the same, of a handshake that began before the trace"),

        // and what can go wrong
        .init(
            clientOpen, .reset, to: .reset,
            "(no line) | tcp_reset"),
        .init(
            [.reset, .synackReceived, .synackReceivedPlain, .tcpEstablished], .closed,
            [.mptcpSocket, .wasEstablished], unless: [.msk], to: nil,
            "(no line) | tcp_done: the msk has yet to say how the handshake ended"),
        .init(
            clientOpen + [.reset], .closed, [.refused], to: .closed, .decide(.refused, .rstToSyn),
            "(no line) | tcp_reset: ECONNREFUSED in SYN_SENT"),
        .init(
            clientOpen + [.reset], .closed, [.timedOut], to: .closed, .decide(.timeout, .noSynack),
            "(no line) | tcp_write_timeout, tcp_write_err"),
        .init(
            clientOpen + [.reset], .closed, [.connectionReset], to: .closed,
            .decide(.reset, .rstInHandshake),
            "(no line) | tcp_reset, mptcp_subflow_reset"),
        .init(
            clientOpen + [.reset], .closed, [.otherError], to: .closed,
            .decide(.aborted, .connectFailed),
            "(no line) | tcp_v4_err, tcp_v6_err"),
        .init(
            clientOpen, .closed, to: .closed, .decide(.aborted, .closedByProcess),
            "(no line) | mptcp_close, mptcp_disconnect"),
        .init(
            [.created], .closed, to: .closed,
            "(no line) | inet_release"),
    ]

    private static let server: [Transition] = [
        // receive SYN
        .init(
            [.none], .synReceived, [.mptcpSocket, .optionCapable], to: .synReceived,
            "receive SYN: tcp_conn_request | subflow_check_req"),
        .init(
            [.none], .synReceived, [.mptcpSocket], to: .synReceivedPlain,
            "receive SYN: tcp_conn_request | subflow_check_req"),
        .init(
            [.none], .synReceived, [.plainSocket, .optionCapable], to: .synReceivedByTcp,
            "receive SYN: tcp_conn_request"),
        .init(
            [.none], .synReceived, [.plainSocket], to: .tcpSynReceived,
            "receive SYN: tcp_conn_request"),
        .init(
            serverOpen, .synReceived, to: nil,
            "receive SYN, again"),

        // send SYN-ACK
        .init(
            [.synReceived], .synackSent, [.optionCapable], to: .synackSent,
            "send SYN-ACK: mptcp_synack_options | mptcp_synack_options"),
        .init(
            [.synReceived], .synackSent, to: .synackSentPlain,
            "(no line) | subflow_check_req: no token to be had; or stripped by this machine's own firewall"),
        .init(
            [.synReceivedPlain, .synReceivedByTcp, .tcpSynReceived], .synackSent, to: nil,
            "send SYN-ACK: tcp_synack_options | tcp_synack_options"),
        .init(
            [.synackSent, .synackSentPlain, .ackReceived, .ackReceivedPlain, .accepted], .synackSent, to: nil,
            "send SYN-ACK, again | tcp_rtx_synack"),

        // receive the third ACK
        .init(
            [.synReceived, .synackSent], .ackReceived, [.optionCapable], to: .ackReceived,
            "receive ACK: tcp_check_req | subflow_syn_recv_sock"),
        .init(
            [.synReceived, .synackSent], .ackReceived, to: .ackReceivedPlain,
            "receive ACK: tcp_check_req | subflow_syn_recv_sock: mptcp_subflow_drop_ctx"),
        .init(
            [
                .synReceivedPlain, .synReceivedByTcp, .tcpSynReceived, .synackSentPlain,
                .ackReceived, .ackReceivedPlain, .accepted,
            ], .ackReceived, to: nil,
            "receive ACK: tcp_check_req | tcp_check_req"),
        .init(
            [.none, .synReceived, .synackSent, .ackReceived], .mptcpEstablished, [.mptcpSocket],
            to: .accepted,
            "receive ACK: mptcp_check_req_master | mptcp_sk_clone_init"),

        // the server's verdict
        .init(
            [.none, .synReceived, .synackSent, .ackReceived, .accepted], .established,
            [.mptcpSocket, .capable],
            to: .mptcpEstablished, .decide(.mptcp, nil),
            "receive ACK: tcp_set_state(sk, TCP_ESTABLISHED), mptcp_update_metasocket "
                + "| tcp_rcv_state_process"),
        .init(
            [.synReceivedPlain], .established, [.plainSocket], to: .fallback,
            .decide(.fallback, .synWithoutMptcp),
            "receive ACK: tcp_set_state(sk, TCP_ESTABLISHED) | mptcp_subflow_drop_ctx"),
        .init(
            [.synReceivedByTcp], .established, [.plainSocket], to: .fallback,
            .decide(.fallback, .listenerIsTcp),
            "receive ACK: tcp_set_state(sk, TCP_ESTABLISHED) | tcp_rcv_state_process"),
        .init(
            [.synReceived, .synackSent, .synackSentPlain, .ackReceivedPlain], .established, [.plainSocket],
            to: .fallback,
            .decide(.fallback, .ackWithoutMptcp),
            "receive ACK: tcp_set_state(sk, TCP_ESTABLISHED) | mptcp_subflow_drop_ctx"),
        .init(
            [.tcpSynReceived], .established, [.plainSocket], to: .plain, .decide(.tcp, nil),
            "receive ACK: tcp_set_state(sk, TCP_ESTABLISHED) | tcp_rcv_state_process"),
        .init(
            [.none], .established, [.plainSocket], to: .fallback, .decide(.fallback, nil),
            "the same, of a handshake that began before the trace"),

        // and what can go wrong
        .init(
            serverOpen, .reset, [.sentByUs, .rstProhibited], to: .closed,
            .decide(.reset, .mpCapableEndpAttempt),
            "(no line) | subflow_reset_req_endp"),
        .init(
            serverOpen, .reset, [.sentByUs], to: nil,
            "(no line) | tcp_v4_send_reset, to a packet that was none of the handshake's"),
        .init(
            serverOpen, .reset, [.halfOpen], to: .closed, .decide(.reset, .rstInHandshake),
            "(no line) | tcp_check_req: embryonic reset"),
        .init(
            serverOpen, .reset, to: .reset,
            "(no line) | tcp_reset"),
        .init(
            serverOpen, .closed, [.listenerGone], to: .closed, .decide(.aborted, .closedByProcess),
            "(no line) | inet_csk_listen_stop, reqsk_timer_handler"),
        .init(
            serverOpen, .closed, to: .closed, .decide(.reset, .rstInHandshake),
            "(no line) | tcp_reset, inet_csk_destroy_sock"),
    ]

    // MARK: additional subflows

    private static let joinClientOpen: [SubflowState] = [
        .joinSynSent, .joinSynackReceived, .joinSynackReceivedPlain, .joinTcpEstablished,
    ]
    private static let joinAsked: [SubflowState] = [.joinSynSent, .joinSynackReceived, .joinTcpEstablished]
    private static let joinServerOpen: [SubflowState] = [
        .joinSynReceived, .joinSynReceivedByTcp, .joinSynackSent, .joinSynackSentPlain,
        .joinAckReceived, .joinAckReceivedPlain,
    ]

    private static let joinAnswered: [SubflowState] = [
        .joinSynackSent, .joinSynackSentPlain, .joinAckReceived, .joinAckReceivedPlain,
    ]

    private static let joinClient: [Transition] = [
        // send SYN
        .init(
            [.none], .joinSynSent, [.mptcpSocket, .requestsJoin], to: .joinSynSent,
            "send SYN: tcp_connect, OPTION_MP_JOIN | __mptcp_subflow_connect, tcp_connect"),
        .init(
            [.joinSynSent], .joinSynSent, [.optionJoin], to: nil,
            "send SYN: mptcp_syn_options, OPTION_MP_JOIN | mptcp_syn_options"),
        .init(
            [.joinSynSent], .synSent, to: nil,
            "(no line) | stripped by this machine's own firewall"),

        // receive SYN-ACK
        .init(
            [.joinSynSent], .joinSynackReceived, [.optionJoin], to: .joinSynackReceived,
            "receive SYN-ACK: mptcp_rcv_synsent_state_process | tcp_rcv_synsent_state_process"),
        .init(
            [.joinSynSent], .synackReceived, to: .joinSynackReceivedPlain,
            "receive SYN-ACK: mptcp_rcv_synsent_state_process | tcp_rcv_synsent_state_process"),
        .init(
            [.joinSynackReceived, .joinSynackReceivedPlain, .joinTcpEstablished, .joined],
            .joinSynackReceived, to: nil,
            "receive SYN-ACK, again"),
        .init(
            [.joinSynackReceived, .joinSynackReceivedPlain, .joinTcpEstablished, .joined],
            .synackReceived, to: nil,
            "receive SYN-ACK, again"),
        .init(
            [.joinSynSent, .joinSynackReceived], .established, [.mptcpSocket], to: .joinTcpEstablished,
            "receive SYN-ACK: tcp_set_state(sk, TCP_ESTABLISHED) | tcp_finish_connect"),
        .init(
            [.joinSynackReceivedPlain], .established, [.mptcpSocket], to: nil,
            "receive SYN-ACK: tcp_set_state(sk, TCP_ESTABLISHED) | tcp_finish_connect"),

        // the peer confirms
        .init(
            [.joinSynSent, .joinSynackReceived, .joinTcpEstablished], .joinEstablished, to: .joined,
            .join(.joined, nil),
            "(no line) | check_fully_established: the fourth ACK"),

        // and what can go wrong
        .init(
            [.joinSynSent], .reset, to: .joinRefused,
            "(no line) | tcp_reset"),
        .init(
            [.joinSynackReceived, .joinSynackReceivedPlain, .joinTcpEstablished], .reset, to: .joinReset,
            "(no line) | tcp_reset"),
        .init(
            [.joinRefused], .closed, [.rstMptcp], to: .closed, .join(.rejected, .rstMptcpError),
            "(no line) | tcp_reset; the peer: subflow_check_req"),
        .init(
            [.joinRefused, .joinReset], .closed, [.rstProhibited], to: .closed,
            .join(.rejected, .rstProhibited),
            "(no line) | tcp_reset; the peer: mptcp_can_accept_new_subflow"),
        .init(
            [.joinRefused, .joinReset], .closed, [.rstResources], to: .closed,
            .join(.rejected, .rstNoResources),
            "(no line) | tcp_reset"),
        .init(
            [.joinRefused, .joinReset], .closed, [.rstMiddlebox], to: .closed, .join(.reset, .rstMiddlebox),
            "(no line) | tcp_reset"),
        .init(
            [.joinReset], .closed, [.rstMptcp], to: .closed, .join(.reset, .rstMptcpError),
            "(no line) | tcp_reset; the peer: subflow_syn_recv_sock"),
        .init(
            [.joinRefused], .closed, to: .closed, .join(.rejected, .rstToSyn),
            "(no line) | tcp_reset: ECONNREFUSED in SYN_SENT"),
        .init(
            [.joinReset], .closed, to: .closed, .join(.reset, .rstInHandshake),
            "(no line) | tcp_reset"),
        .init(
            joinClientOpen, .closed, [.refused], to: .closed, .join(.rejected, .rstToSyn),
            "(no line) | tcp_reset: ECONNREFUSED in SYN_SENT"),
        .init(
            joinClientOpen, .closed, [.timedOut], to: .closed, .join(.timeout, .noSynack),
            "(no line) | tcp_write_timeout, tcp_write_err"),
        .init(
            [.joinSynackReceivedPlain], .closed, to: .closed, .join(.reset, .synackWithoutMpJoin),
            "(no line) | subflow_finish_connect: do_reset"),
        .init(
            [.joinSynackReceived, .joinTcpEstablished], .closed, [.synackHMac], to: .closed,
            .join(.rejected, .mpJoinSynAckHMacFailure),
            "(no line) | subflow_finish_connect: subflow_thmac_valid"),
        .init(
            joinAsked, .closed, [.connectionReset], to: .closed, .join(.reset, .rstInHandshake),
            "(no line) | tcp_reset, mptcp_subflow_reset"),
        .init(
            joinAsked, .closed, [.otherError], to: .closed, .join(.aborted, .connectFailed),
            "(no line) | tcp_v4_err, tcp_v6_err"),
        .init(
            joinAsked, .closed, to: .closed, .join(.aborted, .closedByProcess),
            "(no line) | mptcp_close_ssk"),
        .init(
            joinClientOpen + [.joinRefused, .joinReset], .timer, [.traceEnd], to: .closed,
            .join(.aborted, .traceEnded),
            "(the trace ends)"),
        .init(
            joinClientOpen + [.joinRefused, .joinReset], .timer, to: .closed, .join(.aborted, .notFollowed),
            "(its end was not seen)"),
        .init(
            [.joinRefused, .joinReset, .joined], .reset, to: nil,
            "(no line) | tcp_reset"),
        .init(
            [.joined], .closed, to: .closed,
            "(no line) | mptcp_close_ssk"),
    ]

    private static let joinServer: [Transition] = [
        // receive SYN
        .init(
            [.none], .joinSynReceived, [.mptcpSocket], to: .joinSynReceived,
            "receive SYN: tcp_conn_request | subflow_check_req, subflow_token_join_request"),
        .init(
            [.none], .joinSynReceived, [.plainSocket], to: .joinSynReceivedByTcp,
            "receive SYN: tcp_conn_request"),
        .init(
            joinServerOpen, .joinSynReceived, to: nil,
            "receive SYN, again"),

        // send SYN-ACK
        .init(
            [.joinSynReceived], .joinSynackSent, to: .joinSynackSent,
            "send SYN-ACK: mptcp_synack_options, OPTION_MP_JOIN | mptcp_synack_options"),
        .init(
            [.joinSynReceived], .synackSent, to: .joinSynackSentPlain,
            "(no line) | stripped by this machine's own firewall"),
        .init(
            [.joinSynReceivedByTcp, .joinSynackSentPlain], .synackSent, to: nil,
            "send SYN-ACK: tcp_synack_options"),
        .init(
            [.joinSynackSent, .joinSynackSentPlain, .joinAckReceived, .joinAckReceivedPlain],
            .joinSynackSent, to: nil,
            "send SYN-ACK, again | tcp_rtx_synack"),

        // receive the third ACK
        .init(
            [.joinSynReceived, .joinSynackSent], .ackReceived, [.optionJoin], to: .joinAckReceived,
            "receive ACK: tcp_check_req | subflow_syn_recv_sock"),
        .init(
            [.joinSynReceived, .joinSynackSent], .ackReceived, to: .joinAckReceivedPlain,
            "receive ACK: tcp_check_req | subflow_syn_recv_sock: fallback_is_fatal"),
        .init(
            [
                .joinSynReceivedByTcp, .joinSynackSentPlain, .joinAckReceived, .joinAckReceivedPlain, .joined,
            ], .ackReceived, to: nil,
            "receive ACK, again"),
        .init(
            [.none, .joinSynReceived, .joinSynackSent, .joinAckReceived], .joinEstablished, [.mptcpSocket],
            to: .joined, .join(.joined, nil),
            "receive ACK: mptcp_check_req_child | subflow_syn_recv_sock, mptcp_finish_join"),

        // and what can go wrong
        .init(
            joinServerOpen, .reset, [.sentByUs, .noToken], to: .closed, .join(.rejected, .mpJoinNoTokenFound),
            "(no line) | subflow_token_join_request"),
        .init(
            joinServerOpen, .reset, [.sentByUs, .mismatchPort], to: .closed, .join(.rejected, .mismatchPort),
            "(no line) | mptcp_pm_announced_has_ssk"),
        .init(
            joinServerOpen, .reset, [.sentByUs, .ackHMac], to: .closed,
            .join(.rejected, .mpJoinAckHMacFailure),
            "(no line) | subflow_hmac_valid"),
        .init(
            joinServerOpen, .reset, [.sentByUs, .joinRejected], to: .closed,
            .join(.rejected, .mpJoinRejected),
            "(no line) | mptcp_can_accept_new_subflow"),
        .init(
            [.joinSynReceived], .reset, [.sentByUs], to: .closed, .join(.rejected, nil),
            "(no line) | subflow_check_req"),
        .init(
            [.joinSynackSent, .joinAckReceivedPlain], .reset, [.sentByUs, .rstMptcp], to: .closed,
            .join(.reset, .ackWithoutMpJoin),
            "(no line) | subflow_syn_recv_sock: fallback_is_fatal"),
        .init(
            joinAnswered, .reset, [.sentByUs, .rstProhibited], to: .closed, .join(.rejected, nil),
            "(no line) | subflow_syn_recv_sock, without a counter that tells why"),
        .init(
            joinAnswered + [.joinSynReceivedByTcp], .reset, [.sentByUs], to: nil,
            "(no line) | tcp_v4_send_reset, to a packet that was none of the handshake's"),
        .init(
            [.joinSynReceivedByTcp], .reset, to: .closed, .join(.reset, .listenerIsTcp),
            "(no line) | tcp_check_req: embryonic reset"),
        .init(
            joinAnswered + [.joinSynReceived], .reset, to: .closed, .join(.reset, .rstInHandshake),
            "(no line) | tcp_check_req: embryonic reset"),
        .init(
            joinServerOpen, .closed, [.listenerGone], to: .closed, .join(.aborted, .closedByProcess),
            "(no line) | inet_csk_listen_stop, reqsk_timer_handler"),
        .init(
            joinServerOpen, .closed, to: .closed, .join(.reset, .rstInHandshake),
            "(no line) | tcp_done"),
        .init(
            joinServerOpen, .timer, [.traceEnd], to: .closed, .join(.aborted, .traceEnded),
            "(the trace ends)"),
        .init(
            joinServerOpen, .timer, to: .closed, .join(.timeout, .noAck),
            "(no line) | reqsk_timer_handler lets go, silently"),
    ]

    private static let both: [Transition] = [
        // MPTCP is lost after the handshake
        .init(
            [.mptcpEstablished], .fallback, [.noMapping], to: .fallback, .fallBack(.dssFallback),
            "(no line) | subflow_check_data_avail: mptcp_try_fallback"),
        .init(
            [.mptcpEstablished], .fallback, [.badChecksum], to: .fallback, .fallBack(.dataCsumErr),
            "(no line) | validate_data_csum, mptcp_try_fallback"),
        .init(
            [.mptcpEstablished], .fallback, [.mpFail], to: .fallback, .fallBack(.mpFailRx),
            "(no line) | mptcp_pm_mp_fail_received, mptcp_update_infinite_map"),
        .init(
            [.mptcpEstablished], .fallback, [.fullyEstablished], to: .fallback, .fallBack(nil),
            "(no line) | mptcp_dss_corruption"),
        .init(
            [.subflowClosed], .fallback, [.badChecksum], to: nil, .fallBack(.dataCsumErr),
            "(no line) | the same, seen when its subflow was gone"),
        .init(
            [.subflowClosed], .fallback, [.mpFail], to: nil, .fallBack(.mpFailRx),
            "(no line) | the same, seen when its subflow was gone"),
        .init(
            [.mptcpEstablished], .fallback, to: .fallback, .fallBack(.mpCapableDataFallback),
            "(no line) | check_fully_established: mptcp_try_fallback"),
        .init(
            [.subflowClosed], .fallback, [.fullyEstablished], to: nil, .fallBack(nil),
            "(no line) | the same, seen when its subflow was gone"),
        .init(
            [.subflowClosed], .fallback, to: nil, .fallBack(.mpCapableDataFallback),
            "(no line) | the same, seen when its subflow was gone"),
        .init(
            [.fallback, .closed], .fallback, to: nil,
            "(no line) | it had fallen back before"),

        .init(
            serverOpen + clientOpen + [.reset], .timer, [.traceEnd], to: .closed,
            .decide(.aborted, .traceEnded),
            "(the trace ends)"),
        .init(
            serverOpen, .timer, to: .closed, .decide(.timeout, .noAck),
            "(no line) | reqsk_timer_handler lets go, silently"),
        .init(
            [.reset], .timer, to: .closed, .decide(.reset, .rstInHandshake),
            "(no line) | tcp_reset"),
        .init(
            clientOpen, .timer, to: .closed, .decide(.aborted, .notFollowed),
            "(its end was not seen)"),
        .init(
            [.reset], .closed, to: .closed, .decide(.reset, .rstInHandshake),
            "(no line) | tcp_reset"),

        .init(
            [.mptcpEstablished, .fallback, .plain, .subflowClosed, .closed], .reset, to: nil,
            "(no line) | tcp_reset"),
        .init(
            [.mptcpEstablished, .fallback, .subflowClosed], .closed, [.msk], to: .closed, .close,
            "(no line) | mptcp_set_state(sk, TCP_CLOSE)"),
        .init(
            [.mptcpEstablished, .fallback], .closed, [.mptcpSocket], to: .subflowClosed,
            "(no line) | tcp_set_state(ssk, TCP_CLOSE)"),
        .init(
            [.fallback, .plain], .closed, [.plainSocket], to: .closed, .close,
            "(no line) | tcp_set_state(sk, TCP_CLOSE)"),
        .init(
            [.closed, .subflowClosed], .closed, to: nil,
            "(no line) | the other of msk and subflow"),
    ]
}
