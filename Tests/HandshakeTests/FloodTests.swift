// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Handshake

/// More half-open handshakes than there is room for.
@Suite struct FloodTests {
    private static let capacity = 1_000

    private func tracker(steps: Bool = false) -> Tracker {
        var options = Tracker.Options()
        options.capacity = Self.capacity
        options.steps = steps
        return Tracker(options)
    }

    /// SYNs from ever new addresses.
    private struct Flood {
        var walk: Walk
        private(set) var sent: UInt32 = 0

        init(_ walk: Walk) { self.walk = walk }

        static func source(_ number: UInt32) -> Address { Address(v4: 0xc612_0000 + number) }

        mutating func syn() -> Observation {
            walk.here = Endpoint(Self.source(sent), 1024)
            sent += 1
            return walk.synIn()
        }

        mutating func joinSyn() -> Observation {
            var o = syn()
            o.step = .joinSynReceived
            o.facts = [.mptcpSocket, .optionJoin]
            o.token = 0x7f00_0000 + sent
            return o
        }
    }

    @Test(arguments: [false, true]) func theOldestHalfOpenMakeRoomAndRealOnesStay(_ steps: Bool) {
        var tracker = tracker(steps: steps)
        var walk = Walk()
        var found = tracker.feed([walk.listen()])
        // 50 connections of each end, and 10 clients whose SYN is not answered yet.
        var open: [Walk] = []
        for _ in 0..<50 {
            found += tracker.feed([
                walk.connect(), walk.synackIn(), walk.verdict(true), walk.synIn(), walk.synackOut(),
                walk.childEstablished(true),
            ])
            open.append(walk)
            walk.next()
        }
        var waiting: [Walk] = []
        for _ in 0..<10 {
            found += tracker.feed([walk.connect()])
            waiting.append(walk)
            walk.next()
        }
        var flood = Flood(walk)
        var real = 0
        for number in 0..<10_000 {
            found += tracker.feed([flood.syn()])
            if number % 100 == 0 {
                // One of many round trips in between: still half-open when 500 more have come.
                var begun = walk
                begun.time = flood.walk.time
                found += tracker.feed([begun.synIn(), begun.synackOut()])
                for _ in 0..<500 { found += tracker.feed([flood.syn()]) }
                begun.time = flood.walk.time
                found += tracker.feed([begun.childEstablished(true)])
                real += 1
                walk.next()
            }
            #expect(tracker.connectionCount <= Self.capacity)
        }
        tracker.advance(to: flood.walk.time)
        found += tracker.feed([])
        #expect(found.handshakes.count == 100 + real)
        #expect(found.handshakes.allSatisfy { $0.outcome == .mptcp })
        #expect(found.anomalies.isEmpty)

        // Each that came is decided, there, or counted as evicted.
        let total = 50 * 2 + 10 + real + Int(flood.sent)
        #expect(tracker.connectionCount == Self.capacity)
        #expect(Int(tracker.evicted) == total - Self.capacity)
        #expect(found.losses.map(\.count).reduce(0, +) == tracker.evicted)
        #expect(found.losses.allSatisfy { $0.reason == .tableFull })

        // Whoever waited is still known.
        for var client in waiting {
            client.time = flood.walk.time
            found += tracker.feed([client.synackIn(), client.verdict(true)])
        }
        #expect(found.handshakes.count == 100 + real + waiting.count)
        var closes: [Record] = []
        for var connection in open {
            closes += tracker.feed([
                connection.subflowClosed(), connection.mskClosed(), connection.childClosed(.mptcpSocket),
                connection.childMskClosed(),
            ])
        }
        #expect(closes.closes.count == 100)

        // The youngest stayed, and end as what they are.
        tracker.finish(at: flood.walk.time)
        let rest = tracker.feed([]).handshakes.filter { $0.outcome != .mptcp }
        #expect(rest.allSatisfy { $0.outcome == .aborted && $0.reason == .traceEnded })
        let youngest = (flood.sent - UInt32(rest.count))..<flood.sent
        #expect(rest.map(\.remote.address) == youngest.map { Flood.source($0) })
        #expect(rest.count > 0)
    }

    @Test func whatTimesOutBesideEvictionsDoesSoForItsOwnReason() {
        var tracker = tracker()
        var flood = Flood(Walk())
        for _ in 0..<3_000 { tracker.take(flood.syn()) }
        tracker.advance(to: flood.walk.time + 80_000_000_000)
        let found = tracker.feed([])
        #expect(found.handshakes.count == Self.capacity)
        #expect(Set(found.handshakes.map(\.reason)) == [.noAck])
        #expect(found.losses.map(\.count) == [2_000])
        #expect(tracker.connectionCount == 0)
    }

    /// Its end is not seen either: the RSTs that refuse them were lost.
    @Test func joinsThatAreNeverAnsweredMakeRoom() {
        var tracker = tracker()
        var walk = Walk()
        _ = tracker.feed([
            walk.listen(), walk.synIn(), walk.synackOut(), walk.childEstablished(true),
        ])
        var flood = Flood(walk)
        for _ in 0..<10_000 {
            tracker.take(flood.joinSyn())
            #expect(tracker.connectionCount <= Self.capacity)
        }
        #expect(tracker.evicted == 10_001 - UInt64(Self.capacity))
        walk.time = flood.walk.time
        #expect(tracker.feed([walk.childMskClosed()]).closes.count == 1)
        tracker.finish(at: walk.time)
        let found = tracker.feed([])
        #expect(Set(found.joins.map(\.reason)) == [.traceEnded])
        #expect(found.joins.count == Self.capacity - 1)
        #expect(tracker.connectionCount == 0)
    }

    @Test func joinsThatAreRefusedLeaveNothing() {
        var tracker = tracker()
        var flood = Flood(Walk())
        for _ in 0..<10_000 {
            let syn = flood.joinSyn()
            var reset = flood.walk.make(.reset, .tcpSendReset, .server, [.mptcpSocket, .sentByUs, .noToken])
            reset.listener = syn.listener
            tracker.take(syn)
            tracker.take(reset)
            #expect(tracker.connectionCount == 0)
        }
        let found = tracker.feed([])
        #expect(found.joins.count == 10_000)
        #expect(tracker.evicted == 0)
        #expect(tracker.storedPlaces <= 1)
    }

    /// As many as are asked for, each once.
    @Test func theEndComesInPieces() {
        var tracker = tracker()
        var flood = Flood(Walk())
        for _ in 0..<950 { tracker.take(flood.syn()) }
        var decided: [HandshakeRecord] = []
        var pieces = 0
        var isOver = false
        while !isOver, pieces < 20 {
            isOver = tracker.finish(at: flood.walk.time, atMost: 100)
            let piece = tracker.feed([]).handshakes
            #expect(piece.count <= 100)
            decided += piece
            pieces += 1
        }
        #expect(isOver)
        #expect(pieces == 10)
        #expect(decided.map(\.remote.address) == (0..<950).map { Flood.source($0) })
    }

    /// Steps that wait for their verdict: few at any time, and those that had to go are counted.
    @Test(arguments: [0, 10]) func waitingStepsAreBoundedAndCounted(_ retransmits: Int) {
        var options = Tracker.Options()
        options.steps = true
        var tracker = Tracker(options)
        var selection = Selection()
        selection.outcomes = [.mptcp]
        var out: ContiguousArray<Record> = []
        var walk = Walk()
        var flood = Flood(walk)
        var steps = 0
        func pass(_ found: [Record]) {
            steps += found.steps.count
            for record in found { selection.pass(record, to: &out) }
        }
        for number in 0..<30_000 {
            pass(tracker.feed([flood.syn(), flood.walk.synackOut()]))
            for _ in 0..<retransmits { pass(tracker.feed([flood.walk.synackOut()])) }
            if number % 1_000 == 0 {
                walk.time = flood.walk.time
                pass(tracker.feed([walk.synIn(), walk.synackOut(), walk.childEstablished(true)]))
                walk.next()
            }
            // The limit, and what comes of connections that wait already.
            #expect(selection.waitingSteps <= Selection.waitingStepLimit + 2 + retransmits)
        }
        #expect(out.allSatisfy { if case .lost = $0 { false } else { true } })
        tracker.finish(at: flood.walk.time)
        pass(tracker.feed([]))
        selection.tellLosses(at: flood.walk.time, to: &out)
        let passed = Array(out)
        #expect(passed.handshakes.count == 30)
        #expect(passed.steps.count == 30 * 3)
        // Every step was written, belonged to what was not wanted, or was dropped and counted.
        #expect(passed.losses.count == 1)
        let lost = Int(passed.losses.map(\.count).reduce(0, +))
        #expect(lost > 0)
        #expect(lost <= steps - 90)
        #expect(selection.waitingSteps == 0)
        selection.tellLosses(at: flood.walk.time, to: &out)
        #expect(out.count == passed.count)
    }
}

extension Tracker {
    /// How many places for connections were ever needed.
    fileprivate var storedPlaces: Int { connections.slots.count }
}
