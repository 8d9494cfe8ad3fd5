// SPDX-License-Identifier: Apache-2.0

import Handshake

/// How a handler is attached.
public enum Attachment: String, Sendable, CaseIterable {
    case fentry, fexit, kprobe, kretprobe
    case rawTracepoint = "raw_tracepoint"
    case tracepoint, cgroup

    /// The word for it and its counterpart at a function's return.
    var family: String {
        switch self {
        case .fentry, .fexit: "fentry"
        case .kprobe, .kretprobe: "kprobe"
        case .rawTracepoint, .tracepoint, .cgroup: rawValue
        }
    }

    /// Of a function, by its name.
    public var isFunction: Bool {
        switch self {
        case .fentry, .fexit, .kprobe, .kretprobe: true
        case .rawTracepoint, .tracepoint, .cgroup: false
        }
    }
}

/// Which ways a trace may attach functions.
public enum Backend: String, Sendable, CaseIterable {
    /// Hook by hook the best that works: fentry, then kprobe, then none.
    case auto
    case fentry, kprobe
    /// No functions: what tracepoints and cgroup programs tell.
    case tracepoint

    func allows(_ attachment: Attachment) -> Bool {
        switch attachment {
        case .rawTracepoint, .tracepoint, .cgroup: true
        case .fentry, .fexit: self == .auto || self == .fentry
        case .kprobe, .kretprobe: self == .auto || self == .kprobe
        }
    }
}

/// One way to attach a hook.
public struct HookWay: Sendable {
    public var attachment: Attachment
    /// The kernel's name of the place: a tracepoint, a function; empty for cgroup programs.
    public var target: String
    /// The BPF program.
    public var program: String
    /// The kprobe that keeps the arguments for a kretprobe; nil: none is needed.
    public var before: String?
    /// Those that fill in for it where it is interrupted.
    public var substitutes: [String]
    /// How many parameters the place must have; nil: any number will do.
    public var parameters: Int?

    init(
        _ attachment: Attachment, _ target: String, _ program: String, after before: String? = nil,
        and substitutes: [String] = [], parameters: Int? = nil
    ) {
        self.attachment = attachment
        self.target = target
        self.program = program
        self.before = before
        self.substitutes = substitutes
        self.parameters = parameters
    }

    public var programs: [String] { (before.map { [$0] } ?? []) + [program] + substitutes }
}

/// One place to look at the kernel from.
public struct HookPlan: Sendable {
    public var hook: Hook
    /// The best first.
    public var ways: [HookWay]
    /// Without it nothing can be traced.
    public var isRequired = false
    /// Only attached for `--steps`…
    public var onlySteps = false
    /// … or when this hook can't be had, for which it stands in.
    public var standsInFor: Hook?
    /// Costs the whole machine something: only attached while there is something to see, and only where
    /// `standsInFor` can't be had.
    public var onDemand = false
    /// What is known through it.
    public var tells: String
    /// What is not known when it is missing, or what stands in for it.
    public var withoutIt: String
}

/// Every hook, in one table.
public enum HookTable {
    /// What a trace with that backend may attach.
    public static func plans(_ backend: Backend, _ stack: Stack = .mainline) -> [HookPlan] {
        (stack == .mainline ? all : multipath).compactMap { plan in
            var plan = plan
            plan.ways.removeAll { !backend.allows($0.attachment) }
            return plan.ways.isEmpty ? nil : plan
        }
    }

    public static let all = everywhere + functions

    /// Tracepoints and cgroup programs: there is no kernel that refuses them to root.
    private static let everywhere: [HookPlan] = [
        HookPlan(
            hook: .inetSockSetState,
            ways: [
                HookWay(
                    .rawTracepoint, "inet_sock_set_state", "inet_sock_set_state",
                    and: ["inet_sock_set_state_2"])
            ],
            isRequired: true,
            tells: "listen, connect, both ends' verdicts, the end of a connection, and the owner",
            withoutIt: "nothing can be traced"),
        HookPlan(
            hook: .skbIngress, ways: [HookWay(.cgroup, "", "skb_ingress")],
            tells: "SYN, SYN-ACK and third ACK as TCP sees them, with their MPTCP option",
            withoutIt: "functions stand in for SYN, SYN-ACK and third ACK; that a join was confirmed shows "
                + "at its end only, ADD_ADDR and RM_ADDR not at all"),
        HookPlan(
            hook: .skbEgress, ways: [HookWay(.cgroup, "", "skb_egress")],
            tells: "SYN-ACKs (and SYNs, with --steps) as they leave, with their MPTCP option",
            withoutIt: "what the server answered is not known"),
        HookPlan(
            hook: .tcpReceiveReset,
            ways: [HookWay(.rawTracepoint, "tcp_receive_reset", "tcp_receive_reset")],
            tells: "a RST that reached a socket",
            withoutIt: "the step `reset` is missing; outcomes stay, from the socket's error"),
        HookPlan(
            hook: .tcpSendReset,
            ways: [
                HookWay(.rawTracepoint, "tcp_send_reset", "tcp_send_reset", parameters: 3),
                HookWay(.rawTracepoint, "tcp_send_reset", "tcp_send_reset_2", parameters: 2),
            ],
            tells: "an MPTCP listener refuses an MP_JOIN, and why",
            withoutIt: "a refused MP_JOIN ends as a timeout"),
        HookPlan(
            hook: .dataAvailable,
            ways: [
                HookWay(
                    .rawTracepoint, "subflow_check_data_avail", "subflow_check_data_avail",
                    and: ["subflow_check_data_avail_2"])
            ],
            tells: "data without a mapping: a fallback after the handshake",
            withoutIt: "a later fallback shows when the connection ends, without its reason"),
        HookPlan(
            hook: .sockCreate, ways: [HookWay(.cgroup, "", "sock_create")],
            tells: "an MPTCP socket is made; when a listener's socket was",
            withoutIt:
                "the step `socket_created` is missing; under which settings a socket was made is not known"),
        HookPlan(
            hook: .socketExit, ways: [HookWay(.tracepoint, "sys_exit_socket", "sys_exit_socket")],
            standsInFor: .initSock, onDemand: true,
            tells: "socket() is refused because MPTCP is off; attached while it is off in some namespace",
            withoutIt: "refused sockets are not seen: who listens on TCP because of that is not known"),
        HookPlan(
            hook: .sockRelease, ways: [HookWay(.cgroup, "", "sock_release")],
            tells: "an MPTCP socket that never connected is closed",
            withoutIt: "such sockets are remembered until they make room"),
        HookPlan(
            hook: .sysctl, ways: [HookWay(.cgroup, "", "sysctl")],
            tells: "a process writes one of MPTCP's settings",
            withoutIt:
                "changes of settings are seen by looking once a second, without who made them; who was refused a "
                + "socket meanwhile may not be known"),
    ]

    /// The kernel's functions.
    private static let functions: [HookPlan] = [
        HookPlan(
            hook: .tcpConnect,
            ways: [
                HookWay(.fentry, "tcp_connect", "fentry_tcp_connect", and: ["fentry_tcp_connect_2"]),
                HookWay(.kprobe, "tcp_connect", "kprobe_tcp_connect"),
            ],
            tells: "a connect() that is about to send its SYN: who, from where, to whom, and whether it asks",
            withoutIt: "inet_sock_set_state stands in, a moment before the source port is chosen"),
        HookPlan(
            hook: .initSock,
            ways: [
                HookWay(.fexit, "mptcp_init_sock", "fexit_init_sock"),
                HookWay(
                    .kretprobe, "mptcp_init_sock", "kretprobe_init_sock", after: "kprobe_init_sock"),
            ],
            tells: "an MPTCP socket is made, or refused because MPTCP is off",
            withoutIt:
                "cgroup/sock_create stands in; for refused ones sys_exit_socket, while MPTCP is off somewhere"
        ),
        HookPlan(
            hook: .checkReq,
            ways: [
                HookWay(.fexit, "subflow_check_req", "fexit_check_req", parameters: 3),
                HookWay(
                    .kretprobe, "subflow_check_req", "kretprobe_check_req", after: "kprobe_check_req",
                    parameters: 3),
            ],
            tells: "a listener takes a SYN: the token that it gives the connection",
            withoutIt: "cgroup_skb/ingress stands in, without the token of what never becomes MPTCP"),
        HookPlan(
            hook: .finishConnect,
            ways: [
                HookWay(.fentry, "subflow_finish_connect", "fentry_finish_connect", parameters: 2),
                HookWay(.kprobe, "subflow_finish_connect", "kprobe_finish_connect"),
            ],
            onlySteps: true, standsInFor: .skbIngress,
            tells: "a client reads the SYN-ACK's options",
            withoutIt: "cgroup_skb/ingress stands in"),
        HookPlan(
            hook: .mptcpFinishConnect,
            ways: [
                HookWay(.fentry, "mptcp_finish_connect", "fentry_mptcp_finish_connect"),
                HookWay(.kprobe, "mptcp_finish_connect", "kprobe_mptcp_finish_connect"),
            ],
            onlySteps: true,
            tells: "a client found MP_CAPABLE in the SYN-ACK",
            withoutIt: "the verdict stands in, which comes next"),
        HookPlan(
            hook: .synRecvSock,
            ways: [
                // Seven parameters: more than fentry takes on x86 before 6.6.
                HookWay(.fentry, "subflow_syn_recv_sock", "fentry_syn_recv_sock"),
                HookWay(.kprobe, "subflow_syn_recv_sock", "kprobe_syn_recv_sock"),
            ],
            onlySteps: true, standsInFor: .skbIngress,
            tells: "a third ACK is about to make a connection",
            withoutIt: "cgroup_skb/ingress stands in"),
        HookPlan(
            hook: .cloneInit,
            ways: [
                HookWay(.fexit, "mptcp_sk_clone_init", "fexit_clone_init", parameters: 4),
                HookWay(.kretprobe, "mptcp_sk_clone_init", "kretprobe_clone_init"),
            ],
            onlySteps: true,
            tells: "a server made the MPTCP socket of a connection",
            withoutIt: "inet_sock_set_state stands in"),
        HookPlan(
            hook: .mskState,
            ways: [
                HookWay(.fentry, "mptcp_set_state", "fentry_set_state", parameters: 2),
                HookWay(.fentry, "__mptcp_set_connected", "fentry_set_connected", parameters: 1),
                HookWay(.kprobe, "mptcp_set_state", "kprobe_set_state", parameters: 2),
                HookWay(.kprobe, "__mptcp_set_connected", "kprobe_set_connected", parameters: 1),
            ],
            tells: "the client's verdict",
            withoutIt: "inet_sock_set_state stands in"),
        HookPlan(
            hook: .tryFallback,
            ways: [
                HookWay(.fentry, "__mptcp_try_fallback", "fentry_try_fallback", parameters: 2),
                HookWay(.kprobe, "__mptcp_try_fallback", "kprobe_try_fallback", parameters: 2),
            ],
            tells: "every fallback of a connection, with the kernel's own reason",
            withoutIt:
                "subflow_check_data_avail stands in after the handshake, and this CPU's counters in it; "
                + "some reasons are not known"),
        HookPlan(
            hook: .dropCtx,
            ways: [
                HookWay(.fentry, "mptcp_subflow_drop_ctx", "fentry_drop_ctx"),
                HookWay(.kprobe, "mptcp_subflow_drop_ctx", "kprobe_drop_ctx"),
            ],
            onlySteps: true,
            tells: "a connection that a server accepts goes on as plain TCP",
            withoutIt: "inet_sock_set_state stands in, which comes next"),
        HookPlan(
            hook: .subflowConnect,
            ways: [
                HookWay(.fexit, "__mptcp_subflow_connect", "fexit_subflow_connect", parameters: 3),
                HookWay(
                    .kretprobe, "__mptcp_subflow_connect", "kretprobe_subflow_connect",
                    after: "kprobe_subflow_connect", parameters: 3),
            ],
            tells: "a join that fails before its SYN is sent",
            withoutIt: "such joins are not seen"),
        HookPlan(
            hook: .finishJoin,
            ways: [
                HookWay(.fentry, "mptcp_finish_join", "fentry_finish_join"),
                HookWay(.kprobe, "mptcp_finish_join", "kprobe_finish_join"),
            ],
            onlySteps: true,
            tells: "the HMAC of a join was right",
            withoutIt: "the join's outcome stands in"),
        HookPlan(
            hook: .resetReason,
            ways: [
                HookWay(.fentry, "subflow_add_reset_reason", "fentry_reset_reason", parameters: 2),
                HookWay(.kprobe, "subflow_add_reset_reason", "kprobe_reset_reason", parameters: 2),
            ],
            tells: "with which MP_TCPRST reason a listener refuses",
            withoutIt: "tcp_send_reset stands in; before 6.10 the reason is then not known"),
        HookPlan(
            hook: .detectBlackhole,
            ways: [
                HookWay(.fexit, "mptcp_active_detect_blackhole", "fexit_detect_blackhole"),
                HookWay(
                    .kretprobe, "mptcp_active_detect_blackhole", "kretprobe_detect_blackhole",
                    after: "kprobe_detect_blackhole"),
            ],
            onlySteps: true,
            tells: "SYNs with MP_CAPABLE went unanswered: those that follow do not ask",
            withoutIt: "cgroup_skb/egress stands in: the SYN without the option"),
        HookPlan(
            hook: .activeDisable,
            ways: [
                HookWay(.fentry, "mptcp_active_disable", "fentry_active_disable"),
                HookWay(.kprobe, "mptcp_active_disable", "kprobe_active_disable"),
            ],
            onlySteps: true,
            tells: "the blackhole state of a namespace begins",
            withoutIt: "the outcome syn_with_mptcp_dropped stands in, of whose connection begins it"),
        HookPlan(
            hook: .mptcpEvent,
            ways: [
                HookWay(.fentry, "mptcp_event", "fentry_mptcp_event"),
                HookWay(.kprobe, "mptcp_event", "kprobe_mptcp_event"),
            ],
            onlySteps: true,
            tells: "what `ip mptcp monitor` is told of connections and subflows that are established",
            withoutIt: "the other hooks stand in"),
    ]
}

/// What became of a hook.
public struct HookReport: Sendable {
    public enum Status: String, Sendable {
        case attached, missing, refused
        case notNeeded = "not_needed"
    }

    public var plan: HookPlan
    /// The way that was taken; where none was, the best there is.
    public var way: HookWay?
    public var status: Status
    /// Why not, in words; of one that is attached, why no better way was taken. Empty: nothing to tell.
    public var error: String

    public init(plan: HookPlan, way: HookWay?, status: Status, error: String = "") {
        self.plan = plan
        self.way = way
        self.status = status
        self.error = error
    }
}
