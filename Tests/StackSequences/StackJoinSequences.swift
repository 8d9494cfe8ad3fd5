// SPDX-License-Identifier: Apache-2.0

import CEvent
import Glibc
import Handshake

/// A connection with MPTCP at both ends.
private struct Served {
    let l: StackSocket
    let c: StackSocket
    let m: StackSocket
    let s: StackSocket
    let n: StackSocket

    init(_ stack: Stack) {
        l = stack.listener(Stack.serverV4)
        c = stack.socket(stack.client, inode: 5001)
        stack.connects(c, Stack.clientV4, to: Stack.serverV4)
        let r = stack.answers(l, stack.syn(c, .capable), c)
        m = stack.agrees(c, peer: r.token)
        (s, n) = stack.accepts(r, stack.ack(c, .capable), peer: c.fields.loc_token)
        stack.data(m)
        stack.data(n)
    }
}

extension StackSequence {
    private static let opened = ["mptcp listener open", "client mptcp", "server mptcp"]
    private static let bothClosed = ["closed, 1 subflows", "closed, 1 subflows"]

    static let joins: [StackSequence] = [
        StackSequence(
            "join",
            expect: opened + ["server join joined", "client join joined"]
                + ["closed, 2 subflows", "closed, 2 subflows"]
        ) { stack in
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3)
            let r = stack.answersJoin(it.l, it.s, j)
            stack.joinAnswered(j)
            // An ACK that is not the fourth.
            stack.data(j)
            let k = stack.acceptsJoin(r, it.s, stack.ack(j, .joinHmac), isRight: true)
            stack.confirms(j)
            stack.data(j)
            stack.closes(it.c, [j, it.m])
            stack.closes(it.s, [it.n] + (k.map { [$0] } ?? []))
        },
        StackSequence(
            "join-synack-stripped",
            expect: opened + [
                "client join reset synack_without_mp_join", "server join reset rst_in_handshake",
            ]
                + bothClosed
        ) { stack in
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3)
            let r = stack.answersJoin(it.l, it.s, j)
            stack.joinAnsweredWrongly(j, .none)
            stack.resets(r, at: it.s)
            stack.closes(it.c, [it.m])
            stack.closes(it.s, [it.n])
        },
        StackSequence(
            "join-synack-wrong-hmac",
            expect: opened + [
                "client join rejected mp_join_synack_hmac_failure", "server join reset rst_in_handshake",
            ] + bothClosed
        ) { stack in
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3)
            let r = stack.answersJoin(it.l, it.s, j)
            stack.joinAnsweredWrongly(j, .joinAnswer(id: 0))
            stack.resets(r, at: it.s)
            stack.closes(it.c, [it.m])
            stack.closes(it.s, [it.n])
        },
        StackSequence(
            "join-ack-stripped",
            expect: opened + ["server join reset ack_without_mp_join", "client join reset rst_in_handshake"]
                + bothClosed
        ) { stack in
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3)
            let r = stack.answersJoin(it.l, it.s, j)
            stack.joinAnswered(j)
            _ = stack.acceptsJoin(r, it.s, stack.ack(j, .none), isRight: false)
            stack.gives(up: j, ECONNRESET)
            stack.closes(it.c, [it.m])
            stack.closes(it.s, [it.n])
        },
        StackSequence(
            "join-ack-wrong-hmac",
            expect: opened + [
                "server join rejected mp_join_ack_hmac_failure", "client join reset rst_in_handshake",
            ] + bothClosed
        ) { stack in
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3)
            let r = stack.answersJoin(it.l, it.s, j)
            stack.joinAnswered(j)
            _ = stack.acceptsJoin(r, it.s, stack.ack(j, .joinHmac), isRight: false)
            stack.gives(up: j, ECONNRESET)
            stack.closes(it.c, [it.m])
            stack.closes(it.s, [it.n])
        },
        StackSequence(
            "join-reset-on-syn", expect: opened + ["client join rejected rst_to_syn"] + bothClosed
        ) { stack in
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3)
            stack.gives(up: j, ECONNREFUSED)
            stack.closes(it.c, [it.m])
            stack.closes(it.s, [it.n])
        },
        StackSequence(
            "join-unanswered", expect: opened + ["client join timeout no_synack"] + bothClosed
        ) { stack in
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3)
            stack.synAgain(j, seconds: 1)
            stack.gives(up: j, ETIMEDOUT)
            stack.closes(it.c, [it.m])
            stack.closes(it.s, [it.n])
        },
        StackSequence("join-no-route", expect: opened + ["client join aborted connect_failed"] + bothClosed) {
            stack in
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3)
            stack.gives(up: j, EHOSTUNREACH)
            stack.closes(it.c, [it.m])
            stack.closes(it.s, [it.n])
        },
        // It reaches a listener that is plain TCP.
        StackSequence(
            "join-plain-listener",
            expect: ["tcp listener open"] + opened + [
                "client join reset synack_without_mp_join", "server join reset listener_is_tcp",
            ] + bothClosed
        ) { stack in
            let plain = stack.listener(Stack.serverOther, enabled: false, inode: 9002)
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3, to: Stack.serverOther)
            let token = it.s.connection?.fields.loc_token ?? 0
            let r = stack.answers(
                plain, stack.syn(j, .join(token: token, id: j.fields.loc_id)), j, asks: false)
            stack.joinAnsweredWrongly(j, .none)
            stack.resets(r, at: plain)
            stack.closes(it.c, [it.m])
            stack.closes(it.s, [it.n])
        },
        // Confirmed by a packet that was not seen: its end tells. The SYN-ACK is sent twice.
        StackSequence(
            "join-confirmed-unseen",
            expect: opened + ["server join joined", "client join joined"]
                + ["closed, 2 subflows", "closed, 2 subflows"]
        ) { stack in
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3)
            let r = stack.answersJoin(it.l, it.s, j)
            stack.mptcpSynackOptions(r)
            stack.joinAnswered(j)
            let k = stack.acceptsJoin(r, it.s, stack.ack(j, .joinHmac), isRight: true)
            j.fields.pre_established = false
            j.fields.fully_established = true
            stack.closes(it.c, [j, it.m])
            stack.closes(it.s, [it.n] + (k.map { [$0] } ?? []))
        },
        // Each end gives all its subflows up, as close() with unread data does.
        StackSequence(
            "given-up",
            expect: opened + ["server join joined", "client join joined"]
                + ["closed, 2 subflows", "closed, 2 subflows"]
        ) { stack in
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3)
            let r = stack.answersJoin(it.l, it.s, j)
            stack.joinAnswered(j)
            let k = stack.acceptsJoin(r, it.s, stack.ack(j, .joinHmac), isRight: true)
            stack.confirms(j)
            stack.process(stack.client)
            for socket in [it.m, j] { stack.mptcpSubForceClose(socket) }
            stack.closes(it.c, [])
            stack.softirq(stack.server)
            for socket in [it.n] + (k.map { [$0] } ?? []) { stack.mptcpSubForceClose(socket) }
            stack.closes(it.s, [])
        },
        // The first subflow of the connection is gone by then.
        StackSequence(
            "infinite-mapping-after-the-master",
            expect: opened + ["server join joined", "client join joined"]
                + ["client lost MPTCP infinite_mapping", "closed, 2 subflows", "closed, 2 subflows"]
        ) { stack in
            let it = Served(stack)
            let j = stack.joins(it.c, Stack.clientOther, id: 3)
            let r = stack.answersJoin(it.l, it.s, j)
            stack.joinAnswered(j)
            let k = stack.acceptsJoin(r, it.s, stack.ack(j, .joinHmac), isRight: true)
            stack.confirms(j)
            stack.tcpSetState(it.m, .close)
            stack.dataWithoutDSS(j)
            stack.closes(it.c, [j, it.m])
            stack.closes(it.s, [it.n] + (k.map { [$0] } ?? []))
        },
    ]

    static let traps: [StackSequence] = [
        // Each socket where another was a moment ago: plain, then MPTCP, then a subflow, then plain.
        StackSequence(
            "addresses-come-back",
            expect: [
                "mptcp listener open", "tcp listener open", "client fallback synack_without_mptcp",
                "server fallback listener_is_tcp", "closed, 1 subflows", "closed, 1 subflows",
                "client mptcp", "server mptcp",
                "client lost MPTCP infinite_mapping", "closed, 1 subflows", "closed, 1 subflows",
                "client mptcp", "server mptcp", "closed, 1 subflows", "closed, 1 subflows",
                "client refused rst_to_syn",
            ]
        ) { stack in
            let other = Endpoint(Stack.serverV4.address, 8443)
            let l = stack.listener(Stack.serverV4)
            let plain = stack.listener(other, enabled: false, inode: 9002)
            var c = stack.socket(stack.client, inode: 5001)
            stack.connects(c, Stack.clientV4, to: other)
            let r = stack.answers(plain, stack.syn(c, .capable), c)
            stack.fallsBack(c)
            var s = stack.accepts(r, stack.ack(c, .none)).child
            stack.closes(c)
            stack.closes(s)
            for number in 2...3 as ClosedRange<UInt16> {
                c = stack.socket(stack.client, inode: 5000 + UInt32(number), at: c)
                stack.connects(c, Endpoint(Stack.clientV4.address, 40_000 + number), to: Stack.serverV4)
                let r = stack.answers(l, stack.syn(c, .capable), c)
                let m = stack.agrees(c, peer: r.token)
                let accepted = stack.accepts(r, stack.ack(c, .capable), peer: c.fields.loc_token, at: s)
                s = accepted.child
                if number == 2 { stack.dataWithoutDSS(m) }
                stack.closes(c, [m])
                stack.closes(s, [accepted.master])
            }
            c = stack.socket(stack.client, inode: 5009, at: c)
            stack.connects(c, Endpoint(Stack.clientV4.address, 40_009), to: Stack.serverV4)
            stack.gives(up: c, ECONNREFUSED)
        }
    ]
}
