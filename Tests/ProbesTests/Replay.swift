// SPDX-License-Identifier: Apache-2.0

import Handshake
import Scenarios
import Testing

/// What the tracker makes of recorded events, when it is driven as a trace drives it.
struct Replay {
    /// How a gap becomes known.
    enum Telling: CaseIterable, Sendable {
        /// By the event after it: the buffer had no room.
        case byEvent
        /// Only by the books, which are looked at before what is in the buffer is taken: the kernel
        /// skipped a program.
        case byBooks
    }

    /// When the trace is over.
    enum End: Sendable {
        /// Long after the last event: the kernel's timers, and the tracker's, have run out.
        case later
        /// Right after the last event.
        case atOnce
    }

    static let kernel = TransitionTable()

    private(set) var records: [Record] = []
    /// How many connections were followed still when all was over.
    private(set) var left = 0

    /// Between two looks into the buffer.
    private static let pause: UInt64 = 20_000_000

    /// - Parameters:
    ///   - gaps: before which of the observations something was lost.
    init(
        _ observations: [Observation], gaps: Set<Int> = [], told: Telling = .byEvent, end: End = .later,
        table: TransitionTable = Replay.kernel, allTcp: Bool = false, steps: Bool = true
    ) {
        var options = Tracker.Options()
        options.steps = steps
        options.allTcp = allTcp
        var tracker = Tracker(options, table: table)
        var now: UInt64 = 0
        var at = 0
        var losses: UInt32 = 0
        while at < observations.count {
            // Nothing came for a while.
            tracker.advance(to: observations[at].time &- 1)
            now = observations[at].time + Self.pause
            var end = at
            while end < observations.count, observations[end].time <= now { end += 1 }
            if told == .byBooks {
                for gap in gaps where (at..<end).contains(gap) {
                    tracker.noteLoss(
                        LostRecord(time: now, hook: .inetSockSetState, count: 1, reason: .recursion))
                }
            }
            for place in at..<end {
                var observation = observations[place]
                if told == .byEvent, gaps.contains(place) {
                    losses += 1
                    tracker.noteLoss(
                        LostRecord(
                            time: observation.time, hook: .inetSockSetState, count: 1, reason: .ringFull))
                }
                observation.losses += losses
                tracker.take(observation)
            }
            tracker.advance(to: now)
            at = end
        }
        // What was lost at the very end is told by the books.
        if gaps.contains(observations.count) {
            tracker.noteLoss(LostRecord(time: now, hook: .inetSockSetState, count: 1, reason: .ringFull))
        }
        let last = observations.last?.time ?? 0
        switch end {
        case .later:
            tracker.advance(to: last + 400_000_000_000)
            tracker.finish(at: last + 400_000_000_001)
        case .atOnce:
            tracker.finish(at: last + 1)
        }
        left = tracker.connectionCount
        records = Array(tracker.records)
    }

    // MARK: what was found

    var handshakes: [HandshakeRecord] {
        records.compactMap { if case .handshake(let it) = $0 { it } else { nil } }
    }
    var joins: [JoinRecord] { records.compactMap { if case .join(let it) = $0 { it } else { nil } } }
    var fallbacks: [FallbackRecord] {
        records.compactMap { if case .fallback(let it) = $0 { it } else { nil } }
    }
    var addresses: [AddressRecord] {
        records.compactMap { if case .address(let it) = $0 { it } else { nil } }
    }
    var closes: [CloseRecord] { records.compactMap { if case .close(let it) = $0 { it } else { nil } } }
    var steps: [StepRecord] { records.compactMap { if case .step(let it) = $0 { it } else { nil } } }
    var anomalies: [AnomalyRecord] {
        records.compactMap { if case .anomaly(let it) = $0 { it } else { nil } }
    }

    /// Which subflow a step is of, also of a connection that nobody knows.
    struct Subflow: Hashable {
        var conn: UInt64
        var subflow: UInt32
        var local: Endpoint?
        var remote: Endpoint?

        init(_ step: StepRecord) {
            conn = step.conn
            subflow = step.subflow
            if conn == 0 {
                local = step.observation.local
                remote = step.observation.remote
            }
        }
    }

    /// Steps that do not begin where the last one of their subflow ended.
    /// - Parameter nobodys: also those of subflows whose connection is not known; when events come
    ///   twice, two of these may have the same ends at the same time.
    func brokenChains(nobodys: Bool) -> [String] {
        var last: [Subflow: SubflowState] = [:]
        var broken: [String] = []
        for step in steps where step.observation.step != .listening && (nobodys || step.conn != 0) {
            let key = Subflow(step)
            let before = last[key] ?? .none
            // Nobody's joins may have the same ends, one after the other.
            if step.from != before, !(step.conn == 0 && step.from == .none) {
                broken.append(
                    "\(step.observation.step.name) of \(key.conn)/\(key.subflow): \(step.from.name) after "
                        + before.name)
            }
            last[key] = step.to
        }
        return broken
    }
}

/// The namespaces of the two ends of a recording.
struct Ends {
    var namespaces = Sides<UInt32>(client: 0, server: 0)

    /// Only clients send SYNs, and a client's namespace has no listener.
    init(_ observations: [Observation]) throws {
        let clients = Set(
            observations.filter {
                $0.side == .client && ($0.step == .synSent || $0.step == .joinSynSent)
            }.map(\.netns))
        let servers = Set(observations.map(\.netns)).subtracting(clients)
        try #require(clients.count <= 1 && servers.count <= 1)
        namespaces.client = clients.first ?? 0
        namespaces.server = servers.first ?? 0
        for observation in observations where observation.step == .listening {
            #expect(observation.netns == namespaces.server)
        }
    }
}

extension Scenarios.Expectation {
    /// What of it was not found, and what was found beside it.
    func differences(from replay: Replay, netns: UInt32) -> [String] {
        Self.differences(
            handshakes.map { ($0, $0.count) }, replay.handshakes.filter { $0.netns == netns }
        ) { $0.outcome == $1.outcome && $0.reason == $1.reason && $0.family == $1.family }
            // Those of which more is known first.
            + Self.differences(
                joins.sorted { $0.backup != nil && $1.backup == nil }.map { ($0, $0.count) },
                replay.joins.filter { $0.netns == netns }
            ) {
                $0.outcome == $1.outcome && $0.reason == $1.reason && $0.family == $1.family
                    && ($0.backup == nil || $0.backup == $1.backup)
            }
            + Self.differences(
                fallbacks.map { ($0, $0.count) }, replay.fallbacks.filter { $0.netns == netns }
            ) { $0.reason == $1.reason }
            + Self.differences(
                addresses.map { ($0, $0.count) }, replay.addresses.filter { $0.netns == netns }
            ) { $0.change == $1.change }
    }

    private static func differences<Wanted, Found>(
        _ wanted: [(Wanted, Int)], _ found: [Found], _ fits: (Wanted, Found) -> Bool
    ) -> [String] {
        var problems: [String] = []
        var left = found
        for (one, count) in wanted {
            for _ in 0..<count {
                if let at = left.firstIndex(where: { fits(one, $0) }) {
                    left.remove(at: at)
                } else {
                    problems.append("missing: \(one)")
                }
            }
        }
        return problems + left.map { "unexpected: \($0)" }
    }
}
