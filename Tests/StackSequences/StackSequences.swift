// SPDX-License-Identifier: Apache-2.0

import CEvent
import Glibc
import Handshake

extension StackSequence {
    package static let all: [StackSequence] = handshakes + fallbacks + failures + joins + traps

    private static let served = ["client mptcp", "server mptcp"]
    private static let bothClosed = ["closed, 1 subflows", "closed, 1 subflows"]

    // MARK: the table's first row

    private static func capable(_ stack: Stack, _ local: Endpoint, _ remote: Endpoint) {
        let l = stack.listener(remote)
        let c = stack.socket(stack.client, inode: 5001)
        stack.connects(c, local, to: remote)
        // What the machine of the server interrupts is not the owner of anything.
        let r = stack.answers(
            l, stack.syn(c, .capable), c,
            interrupting: StackProcess(pid: 4242, name: "bystander", cpu: 3))
        let m = stack.agrees(c, peer: r.token)
        let (s, n) = stack.accepts(r, stack.ack(c, .capable), peer: c.fields.loc_token)
        stack.data(m)
        stack.data(n)
        stack.closes(c, [m])
        stack.closes(s, [n])
        stack.closes(l)
    }

    private static let opened = ["mptcp listener open"]
    private static let gone = ["mptcp listener closed"]

    private static let handshakes: [StackSequence] = [
        StackSequence("capable-ipv4", expect: opened + served + bothClosed + gone) {
            capable($0, Stack.clientV4, Stack.serverV4)
        },
        StackSequence("capable-ipv6", expect: opened + served + bothClosed + gone) {
            capable($0, Stack.clientV6, Stack.serverV6)
        },
        // tcp_check_req and mptcp_check_req_master do not see its child being made.
        StackSequence("fast-open", expect: opened + served + bothClosed) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(l, stack.syn(c, .capable), c)
            let m = stack.agrees(c, peer: r.token)
            let (s, n) = stack.acceptsFastOpen(r, stack.ack(c, .capable), peer: c.fields.loc_token)
            stack.closes(c, [m])
            stack.closes(s, [n])
        },
        StackSequence("synack-discarded", expect: opened + served + bothClosed) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(l, stack.syn(c, .capable), c)
            stack.softirq(stack.client)
            stack.mptcpRcvSynsentStateProcess(c, stack.synack(to: c, .capable)) { (2, c) }
            // The server sends it again.
            stack.pass(microseconds: 1_000_000)
            stack.softirq(stack.server)
            stack.mptcpSynackOptions(r)
            let m = stack.agrees(c, peer: r.token)
            let (s, n) = stack.accepts(r, stack.ack(c, .capable), peer: c.fields.loc_token)
            stack.closes(c, [m])
            stack.closes(s, [n])
        },
        // The connection's packets are lost at first.
        StackSequence("syn-again", expect: opened + served + bothClosed) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            stack.synAgain(c, seconds: 1)
            stack.answers(l, stack.syn(c, .capable), c)
            stack.synAgain(c, seconds: 2)
            let r = stack.answers(l, stack.syn(c, .capable), c)
            let m = stack.agrees(c, peer: r.token)
            let (s, n) = stack.accepts(r, stack.ack(c, .capable), peer: c.fields.loc_token)
            stack.closes(c, [m])
            stack.closes(s, [n])
        },
    ]

    // MARK: TCP works, MPTCP does not

    private static let fallbacks: [StackSequence] = [
        StackSequence(
            "plain-listener",
            expect: [
                "tcp listener open", "client fallback synack_without_mptcp",
                "server fallback listener_is_tcp",
            ] + bothClosed + ["tcp listener closed"]
        ) { stack in
            let l = stack.listener(Stack.serverV4, enabled: false)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(l, stack.syn(c, .capable), c)
            stack.fallsBack(c)
            let (s, _) = stack.accepts(r, stack.ack(c, .none))
            stack.closes(c)
            stack.closes(s)
            stack.closes(l)
        },
        StackSequence(
            "plain-syn", expect: opened + ["server fallback syn_without_mptcp", "closed, 1 subflows"]
        ) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001, enabled: false)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4, asks: false)
            let r = stack.answers(l, stack.syn(c, .none), c, asks: false)
            stack.establishes(c)
            let (s, _) = stack.accepts(r, stack.ack(c, .none))
            stack.closes(c)
            stack.closes(s)
        },
        StackSequence(
            "fast-open-plain-syn",
            expect: opened + ["server fallback syn_without_mptcp", "closed, 1 subflows"]
        ) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001, enabled: false)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4, asks: false)
            let r = stack.answers(l, stack.syn(c, .none), c, asks: false)
            stack.establishes(c)
            let (s, _) = stack.acceptsFastOpen(r, stack.ack(c, .none))
            stack.closes(s)
        },
        StackSequence(
            "fast-open-plain-listener",
            expect: [
                "tcp listener open", "client fallback synack_without_mptcp",
                "server fallback listener_is_tcp",
            ] + bothClosed
        ) { stack in
            let l = stack.listener(Stack.serverV4, enabled: false)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(l, stack.syn(c, .capable), c)
            stack.fallsBack(c)
            let (s, _) = stack.acceptsFastOpen(r, stack.ack(c, .none))
            stack.closes(c)
            stack.closes(s)
        },
        // The SYN asks, and what reaches the server does not.
        StackSequence(
            "syn-stripped",
            expect: opened + ["client fallback synack_without_mptcp", "server fallback syn_without_mptcp"]
                + bothClosed
        ) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(l, stack.syn(c, .none), c, asks: false)
            stack.fallsBack(c)
            let (s, _) = stack.accepts(r, stack.ack(c, .none))
            stack.closes(c)
            stack.closes(s)
        },
        // To the server this is a success until the first data.
        StackSequence(
            "synack-stripped",
            expect: opened + [
                "client fallback synack_without_mptcp", "server mptcp", "server lost MPTCP infinite_mapping",
            ] + bothClosed
        ) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(l, stack.syn(c, .capable), c)
            stack.fallsBack(c)
            let (s, n) = stack.accepts(r, stack.ack(c, .none), peer: c.fields.loc_token)
            stack.dataWithoutDSS(n)
            stack.closes(c)
            stack.closes(s, [n])
        },
        StackSequence(
            "options-stripped-later",
            expect: opened + served + [
                "server lost MPTCP infinite_mapping", "client lost MPTCP infinite_mapping",
            ] + bothClosed
        ) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(l, stack.syn(c, .capable), c)
            let m = stack.agrees(c, peer: r.token)
            let (s, n) = stack.accepts(r, stack.ack(c, .capable), peer: c.fields.loc_token)
            stack.dataWithoutDSS(n)
            stack.dataWithoutDSS(m)
            stack.closes(c, [m])
            stack.closes(s, [n])
        },
        // No ACK comes after it to tell: the end does.
        StackSequence(
            "options-stripped-at-the-end",
            expect: opened + served + [
                "client lost MPTCP infinite_mapping", "closed, 1 subflows",
                "server lost MPTCP infinite_mapping", "closed, 1 subflows",
            ]
        ) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(l, stack.syn(c, .capable), c)
            let m = stack.agrees(c, peer: r.token)
            let (s, n) = stack.accepts(r, stack.ack(c, .capable), peer: c.fields.loc_token)
            m.connection?.fields.infinite_mapping_rcv = true
            n.connection?.fields.infinite_mapping_snd = true
            stack.closes(c, [m])
            stack.closes(s, [n])
        },
        StackSequence(
            "syns-with-mptcp-dropped",
            expect: opened + [
                "client fallback syn_with_mptcp_dropped", "server fallback syn_without_mptcp",
            ] + bothClosed
        ) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            stack.synAgain(c, seconds: 1)
            stack.synAgain(c, seconds: 2)
            stack.synAgain(c, seconds: 4, asks: false)
            let r = stack.answers(l, stack.syn(c, .none), c, asks: false)
            stack.establishes(c)
            let (s, _) = stack.accepts(r, stack.ack(c, .none))
            stack.closes(c)
            stack.closes(s)
        },
        // mptcp_enable_sock fired all the same.
        StackSequence(
            "loopback",
            expect: opened + [
                "client fallback mptcp_disabled_at_connect", "server fallback syn_without_mptcp",
            ] + bothClosed
        ) { stack in
            let l = stack.listener(Stack.loopback)
            let c = stack.socket(stack.server, inode: 5001)
            stack.connects(c, Endpoint(Stack.loopback.address, 40_001), to: Stack.loopback, asks: false)
            let r = stack.answers(l, stack.syn(c, .none), c, asks: false)
            stack.establishes(c)
            let (s, _) = stack.accepts(r, stack.ack(c, .none))
            stack.closes(c)
            stack.closes(s)
        },
        // A socket that was made while the switch was 0 does not ask; nothing of it is told.
        StackSequence("switch-off", expect: ["tcp listener open"]) { stack in
            let l = stack.listener(Stack.serverV4, enabled: false)
            let c = stack.socket(stack.client, inode: 5001, enabled: false)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4, asks: false)
            let r = stack.answers(l, stack.syn(c, .none), c, asks: false)
            stack.establishes(c)
            let (s, _) = stack.accepts(r, stack.ack(c, .none))
            stack.closes(c)
            stack.closes(s)
        },
        StackSequence(
            "all-tcp", allTcp: true,
            expect: ["tcp listener open", "client tcp", "server tcp"] + bothClosed + ["tcp listener closed"]
        ) { stack in
            let l = stack.listener(Stack.serverV4, enabled: false)
            let c = stack.socket(stack.client, inode: 5001, enabled: false)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4, asks: false)
            let r = stack.answers(l, stack.syn(c, .none), c, asks: false)
            stack.establishes(c)
            let (s, _) = stack.accepts(r, stack.ack(c, .none))
            stack.closes(c)
            stack.closes(s)
            stack.closes(l)
        },
        // The switch is read when a socket is made, and never again.
        StackSequence(
            "switch-to-0-between-listeners",
            expect: opened + ["tcp listener open"] + served + [
                "client fallback synack_without_mptcp", "server fallback listener_is_tcp",
            ] + bothClosed + bothClosed
        ) { stack in
            let other = Endpoint(Stack.serverV4.address, 8443)
            let before = stack.listener(Stack.serverV4)
            let after = stack.listener(other, enabled: false, inode: 9002)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(before, stack.syn(c, .capable), c)
            let m = stack.agrees(c, peer: r.token)
            let (s, n) = stack.accepts(r, stack.ack(c, .capable), peer: c.fields.loc_token)
            let d = stack.socket(stack.client, inode: 5002)
            stack.connects(d, Endpoint(Stack.clientV4.address, 40_002), to: other)
            let q = stack.answers(after, stack.syn(d, .capable), d)
            stack.fallsBack(d)
            let (t, _) = stack.accepts(q, stack.ack(d, .none))
            stack.closes(c, [m])
            stack.closes(s, [n])
            stack.closes(d)
            stack.closes(t)
        },
    ]

    // MARK: nothing works

    private static func attempt(_ stack: Stack, _ error: Int32) {
        let c = stack.socket(stack.client, inode: 5001)
        stack.connects(c, Stack.clientV4, to: Stack.serverV4)
        if error == ETIMEDOUT { for _ in 0..<3 { stack.synAgain(c, seconds: 3) } }
        stack.gives(up: c, error)
    }

    private static let failures: [StackSequence] = [
        // It never gets to mptcp_rcv_synsent_state_process.
        StackSequence("reset-on-syn", expect: ["client refused rst_to_syn"]) { attempt($0, ECONNREFUSED) },
        StackSequence("unanswered", expect: ["client timeout no_synack"]) { attempt($0, ETIMEDOUT) },
        StackSequence("no-route", expect: ["client aborted connect_failed"]) { attempt($0, EHOSTUNREACH) },
        StackSequence("closed-before-synack", expect: ["client aborted closed_by_process"]) {
            attempt($0, 0)
        },
        // The client has gone meanwhile.
        StackSequence(
            "reset-on-synack",
            expect: opened + ["client aborted closed_by_process", "server reset rst_in_handshake"]
        ) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(l, stack.syn(c, .capable), c)
            stack.gives(up: c, 0)
            stack.resets(r, at: l)
        },
        StackSequence(
            "third-ack-lost",
            expect: opened + ["client mptcp", "closed, 1 subflows", "server timeout no_ack"]
        ) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(l, stack.syn(c, .capable), c)
            let m = stack.agrees(c, peer: r.token)
            stack.closes(c, [m])
        },
        // Only the end of a connection that was MPTCP.
        StackSequence("reset-after", expect: opened + served + bothClosed) { stack in
            let l = stack.listener(Stack.serverV4)
            let c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: Stack.serverV4)
            let r = stack.answers(l, stack.syn(c, .capable), c)
            let m = stack.agrees(c, peer: r.token)
            let (s, n) = stack.accepts(r, stack.ack(c, .capable), peer: c.fields.loc_token)
            for socket in [m, c, n, s] { socket.fields.err = ECONNRESET }
            stack.closes(c, [m])
            // The meta socket may go before its subflow.
            stack.closes(s, [])
            stack.tcpSetState(n, .close)
        },
    ]
}
