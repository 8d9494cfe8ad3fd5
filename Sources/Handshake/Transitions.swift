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
            "create socket | mptcp_enable_sock (mptcp_init_tcp_sock is inlined) | mptcp_init_sock"),
        .init(
            [.none], .socketRefused, [.mptcpSocket], to: .closed,
            "create socket | – | mptcp_init_sock: mptcp_is_enabled, ENOPROTOOPT"),
        .init(
            [.none, .created], .synSent, [.mptcpSocket, .requestsMptcp], to: .synSent,
            "send SYN | tcp_connect: request_mptcp = 1 | mptcp_connect, tcp_connect"),
        .init(
            [.none, .created], .synSent, [.mptcpSocket], to: .synSentUnasked,
            "– | tcp_connect: to loopback, request_mptcp stays 0 "
                + "| mptcp_connect: mptcp_is_disabled, MD5, token exhaustion"),
        .init(
            [.none], .synSent, [.plainSocket], to: .tcpSynSent,
            "send SYN | tcp_connect | tcp_connect"),

        // the SYN as it leaves, and again
        .init(
            [.synSent], .synSent, [.optionCapable], to: nil,
            "send SYN | mptcp_syn_options: OPTION_MP_CAPABLE | mptcp_syn_options"),
        .init(
            [.synSent], .synSent, [.droppedSyns], to: .synSentUnasked,
            "– | – | mptcp_active_detect_blackhole: mptcp_subflow_early_fallback"),
        .init(
            [.synSent], .synSent, [.optionAbsent], to: nil,
            "– | – | after mptcp_active_detect_blackhole, or stripped by this machine's own firewall"),
        .init(
            [.synSentUnasked, .tcpSynSent], .synSent, to: nil,
            "send SYN | – | tcp_transmit_skb"),

        // receive SYN-ACK
        .init(
            [.synSent], .synackReceived, [.discarded], to: nil,
            "receive SYN-ACK | mptcp_rcv_synsent_state_process returns 2 | –"),
        .init(
            [.synSent], .synackReceived, [.optionCapable], to: .synackReceived,
            "receive SYN-ACK | mptcp_rcv_synsent_state_process returns 0, *skptr is the master "
                + "| tcp_rcv_synsent_state_process"),
        .init(
            [.synSent], .synackReceived, to: .synackReceivedPlain,
            "receive SYN-ACK | mptcp_rcv_synsent_state_process returns 0, *skptr stays "
                + "| tcp_rcv_synsent_state_process"),
        .init(
            [.synackReceived, .synackReceivedPlain, .synSentUnasked, .tcpSynSent, .tcpEstablished],
            .synackReceived, to: nil,
            "receive SYN-ACK | – | tcp_rcv_synsent_state_process, again"),
        .init(
            [.synSent, .synackReceived], .established, [.mptcpSocket], to: .tcpEstablished,
            "receive SYN-ACK | tcp_finish_connect of the master | tcp_finish_connect"),
        .init(
            [.synackReceivedPlain, .synSentUnasked], .established, [.mptcpSocket], to: nil,
            "receive SYN-ACK | tcp_finish_connect | tcp_finish_connect"),
        .init(
            [.tcpSynSent], .established, [.plainSocket], to: .plain, .decide(.tcp, nil),
            "receive SYN-ACK | tcp_finish_connect | tcp_finish_connect"),

        // the client's verdict
        .init(
            [.none, .synSent, .synackReceived, .tcpEstablished, .reset], .mptcpEstablished, [.capable],
            to: .mptcpEstablished, .decide(.mptcp, nil),
            "receive SYN-ACK | mptcp_update_metasocket | subflow_finish_connect, mptcp_set_state"),
        .init(
            [.synSent, .synSentUnasked, .synackReceivedPlain, .tcpEstablished], .fallback, [.beginsBlackhole],
            to: nil,
            "– | – | subflow_finish_connect: mptcp_active_disable"),
        .init(
            [.none, .synSent, .synSentUnasked, .synackReceivedPlain, .tcpEstablished], .fallback,
            [.droppedSyns], to: .fallback, .decide(.fallback, .synWithMptcpDropped),
            "– | tcp_finish_connect: request_mptcp was cleared as SYNs were sent again "
                + "| subflow_finish_connect: mpc_drop"),
        .init(
            [.synSentUnasked], .fallback, [.blackhole], to: .fallback, .decide(.fallback, .blackhole),
            "– | – | mptcp_connect: mptcp_active_should_disable"),
        .init(
            [.synSentUnasked], .fallback, [.md5], to: .fallback, .decide(.fallback, .md5SigFallback),
            "– | – | mptcp_connect: md5sig_info"),
        .init(
            [.synSentUnasked], .fallback, [.tokensGone], to: .fallback,
            .decide(.fallback, .mpFallbackTokenInit),
            "– | – | mptcp_connect: mptcp_token_new_connect"),
        .init(
            [.synSentUnasked], .fallback, to: .fallback, .decide(.fallback, .mptcpDisabledAtConnect),
            "– | tcp_finish_connect: request_mptcp never was set "
                + "| subflow_finish_connect: mptcp_check_fallback"),
        .init(
            [.synSent, .synackReceivedPlain, .tcpEstablished, .reset], .fallback,
            to: .fallback, .decide(.fallback, .synackWithoutMptcp),
            "receive SYN-ACK | tcp_finish_connect: request_mptcp was cleared by the SYN-ACK "
                + "| subflow_finish_connect: mptcp_try_fallback"),
        .init(
            [.none], .fallback, to: .fallback, .decide(.fallback, nil),
            "– | the same, of a handshake that began before the trace "
                + "| the same, of a handshake that began before the trace"),

        // and what can go wrong
        .init(
            [.synackReceived, .tcpEstablished], .reset, [.sentByUs], to: nil,
            "– | mptcp_sub_force_close of the master, whose verdict was lost | –"),
        .init(
            clientOpen, .reset, to: .reset,
            "– | – | tcp_reset"),
        .init(
            [.reset, .synackReceived, .synackReceivedPlain, .tcpEstablished], .closed,
            [.mptcpSocket, .wasEstablished], unless: [.msk], to: nil,
            "– | tcp_set_state(master, TCP_CLOSE), whose verdict was lost "
                + "| tcp_done: the msk has yet to say how the handshake ended"),
        .init(
            clientOpen + [.reset], .closed, [.refused], to: .closed, .decide(.refused, .rstToSyn),
            "– | tcp_reset: ECONNREFUSED in SYN_SENT | tcp_reset: ECONNREFUSED in SYN_SENT"),
        .init(
            clientOpen + [.reset], .closed, [.timedOut], to: .closed, .decide(.timeout, .noSynack),
            "– | tcp_write_timeout, tcp_write_err | tcp_write_timeout, tcp_write_err"),
        .init(
            clientOpen + [.reset], .closed, [.connectionReset], to: .closed,
            .decide(.reset, .rstInHandshake),
            "– | tcp_reset | tcp_reset, mptcp_subflow_reset"),
        .init(
            clientOpen + [.reset], .closed, [.otherError], to: .closed,
            .decide(.aborted, .connectFailed),
            "– | tcp_v4_err, tcp_v6_err | tcp_v4_err, tcp_v6_err"),
        .init(
            clientOpen, .closed, to: .closed, .decide(.aborted, .closedByProcess),
            "– | tcp_close | mptcp_close, mptcp_disconnect"),
        .init(
            [.created], .closed, to: .closed,
            "– | tcp_close | inet_release"),
    ]

    private static let server: [Transition] = [
        // receive SYN
        .init(
            [.none], .synReceived, [.mptcpSocket, .optionCapable], to: .synReceived,
            "receive SYN | mptcp_conn_request, tcp_conn_request | tcp_conn_request, subflow_check_req"),
        .init(
            [.none], .synReceived, [.mptcpSocket], to: .synReceivedPlain,
            "receive SYN | mptcp_conn_request, tcp_conn_request | tcp_conn_request, subflow_check_req"),
        .init(
            [.none], .synReceived, [.plainSocket, .optionCapable], to: .synReceivedByTcp,
            "receive SYN | tcp_conn_request | tcp_conn_request"),
        .init(
            [.none], .synReceived, [.plainSocket], to: .tcpSynReceived,
            "receive SYN | tcp_conn_request | tcp_conn_request"),
        .init(
            serverOpen, .synReceived, to: nil,
            "receive SYN | mptcp_reqsk_init; the packet again | subflow_check_req; the packet again"),

        // send SYN-ACK
        .init(
            [.synReceived], .synackSent, [.optionCapable], to: .synackSent,
            "send SYN-ACK | mptcp_synack_options: OPTION_MP_CAPABLE | mptcp_synack_options"),
        .init(
            [.synReceived], .synackSent, to: .synackSentPlain,
            "– | – | subflow_check_req: no token to be had; or stripped by this machine's own firewall"),
        .init(
            [.synReceivedPlain, .synReceivedByTcp, .tcpSynReceived], .synackSent, to: nil,
            "send SYN-ACK | – | tcp_synack_options"),
        .init(
            [.synackSent, .synackSentPlain, .ackReceived, .ackReceivedPlain, .accepted], .synackSent, to: nil,
            "send SYN-ACK | mptcp_synack_options, again | tcp_rtx_synack"),

        // receive the third ACK
        .init(
            [.synReceived, .synackSent], .ackReceived, [.optionCapable], to: .ackReceived,
            "receive ACK | tcp_check_req | subflow_syn_recv_sock"),
        .init(
            [.synReceived, .synackSent], .ackReceived, [.optionsIgnored], to: nil,
            "receive ACK | tcp_check_req: the option is not looked for | –"),
        .init(
            [.synReceived, .synackSent], .ackReceived, to: .ackReceivedPlain,
            "receive ACK | – | subflow_syn_recv_sock: mptcp_subflow_drop_ctx"),
        .init(
            [
                .synReceivedPlain, .synReceivedByTcp, .tcpSynReceived, .synackSentPlain,
                .ackReceived, .ackReceivedPlain, .accepted,
            ], .ackReceived, to: nil,
            "receive ACK | tcp_check_req | tcp_check_req"),
        .init(
            [.none, .synReceived, .synackSent, .ackReceived], .mptcpEstablished, [.mptcpSocket],
            to: .accepted,
            "receive ACK | mptcp_check_req_master returns 0 | mptcp_sk_clone_init"),

        .init(
            [.accepted, .mptcpEstablished, .fallback, .subflowClosed, .closed], .mptcpEstablished, to: nil,
            "– | – | mptcp_pm_fully_established: mptcp_event"),
        .init(
            [.synReceived, .synackSent], .fallback, to: .ackReceivedPlain,
            "– | mptcp_handle_ack_in_infinite: the verdict was lost "
                + "| subflow_syn_recv_sock: mptcp_subflow_drop_ctx"),
        .init(
            [.synackSentPlain, .ackReceived, .ackReceivedPlain], .fallback, to: nil,
            "– | – | subflow_syn_recv_sock: mptcp_subflow_drop_ctx"),

        // the server's verdict
        .init(
            [.none, .synReceived, .synackSent, .ackReceived, .accepted], .established,
            [.mptcpSocket, .capable],
            to: .mptcpEstablished, .decide(.mptcp, nil),
            "receive ACK | mptcp_update_metasocket | tcp_rcv_state_process"),
        .init(
            [.synReceivedPlain], .established, [.plainSocket], to: .fallback,
            .decide(.fallback, .synWithoutMptcp),
            "receive ACK | mptcp_check_req_master returns 1, tcp_set_state | mptcp_subflow_drop_ctx"),
        .init(
            [.synReceivedByTcp], .established, [.plainSocket], to: .fallback,
            .decide(.fallback, .listenerIsTcp),
            "receive ACK | mptcp_check_req_master returns 1, tcp_set_state | tcp_rcv_state_process"),
        .init(
            [.synReceived, .synackSent, .synackSentPlain, .ackReceivedPlain], .established, [.plainSocket],
            to: .fallback,
            .decide(.fallback, .ackWithoutMptcp),
            "receive ACK | – | mptcp_subflow_drop_ctx"),
        .init(
            [.tcpSynReceived], .established, [.plainSocket], to: .plain, .decide(.tcp, nil),
            "receive ACK | mptcp_check_req_master returns 1, tcp_set_state | tcp_rcv_state_process"),
        .init(
            [.none], .established, [.plainSocket], to: .fallback, .decide(.fallback, nil),
            "– | the same, of a handshake that began before the trace "
                + "| the same, of a handshake that began before the trace"),

        // and what can go wrong
        .init(
            serverOpen, .reset, [.sentByUs, .rstProhibited], to: .closed,
            .decide(.reset, .mpCapableEndpAttempt),
            "– | – | subflow_reset_req_endp"),
        .init(
            serverOpen, .reset, [.sentByUs], to: nil,
            "– | mptcp_sub_force_close of the master, whose verdict was lost "
                + "| tcp_v4_send_reset, to a packet that was none of the handshake's"),
        .init(
            serverOpen, .reset, [.halfOpen], to: .closed, .decide(.reset, .rstInHandshake),
            "– | tcp_check_req: embryonic reset | tcp_check_req: embryonic reset"),
        .init(
            serverOpen, .reset, to: .reset,
            "– | – | tcp_reset"),
        .init(
            serverOpen, .closed, [.listenerGone], to: .closed, .decide(.aborted, .closedByProcess),
            "– | inet_csk_listen_stop, reqsk_timer_handler | inet_csk_listen_stop, reqsk_timer_handler"),
        .init(
            serverOpen, .closed, to: .closed, .decide(.reset, .rstInHandshake),
            "– | tcp_set_state(sk, TCP_CLOSE): the verdict was lost | tcp_reset, inet_csk_destroy_sock"),
    ]

    private static let both: [Transition] = [
        // MPTCP is lost after the handshake
        .init(
            [.mptcpEstablished], .fallback, [.noMapping], to: .fallback, .fallBack(.dssFallback),
            "– | – | subflow_check_data_avail: mptcp_try_fallback"),
        .init(
            [.mptcpEstablished], .fallback, [.badChecksum], to: .fallback, .fallBack(.dataCsumErr),
            "– | – | validate_data_csum, mptcp_try_fallback"),
        .init(
            [.mptcpEstablished], .fallback, [.mpFail], to: .fallback, .fallBack(.mpFailRx),
            "– | – | mptcp_pm_mp_fail_received, mptcp_update_infinite_map"),
        .init(
            [.mptcpEstablished], .fallback, [.dssCorruption], to: .fallback,
            .fallBack(.dssCorruptionFallback),
            "– | – | mptcp_dss_corruption: mptcp_try_fallback"),
        .init(
            [.mptcpEstablished], .fallback, [.infiniteMapping], to: .fallback, .fallBack(.infiniteMapping),
            "– | mptcp_handle_ack_in_infinite: infinite_mapping_rcv or infinite_mapping_snd | –"),
        .init(
            [.subflowClosed], .fallback, [.infiniteMapping], to: nil, .fallBack(.infiniteMapping),
            "– | the same, seen when its master was gone | –"),
        .init(
            [.mptcpEstablished], .fallback, [.fullyEstablished], to: .fallback, .fallBack(nil),
            "– | – | mptcp_dss_corruption"),
        .init(
            [.subflowClosed], .fallback, [.badChecksum], to: nil, .fallBack(.dataCsumErr),
            "– | – | the same, seen when its subflow was gone"),
        .init(
            [.subflowClosed], .fallback, [.mpFail], to: nil, .fallBack(.mpFailRx),
            "– | – | the same, seen when its subflow was gone"),
        .init(
            [.mptcpEstablished], .fallback, to: .fallback, .fallBack(.mpCapableDataFallback),
            "– | – | check_fully_established: mptcp_try_fallback"),
        .init(
            [.subflowClosed], .fallback, [.fullyEstablished], to: nil, .fallBack(nil),
            "– | – | the same, seen when its subflow was gone"),
        .init(
            [.subflowClosed], .fallback, to: nil, .fallBack(.mpCapableDataFallback),
            "– | – | the same, seen when its subflow was gone"),
        .init(
            [.fallback, .closed], .fallback, to: nil,
            "– | – | it had fallen back before"),

        .init(
            serverOpen + clientOpen + [.reset], .timer, [.traceEnd], to: .closed,
            .decide(.aborted, .traceEnded),
            "– | the trace ends | the trace ends"),
        .init(
            serverOpen, .timer, to: .closed, .decide(.timeout, .noAck),
            "– | reqsk_timer_handler lets go, silently | reqsk_timer_handler lets go, silently"),
        .init(
            [.reset], .timer, to: .closed, .decide(.reset, .rstInHandshake),
            "– | – | tcp_reset"),
        .init(
            clientOpen, .timer, to: .closed, .decide(.aborted, .notFollowed),
            "– | its end was not seen | its end was not seen"),
        .init(
            [.reset], .closed, to: .closed, .decide(.reset, .rstInHandshake),
            "– | – | tcp_reset"),

        .init(
            [.mptcpEstablished, .fallback, .plain, .subflowClosed, .closed], .reset, to: nil,
            "– | mptcp_sub_force_close | tcp_reset"),
        .init(
            [.mptcpEstablished, .fallback, .subflowClosed], .closed, [.msk], to: .closed, .close,
            "– | tcp_set_state(meta, TCP_CLOSE) | mptcp_set_state(sk, TCP_CLOSE)"),
        .init(
            [.mptcpEstablished, .fallback], .closed, [.mptcpSocket], to: .subflowClosed,
            "– | tcp_set_state(master, TCP_CLOSE) | tcp_set_state(ssk, TCP_CLOSE)"),
        .init(
            [.fallback, .plain], .closed, [.plainSocket], to: .closed, .close,
            "– | tcp_set_state(sk, TCP_CLOSE) | tcp_set_state(sk, TCP_CLOSE)"),
        .init(
            [.closed, .subflowClosed], .closed, to: nil,
            "– | the other of meta socket and master | the other of msk and subflow"),
    ]
}
