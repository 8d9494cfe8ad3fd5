// SPDX-License-Identifier: Apache-2.0

// The rows of additional subflows (MP_JOIN): ours, and the peer's.
extension TransitionTable {
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

    static let joinClient: [Transition] = [
        // send SYN
        .init(
            [.none], .joinSynSent, [.neverSent], to: .closed, .join(.aborted, .connectFailed),
            "– | – | __mptcp_subflow_connect: kernel_bind or kernel_connect failed"),
        .init(
            [.none], .joinSynSent, [.mptcpSocket, .requestsJoin], to: .joinSynSent,
            "send SYN | tcp_connect, in the path manager's worker | __mptcp_subflow_connect, tcp_connect"),
        .init(
            [.joinSynSent], .joinSynSent, [.optionJoin], to: nil,
            "send SYN | mptcp_syn_options: OPTION_MP_JOIN | mptcp_syn_options"),
        .init(
            [.joinSynSent], .synSent, to: nil,
            "– | – | stripped by this machine's own firewall"),

        // receive SYN-ACK
        .init(
            [.joinSynSent], .joinSynackReceived, [.optionJoin], to: .joinSynackReceived,
            "receive SYN-ACK | mptcp_rcv_synsent_state_process | tcp_rcv_synsent_state_process"),
        .init(
            [.joinSynSent], .synackReceived, to: .joinSynackReceivedPlain,
            "receive SYN-ACK | mptcp_rcv_synsent_state_process | tcp_rcv_synsent_state_process"),
        .init(
            [.joinSynackReceived, .joinSynackReceivedPlain, .joinTcpEstablished, .joined],
            .joinSynackReceived, to: nil,
            "receive SYN-ACK | – | tcp_rcv_synsent_state_process, again"),
        .init(
            [.joinSynackReceived, .joinSynackReceivedPlain, .joinTcpEstablished, .joined],
            .synackReceived, to: nil,
            "receive SYN-ACK | – | tcp_rcv_synsent_state_process, again"),
        .init(
            [.joinSynSent, .joinSynackReceived], .established, [.mptcpSocket], to: .joinTcpEstablished,
            "receive SYN-ACK | tcp_finish_connect | tcp_finish_connect"),
        .init(
            [.joinSynackReceivedPlain], .established, [.mptcpSocket], to: nil,
            "receive SYN-ACK | – | tcp_finish_connect"),

        // the peer confirms
        .init(
            [.joinSynSent, .joinSynackReceived, .joinTcpEstablished], .joinEstablished, to: .joined,
            .join(.joined, nil),
            "– | mptcp_handle_ack_in_infinite: the fourth ACK, pre_established is 0 "
                + "| check_fully_established: the fourth ACK"),

        .init(
            joinAsked, .closed, [.fullyEstablished], to: .closed, .join(.joined, nil),
            "– | tcp_set_state(sk, TCP_CLOSE): fully_established, known only now "
                + "| the same, known only now: the packet was not seen"),

        // and what can go wrong
        .init(
            joinClientOpen, .reset, [.sentByUs], to: nil,
            "receive SYN-ACK | mptcp_rcv_synsent_state_process: mptcp_sub_force_close | –"),
        .init(
            [.joinSynSent], .reset, to: .joinRefused,
            "– | – | tcp_reset"),
        .init(
            [.joinSynackReceived, .joinSynackReceivedPlain, .joinTcpEstablished], .reset, to: .joinReset,
            "– | – | tcp_reset"),
        .init(
            [.joinRefused], .closed, [.rstMptcp], to: .closed, .join(.rejected, .rstMptcpError),
            "– | – | tcp_reset; the peer: subflow_check_req"),
        .init(
            [.joinRefused, .joinReset], .closed, [.rstProhibited], to: .closed,
            .join(.rejected, .rstProhibited),
            "– | – | tcp_reset; the peer: mptcp_can_accept_new_subflow"),
        .init(
            [.joinRefused, .joinReset], .closed, [.rstResources], to: .closed,
            .join(.rejected, .rstNoResources),
            "– | – | tcp_reset"),
        .init(
            [.joinRefused, .joinReset], .closed, [.rstMiddlebox], to: .closed, .join(.reset, .rstMiddlebox),
            "– | – | tcp_reset"),
        .init(
            [.joinReset], .closed, [.rstMptcp], to: .closed, .join(.reset, .rstMptcpError),
            "– | – | tcp_reset; the peer: subflow_syn_recv_sock"),
        .init(
            [.joinRefused], .closed, to: .closed, .join(.rejected, .rstToSyn),
            "– | – | tcp_reset: ECONNREFUSED in SYN_SENT"),
        .init(
            [.joinReset], .closed, to: .closed, .join(.reset, .rstInHandshake),
            "– | – | tcp_reset"),
        .init(
            joinClientOpen, .closed, [.refused], to: .closed, .join(.rejected, .rstToSyn),
            "– | tcp_reset: ECONNREFUSED in SYN_SENT | tcp_reset: ECONNREFUSED in SYN_SENT"),
        .init(
            joinClientOpen, .closed, [.timedOut], to: .closed, .join(.timeout, .noSynack),
            "– | tcp_write_timeout, tcp_write_err | tcp_write_timeout, tcp_write_err"),
        .init(
            [.joinSynackReceivedPlain], .closed, to: .closed, .join(.reset, .synackWithoutMpJoin),
            "receive SYN-ACK | mptcp_rcv_synsent_state_process returns 1: no MP_JOIN "
                + "| subflow_finish_connect: do_reset"),
        .init(
            [.joinSynackReceived, .joinTcpEstablished], .closed, [.synackHMac], to: .closed,
            .join(.rejected, .mpJoinSynAckHMacFailure),
            "receive SYN-ACK | mptcp_rcv_synsent_state_process returns 1: the HMAC "
                + "| subflow_finish_connect: subflow_thmac_valid"),
        .init(
            joinAsked, .closed, [.connectionReset], to: .closed, .join(.reset, .rstInHandshake),
            "– | tcp_reset | tcp_reset, mptcp_subflow_reset"),
        .init(
            joinAsked, .closed, [.otherError], to: .closed, .join(.aborted, .connectFailed),
            "– | tcp_v4_err, tcp_v6_err | tcp_v4_err, tcp_v6_err"),
        .init(
            joinAsked, .closed, to: .closed, .join(.aborted, .closedByProcess),
            "– | mptcp_sub_close | mptcp_close_ssk"),
        .init(
            joinClientOpen + [.joinRefused, .joinReset], .timer, [.traceEnd], to: .closed,
            .join(.aborted, .traceEnded),
            "– | the trace ends | the trace ends"),
        .init(
            joinClientOpen + [.joinRefused, .joinReset], .timer, to: .closed, .join(.aborted, .notFollowed),
            "– | its end was not seen | its end was not seen"),
        .init(
            [.joinRefused, .joinReset, .joined], .reset, to: nil,
            "– | mptcp_sub_force_close | tcp_reset"),
        .init(
            [.joined], .closed, to: .closed,
            "– | mptcp_sub_close | mptcp_close_ssk"),
    ]

    static let joinServer: [Transition] = [
        // receive SYN
        .init(
            [.none], .joinSynReceived, [.mptcpSocket], to: .joinSynReceived,
            "receive SYN | mptcp_conn_request, tcp_conn_request of the meta socket "
                + "| subflow_check_req, subflow_token_join_request"),
        .init(
            [.none], .joinSynReceived, [.plainSocket], to: .joinSynReceivedByTcp,
            "receive SYN | tcp_conn_request | tcp_conn_request"),
        .init(
            joinServerOpen, .joinSynReceived, to: nil,
            "receive SYN | mptcp_join_reqsk_init; the packet again | subflow_check_req; the packet again"),

        // send SYN-ACK
        .init(
            [.joinSynReceived], .joinSynackSent, to: .joinSynackSent,
            "send SYN-ACK | mptcp_synack_options: OPTION_MP_JOIN | mptcp_synack_options"),
        .init(
            [.joinSynReceived], .synackSent, to: .joinSynackSentPlain,
            "– | – | stripped by this machine's own firewall"),
        .init(
            [.joinSynReceivedByTcp, .joinSynackSentPlain], .synackSent, to: nil,
            "send SYN-ACK | – | tcp_synack_options"),
        .init(
            [.joinSynackSent, .joinSynackSentPlain, .joinAckReceived, .joinAckReceivedPlain],
            .joinSynackSent, to: nil,
            "send SYN-ACK | mptcp_synack_options, again | tcp_rtx_synack"),

        // receive the third ACK
        .init(
            [.joinSynReceived, .joinSynackSent], .ackReceived, [.optionJoin], to: .joinAckReceived,
            "receive ACK | tcp_check_req | subflow_syn_recv_sock"),
        .init(
            [.joinSynReceived, .joinSynackSent], .ackReceived, to: .joinAckReceivedPlain,
            "receive ACK | tcp_check_req | subflow_syn_recv_sock: fallback_is_fatal"),
        .init(
            [
                .joinSynReceivedByTcp, .joinSynackSentPlain, .joinAckReceived, .joinAckReceivedPlain, .joined,
            ], .ackReceived, to: nil,
            "receive ACK | – | tcp_check_req, again"),
        .init(
            joinServerOpen, .fallback, to: nil,
            "– | – | subflow_syn_recv_sock: dispose_child"),
        .init(
            [.none, .joinSynReceived, .joinSynackSent, .joinAckReceived], .joinEstablished, [.mptcpSocket],
            to: .joined, .join(.joined, nil),
            "receive ACK | mptcp_check_req_child returns the child, tcp_set_state "
                + "| subflow_syn_recv_sock, mptcp_finish_join"),

        // and what can go wrong
        .init(
            joinServerOpen, .reset, [.sentByUs, .noToken], to: .closed, .join(.rejected, .mpJoinNoTokenFound),
            "– | – | subflow_token_join_request"),
        .init(
            joinServerOpen, .reset, [.sentByUs, .mismatchPort], to: .closed, .join(.rejected, .mismatchPort),
            "– | – | mptcp_pm_announced_has_ssk"),
        .init(
            joinServerOpen, .reset, [.sentByUs, .ackHMac], to: .closed,
            .join(.rejected, .mpJoinAckHMacFailure),
            "receive ACK | mptcp_check_req_child returns the meta socket: the HMAC | subflow_hmac_valid"),
        .init(
            joinServerOpen, .reset, [.sentByUs, .joinRejected], to: .closed,
            .join(.rejected, .mpJoinRejected),
            "– | – | mptcp_can_accept_new_subflow"),
        .init(
            [.joinSynReceived], .reset, [.sentByUs], to: .closed, .join(.rejected, nil),
            "– | mptcp_check_req_child, after a SYN-ACK that was lost sight of | subflow_check_req"),
        .init(
            [.joinSynackSent, .joinAckReceivedPlain], .reset, [.sentByUs, .rstMptcp], to: .closed,
            .join(.reset, .ackWithoutMpJoin),
            "– | – | subflow_syn_recv_sock: fallback_is_fatal"),
        .init(
            joinAnswered, .reset, [.sentByUs, .optionAbsent], to: .closed, .join(.reset, .ackWithoutMpJoin),
            "receive ACK | mptcp_check_req_child returns the meta socket: no MP_JOIN | –"),
        .init(
            joinAnswered, .reset, [.sentByUs, .rstProhibited], to: .closed, .join(.rejected, nil),
            "– | – | subflow_syn_recv_sock, without a counter that tells why"),
        .init(
            joinAnswered, .reset, [.sentByUs, .unexplained], to: .closed, .join(.rejected, nil),
            "– | – | subflow_syn_recv_sock, before 6.10 without fentry and kprobes"),
        .init(
            joinAnswered + [.joinSynReceivedByTcp], .reset, [.sentByUs], to: nil,
            "– | – | tcp_v4_send_reset, to a packet that was none of the handshake's"),
        .init(
            [.joinSynReceivedByTcp], .reset, to: .closed, .join(.reset, .listenerIsTcp),
            "– | tcp_check_req: embryonic reset | tcp_check_req: embryonic reset"),
        .init(
            joinAnswered + [.joinSynReceived], .reset, to: .closed, .join(.reset, .rstInHandshake),
            "– | tcp_check_req: embryonic reset | tcp_check_req: embryonic reset"),
        .init(
            joinServerOpen, .closed, [.listenerGone], to: .closed, .join(.aborted, .closedByProcess),
            "– | – | inet_csk_listen_stop, reqsk_timer_handler"),
        .init(
            joinServerOpen, .timer, [.traceEnd], to: .closed, .join(.aborted, .traceEnded),
            "– | the trace ends | the trace ends"),
        .init(
            joinServerOpen, .timer, to: .closed, .join(.timeout, .noAck),
            "– | reqsk_timer_handler lets go, silently | reqsk_timer_handler lets go, silently"),
    ]
}
