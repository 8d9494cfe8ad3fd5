// SPDX-License-Identifier: Apache-2.0

import Handshake

// The functions of the out-of-tree stack, by the names of the seed's walk. They are hooked by kprobes: its
// kernels (4.x to 5.4) have nothing better.
extension HookTable {
    /// Which implementation of MPTCP the programs are for.
    public enum Stack: Sendable {
        case mainline, multipath
    }

    private static func entry(
        _ hook: Hook, _ program: String, isRequired: Bool = false, onlySteps: Bool = false, tells: String,
        withoutIt: String
    ) -> HookPlan {
        HookPlan(
            hook: hook, ways: [HookWay(.kprobe, hook.name, program)], isRequired: isRequired,
            onlySteps: onlySteps, tells: tells, withoutIt: withoutIt)
    }

    /// A function whose return tells; its kprobe keeps the arguments.
    private static func returning(
        _ hook: Hook, _ program: String, isRequired: Bool = false, onlySteps: Bool = false, tells: String,
        withoutIt: String
    ) -> HookPlan {
        HookPlan(
            hook: hook, ways: [HookWay(.kretprobe, hook.name, "\(program)_returns", after: program)],
            isRequired: isRequired, onlySteps: onlySteps, tells: tells, withoutIt: withoutIt)
    }

    static let multipath: [HookPlan] = [
        entry(
            .tcpSetState, "set_state", isRequired: true,
            tells: "the end of sockets and listeners; a server's join, and its fallback",
            withoutIt: "nothing can be traced"),
        entry(
            .updateMetasocket, "update_metasocket", isRequired: true,
            tells: "a connection is usable as MPTCP: the verdict at both ends",
            withoutIt: "nothing can be traced"),
        returning(
            .tcpConnect, "connect", isRequired: true,
            tells: "who connects, from where, to whom; MP_JOINs of the path manager",
            withoutIt: "nothing can be traced"),
        entry(
            .synOptions, "syn_options",
            tells: "the SYN asks for MP_CAPABLE or MP_JOIN",
            withoutIt: "that a SYN asks is known when tcp_connect returns, which may be after its SYN-ACK"),
        returning(
            .synsentProcess, "synsent",
            tells: "what the client makes of the SYN-ACK: the option, a reset, or as if it had not come",
            withoutIt: "why a join is given up is not known"),
        entry(
            .tcpFinishConnect, "finish_connect",
            tells: "a client's TCP is established; of one without MPTCP this is the verdict",
            withoutIt: "a client's fallback is not seen"),
        returning(
            .listenStart, "listen_start",
            tells: "who listens, and whether the listener was made while the switch was on",
            withoutIt: "listeners are known from the opening snapshot only"),
        entry(
            .connRequest, "conn_request",
            tells: "a SYN reaches a listener whose switch is on",
            withoutIt: "a server's handshake is known from its SYN-ACK on"),
        entry(
            .tcpConnRequest, "tcp_conn_request",
            tells: "a SYN with MP_CAPABLE reaches a plain listener",
            withoutIt: "listener_is_tcp is not seen"),
        returning(
            .reqskInit, "reqsk_init", onlySteps: true,
            tells: "a listener takes MP_CAPABLE: the token that it gives the connection",
            withoutIt: "the SYN-ACK stands in"),
        returning(
            .joinReqskInit, "join_reqsk_init", onlySteps: true,
            tells: "a connection takes an MP_JOIN",
            withoutIt: "the SYN-ACK stands in"),
        entry(
            .synackOptions, "synack_options",
            tells: "the SYN-ACK carries MP_CAPABLE or MP_JOIN",
            withoutIt: "what the server answered is not known"),
        entry(
            .tcpCheckReq, "check_req",
            tells: "the third ACK, or a RST, reaches a half-open handshake",
            withoutIt: "a handshake that a RST ends at the server ends as a timeout"),
        returning(
            .checkReqMaster, "check_req_master",
            tells: "whose child a new connection is, and whether it is MPTCP (the return value)",
            withoutIt: "a server's fallback is not seen"),
        returning(
            .checkReqChild, "check_req_child",
            tells: "a join's third ACK is refused",
            withoutIt: "a refused join ends as a timeout"),
        entry(
            .ackInInfinite, "ack_in_infinite",
            tells: "a connection goes on without DSS (infinite mapping); the fourth ACK of a join",
            withoutIt: "a later fallback, and that a join was confirmed, show at the end only"),
        entry(
            .forceClose, "force_close", onlySteps: true,
            tells: "this end gives a subflow up",
            withoutIt: "its end stands in"),
        entry(
            .enableSock, "enable_sock",
            tells: "a socket is made while the switch is on",
            withoutIt: "the step `socket_created` is missing; sockets that go by an old value are not known"),
    ]

    /// The functions that are looked for in the kernel.
    public static let multipathFunctions = Set(multipath.map(\.hook.name))
}
