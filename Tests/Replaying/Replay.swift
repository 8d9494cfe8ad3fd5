// SPDX-License-Identifier: Apache-2.0

import Handshake

/// What the tracker makes of events, when it is driven as a trace drives it.
package struct Replay {
    /// How a gap becomes known.
    package enum Telling: CaseIterable, Sendable {
        /// By the event after it: the buffer had no room.
        case byEvent
        /// Only by the books, which are looked at before what is in the buffer is taken: the kernel
        /// skipped a program.
        case byBooks
    }

    /// When the trace is over.
    package enum End: Sendable {
        /// Long after the last event: the kernel's timers, and the tracker's, have run out.
        case later
        /// Right after the last event.
        case atOnce
    }

    package static let kernel = TransitionTable()

    package private(set) var records: [Record] = []
    /// How many connections were followed still when all was over.
    package private(set) var left = 0

    /// Between two looks into the buffer.
    private static let pause: UInt64 = 20_000_000

    /// - Parameters:
    ///   - gaps: before which of the observations something was lost.
    package init(
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

    package var handshakes: [HandshakeRecord] {
        records.compactMap { if case .handshake(let it) = $0 { it } else { nil } }
    }
    package var joins: [JoinRecord] { records.compactMap { if case .join(let it) = $0 { it } else { nil } } }
    package var fallbacks: [FallbackRecord] {
        records.compactMap { if case .fallback(let it) = $0 { it } else { nil } }
    }
    package var addresses: [AddressRecord] {
        records.compactMap { if case .address(let it) = $0 { it } else { nil } }
    }
    package var closes: [CloseRecord] {
        records.compactMap { if case .close(let it) = $0 { it } else { nil } }
    }
    package var steps: [StepRecord] { records.compactMap { if case .step(let it) = $0 { it } else { nil } } }
    package var anomalies: [AnomalyRecord] {
        records.compactMap { if case .anomaly(let it) = $0 { it } else { nil } }
    }

    /// The rows of the kernel's table that were taken.
    package var rows: Set<Int> {
        var lasting: [Subflow: Facts] = [:]
        var rows: Set<Int> = []
        for step in steps where step.observation.step != .listening {
            let key = Subflow(step)
            lasting[key, default: []].formUnion(step.observation.facts.intersection(.lasting))
            let facts = step.observation.facts.union(lasting[key] ?? [])
            if let row = Self.kernel.row(from: step.from, on: step.observation.step, facts) {
                rows.insert(row)
            }
        }
        return rows
    }

    /// Which subflow a step is of, also of a connection that nobody knows.
    package struct Subflow: Hashable {
        var conn: UInt64
        var subflow: UInt32
        var local: Endpoint?
        var remote: Endpoint?

        package init(_ step: StepRecord) {
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
    package func brokenChains(nobodys: Bool) -> [String] {
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
