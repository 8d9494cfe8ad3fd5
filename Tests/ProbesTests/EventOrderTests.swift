// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake
import TestSupport
import Testing

@testable import Probes

/// Events of several CPUs, put in order.
@Suite struct EventOrderTests {
    /// What an event says of itself: its number is its bytes.
    private struct Sent: Equatable {
        var time: UInt64
        var number: UInt64
    }

    /// What was released.
    private struct Released {
        var numbers: [UInt64] = []
        var late: [UInt64] = []
        var gaps: UInt64 = 0

        mutating func take(_ event: EventOrder.Event) {
            let number = event.bytes.loadUnaligned(as: UInt64.self)
            // As long as it was, and whole.
            for at in stride(from: 8, to: event.bytes.count, by: 1)
            where event.bytes[at] != UInt8(number & 0xff) {
                Issue.record("event \(number) was overwritten at \(at)")
            }
            if event.bytes.count != EventOrderTests.size(number) {
                Issue.record("event \(number) has \(event.bytes.count) bytes")
            }
            if event.isLate { late.append(number) } else { numbers.append(number) }
            gaps += event.gap
        }
    }

    private static func size(_ number: UInt64) -> Int { 8 + Int(number % 3) * 40 }

    private func add(_ sent: Sent, gap: UInt64 = 0, to order: inout EventOrder) {
        var bytes = [UInt8](repeating: UInt8(sent.number & 0xff), count: Self.size(sent.number))
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: sent.number, as: UInt64.self) }
        bytes.withUnsafeBytes { order.add($0, time: sent.time, gap: gap) }
    }

    /// Events of some CPUs, each CPU's in order, times without a pair.
    private func play(_ dice: inout Dice, count: Int, cpus: Int) -> [[Sent]] {
        var queues = [[Sent]](repeating: [], count: cpus)
        var time: UInt64 = 1000
        for number in 0..<count {
            time += .random(in: 1...2000, using: &dice)
            queues[.random(in: 0..<cpus, using: &dice)].append(Sent(time: time, number: UInt64(number)))
        }
        return queues
    }

    /// Looks at random times see everything up to then, and perhaps some of what came while they
    /// went from CPU to CPU: with a bound from before the look all is in order.
    @Test(arguments: 0..<200) func looksThatSeeAllReleaseInOrder(seed: Int) {
        var dice = Dice(UInt64(seed))
        let cpus = Int.random(in: 1...9, using: &dice)
        let count = 3000
        var queues = play(&dice, count: count, cpus: cpus)
        var order = EventOrder(capacity: .max)
        var released = Released()
        var now: UInt64 = 0
        var sentGaps: UInt64 = 0
        while queues.contains(where: { !$0.isEmpty }) {
            now += .random(in: 0...300_000, using: &dice)
            var seen = now
            for cpu in queues.indices {
                // A later CPU's buffer is looked into a little later.
                seen += .random(in: 0...5000, using: &dice)
                let end = queues[cpu].firstIndex { $0.time > seen } ?? queues[cpu].count
                for sent in queues[cpu][..<end] {
                    let gap: UInt64 = .random(in: 0..<8, using: &dice) == 0 ? 3 : 0
                    sentGaps += gap
                    add(sent, gap: gap, to: &order)
                }
                queues[cpu].removeSubrange(..<end)
            }
            let limit = Bool.random(using: &dice) ? Int.max : Int.random(in: 1...50, using: &dice)
            let taken = order.release(before: now, atMost: limit) { released.take($0) }
            #expect(taken <= limit)
        }
        order.release(before: .max) { released.take($0) }
        #expect(released.late == [])
        #expect(released.numbers == Array(0..<UInt64(count)))
        #expect(released.gaps == sentGaps)
        #expect(order.count == 0)
    }

    /// CPUs that are behind by more than the bound: all events come, those in order are in order, and
    /// late is what is older than one that was released before it, nothing else.
    @Test(arguments: 0..<200) func whatIsLateComesAllTheSame(seed: Int) {
        var dice = Dice(UInt64(seed) + 1_000_000)
        let cpus = Int.random(in: 2...5, using: &dice)
        let count = 2000
        let queues = play(&dice, count: count, cpus: cpus)
        var times: [UInt64: UInt64] = [:]
        for sent in queues.joined() { times[sent.number] = sent.time }
        var from = [Int](repeating: 0, count: cpus)
        var order = EventOrder(capacity: .max)
        var all: [UInt64] = []
        var released = Released()
        while zip(from, queues).contains(where: { $0 < $1.count }) {
            var newest: UInt64 = 0
            for cpu in queues.indices {
                let end = min(queues[cpu].count, from[cpu] + .random(in: 0...60, using: &dice))
                for sent in queues[cpu][from[cpu]..<end] { add(sent, to: &order) }
                from[cpu] = end
                if end > 0 { newest = max(newest, queues[cpu][end - 1].time) }
            }
            order.release(before: newest - min(newest, 20_000)) {
                all.append($0.bytes.loadUnaligned(as: UInt64.self))
                released.take($0)
            }
        }
        order.release(before: .max) {
            all.append($0.bytes.loadUnaligned(as: UInt64.self))
            released.take($0)
        }
        #expect(all.sorted() == Array(0..<UInt64(count)))
        #expect(released.numbers == released.numbers.sorted())
        var last: UInt64 = 0
        var late: [UInt64] = []
        for number in all {
            let time = times[number] ?? 0
            if time < last { late.append(number) } else { last = time }
        }
        #expect(released.late == late)
    }

    @Test func equalTimesKeepTheOrderOfArrivalAndAreNotLate() {
        var order = EventOrder(capacity: .max)
        var released = Released()
        for number in 0..<5 as Range<UInt64> { add(Sent(time: 10, number: number), to: &order) }
        order.release(before: 11, atMost: 3) { released.take($0) }
        add(Sent(time: 10, number: 5), to: &order)
        order.release(before: 11) { released.take($0) }
        #expect(released.numbers == [0, 1, 2, 3, 4, 5])
        #expect(released.late == [])
    }

    @Test func theBoundItselfWaits() {
        var order = EventOrder(capacity: .max)
        add(Sent(time: 10, number: 1), to: &order)
        #expect(order.release(before: 10) { _ in } == 0)
        #expect(order.count == 1)
        #expect(order.release(before: 11) { _ in } == 1)
    }

    /// No more than the capacity waits, whatever the bound.
    @Test func whatExceedsTheCapacityIsReleasedEarly() {
        var order = EventOrder(capacity: 1000)
        var released = Released()
        var dice = Dice(7)
        var sent: [Sent] = []
        for number in 0..<500 as Range<UInt64> {
            let event = Sent(time: .random(in: 1...1_000_000, using: &dice), number: number)
            sent.append(event)
            add(event, to: &order)
        }
        #expect(!order.hasReady(10, before: 0), "what is new is not looked at yet")
        order.release(before: 0, atMost: 100) { released.take($0) }
        #expect(released.numbers.count == 100)
        #expect(order.hasReady(10, before: 0))
        order.release(before: 0) { released.take($0) }
        #expect(!order.hasReady(10, before: 0))
        let sizes = sent.sorted { $0.time < $1.time }.suffix(order.count).map { Self.size($0.number) }
        #expect(sizes.reduce(0, +) <= 1000)
        #expect(order.count > 0)
        order.release(before: .max) { released.take($0) }
        #expect(released.late == [])
        #expect(released.numbers == sent.sorted { $0.time < $1.time }.map(\.number))
    }

    /// Recorded events, dealt out to the CPUs that they came from and looked at in pieces, come as they
    /// were recorded.
    @Test(arguments: Recordings.plain) func recordedEventsComeAsTheyWere(name: String) throws {
        let events = try Recordings.events(name)
        let times = events.map { event in
            event.withUnsafeBytes { $0.loadUnaligned(as: mps_event.self).time }
        }
        let cpus = events.map { event in
            event.withUnsafeBytes { $0.loadUnaligned(as: mps_event.self).cpu }
        }
        // The ring buffer is in the order of reservation, which comes a moment before the time.
        let expected = times.indices.sorted { (times[$0], $0) < (times[$1], $1) }.map { events[$0] }
        var dice = Dice(UInt64(name.utf8.reduce(0) { $0 &* 31 &+ Int($1) }.magnitude))
        let perf = PerfEvents()
        let reader = EventReader()
        var come: [[UInt8]] = []
        reader.tap = { come.append(Array($0)) }
        var from = 0
        while from < events.count {
            let end = min(events.count, from + .random(in: 1...40, using: &dice))
            let bound = times[from..<end].min() ?? 0
            for cpu in Set(cpus[from..<end]).sorted() {
                for index in from..<end where cpus[index] == cpu {
                    // As the kernel hands them over: rounded up.
                    let padded = events[index] + [UInt8](repeating: 0xee, count: 4)
                    padded.withUnsafeBytes { perf.event(cpu: Int(cpu), $0) }
                }
            }
            // What is in this look may be older than what was in the last by as much as they overlap.
            perf.order.release(before: bound - min(bound, 1_000_000)) { reader.record($0) }
            from = end
        }
        perf.order.release(before: .max) { reader.record($0) }
        #expect(come == expected)
        #expect(reader.malformed == 0)
        #expect(reader.late.reduce(0, +) == 0)
    }

    /// What a CPU lost is before its next event, wherever that is in the order.
    @Test func aGapIsToldByTheEventBehindIt() throws {
        let perf = PerfEvents()
        let reader = EventReader()
        var losses: [UInt32] = []
        reader.take = { losses.append($0.losses) }
        func send(cpu: Int, time: UInt64) {
            var event = mps_event()
            event.version = UInt16(MPS_EVENT_VERSION)
            event.kind = UInt8(MPS_CONNECT.rawValue)
            event.hook = UInt8(MPS_HOOK_TCP_CONNECT.rawValue)
            event.time = time
            withUnsafeBytes(of: event) { perf.event(cpu: cpu, $0) }
        }
        send(cpu: 0, time: 10)
        perf.lost(cpu: 0, 7)
        send(cpu: 0, time: 40)
        send(cpu: 1, time: 20)
        perf.lost(cpu: 1, 1)
        send(cpu: 1, time: 50)
        perf.order.release(before: 45) { reader.record($0) }
        #expect(losses == [0, 0, 7])
        #expect(reader.perfLost == 7)
        send(cpu: 1, time: 30)
        perf.order.release(before: .max) { reader.record($0) }
        // The late one is a gap itself: something was decided without it.
        #expect(losses == [0, 0, 7, 8, 9])
        #expect(reader.late[Int(MPS_HOOK_TCP_CONNECT.rawValue)] == 1)
        #expect(reader.delivered == 5)
    }
}
