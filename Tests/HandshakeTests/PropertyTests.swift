// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Handshake

/// A generator with a seed, so that a failure can be repeated.
struct Dice: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}

@Suite struct PropertyTests {
    /// Whole handshakes of both ends, the client's MPTCP or not.
    private func conversation(_ walk: inout Walk, mptcp: Bool) -> [Observation] {
        let option: Facts = mptcp ? .optionCapable : .optionAbsent
        return [
            walk.connect(), walk.synOut(), walk.synIn(), walk.synackOut(option), walk.synackIn(option),
            walk.subflowEstablished(), walk.verdict(mptcp), walk.ackIn(option),
        ] + (mptcp ? [walk.accepted()] : []) + [
            walk.childEstablished(mptcp), walk.subflowClosed(), walk.mskClosed(),
        ] + (mptcp ? [walk.childMskClosed()] : [walk.childClosed()])
    }

    /// Dropped, doubled and reordered events: never a crash, never a wrong `mptcp`.
    @Test(arguments: 0..<200 as Range<UInt64>)
    func mangledStreams(_ seed: UInt64) {
        var dice = Dice(seed)
        var walk = Walk()
        var stream: [Observation] = [walk.listen()]
        var fellBack: Set<UInt16> = []
        for _ in 0..<20 {
            let mptcp = Bool.random(using: &dice)
            if !mptcp { fellBack.insert(walk.here.port) }
            stream += conversation(&walk, mptcp: mptcp)
            if Bool.random(using: &dice) {
                walk.next()
            } else {
                walk.here.port += 1
                walk.token += 1
            }
        }
        for _ in 0..<Int.random(in: 0...40, using: &dice) {
            let at = Int.random(in: 0..<stream.count, using: &dice)
            switch Int.random(in: 0..<3, using: &dice) {
            case 0: stream.remove(at: at)
            case 1: stream.insert(stream[at], at: Int.random(in: 0...stream.count, using: &dice))
            default:
                let other = min(stream.count - 1, at + Int.random(in: 1...4, using: &dice))
                stream.swapAt(at, other)
            }
        }
        var options = Tracker.Options()
        options.steps = true
        options.capacity = 16
        var tracker = Tracker(options)
        let found = tracker.feed(stream)
        tracker.advance(to: walk.time + 400_000_000_000)
        tracker.finish(at: walk.time + 400_000_000_001)
        // Only connections whose end was dropped are left.
        #expect(tracker.connectionCount <= 16)
        for handshake in found.handshakes where handshake.outcome == .mptcp {
            let port = handshake.side == .client ? handshake.local.port : handshake.remote.port
            #expect(!fellBack.contains(port), "port \(port) fell back")
        }
        var last: [UInt64: SubflowState] = [:]
        for step in found.steps where step.conn != 0 {
            #expect(step.from == last[step.conn] ?? .none)
            last[step.conn] = step.to
        }
    }

    /// Any observations at all: never a crash, and the tables stay bounded.
    @Test(arguments: 0..<100 as Range<UInt64>)
    func anything(_ seed: UInt64) {
        var dice = Dice(seed ^ 0xabcd)
        var options = Tracker.Options()
        options.steps = Bool.random(using: &dice)
        options.allTcp = Bool.random(using: &dice)
        options.capacity = 8
        options.listenerCapacity = 4
        var tracker = Tracker(options)
        for _ in 0..<2_000 {
            var o = Observation(
                time: dice.next() >> 20, step: Step.allCases.randomElement(using: &dice) ?? .closed,
                hook: Hook.allCases.randomElement(using: &dice) ?? .clock,
                side: [nil, .client, .server].randomElement(using: &dice) ?? nil)
            o.facts = Facts(rawValue: dice.next() & 0xffff_ffff)
            o.socket = dice.next() % 6
            o.msk = dice.next() % 6
            o.listener = dice.next() % 6
            o.cookie = dice.next() % 6
            o.netns = UInt32(dice.next() % 2)
            o.local = Endpoint(Address(v4: UInt32(dice.next() % 3)), UInt16(dice.next() % 3))
            o.remote = Endpoint(Address(v4: UInt32(dice.next() % 3)), UInt16(dice.next() % 3))
            tracker.take(o)
            if dice.next() % 50 == 0 { tracker.advance(to: dice.next() >> 20) }
        }
        #expect(tracker.connectionCount <= 8)
        tracker.finish(at: .max)
    }

    /// The table of pointers against the standard library's dictionary.
    @Test(arguments: 0..<50 as Range<UInt64>)
    func pointerTable(_ seed: UInt64) {
        var dice = Dice(seed)
        var table = PointerTable()
        var truth: [UInt64: Int32] = [:]
        for _ in 0..<5_000 {
            let key = dice.next() % 300 * 0x40
            if dice.next() % 3 == 0 {
                table[key] = nil
                truth[key] = nil
            } else {
                let value = Int32(truncatingIfNeeded: dice.next())
                table[key] = value
                if key != 0 { truth[key] = value }
            }
            #expect(table.count == truth.count)
        }
        for key in 0..<300 as Range<UInt64> { #expect(table[key * 0x40] == truth[key * 0x40]) }
    }
}
