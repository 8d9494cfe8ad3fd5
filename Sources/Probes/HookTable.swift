// SPDX-License-Identifier: Apache-2.0

import Handshake

/// How a handler is attached.
public enum Attachment: String, Sendable, CaseIterable {
    case fentry, fexit, kprobe, kretprobe
    case rawTracepoint = "raw_tracepoint"
    case tracepoint, cgroup
}

/// One place to look at the kernel from.
public struct HookPlan: Sendable {
    public var hook: Hook
    /// The BPF program.
    public var program: String
    public var attachment: Attachment
    /// The kernel's name of the place: a tracepoint, a function; empty for cgroup programs.
    public var target: String
    /// Without it nothing can be traced.
    public var required: Bool
    /// Only attached for `--steps`.
    public var onlySteps: Bool
    /// What is known through it.
    public var tells: String
    /// What is not known when it is missing.
    public var withoutIt: String
}

/// The hooks of each backend, in one table.
public enum HookTable {
    public static let tracepoint: [HookPlan] = [
        HookPlan(
            hook: .inetSockSetState, program: "inet_sock_set_state", attachment: .rawTracepoint,
            target: "inet_sock_set_state", required: true, onlySteps: false,
            tells: "listen, connect, both ends' verdicts, the end of a connection, and the owner",
            withoutIt: "nothing can be traced"),
        HookPlan(
            hook: .skbIngress, program: "skb_ingress", attachment: .cgroup, target: "",
            required: true, onlySteps: false,
            tells: "SYN, SYN-ACK and third ACK as TCP sees them, with their MPTCP option",
            withoutIt: "no server handshake has a beginning"),
        HookPlan(
            hook: .skbEgress, program: "skb_egress", attachment: .cgroup, target: "",
            required: true, onlySteps: false,
            tells: "SYN-ACKs (and SYNs, with --steps) as they leave, with their MPTCP option",
            withoutIt: "what the server answered is not known"),
        HookPlan(
            hook: .tcpReceiveReset, program: "tcp_receive_reset", attachment: .rawTracepoint,
            target: "tcp_receive_reset", required: false, onlySteps: false,
            tells: "a RST that reached a socket",
            withoutIt: "the step `reset` is missing; outcomes stay, from the socket's error"),
        HookPlan(
            hook: .tcpSendReset, program: "tcp_send_reset", attachment: .rawTracepoint,
            target: "tcp_send_reset", required: false, onlySteps: false,
            tells: "an MPTCP listener refuses an MP_JOIN, and why",
            withoutIt: "a refused MP_JOIN ends as a timeout"),
        HookPlan(
            hook: .dataAvailable, program: "subflow_check_data_avail", attachment: .rawTracepoint,
            target: "subflow_check_data_avail", required: false, onlySteps: false,
            tells: "data without a mapping: a fallback after the handshake",
            withoutIt: "a later fallback shows when the connection ends, without its reason"),
        HookPlan(
            hook: .sockCreate, program: "sock_create", attachment: .cgroup, target: "",
            required: false, onlySteps: true,
            tells: "an MPTCP socket is made",
            withoutIt: "the step `socket_created` is missing"),
        HookPlan(
            hook: .sockRelease, program: "sock_release", attachment: .cgroup, target: "",
            required: false, onlySteps: true,
            tells: "an MPTCP socket that never connected is closed",
            withoutIt: "such sockets are remembered until they make room"),
    ]
}

/// What became of a hook.
public struct HookReport: Sendable {
    public enum Status: String, Sendable {
        case attached, missing, refused
        case notNeeded = "not_needed"
    }

    public var plan: HookPlan
    public var status: Status
    /// Why, in words; empty when attached.
    public var error: String

    public init(plan: HookPlan, status: Status, error: String = "") {
        self.plan = plan
        self.status = status
        self.error = error
    }
}
