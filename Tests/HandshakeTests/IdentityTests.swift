// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Handshake

/// Whose event it is: pointers are used again within milliseconds.
@Suite struct IdentityTests {
    @Test func aPointerUsedAgainIsANewConnection() {
        var tracker = Tracker()
        var walk = Walk()
        var found = tracker.feed([walk.connect(), walk.synackIn(), walk.verdict(true)])
        walk.here.port += 1
        walk.token += 1
        // The end of the first was not seen; the same pointers connect again.
        found += tracker.feed([
            walk.connect(), walk.synackIn(.optionAbsent), walk.verdict(false), walk.mskClosed(),
        ])
        #expect(found.handshakes.map(\.outcome) == [.mptcp, .fallback])
        #expect(Set(found.handshakes.map(\.conn)).count == 2)
        #expect(found.closes.map(\.conn) == [found.handshakes.last?.conn])
        #expect(found.anomalies.isEmpty)
    }

    @Test func anotherPeerOnTheSamePointerIsIgnored() {
        var tracker = Tracker()
        var walk = Walk()
        _ = tracker.feed([walk.connect()])
        var stranger = walk.synackIn(.optionAbsent)
        stranger.remote.port = 9999
        #expect(tracker.feed([stranger]).isEmpty)
        #expect(tracker.feed([walk.synackIn(), walk.verdict(true)]).handshakes.map(\.outcome) == [.mptcp])
    }

    @Test func anotherNamespaceOnTheSamePointerIsIgnored() {
        var tracker = Tracker()
        var walk = Walk()
        _ = tracker.feed([walk.connect()])
        var stranger = walk.subflowClosed(.refused)
        stranger.netns += 1
        #expect(tracker.feed([stranger]).isEmpty)
    }

    @Test func whatWasNeverSeenToBeginIsNotGuessed() {
        var tracker = Tracker()
        var walk = Walk()
        #expect(
            tracker.feed([
                walk.synackIn(), walk.synackOut(), walk.ackIn(), walk.subflowClosed(), walk.mskClosed(),
            ]).isEmpty)
    }

    @Test func aHandshakeThatBeganBeforeTheTraceHasNoTimings() {
        var tracker = Tracker()
        var walk = Walk()
        let found = tracker.feed([walk.verdict(true), walk.childEstablished(true)])
        #expect(found.handshakes.map(\.outcome) == [.mptcp, .mptcp])
        #expect(found.handshakes.allSatisfy { $0.timings == Timings() && $0.owner == nil })
        #expect(found.anomalies.isEmpty)
    }

    @Test func theSnapshotAndTheFirstEventsAreToldOnce() {
        var tracker = Tracker()
        var walk = Walk()
        let listener = SnapshotListener(
            transport: .mptcp, local: walk.there, netns: walk.netns, inode: 4711, cookie: 5, mskCookie: 6,
            owner: nil)
        let open = SnapshotConnection(
            local: walk.here, remote: walk.there, netns: walk.netns, token: walk.token, inode: 12,
            cookie: 7, subflows: 1, state: .mptcp, side: nil, owner: nil)
        let snapshot = Snapshot(time: 5, listeners: [listener], connections: [open])
        let born = [walk.listen(), walk.connect(), walk.synackIn(), walk.verdict(true)]
        tracker.begin(snapshot, born: born)
        let found = tracker.feed(born)
        #expect(found.listeners.map(\.origin) == [.seen])
        #expect(found.connections.isEmpty)
        #expect(found.handshakes.count == 1)
    }

    @Test func theSnapshotsSocketsAreFoundByCookie() throws {
        var tracker = Tracker()
        var walk = Walk()
        var owner = Walk.owner
        owner.source = .holder
        let listener = SnapshotListener(
            transport: .mptcp, local: walk.there, netns: walk.netns, inode: 4711, cookie: 5, mskCookie: 6,
            owner: owner)
        let open = SnapshotConnection(
            local: walk.there, remote: walk.here, netns: walk.netns, token: 99, inode: 12, cookie: 7,
            subflows: 2, state: .mptcp, side: .server, owner: owner)
        tracker.begin(Snapshot(time: 5, listeners: [listener], connections: [open]), born: [])
        var syn = walk.synIn()
        syn.cookie = 5
        var ended = walk.mskClosed()
        ended.cookie = 7
        ended.msk = 0xdead
        var closed = walk.make(.closed, .inetSockSetState, .server, .mptcpSocket)
        closed.socket = walk.listener
        closed.listener = walk.listener
        let found = tracker.feed([syn, walk.synackOut(), walk.childEstablished(true), ended, closed])
        #expect(found.listeners.map(\.state) == [.open, .closed])
        #expect(found.listeners.map(\.origin) == [.snapshot, .snapshot])
        let handshake = try #require(found.handshakes.first)
        #expect(handshake.listener == found.listeners.first?.listener)
        #expect(handshake.owner == owner)
        let close = try #require(found.closes.first)
        #expect(close.conn == found.connections.first?.conn)
        #expect(close.duration == nil)
        // How many it had before the trace is not known.
        #expect(close.subflows == nil)
    }

    @Test func aFullTableCountsWhatMadeRoom() {
        var options = Tracker.Options()
        options.capacity = 10
        var tracker = Tracker(options)
        var walk = Walk()
        _ = tracker.feed([walk.listen()])
        for _ in 0..<100 {
            _ = tracker.feed([walk.synIn(), walk.synackOut()])
            walk.next()
        }
        #expect(tracker.connectionCount == 10)
        #expect(tracker.evicted == 90)
        tracker.advance(to: walk.time)
        let found = tracker.feed([])
        #expect(found.losses.map(\.count) == [90])
        #expect(found.losses.map(\.reason) == [.tableFull])
        // A real one gets through all the same.
        #expect(
            tracker.feed([walk.synIn(), walk.synackOut(), walk.childEstablished(true)])
                .handshakes.map(\.outcome) == [.mptcp])
    }

    /// The end of one connection and the beginning of the next were lost, which has its pointers now.
    @Test func aVerdictIsOfTheConnectionThatHasItsToken() throws {
        var tracker = Tracker()
        var walk = Walk()
        _ = tracker.feed([walk.connect()])
        let first = walk.here
        walk.here.port += 1
        walk.token += 1
        var verdict = walk.verdict(true)
        verdict.losses = 1
        let found = tracker.feed([verdict])
        #expect(found.handshakes.map(\.outcome) == [.mptcp])
        let handshake = try #require(found.handshakes.first)
        #expect(handshake.conn == 2)
        #expect(handshake.local != first)
        #expect(handshake.owner == nil)
        // What the kernel says of another connection is not this one's fallback.
        var other = walk.losesMptcp(.client)
        other.token += 1
        #expect(tracker.feed([other]).fallbacks.isEmpty)
        #expect(tracker.feed([walk.losesMptcp(.client)]).fallbacks.map(\.conn) == [2])
    }
}
