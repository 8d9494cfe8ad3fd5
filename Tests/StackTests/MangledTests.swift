// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake
import Replaying
import StackSequences
import TestSupport
import Testing

@testable import Probes

/// The sequences with their events shuffled over CPUs, dropped and doubled: MPTCP is never claimed
/// wrongly, and after a loss that was told nothing is held against the kernel.
@Suite struct StackMangledTests {
    /// Events go to random CPUs' buffers, which are emptied one after the other at random times; those
    /// of one CPU stay in order.
    private func shuffled(_ events: [[UInt8]], _ dice: inout Dice) throws -> (
        observations: [Observation], late: Int
    ) {
        let cpus = Int.random(in: 1...8, using: &dice)
        var buffers = [[[UInt8]]](repeating: [], count: cpus)
        var cpu = 0
        var before: UInt64 = 0
        for event in events {
            let time = Played.event(event).time
            defer { before = time }
            // What one program sends comes from one CPU.
            if time != before, Int.random(in: 0..<3, using: &dice) == 0 {
                cpu = Int.random(in: 0..<cpus, using: &dice)
            }
            var event = event
            event.withUnsafeMutableBytes {
                $0.storeBytes(
                    of: UInt16(cpu), toByteOffset: MemoryLayout<mps_event>.offset(of: \.cpu) ?? 0,
                    as: UInt16.self)
            }
            buffers[cpu].append(event)
        }
        var order = EventOrder(capacity: .max)
        var observations: [Observation] = []
        var late = 0
        var now = Stack.start
        func take(_ event: EventOrder.Event) {
            if event.isLate { late += 1 }
            guard let observation = try? Decoder.decode(event.bytes) else {
                Issue.record("no event")
                return
            }
            observations.append(observation)
        }
        while buffers.contains(where: { !$0.isEmpty }) {
            now += .random(in: 0...2_000_000, using: &dice)
            var seen = now
            for cpu in buffers.indices.shuffled(using: &dice) {
                seen += .random(in: 0...5000, using: &dice)
                let end = buffers[cpu].firstIndex { Played.event($0).time > seen } ?? buffers[cpu].count
                for event in buffers[cpu][..<end] {
                    event.withUnsafeBytes { order.add($0, time: Played.event(event).time, gap: 0) }
                }
                buffers[cpu].removeSubrange(..<end)
            }
            order.release(before: now, take)
        }
        order.release(before: .max, take)
        return (observations, late)
    }

    @Test(arguments: StackSequence.names)
    func shuffledOverCPUs(_ name: String) throws {
        let sequence = try StackSequence.play(name)
        for steps in [true, false] {
            let whole = try sequence.replay(steps: steps).lines
            for seed in 0..<30 as Range<UInt64> {
                var dice = Dice(seed)
                let (observations, late) = try shuffled(sequence.events(steps: steps), &dice)
                #expect(late == 0)
                let replay = Replay(observations, allTcp: sequence.allTcp, steps: steps)
                #expect(replay.lines == whole, "seed \(seed)")
                #expect(replay.left == 0)
            }
        }
    }

    /// A sequence, and how it is replayed.
    private struct Sequence {
        var original: Original
        var observations: [Observation] { original.observations }
        var allTcp: Bool

        init(_ name: String, steps: Bool) throws {
            let sequence = try StackSequence.play(name)
            allTcp = sequence.allTcp
            original = Original(try sequence.observations(steps: steps), allTcp: allTcp)
        }

        func replay(
            _ observations: [Observation], gaps: Set<Int> = [], told: Replay.Telling = .byEvent,
            end: Replay.End = .later
        ) -> Replay {
            Replay(observations, gaps: gaps, told: told, end: end, allTcp: allTcp)
        }
    }

    @Test(arguments: StackSequence.names, [true, false])
    func eachEventMissing(_ name: String, steps: Bool) throws {
        let sequence = try Sequence(name, steps: steps)
        for missing in sequence.observations.indices {
            var some = sequence.observations
            let gone = some.remove(at: missing)
            for told in Replay.Telling.allCases {
                let replay = sequence.replay(some, gaps: [missing], told: told)
                #expect(
                    sequence.original.wrong(replay, lossesTold: true) == [],
                    "without the event \(missing), \(gone.step.name) by \(gone.hook.name), told \(told)")
            }
            #expect(
                sequence.original.wrong(sequence.replay(some)) == [],
                "without the event \(missing), \(gone.step.name) by \(gone.hook.name), not told")
        }
    }

    @Test(arguments: StackSequence.names, [true, false])
    func eachEventTwice(_ name: String, steps: Bool) throws {
        let sequence = try Sequence(name, steps: steps)
        for twice in sequence.observations.indices {
            for later in [1, 3, 9, 100] {
                var more = sequence.observations
                more.insert(more[twice], at: min(more.count, twice + later))
                #expect(
                    sequence.original.wrong(sequence.replay(more), repeated: 1) == [],
                    "the event \(twice), \(sequence.observations[twice].step.name), again \(later) later")
            }
        }
    }

    @Test(arguments: StackSequence.names, [true, false])
    func cutAtEachEvent(_ name: String, steps: Bool) throws {
        let sequence = try Sequence(name, steps: steps)
        for count in 0...sequence.observations.count {
            for end in [Replay.End.later, .atOnce] {
                let replay = sequence.replay(Array(sequence.observations[..<count]), end: end)
                #expect(sequence.original.wrong(replay) == [], "the first \(count) events, over \(end)")
                #expect(replay.anomalies.map(\.message) == [])
            }
        }
    }

    /// What is late by more than the bound comes out of order.
    @Test(arguments: StackSequence.names, [true, false])
    func reordered(_ name: String, steps: Bool) throws {
        let sequence = try Sequence(name, steps: steps)
        for seed in 0..<20 as Range<UInt64> {
            var dice = Dice(seed)
            let replay = sequence.replay(betweenCPUs(sequence.observations, &dice))
            #expect(sequence.original.wrong(replay) == [], "seed \(seed)")
        }
    }

    @Test(arguments: StackSequence.names, [true, false])
    func someMissing(_ name: String, steps: Bool) throws {
        let sequence = try Sequence(name, steps: steps)
        for seed in 0..<40 as Range<UInt64> {
            var dice = Dice(seed ^ 0x1055)
            var stream = sequence.observations
            var gaps: Set<Int> = []
            for _ in 0..<Int.random(in: 2...6, using: &dice) where !stream.isEmpty {
                let at = Int.random(in: stream.indices, using: &dice)
                stream.remove(at: at)
                gaps = Set(gaps.map { $0 > at ? $0 - 1 : $0 })
                gaps.insert(at)
            }
            for told in Replay.Telling.allCases {
                #expect(
                    sequence.original.wrong(sequence.replay(stream, gaps: gaps, told: told), lossesTold: true)
                        == [],
                    "seed \(seed), told \(told)")
            }
        }
    }
}
