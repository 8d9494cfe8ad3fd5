// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake
import Replaying
import StackSequences
import TestSupport
import Testing

@testable import Probes

/// Every row of the facts' order table, through the programs, the decoder, the order of events, the
/// tracker and the writers, without such a kernel.
@Suite struct SequenceTests {
    @Test func namesAreUnique() { #expect(Set(StackSequence.names).count == StackSequence.all.count) }

    @Test(arguments: StackSequence.names)
    func isToldAsTheTableHasIt(_ name: String) throws {
        let sequence = try StackSequence.play(name)
        let replay = try sequence.replay()
        #expect(replay.lines == sequence.expected)
        #expect(replay.anomalies.map(\.message) == [])
        #expect(replay.brokenChains(nobodys: true) == [])
        #expect(replay.left == 0)
    }

    /// Meta and master are one connection, with one record at each end and one end.
    @Test(arguments: StackSequence.names)
    func eachEndHasOneRecordForEachConnection(_ name: String) throws {
        let replay = try StackSequence.play(name).replay()
        let conns = replay.handshakes.map(\.conn)
        #expect(Set(conns).count == conns.count)
        for handshake in replay.handshakes {
            let established = [.mptcp, .fallback, .tcp].contains(handshake.outcome)
            let closes = replay.closes.filter { $0.conn == handshake.conn }
            #expect(closes.count == (established ? 1 : 0))
            for close in closes {
                let joined = replay.joins.filter { $0.conn == handshake.conn && $0.outcome == .joined }
                #expect(close.subflows == UInt32(joined.count) + 1)
                #expect(close.duration != nil)
            }
            // One of each: both of meta and master become established, and close.
            let steps = replay.steps.filter { $0.conn == handshake.conn && $0.subflow == 0 }
            #expect(steps.count { $0.to == .mptcpEstablished && $0.from != .mptcpEstablished } <= 1)
        }
        for fallback in replay.fallbacks {
            let handshake = replay.handshakes.first { $0.conn == fallback.conn }
            #expect(handshake?.outcome == .mptcp)
            #expect(handshake?.side == fallback.side)
            #expect(handshake?.owner == fallback.owner)
            #expect(handshake?.local == fallback.local)
            #expect(handshake?.remote == fallback.remote)
        }
    }

    /// Softirqs and workers own nothing.
    @Test(arguments: StackSequence.names)
    func theOwnerIsWhoCalled(_ name: String) throws {
        let sequence = try StackSequence.play(name)
        for steps in [true, false] {
            let replay = try sequence.replay(steps: steps)
            for handshake in replay.handshakes {
                let owner = try #require(handshake.owner)
                #expect(owner.source == (handshake.side == .client ? .connect : .listen))
                if name == "loopback" { continue }
                #expect(owner.pid == (handshake.side == .client ? 812 : 611))
                #expect(owner.comm == Comm((handshake.side == .client ? "curl" : "nginx").utf8))
            }
            for join in replay.joins {
                #expect(join.conn != 0)
                #expect(join.owner == replay.handshakes.first { $0.conn == join.conn }?.owner)
            }
            for handshake in replay.handshakes where handshake.side == .server {
                #expect(handshake.listener != 0)
            }
        }
    }

    @Test(arguments: StackSequence.names)
    func bothEndsHaveTheSameTokens(_ name: String) throws {
        let replay = try StackSequence.play(name).replay()
        for handshake in replay.handshakes where handshake.outcome == .mptcp {
            #expect(handshake.token != 0)
            #expect(handshake.remoteToken != 0)
            #expect(handshake.mptcpVersion == 0)
            #expect(handshake.checksum == false)
            for other in replay.handshakes
            where other.side != handshake.side && other.local == handshake.remote
                && other.remote == handshake.local && other.outcome == .mptcp
            {
                #expect(other.token == handshake.remoteToken)
                #expect(other.remoteToken == handshake.token)
            }
        }
        let tokens = replay.handshakes.map { ($0.conn, $0.token) }
        for join in replay.joins {
            #expect(tokens.contains { $0 == (join.conn, join.token) })
            // A plain listener has no ids.
            if join.side == .server, join.reason == .listenerIsTcp { continue }
            #expect(join.localID == (join.side == .client ? 3 : 0))
            #expect(join.remoteID == (join.side == .client ? 0 : 3))
        }
    }

    /// What a record says, with the ids of connections in the order in which they are told: sockets
    /// that are made and do not connect take one with --steps.
    private func saying(_ replay: Replay) -> [String] {
        var numbers: [UInt64: UInt64] = [:]
        func number(_ conn: UInt64) -> UInt64 {
            if let known = numbers[conn] { return known }
            numbers[conn] = UInt64(numbers.count) + 1
            return UInt64(numbers.count)
        }
        let records: [Record] = replay.records.compactMap { record in
            switch record {
            case .step: return nil
            case .handshake(var it):
                it.conn = number(it.conn)
                return .handshake(it)
            case .join(var it):
                it.conn = number(it.conn)
                return .join(it)
            case .fallback(var it):
                it.conn = number(it.conn)
                return .fallback(it)
            case .close(var it):
                it.conn = number(it.conn)
                return .close(it)
            default: return record
            }
        }
        return String(decoding: Played.json(records), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test(arguments: StackSequence.names)
    func stepsChangeNoRecord(_ name: String) throws {
        let sequence = try StackSequence.play(name)
        #expect(saying(try sequence.replay(steps: false)) == saying(try sequence.replay()))
        // What is only sent for steps is more, and the rest is the same.
        let with = sequence.events(steps: true).map(key)
        var without = sequence.events(steps: false).map(key)[...]
        for event in with where event == without.first { without.removeFirst() }
        #expect(without.isEmpty)
    }

    private func key(_ bytes: [UInt8]) -> [UInt64] {
        let event = Played.event(bytes)
        return [event.time, UInt64(event.kind), UInt64(event.hook), UInt64(event.flags)]
    }

    @Test(arguments: StackSequence.names)
    func goldens(_ name: String) throws {
        let replay = try StackSequence.play(name).replay()
        try expectGolden(Played.json(replay.records), "\(name).jsonl")
        try expectGolden(Played.ladder(replay.records), "\(name).txt")
    }

    /// Keys, HMACs and random numbers are 0xab in the packets.
    @Test func noEventHoldsAKey() throws {
        for sequence in StackSequence.all {
            for bytes in sequence.events(steps: true) {
                let event = Played.event(bytes)
                #expect(event.remote_key == 0)
                #expect(event.token != 0xabab_abab && event.remote_token != 0xabab_abab)
            }
        }
    }
}
