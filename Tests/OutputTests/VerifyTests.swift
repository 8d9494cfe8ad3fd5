// SPDX-License-Identifier: Apache-2.0

import Handshake
import Testing

@testable import Output

/// Records and connections against made-up books of the kernel's.
@Suite struct VerifyTests {
    static let netns: UInt32 = 4_026_532_462

    /// A client's handshake there.
    private func handshake(
        _ outcome: Outcome, _ reason: Reason? = nil, _ side: Side = .client, token: UInt32 = 1,
        retransmits: UInt8 = 0, answered: Bool = true, time: UInt64 = 100
    ) -> Record {
        var record = HandshakeRecord(
            time: time, conn: 1, side: side, outcome: outcome, reason: reason, local: Samples.v4Local,
            remote: Samples.v4Remote, family: 4, netns: Self.netns)
        record.token = token
        record.synRetransmits = retransmits
        record.timings.synToSynack = answered ? 5 : nil
        return .handshake(record)
    }

    private func join(_ outcome: JoinOutcome, _ reason: Reason? = nil, _ side: Side = .server) -> Record {
        var record = JoinRecord(
            time: 100, conn: 1, subflow: 1, side: side, outcome: outcome, reason: reason,
            local: Samples.v4Local, remote: Samples.v4Remote, token: 1)
        record.netns = Self.netns
        return .join(record)
    }

    private func step(_ from: SubflowState, _ to: SubflowState) -> Record {
        var seen = Observation(time: 100, step: .synSent, hook: .inetSockSetState)
        seen.netns = Self.netns
        return .step(
            StepRecord(
                observation: seen, conn: 1, subflow: 0, listener: 0, side: .client, owner: nil, from: from,
                to: to))
    }

    /// The counters of `netns` that rose while the trace ran, and those that moved as it ended.
    private func readings(
        _ rose: [String: UInt64], movedAtEnd: [String: UInt64] = [:], movedAtStart: [String: UInt64] = [:],
        without: Set<String> = []
    ) -> CounterReadings {
        var readings = CounterReadings(netns: Self.netns, name: "web")
        for name in KernelCounter.all.map({ "MPTcpExt" + $0.name }) + Array(rose.keys)
        where !without.contains(name) {
            let start = UInt64(1000)
            readings.beforeStart[name] = start
            readings.afterStart[name] = start + (movedAtStart[name] ?? 0)
            readings.beforeEnd[name] = start + (movedAtStart[name] ?? 0) + (rose[name] ?? 0)
            readings.afterEnd[name] = (readings.beforeEnd[name] ?? 0) + (movedAtEnd[name] ?? 0)
        }
        return readings
    }

    private func verify(_ records: [Record], _ readings: CounterReadings, steps: Bool = false) -> VerifyResult
    {
        var books = RecordBooks()
        for record in records { books.take(record) }
        var result = VerifyResult()
        result.compare(books, with: [readings], steps: steps)
        return result
    }

    private func counters(_ result: VerifyResult) -> [String] {
        result.differences.compactMap {
            guard case .counter(let it) = $0 else { return nil }
            return "\(it.counter) \(it.kernel) \(it.seen) \(it.unexplained)"
        }
    }

    @Test func equalCountsAreEqual() {
        let result = verify(
            [handshake(.mptcp), handshake(.mptcp), handshake(.mptcp, nil, .server), join(.joined)],
            readings([
                "MPTcpExtMPCapableSYNACKRX": 2, "MPTcpExtMPCapableACKRX": 1, "MPTcpExtMPJoinAckRx": 1,
            ]))
        #expect(result.checked == UInt64(VerifyResult.counterCount - 5))
        #expect(result.equal == result.checked)
        #expect(result.withinBounds == 0)
        #expect(result.differences == [])
        #expect(result.skipped == [.countersNeedSteps: 5])
    }

    @Test func stepsAreCountedWhenTheyChangeSomething() {
        let result = verify(
            [step(.none, .synSent), step(.synSent, .synSent), step(.none, .joinSynReceived)],
            readings(["MPTcpExtMPCapableSYNTX": 1, "MPTcpExtMPJoinSynRx": 1]), steps: true)
        #expect(result.checked == UInt64(VerifyResult.counterCount))
        #expect(result.equal == result.checked)
        #expect(result.skipped == [:])
    }

    @Test func whatDiffersIsToldByHowMuch() {
        let result = verify(
            [handshake(.mptcp), join(.rejected, .mpJoinRejected)],
            readings(["MPTcpExtMPCapableSYNACKRX": 3, "MPTcpExtMPJoinAckRx": 1]))
        #expect(
            counters(result) == [
                "MPCapableSYNACKRX 3 1 2", "MPJoinAckRx 1 0 1", "MPJoinRejected 0 1 1",
            ])
        #expect(result.differing == 3)
        #expect(result.checked - result.equal == 3)
    }

    /// What moves while tracing is switched on or off may have been seen or not.
    @Test(arguments: [(2, 0), (3, 0), (4, 0), (5, 0), (1, 1), (7, 2)] as [(Int, UInt64)])
    func whatMovedAtTheEndsIsNoDifference(_ seen: Int, _ unexplained: UInt64) {
        let name = "MPTcpExtMPCapableSYNACKRX"
        let result = verify(
            (0..<seen).map { _ in handshake(.mptcp) },
            readings([name: 2], movedAtEnd: [name: 2], movedAtStart: [name: 1]))
        #expect(result.differing == (unexplained > 0 ? 1 : 0))
        #expect(result.withinBounds == (unexplained > 0 ? 0 : 1))
        guard unexplained > 0 else { return }
        let kernel = seen < 2 ? 2 : 5
        #expect(counters(result) == ["MPCapableSYNACKRX \(kernel) \(seen) \(unexplained)"])
    }

    @Test func aCounterThatIsNotThereIsNotCompared() {
        let result = verify(
            [join(.rejected, .mpJoinRejected)],
            readings([:], without: ["MPTcpExtMPJoinRejected", "MPTcpExtBlackhole"]))
        #expect(result.differences == [])
        #expect(result.checked == UInt64(VerifyResult.counterCount - 7))
        #expect(result.skipped[.countersMissing] == 2)
    }

    /// A handshake that began before the trace may have been counted before it, or has no reason.
    @Test func whatBeganEarlierIsNoDifference() {
        var began = readings(["MPTcpExtMPJoinSynAckRx": 1])
        began.halfOpenClients = 1
        #expect(verify([handshake(.fallback, .synWithMptcpDropped)], began, steps: true).differing == 1)
        #expect(
            counters(verify([handshake(.fallback, .synWithMptcpDropped)], began, steps: true))
                == ["Blackhole 0 1 1"])
        #expect(
            verify([handshake(.fallback)], readings(["MPTcpExtMPCapableFallbackSYNACK": 1])).differing == 0)
        #expect(
            verify([handshake(.mptcp)], readings(["MPTcpExtMPCapableFallbackSYNACK": 1])).differing == 2)
    }

    @Test func whatWasUndecidedAtTheEndIsNoDifference() {
        let dropped = readings(["MPTcpExtMPCapableSYNTXDrop": 1])
        #expect(verify([handshake(.aborted, .traceEnded, retransmits: 3)], dropped).differing == 0)
        #expect(verify([handshake(.aborted, .traceEnded)], dropped).differing == 1)
        let disabled = readings(["MPTcpExtMPCapableSYNTXDisabled": 1])
        #expect(verify([handshake(.refused, .rstToSyn, token: 0)], disabled).differing == 0)
        #expect(verify([handshake(.refused, .rstToSyn)], disabled).differing == 1)
    }

    /// connect() counts before it looks for a route.
    @Test func aConnectWithoutASynIsNoDifference() {
        let counted = readings(["MPTcpExtMPCapableSYNTX": 1])
        let unconnected = [step(.none, .created), step(.created, .closed)]
        #expect(verify(unconnected, counted, steps: true).differing == 0)
        #expect(verify([step(.none, .created)], counted, steps: true).differing == 1)
    }

    /// accept() counts MPCapableACKRX.
    @Test func whatNobodyAcceptedIsNoDifference() {
        let accepted = handshake(.mptcp, nil, .server)
        #expect(verify([accepted], readings([:])).differing == 1)
        var waiting = readings([:])
        waiting.unacceptedAtEnd = 1
        #expect(verify([accepted], waiting).withinBounds == 1)
        var late = readings(["MPTcpExtMPCapableACKRX": 1])
        #expect(verify([], late).differing == 1)
        late.unacceptedAtStart = 1
        #expect(verify([], late).withinBounds == 1)
        let listener = ListenerRecord(
            time: 100, listener: 1, state: .closed, transport: .mptcp, local: Samples.v4Local, owner: nil,
            netns: Self.netns, enabledAtCreation: nil, origin: .seen)
        #expect(verify([accepted, .listener(listener)], readings([:])).withinBounds == 1)
        // More than were seen are a difference all the same.
        #expect(verify([.listener(listener)], readings(["MPTcpExtMPCapableACKRX": 1])).differing == 1)
    }

    @Test func anotherNamespaceWithThatNumberProvesNothing() {
        var uncertain = readings(["MPTcpExtMPCapableSYNACKRX": 1])
        uncertain.isUncertain = true
        #expect(verify([handshake(.mptcp)], uncertain).checked > 0)
        let result = verify([], uncertain)
        #expect(result.checked == 0)
        #expect(result.skipped[.namespacesUncertain] == 1)
    }

    @Test func theBooksAreBounded() {
        var books = RecordBooks()
        for number in 1...UInt32(RecordBooks.limit) {
            #expect(!books.isFull)
            books.take(
                .handshake(
                    HandshakeRecord(
                        time: 1, conn: 1, side: .client, outcome: .mptcp, local: Samples.v4Local,
                        remote: Samples.v4Remote, family: 4, netns: number)))
        }
        #expect(!books.isFull)
        books.take(handshake(.mptcp))
        #expect(books.isFull)
        #expect(books.namespaces.count == RecordBooks.limit)
        #expect(books.firstTime(in: Self.netns) == nil)
    }

    @Test func onlyTheFirstDifferencesAreKept() {
        var result = VerifyResult()
        let one = CounterDifference(netns: 1, counter: "X", kernel: 1, seen: 0, unexplained: 1)
        for _ in 0..<(VerifyResult.limit + 5) { result.note(.counter(one)) }
        #expect(result.differences.count == VerifyResult.limit)
        #expect(result.differing == UInt64(VerifyResult.limit + 5))
    }

    // MARK: connections

    private func open(
        _ conn: UInt64, token: UInt32, _ state: ConnectionState = .mptcp, port: UInt16? = nil
    ) -> OpenConnection {
        OpenConnection(
            conn: conn, netns: Self.netns, side: .client,
            local: Endpoint(Samples.v4Local.address, port ?? UInt16(conn)), remote: Samples.v4Remote,
            token: token, state: state)
    }

    private func row(_ port: UInt16, token: UInt32, _ state: ConnectionState? = .mptcp) -> KernelConnection {
        KernelConnection(
            cookie: 9, token: token, local: Endpoint(Samples.v4Local.address, port), remote: Samples.v4Remote,
            state: state)
    }

    private func verify(
        _ open: [OpenConnection], before: [KernelConnection], _ after: [KernelConnection],
        known: [OpenConnection]? = nil
    ) -> VerifyResult {
        var readings = ConnectionReadings(netns: Self.netns)
        readings.before = before
        readings.after = after
        var result = VerifyResult()
        result.compare(open: known ?? open, open, with: [readings])
        return result
    }

    private func states(_ result: VerifyResult) -> [String] {
        result.differences.compactMap {
            guard case .connection(let it) = $0 else { return nil }
            return "\(it.conn) \(it.kernel?.rawValue ?? "none") \(it.seen?.rawValue ?? "none")"
        }
    }

    @Test func openConnectionsAreCompared() {
        let rows = [
            row(1, token: 11), row(2, token: 12, .fallback), row(3, token: 0, nil), row(4, token: 0),
        ]
        let result = verify(
            [
                open(1, token: 11), open(2, token: 12, .fallback), open(3, token: 0, .fallback),
                open(4, token: 14),
            ],
            before: rows, rows)
        #expect(result.checked == 4)
        #expect(result.equal == 4)
        #expect(result.withinBounds == 0)
    }

    @Test func theStateOfAConnectionMayDiffer() {
        let rows = [row(1, token: 11, .fallback), row(2, token: 12)]
        #expect(
            states(verify([open(1, token: 11), open(2, token: 12, .fallback)], before: rows, rows))
                == ["1 fallback mptcp", "2 mptcp fallback"])
    }

    @Test func aConnectionMayBeMissingOnEitherSide() {
        let rows = [row(1, token: 11), row(2, token: 12)]
        let result = verify(
            [open(1, token: 11), open(3, token: 13), open(4, token: 0, .fallback), open(2, token: 99)],
            before: rows, rows)
        #expect(states(result) == ["3 none mptcp", "4 none fallback", "2 none mptcp", "0 mptcp none"])
        #expect(result.checked == 5)
        #expect(result.equal == 1)
    }

    /// What opens or ends between the two readings may be in one of them, in both or in none.
    @Test func whatOpensOrEndsAtTheEndIsNoDifference() {
        let late = open(1, token: 11)
        #expect(verify([late], before: [], [], known: []).checked == 0)
        #expect(verify([late], before: [], [row(1, token: 11)], known: []).withinBounds == 1)
        #expect(verify([late], before: [row(1, token: 11)], []).withinBounds == 1)
        #expect(
            verify([late], before: [row(1, token: 11)], [row(1, token: 11, .fallback)]).withinBounds == 1)
        #expect(verify([], before: [row(1, token: 11)], []).checked == 0)
        #expect(verify([], before: [], [row(1, token: 11)]).checked == 0)
        #expect(states(verify([late], before: [], [])) == ["1 none mptcp"])
    }

    @Test func aFilterHidesBothWays() {
        let rows = [row(1, token: 11), row(2, token: 12), row(3, token: 13)]
        var readings = ConnectionReadings(netns: Self.netns)
        readings.before = rows
        readings.after = rows
        var result = VerifyResult()
        let opened = [open(1, token: 11), open(4, token: 14)]
        result.compare(open: opened, opened, with: [readings]) { local, _ in local.port < 3 }
        #expect(states(result) == ["0 mptcp none"])
        var oneWay = VerifyResult()
        oneWay.compare(open: opened, opened, with: [readings], bothWays: false) { local, _ in local.port < 3 }
        #expect(oneWay.checked == 1)
        #expect(oneWay.equal == 1)
    }
}
