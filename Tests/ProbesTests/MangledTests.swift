// SPDX-License-Identifier: Apache-2.0

import Handshake
import Replaying
import Scenarios
import TestSupport
import Testing

@testable import Probes

/// Recorded events dropped, doubled and reordered: MPTCP is never claimed wrongly, and after a loss
/// nothing is held against the kernel.
@Suite struct MangledTests {
    @Test(arguments: Recordings.names)
    func eachEventMissing(_ name: String) throws {
        let original = Original(try Recordings.observations(name))
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
        let original = Original(try Recordings.observations(name))
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
        let original = Original(try Recordings.observations(name))
        for count in 0...original.observations.count {
            for end in [Replay.End.later, .atOnce] {
                let replay = Replay(Array(original.observations[..<count]), end: end)
                #expect(original.wrong(replay) == [], "the first \(count) events, over \(end)")
                #expect(replay.anomalies.map(\.message) == [])
            }
        }
    }

    @Test(arguments: Recordings.names)
    func reordered(_ name: String) throws {
        let original = Original(try Recordings.observations(name))
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
        let original = Original(try Recordings.observations(name))
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
        let original = Original(try Recordings.observations(name))
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
