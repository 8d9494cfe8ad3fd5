// SPDX-License-Identifier: Apache-2.0

// The rows of a connection's first subflow, and of what follows its handshake.
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
            [.none], .socketRefused, [.mptcpSocket], to: .closed,
            "create socket: the switch is off | mptcp_init_sock: mptcp_is_enabled, ENOPROTOOPT"),
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
            [.synSent], .synSent, [.droppedSyns], to: .synSentUnasked,
            "(no line) | mptcp_active_detect_blackhole: mptcp_subflow_early_fallback"),
        .init(
            [.synSent], .synSent, [.optionAbsent], to: nil,
            "(no line) | after mptcp_active_detect_blackhole, or stripped by this machine's own firewall"),
        .init(
            [.synSentUnasked, .tcpSynSent], .synSent, to: nil,
            "send SYN: tcp_transmit_skb | tcp_transmit_skb"),

        // receive SYN-ACK
        .init(
            [.synSent], .synackReceived, [.discarded], to: nil,
            "receive SYN-ACK: mptcp_rcv_synsent_state_process returns 2 | (no line)"),
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
            [.synSent, .synSentUnasked, .synackReceivedPlain, .tcpEstablished], .fallback, [.beginsBlackhole],
            to: nil,
            "(no line) | subflow_finish_connect: mptcp_active_disable"),
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
            [.synackReceived, .tcpEstablished], .reset, [.sentByUs], to: nil,
            "(no line): mptcp_sub_force_close of the master, whose verdict was lost | (never)"),
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
            [.synReceived, .synackSent], .ackReceived, [.optionsIgnored], to: nil,
            "receive ACK: tcp_check_req, which does not look | (never)"),
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

        .init(
            [.accepted, .mptcpEstablished, .fallback, .subflowClosed, .closed], .mptcpEstablished, to: nil,
            "(no line) | mptcp_pm_fully_established: mptcp_event"),
        .init(
            [.synReceived, .synackSent], .fallback, to: .ackReceivedPlain,
            "(no line) | subflow_syn_recv_sock: mptcp_subflow_drop_ctx"),
        .init(
            [.synackSentPlain, .ackReceived, .ackReceivedPlain], .fallback, to: nil,
            "(no line) | subflow_syn_recv_sock: mptcp_subflow_drop_ctx"),

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
            [.mptcpEstablished], .fallback, [.dssCorruption], to: .fallback,
            .fallBack(.dssCorruptionFallback),
            "(no line) | mptcp_dss_corruption: mptcp_try_fallback"),
        .init(
            [.mptcpEstablished], .fallback, [.infiniteMapping], to: .fallback, .fallBack(.infiniteMapping),
            "(no line) | mptcp_handle_ack_in_infinite (v0.95)"),
        .init(
            [.subflowClosed], .fallback, [.infiniteMapping], to: nil, .fallBack(.infiniteMapping),
            "(no line) | the same, seen when its subflow was gone"),
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
