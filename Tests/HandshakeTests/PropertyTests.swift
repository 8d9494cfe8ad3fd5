// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import Handshake

@Suite struct PropertyTests {
    /// What a made-up connection does.
    private struct Course {
        var mptcp = true
        /// Further subflows: whether the server takes each.
        var joins: [Bool] = []
        var losesMptcp = false

        static func random(_ dice: inout Dice) -> Course {
            var course = Course(mptcp: Int.random(in: 0..<3, using: &dice) > 0)
            guard course.mptcp else { return course }
            for _ in 0..<Int.random(in: 0...2, using: &dice) {
                course.joins.append(.random(using: &dice))
            }
            // The kernel falls back only while there is no second subflow.
            course.losesMptcp = !course.joins.contains(true) && Int.random(in: 0..<3, using: &dice) == 0
            return course
        }
    }

    /// Whole connections, at both ends.
    private func conversation(_ walk: inout Walk, _ course: Course) -> [Observation] {
        let mptcp = course.mptcp
        let option: Facts = mptcp ? .optionCapable : .optionAbsent
        var all = [
            walk.connect(), walk.synOut(), walk.synIn(), walk.synackOut(option), walk.synackIn(option),
            walk.subflowEstablished(), walk.verdict(mptcp), walk.ackIn(option),
        ]
        if mptcp { all.append(walk.accepted()) }
        all.append(walk.childEstablished(mptcp))
        if !course.joins.isEmpty {
            all += [walk.addressed(.addAddr, at: .server), walk.addressed(.addAddr, at: .client)]
        }
        for (place, taken) in course.joins.enumerated() {
            let number = UInt16(place + 1)
            all += [
                walk.joinConnect(number), walk.joinSynOut(number), walk.joinSynIn(number),
                walk.joinSynackOut(number), walk.joinSynackIn(number), walk.joinSubflowEstablished(number),
                walk.joinAckIn(number),
            ]
            all +=
                taken
                ? [walk.joinAccepted(number), walk.joinConfirmed(number)]
                : [walk.joinResetOut(number), walk.joinResetIn(number), walk.joinClosed(number)]
        }
        if course.losesMptcp { all += [walk.losesMptcp(.client), walk.losesMptcp(.server)] }
        if !course.joins.isEmpty { all.append(walk.addressed(.rmAddr, at: .client)) }
        for (place, taken) in course.joins.enumerated() where taken {
            all += [walk.joinClosed(UInt16(place + 1)), walk.joinChildClosed(UInt16(place + 1))]
        }
        return all + [walk.subflowClosed(), walk.mskClosed()]
            + (mptcp ? [walk.childClosed(.mptcpSocket), walk.childMskClosed()] : [walk.childClosed()])
    }

    /// Nothing lost, nothing doubled: each course is told as it was.
    @Test(arguments: 0..<50 as Range<UInt64>)
    func wholeStreams(_ seed: UInt64) {
        var dice = Dice(seed ^ 0x77)
        var walk = Walk()
        var options = Tracker.Options()
        options.steps = true
        var tracker = Tracker(options)
        _ = tracker.feed([walk.listen()])
        for _ in 0..<10 {
            let course = Course.random(&dice)
            let found = tracker.feed(conversation(&walk, course))
            #expect(
                found.handshakes.map(\.outcome)
                    == (course.mptcp ? [.mptcp, .mptcp] : [.fallback, .fallback]))
            #expect(found.joins.count == 2 * course.joins.count)
            #expect(found.joins.count { $0.outcome == .joined } == 2 * course.joins.count { $0 })
            #expect(found.joins.count { $0.outcome == .rejected } == 2 * course.joins.count { !$0 })
            #expect(found.fallbacks.map(\.reason) == (course.losesMptcp ? [.dssFallback, .dssFallback] : []))
            #expect(
                found.addresses.map(\.change)
                    == (course.joins.isEmpty ? [] : [.announced, .received, .removed]))
            #expect(
                found.closes.map(\.subflows)
                    == [UInt32](repeating: UInt32(1 + course.joins.count { $0 }), count: 2))
            #expect(found.anomalies.isEmpty)
            #expect(tracker.connectionCount == 0)
            walk.next()
        }
    }

    /// Dropped, doubled and reordered events: never a crash, never a wrong `mptcp`, `joined` or `fallback`.
    @Test(arguments: 0..<200 as Range<UInt64>)
    func mangledStreams(_ seed: UInt64) {
        var dice = Dice(seed)
        var walk = Walk()
        var stream: [Observation] = [walk.listen()]
        /// By the client's port.
        var courses: [UInt16: Course] = [:]
        for _ in 0..<20 {
            let course = Course.random(&dice)
            courses[walk.here.port] = course
            stream += conversation(&walk, course)
            if Bool.random(using: &dice) {
                walk.next()
            } else {
                // The kernel gives the pointers to the next connection.
                walk.here.port += 1
                walk.token += 1
                walk.peerToken += 1
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
        #expect((0...16).contains(tracker.connectionCount))
        for handshake in found.handshakes where handshake.outcome == .mptcp {
            let port = handshake.side == .client ? handshake.local.port : handshake.remote.port
            #expect(courses[port]?.mptcp ?? true, "port \(port) fell back")
        }
        for join in found.joins where join.outcome == .joined {
            let client = join.side == .client ? join.local : join.remote
            guard let course = courses[client.port] else { continue }
            let number = Int(client.address.low & 0xff)
            #expect(
                course.joins.indices.contains(number - 1) && course.joins[number - 1],
                "join \(number) of port \(client.port) was refused")
        }
        for fallback in found.fallbacks {
            let port = fallback.local == walk.there ? fallback.remote.port : fallback.local.port
            #expect(courses[port]?.losesMptcp ?? true, "port \(port) kept MPTCP")
        }
        expectChains(found.steps)
    }

    /// Each step of a subflow begins where its last one ended.
    private func expectChains(_ steps: [StepRecord]) {
        struct Subflow: Hashable {
            var conn: UInt64
            var subflow: UInt32
        }
        var last: [Subflow: SubflowState] = [:]
        for step in steps where step.conn != 0 {
            let key = Subflow(conn: step.conn, subflow: step.subflow)
            #expect(step.from == last[key] ?? .none)
            last[key] = step.to
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
            o.facts = Facts(rawValue: dice.next() & 0xff_ffff_ffff)
            o.socket = dice.next() % 6
            o.msk = dice.next() % 6
            o.listener = dice.next() % 6
            o.cookie = dice.next() % 6
            o.netns = UInt32(dice.next() % 2)
            o.local = Endpoint(Address(v4: UInt32(dice.next() % 3)), UInt16(dice.next() % 3))
            o.remote = Endpoint(Address(v4: UInt32(dice.next() % 3)), UInt16(dice.next() % 3))
            o.token = UInt32(dice.next() % 4)
            o.remoteToken = UInt32(dice.next() % 4)
            o.option =
                [.unknown, .mpCapable, .mpJoin, .dss, .addAddr, .rmAddr, .other]
                .randomElement(using: &dice) ?? .absent
            o.localID = Bool.random(using: &dice) ? nil : UInt8(truncatingIfNeeded: dice.next())
            o.remoteID = Bool.random(using: &dice) ? nil : UInt8(truncatingIfNeeded: dice.next())
            o.backup = [nil, false, true].randomElement(using: &dice) ?? nil
            o.retransmits = UInt8(truncatingIfNeeded: dice.next())
            o.losses = dice.next() % 100 == 0 ? UInt32(truncatingIfNeeded: dice.next()) : tracker.lossesSeen
            if dice.next() % 200 == 0 {
                tracker.noteLoss(LostRecord(time: o.time, hook: o.hook, count: 1, reason: .recursion))
            }
            tracker.take(o)
            #expect((0...8).contains(tracker.connectionCount))
            if dice.next() % 50 == 0 { tracker.advance(to: dice.next() >> 20) }
        }
        if options.steps { expectChains(Array(tracker.records).steps) }
        tracker.finish(at: .max)
        // What is left was decided, and its end is not over.
        #expect((0...8).contains(tracker.connectionCount))
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
