// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Handshake

/// Each way a handshake can end, step by step.
@Suite struct OutcomeTests {
    private func stepwise() -> Tracker {
        var options = Tracker.Options()
        options.steps = true
        return Tracker(options)
    }

    @Test func clientBecomesMptcp() throws {
        var tracker = Tracker()
        var walk = Walk()
        let found = tracker.feed([walk.connect(), walk.synackIn(), walk.verdict(true), walk.mskClosed()])
        let handshake = try #require(found.handshakes.first)
        #expect(found.handshakes.count == 1)
        #expect(handshake.outcome == .mptcp)
        #expect(handshake.reason == nil)
        #expect(handshake.side == .client)
        #expect(handshake.owner == Walk.owner)
        #expect(handshake.token == walk.token)
        #expect(handshake.remoteToken == walk.peerToken)
        #expect(handshake.local == walk.here)
        #expect(handshake.remote == walk.there)
        #expect(handshake.timings == Timings(synToSynack: 1_000, synackToEstablished: 1_000, total: 2_000))
        let close = try #require(found.closes.first)
        #expect(close.conn == handshake.conn)
        #expect(close.duration == 3_000)
        #expect(close.subflows == 1)
        #expect(found.anomalies.isEmpty)
        #expect(tracker.connectionCount == 0)
    }

    @Test func everyStepOfAClient() {
        var tracker = stepwise()
        var walk = Walk()
        let found = tracker.feed([
            walk.connect(), walk.synOut(), walk.synackIn(), walk.subflowEstablished(), walk.verdict(true),
            walk.subflowClosed(), walk.mskClosed(),
        ])
        #expect(
            found.steps.map(\.to) == [
                .synSent, .synSent, .synackReceived, .tcpEstablished, .mptcpEstablished, .subflowClosed,
                .closed,
            ])
        expectChain(found.steps)
        #expect(found.handshakes.map(\.outcome) == [.mptcp])
        #expect(found.closes.count == 1)
        #expect(found.anomalies.isEmpty)
    }

    @Test func everyStepOfAServer() {
        var tracker = stepwise()
        var walk = Walk()
        let found = tracker.feed([
            walk.listen(), walk.synIn(), walk.synackOut(), walk.ackIn(), walk.accepted(),
            walk.childEstablished(true), walk.childClosed(.mptcpSocket), walk.childMskClosed(),
        ])
        #expect(
            found.steps.dropFirst().map(\.to) == [
                .synReceived, .synackSent, .ackReceived, .accepted, .mptcpEstablished, .subflowClosed,
                .closed,
            ])
        expectChain(Array(found.steps.dropFirst()))
        #expect(found.handshakes.map(\.outcome) == [.mptcp])
        #expect(found.handshakes.first?.listener == found.listeners.first?.listener)
        #expect(found.handshakes.first?.owner?.source == .listen)
        #expect(found.closes.count == 1)
        #expect(found.anomalies.isEmpty)
        #expect(tracker.connectionCount == 0)
    }

    private func expectChain(_ steps: [StepRecord]) {
        var last = SubflowState.none
        for step in steps {
            #expect(step.from == last)
            last = step.to
        }
    }

    @Test func clientFallsBack() {
        var tracker = Tracker()
        var walk = Walk()
        let found = tracker.feed([
            walk.connect(), walk.synackIn(.optionAbsent), walk.verdict(false), walk.mskClosed(),
        ])
        #expect(found.handshakes.map(\.outcome) == [.fallback])
        #expect(found.handshakes.map(\.reason) == [.synackWithoutMptcp])
        #expect(found.closes.count == 1)
        #expect(found.anomalies.isEmpty)
    }

    @Test func clientFallsBackAfterDroppedSyns() {
        var tracker = stepwise()
        var walk = Walk()
        let found = tracker.feed([
            walk.connect(), walk.synOut(), walk.synOut(), walk.synOut(.optionAbsent),
            walk.synackIn(.optionAbsent), walk.subflowEstablished(), walk.verdict(false, .droppedSyns),
        ])
        #expect(found.handshakes.map(\.reason) == [.synWithMptcpDropped])
        #expect(found.anomalies.isEmpty)
    }

    @Test func clientDoesNotAsk() {
        var tracker = Tracker()
        var walk = Walk()
        let found = tracker.feed([
            walk.connect([.mptcpSocket]), walk.synackIn(.optionAbsent), walk.verdict(false),
        ])
        #expect(found.handshakes.map(\.reason) == [.mptcpDisabledAtConnect])
        #expect(found.anomalies.isEmpty)
    }

    @Test(arguments: [
        (Facts.refused, Outcome.refused, Reason.rstToSyn), (Facts.timedOut, .timeout, .noSynack),
        (Facts.connectionReset, .reset, .rstInHandshake), (Facts.otherError, .aborted, .connectFailed),
        (Facts(), .aborted, .closedByProcess),
    ])
    func clientFails(_ error: Facts, _ outcome: Outcome, _ reason: Reason) {
        var tracker = Tracker()
        var walk = Walk()
        let found = tracker.feed([walk.connect(), walk.subflowClosed(error), walk.mskClosed()])
        #expect(found.handshakes.map(\.outcome) == [outcome])
        #expect(found.handshakes.map(\.reason) == [reason])
        #expect(found.closes.isEmpty)
        #expect(found.anomalies.isEmpty)
        #expect(tracker.connectionCount == 0)
    }

    @Test func serverFallsBack() {
        for (syn, synack, ack, reason) in [
            (Facts.optionAbsent, Facts.optionAbsent, Facts.optionAbsent, Reason.synWithoutMptcp),
            (.optionCapable, .optionAbsent, .optionAbsent, .ackWithoutMptcp),
            (.optionCapable, .optionCapable, .optionAbsent, .ackWithoutMptcp),
        ] {
            var tracker = Tracker()
            var walk = Walk()
            let found = tracker.feed([
                walk.listen(), walk.synIn(syn), walk.synackOut(synack), walk.ackIn(ack),
                walk.childEstablished(false), walk.childClosed(),
            ])
            #expect(found.handshakes.map(\.outcome) == [.fallback])
            #expect(found.handshakes.map(\.reason) == [reason])
            #expect(found.closes.count == 1)
            #expect(found.anomalies.isEmpty)
        }
    }

    /// The kernel sends a SYN-ACK with a cookie from no socket: it is not seen.
    @Test(arguments: [true, false]) func synCookies(_ mptcp: Bool) {
        var tracker = stepwise()
        var walk = Walk()
        var observations = [walk.listen(), walk.synIn(), walk.ackIn(mptcp ? .optionCapable : .optionAbsent)]
        if mptcp { observations.append(walk.accepted()) }
        observations.append(walk.childEstablished(mptcp))
        let found = tracker.feed(observations)
        #expect(found.handshakes.map(\.outcome) == [mptcp ? .mptcp : .fallback])
        #expect(found.handshakes.map(\.reason) == [mptcp ? nil : .ackWithoutMptcp])
        #expect(found.anomalies.isEmpty)
    }

    /// The connection is cloned by the SYN itself, before the SYN-ACK leaves.
    @Test func tcpFastOpen() {
        var tracker = stepwise()
        var walk = Walk()
        let found = tracker.feed([
            walk.listen(), walk.synIn(), walk.accepted(), walk.synackOut(), walk.ackIn(),
            walk.childEstablished(true),
        ])
        #expect(found.handshakes.map(\.outcome) == [.mptcp])
        #expect(found.anomalies.isEmpty)
    }

    /// The option is taken from the SYN by this machine's own firewall: the socket did ask.
    @Test func aSynStrippedAtHomeAskedAllTheSame() {
        var tracker = stepwise()
        var walk = Walk()
        let found = tracker.feed([
            walk.connect(), walk.synOut(.optionAbsent), walk.synackIn(.optionAbsent),
            walk.subflowEstablished(), walk.verdict(false),
        ])
        #expect(found.handshakes.map(\.reason) == [.synackWithoutMptcp])
        #expect(found.anomalies.isEmpty)
    }

    @Test func listenerIsTcp() {
        var tracker = Tracker()
        var walk = Walk()
        let found = tracker.feed([
            walk.listen(.plainSocket), walk.synIn(socket: .plainSocket),
            walk.synackOut(.optionAbsent, socket: .plainSocket), walk.childEstablished(false),
        ])
        #expect(found.handshakes.map(\.reason) == [.listenerIsTcp])
        #expect(found.listeners.map(\.transport) == [.tcp])
    }

    @Test func plainTcpIsOnlyToldWhenAskedFor() {
        for all in [false, true] {
            var options = Tracker.Options()
            options.allTcp = all
            var tracker = Tracker(options)
            var walk = Walk()
            var established = walk.subflowEstablished()
            established.facts = .plainSocket
            let found = tracker.feed([
                walk.connect(.plainSocket), established, walk.subflowClosed([], socket: .plainSocket),
            ])
            #expect(found.handshakes.map(\.outcome) == (all ? [.tcp] : []))
            #expect(found.closes.count == (all ? 1 : 0))
        }
    }

    @Test func serverGivesUp() {
        var tracker = Tracker()
        var walk = Walk()
        var found = tracker.feed([walk.listen(), walk.synIn(), walk.synackOut()])
        tracker.advance(to: walk.time + 60_000_000_000)
        #expect(tracker.records.isEmpty)
        tracker.advance(to: walk.time + 80_000_000_000)
        found = tracker.feed([])
        #expect(found.handshakes.map(\.outcome) == [.timeout])
        #expect(found.handshakes.map(\.reason) == [.noAck])
        #expect(tracker.connectionCount == 0)
    }

    @Test func aClosedListenerTakesItsHalfOpenHandshakesAlong() {
        var tracker = Tracker()
        var walk = Walk()
        var observations = [walk.listen()]
        for _ in 0..<3 {
            observations += [walk.synIn(), walk.synackOut()]
            walk.next()
        }
        var closed = walk.make(.closed, .inetSockSetState, .server, .mptcpSocket)
        closed.socket = walk.listener
        closed.listener = walk.listener
        var found = tracker.feed(observations + [closed])
        // In pieces, for there may be very many.
        let first = tracker.advance(to: walk.time, atMost: 2)
        let second = tracker.advance(to: walk.time)
        #expect(!first && second)
        found += tracker.feed([])
        #expect(found.handshakes.map(\.outcome) == [.aborted, .aborted, .aborted])
        #expect(found.handshakes.map(\.reason) == [.closedByProcess, .closedByProcess, .closedByProcess])
        // Each place was given back once.
        #expect(tracker.connectionCount == 0)
        #expect(tracker.feed([walk.connect(), walk.synackIn(), walk.verdict(true)]).handshakes.count == 1)
        #expect(tracker.connectionCount == 1)
    }

    @Test func theEndOfTheTraceAborts() {
        var tracker = Tracker()
        var walk = Walk()
        _ = tracker.feed([walk.connect()])
        tracker.finish(at: walk.time + 5)
        #expect(tracker.feed([]).handshakes.map(\.reason) == [.traceEnded])
        #expect(tracker.connectionCount == 0)
    }

    @Test func synRetransmitsAreCounted() {
        var tracker = Tracker()
        var walk = Walk()
        let found = tracker.feed([
            walk.listen(), walk.synIn(), walk.synackOut(), walk.synIn(), walk.synIn(), walk.synackOut(),
            walk.childEstablished(true),
        ])
        #expect(found.handshakes.map(\.synRetransmits) == [2])
        #expect(found.anomalies.isEmpty)
    }

    @Test func whatTheTableDoesNotKnowIsADivergence() throws {
        var tracker = Tracker()
        var walk = Walk()
        // The SYN-ACK agreed, and yet the kernel fell back.
        let found = tracker.feed([walk.connect(), walk.synackIn(), walk.verdict(false)])
        let anomaly = try #require(found.anomalies.first)
        #expect(anomaly.kind == .mirrorDivergence)
        #expect(anomaly.evidence == [.step(anomaly.conn)])
        #expect(found.steps.count == 1)
        #expect(found.steps.first?.from == .synackReceived)
        // The kernel is right all the same.
        #expect(found.handshakes.map(\.outcome) == [.fallback])
    }

    @Test func afterALossNothingIsHeldAgainstTheKernel() {
        var tracker = Tracker()
        var walk = Walk()
        _ = tracker.feed([walk.connect()])
        tracker.noteLoss(LostRecord(time: walk.time, hook: .skbIngress, count: 1, reason: .ringFull))
        let found = tracker.feed([walk.synackIn(), walk.verdict(false)])
        #expect(found.anomalies.isEmpty)
        #expect(found.handshakes.map(\.outcome) == [.fallback])
    }

    /// What the kernel skipped is told before the events that came meanwhile are taken.
    @Test func aLossThatNoEventTellsCountsForWhatBeganBeforeIt() {
        var tracker = Tracker()
        var walk = Walk()
        let events = [walk.connect(), walk.synackIn(), walk.verdict(false)]
        tracker.noteLoss(LostRecord(time: walk.time + 1, hook: .skbIngress, count: 1, reason: .recursion))
        #expect(tracker.feed(events).anomalies.isEmpty)
        walk.next()
        walk.time += 10
        #expect(tracker.feed([walk.connect(), walk.synackIn(), walk.verdict(false)]).anomalies.count == 1)
    }

    /// The verdict was lost; then data tell that MPTCP is over, if it ever began.
    @Test func aLaterFallbackIsNoVerdict() {
        var tracker = Tracker()
        var walk = Walk()
        var later = walk.make(.fallback, .dataAvailable, nil, [.mptcpSocket, .noMapping, .fullyEstablished])
        later.msk = walk.msk
        _ = tracker.feed([walk.connect(), walk.synackIn(), walk.subflowEstablished()])
        tracker.noteLoss(LostRecord(time: walk.time, hook: .inetSockSetState, count: 1, reason: .ringFull))
        later.time = walk.time + 1
        later.losses = 1
        let found = tracker.feed([later])
        #expect(found.handshakes.map(\.outcome) == [.aborted])
        #expect(found.handshakes.map(\.reason) == [.notFollowed])
        #expect(found.anomalies.isEmpty)
    }

    /// The server's verdict was lost; a RST ends what was established long ago.
    @Test func aResetAfterALossIsNoVerdict() {
        var tracker = Tracker()
        var walk = Walk()
        _ = tracker.feed([walk.listen(), walk.synIn(), walk.synackOut(), walk.ackIn(), walk.accepted()])
        tracker.noteLoss(LostRecord(time: walk.time, hook: .inetSockSetState, count: 1, reason: .ringFull))
        var closed = walk.childClosed([.mptcpSocket, .connectionReset, .wasEstablished])
        closed.losses = 1
        #expect(tracker.feed([closed]).handshakes.map(\.reason) == [.notFollowed])
    }

    @Test func whatNeverWasMptcpCannotLoseIt() {
        var tracker = Tracker()
        var walk = Walk()
        let verdict = walk.verdict(false)
        let found = tracker.feed([
            walk.connect(), walk.synackIn(.optionAbsent), verdict, walk.subflowClosed(), verdict,
        ])
        #expect(found.handshakes.count == 1)
        #expect(!found.contains { if case .fallback = $0 { true } else { false } })
    }
}
