// SPDX-License-Identifier: Apache-2.0

import Handshake
import Scenarios
import TestSupport
import Testing

@testable import Probes

/// Recorded events dropped, doubled and reordered: MPTCP is never claimed wrongly, and after a loss
/// nothing is held against the kernel.
@Suite struct MangledTests {
    /// An attempt at one end: where, and between which ends.
    private struct Attempt: Hashable {
        var netns: UInt32
        var port: UInt16
        var remote: Endpoint

        init(_ netns: UInt32, _ local: Endpoint, _ remote: Endpoint) {
            self.netns = netns
            port = local.port
            self.remote = remote
        }

        /// What is known of it; its own port is not known when its subflow was gone already.
        func of<Value>(_ all: [Attempt: [Value]]) -> [Value] {
            if port != 0 { return all[self] ?? [] }
            return all.filter { $0.key.netns == netns && $0.key.remote == remote }.flatMap(\.value)
        }
    }

    /// What is claimed of each attempt.
    private struct Claims {
        var handshakes: [Attempt: [HandshakeRecord]]
        var joins: [Attempt: [JoinRecord]]
        var fallbacks: [Attempt: [FallbackRecord]]

        init(_ replay: Replay) {
            handshakes = Dictionary(grouping: replay.handshakes) { Attempt($0.netns, $0.local, $0.remote) }
            joins = Dictionary(grouping: replay.joins) { Attempt($0.netns, $0.local, $0.remote) }
            fallbacks = Dictionary(grouping: replay.fallbacks) { Attempt($0.netns, $0.local, $0.remote) }
        }
    }

    /// One scenario's events, and what they tell when nothing is wrong with them.
    private struct Original {
        var observations: [Observation]
        var claims: Claims

        init(_ name: String) throws {
            observations = try Recordings.observations(name)
            claims = Claims(Replay(observations))
        }

        /// What `replay` claims that is not so. `repeated`: how often a true claim may be told again.
        func wrong(_ replay: Replay, lossesTold: Bool = false, repeated: Int = 0) -> [String] {
            var wrong = replay.brokenChains(nobodys: false)
            let found = Claims(replay)
            for (attempt, records) in found.handshakes {
                let truth = attempt.of(claims.handshakes)
                let so = truth.count { $0.outcome == .mptcp }
                let claimed = records.count { $0.outcome == .mptcp }
                if claimed > so + (so == 0 ? 0 : repeated) { wrong.append("mptcp of \(attempt)") }
                for record in records where lossesTold {
                    let fits = truth.contains { one in
                        if one.outcome == record.outcome {
                            return record.reason == nil || record.reason == one.reason
                                || record.outcome.isFailure
                        }
                        // Why it failed may have been lost; that it did is true.
                        return record.outcome.isFailure && one.outcome.isFailure
                    }
                    if !fits, record.outcome != .aborted {
                        wrong.append(
                            "\(record.side) \(record.outcome) \(record.reason?.rawValue ?? "") of "
                                + "\(truth.map { "\($0.outcome) \($0.reason?.rawValue ?? "")" })")
                    }
                }
            }
            for (attempt, records) in found.joins {
                let truth = attempt.of(claims.joins)
                let so = truth.count { $0.outcome == .joined }
                let claimed = records.count { $0.outcome == .joined }
                if claimed > so + (so == 0 ? 0 : repeated) { wrong.append("joined of \(attempt)") }
                for record in records where lossesTold {
                    let fits = truth.contains { ($0.outcome == .joined) == (record.outcome == .joined) }
                    if !fits, record.outcome != .aborted {
                        wrong.append(
                            "join \(record.side) \(record.outcome) \(record.reason?.rawValue ?? "") of "
                                + "\(truth.map { "\($0.outcome) \($0.reason?.rawValue ?? "")" })")
                    }
                }
            }
            for (attempt, records) in found.fallbacks {
                let truth = attempt.of(claims.fallbacks)
                if records.count > truth.count + (truth.isEmpty ? 0 : repeated) {
                    wrong.append("fallback of \(attempt)")
                }
                for record in records {
                    if let reason = record.reason, !truth.contains(where: { $0.reason == reason }) {
                        wrong.append("fallback \(reason) of \(truth.map(\.reason))")
                    }
                }
            }
            if lossesTold { wrong += replay.anomalies.map(\.message) }
            return wrong
        }
    }

    @Test(arguments: Recordings.names)
    func eachEventMissing(_ name: String) throws {
        let original = try Original(name)
        for missing in original.observations.indices {
            var some = original.observations
            let gone = some.remove(at: missing)
            for told in Replay.Telling.allCases {
                let replay = Replay(some, gaps: [missing], told: told)
                #expect(
                    original.wrong(replay, lossesTold: true) == [],
                    "without the event \(missing), \(gone.step.name), told \(told)")
            }
            #expect(original.wrong(Replay(some)) == [], "without the event \(missing), not told")
        }
    }

    @Test(arguments: Recordings.names)
    func eachEventTwice(_ name: String) throws {
        let original = try Original(name)
        for twice in original.observations.indices {
            for later in [1, 3, 9, 100] {
                var more = original.observations
                more.insert(more[twice], at: min(more.count, twice + later))
                let replay = Replay(more)
                #expect(
                    original.wrong(replay, repeated: 1) == [],
                    "the event \(twice), \(original.observations[twice].step.name), again \(later) later")
            }
        }
    }

    @Test(arguments: Recordings.names)
    func cutAtEachEvent(_ name: String) throws {
        let original = try Original(name)
        for count in 0...original.observations.count {
            for end in [Replay.End.later, .atOnce] {
                let replay = Replay(Array(original.observations[..<count]), end: end)
                #expect(original.wrong(replay) == [], "the first \(count) events, over \(end)")
                #expect(replay.anomalies.map(\.message) == [])
            }
        }
    }

    /// Events of one CPU stay in their order; those of another may come some places earlier or later.
    private func betweenCPUs(_ observations: [Observation], _ dice: inout Dice) -> [Observation] {
        var shifted: [(place: Int, observation: Observation)] = []
        var shift: [UInt16: Int] = [:]
        var last: [UInt16: Int] = [:]
        for (place, observation) in observations.enumerated() {
            if Int.random(in: 0..<4, using: &dice) == 0 {
                shift[observation.cpu] = Int.random(in: -4...4, using: &dice)
            }
            let wanted = max(place + (shift[observation.cpu] ?? 0), last[observation.cpu] ?? .min)
            last[observation.cpu] = wanted
            shifted.append((wanted, observation))
        }
        return shifted.enumerated().sorted { ($0.element.place, $0.offset) < ($1.element.place, $1.offset) }
            .map(\.element.observation)
    }

    @Test(arguments: Recordings.names)
    func reordered(_ name: String) throws {
        let original = try Original(name)
        for seed in 0..<20 as Range<UInt64> {
            var dice = Dice(seed)
            let replay = Replay(betweenCPUs(original.observations, &dice))
            #expect(original.wrong(replay) == [], "seed \(seed), between CPUs")
            var swapped = original.observations
            for _ in 0..<4 {
                let at = Int.random(in: swapped.indices, using: &dice)
                swapped.swapAt(at, min(swapped.count - 1, at + Int.random(in: 1...4, using: &dice)))
            }
            #expect(original.wrong(Replay(swapped)) == [], "seed \(seed), swapped")
        }
    }

    @Test(arguments: Recordings.names)
    func everythingAtOnce(_ name: String) throws {
        let original = try Original(name)
        for seed in 0..<20 as Range<UInt64> {
            var dice = Dice(seed ^ 0x5eed)
            var stream = betweenCPUs(original.observations, &dice)
            for _ in 0..<Int.random(in: 1...4, using: &dice) {
                stream.insert(
                    stream[Int.random(in: stream.indices, using: &dice)],
                    at: Int.random(in: 0...stream.count, using: &dice))
            }
            var gaps: Set<Int> = []
            for _ in 0..<Int.random(in: 1...4, using: &dice) {
                let at = Int.random(in: stream.indices, using: &dice)
                stream.remove(at: at)
                gaps = Set(gaps.map { $0 > at ? $0 - 1 : $0 })
                gaps.insert(at)
            }
            #expect(original.wrong(Replay(stream, gaps: gaps), repeated: 4) == [], "seed \(seed)")
        }
    }

    /// Several events lost, and nothing else.
    @Test(arguments: Recordings.names)
    func someMissing(_ name: String) throws {
        let original = try Original(name)
        for seed in 0..<20 as Range<UInt64> {
            var dice = Dice(seed ^ 0x1055)
            var stream = original.observations
            var gaps: Set<Int> = []
            for _ in 0..<Int.random(in: 2...6, using: &dice) where !stream.isEmpty {
                let at = Int.random(in: stream.indices, using: &dice)
                stream.remove(at: at)
                gaps = Set(gaps.map { $0 > at ? $0 - 1 : $0 })
                gaps.insert(at)
            }
            for told in Replay.Telling.allCases {
                #expect(
                    original.wrong(Replay(stream, gaps: gaps, told: told), lossesTold: true) == [],
                    "seed \(seed), told \(told)")
            }
        }
    }
}

extension Outcome {
    fileprivate var isFailure: Bool {
        self == .refused || self == .reset || self == .timeout || self == .aborted
    }
}
