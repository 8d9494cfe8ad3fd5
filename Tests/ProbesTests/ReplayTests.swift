// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake
import Replaying
import Scenarios
import Testing

@testable import Probes

/// The whole way from the kernel's bytes to the records, without a kernel.
@Suite struct ReplayTests {
    @Test func oneRecordingForEachScenario() throws {
        #expect(try Set(Recordings.files()) == Set(Recordings.plain.map { $0 + ".events" }))
        #expect(Recordings.functions.count > 55)
        #expect(Recordings.functions.allSatisfy { Recordings.scenario(of: $0) != nil })
    }

    @Test(arguments: Recordings.names)
    func everyScenario(_ name: String) throws {
        let expected = try #require(Recordings.scenario(of: name)).expected
        let observations = try Recordings.observations(name)
        let namespaces = try Ends(observations).namespaces
        let replay = Replay(observations)
        for side in Side.allCases {
            let problems = expected[side].differences(from: replay, netns: namespaces[side])
            #expect(problems.isEmpty, "\(side)")
        }
        let known: Set<UInt32> = [namespaces.client, namespaces.server]
        #expect(replay.handshakes.allSatisfy { known.contains($0.netns) })
        #expect(replay.joins.allSatisfy { known.contains($0.netns) })
        #expect(replay.anomalies.map(\.message) == [])
        #expect(replay.brokenChains(nobodys: true) == [])
        #expect(replay.left == 0)
    }

    /// What is told of a connection besides how it ended.
    @Test(arguments: Recordings.names)
    func detailsOfConnections(_ name: String) throws {
        let observations = try Recordings.observations(name)
        let namespaces = try Ends(observations).namespaces
        let replay = Replay(observations)
        var tokens: [UInt64: UInt32] = [:]
        for handshake in replay.handshakes {
            #expect(handshake.owner != nil)
            #expect(handshake.netns == namespaces[handshake.side])
            #expect(handshake.local.port != 0 || handshake.outcome == .aborted)
            #expect((handshake.listener != 0) == (handshake.side == .server))
            let established = [.mptcp, .fallback, .tcp].contains(handshake.outcome)
            let closes = replay.closes.filter { $0.conn == handshake.conn }
            #expect(closes.count == (established ? 1 : 0))
            let joined = replay.joins.filter { $0.conn == handshake.conn && $0.outcome == .joined }
            for close in closes {
                #expect(close.duration != nil)
                #expect(close.subflows == UInt32(joined.count) + 1)
            }
            guard handshake.outcome == .mptcp else { continue }
            tokens[handshake.conn] = handshake.token
            #expect(handshake.mptcpVersion == 1)
            #expect(handshake.token != 0 && handshake.remoteToken != 0)
            // Each end's remote token is the other end's token.
            for other in replay.handshakes
            where other.outcome == .mptcp && other.side != handshake.side && other.local == handshake.remote
                && other.remote == handshake.local
            {
                #expect(other.token == handshake.remoteToken)
                #expect(other.remoteToken == handshake.token)
            }
        }
        for fallback in replay.fallbacks { #expect(tokens[fallback.conn] != nil) }
        for address in replay.addresses {
            #expect(tokens[address.conn] != nil)
            #expect(address.id != nil)
            #expect((address.address == nil) == (address.change == .removed))
        }
        for join in replay.joins {
            #expect(join.netns == namespaces[join.side])
            if join.conn == 0 {
                #expect(join.reason == .mpJoinNoTokenFound)
                continue
            }
            #expect(join.owner != nil)
            #expect(join.subflow != 0)
            #expect(join.token == tokens[join.conn])
            // What is one end's own address is the other's remote one.
            for other in replay.joins
            where join.outcome == .joined && other.outcome == .joined && other.side != join.side
                && other.local == join.remote && other.remote == join.local
            {
                #expect(join.localID != nil && join.remoteID != nil)
                #expect(join.localID == other.remoteID)
                #expect(join.remoteID == other.localID)
            }
        }
        for conn in Set(replay.joins.map(\.conn)) where conn != 0 {
            let numbers = replay.joins.filter { $0.conn == conn }.map(\.subflow)
            #expect(Set(numbers).count == numbers.count)
        }
    }

    /// docs/state-machine.md says where each step is seen.
    @Test func stepsAreSeenWhereTheDocumentSays() throws {
        var seen: [Step: Set<Hook>] = [:]
        for name in Recordings.names {
            for observation in try Recordings.observations(name) {
                seen[observation.step, default: []].insert(observation.hook)
            }
        }
        // What no scenario makes happen.
        seen[.socketRefused, default: []].formUnion([.initSock, .socketExit])
        seen[.joinSynSent, default: []].insert(.subflowConnect)
        for step in Step.allCases where step != .timer {
            #expect(seen[step] ?? [] == Set(step.mainlineHooks), "\(step.name)")
        }
    }

    @Test func noRecordingHoldsAKey() throws {
        let place = try #require(MemoryLayout<mps_event>.offset(of: \.remote_key))
        for name in Recordings.names {
            for event in try Recordings.events(name) {
                let key = event.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: place, as: UInt64.self) }
                #expect(key == 0)
            }
        }
    }

    @Test func aCutRecordingSaysWhere() throws {
        let bytes = try Recordings.bytes("refused")
        #expect(throws: EventRecording.Problem.noRecording) { try EventRecording.events(in: [1, 2, 3]) }
        for length in EventRecording.magic.count + 1..<min(bytes.count, 200) where length != 8 + 170 {
            let problem = #expect(throws: EventRecording.Problem.self) {
                try EventRecording.events(in: Array(bytes[..<length]))
            }
            if case .cut(let at)? = problem { #expect(at <= length) }
        }
    }
}
