// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake
import Replaying
import StackSequences
import Testing

@testable import Probes

/// What is easily taken for something else on this stack (shared/docs/kernel-out-of-tree.md).
@Suite struct TrapTests {
    private func replay(_ name: String) throws -> Replay { try StackSequence.play(name).replay() }

    private func kinds(_ name: String) throws -> [(kind: UInt32, hook: UInt32)] {
        try StackSequence.play(name).events(steps: true).map {
            (UInt32(Played.event($0).kind), UInt32(Played.event($0).hook))
        }
    }

    /// mptcp_rcv_synsent_state_process returns 0 on fallback too, and for joins.
    @Test(arguments: ["plain-listener", "syn-stripped", "synack-stripped"])
    func returning0IsNoSuccess(_ name: String) throws {
        let client = try #require(try replay(name).handshakes.first { $0.side == .client })
        #expect(client.outcome == .fallback)
        #expect(client.reason == .synackWithoutMptcp)
    }

    /// What a fallback leaves in the socket is no agreement, and is told as what it was.
    @Test(arguments: ["plain-listener", "syn-stripped", "synack-stripped"])
    func theTokenOfAFallbackIsTheSyns(_ name: String) throws {
        let replay = try replay(name)
        let client = try #require(replay.handshakes.first { $0.side == .client })
        let syn = try #require(replay.steps.first { $0.observation.hook == .tcpConnect })
        #expect(client.token != 0)
        #expect(client.token == syn.observation.token)
        #expect(client.remoteToken == 0)
    }

    /// A path manager's function, which is called in handshakes that succeed.
    @Test func fallbackDefaultIsNoFallback() {
        #expect(!HookTable.multipathFunctions.contains("mptcp_fallback_default"))
        #expect(!Hook.allCases.contains { $0.name == "mptcp_fallback_default" })
    }

    /// It is called for every passive connection, and tells of MPTCP by returning 0.
    @Test(arguments: ["plain-listener", "plain-syn", "syn-stripped", "all-tcp", "loopback"])
    func checkReqMasterIsCalledForPlainTCP(_ name: String) throws {
        let kinds = try kinds(name)
        #expect(!kinds.contains { $0.kind == MPS_MSK_ACCEPTED.rawValue })
        #expect(kinds.contains { $0.kind == MPS_CHILD_ESTABLISHED.rawValue })
        #expect(try replay(name).handshakes.allSatisfy { $0.outcome != .mptcp })
    }

    /// Nor does a SYN that mptcp_conn_request sees.
    @Test func connRequestIsCalledForPlainSyns() throws {
        #expect(try kinds("plain-syn").contains { $0.hook == MPS_HOOK_CONN_REQUEST.rawValue })
        #expect(try !kinds("plain-syn").contains { $0.kind == MPS_SYNACK_OUT.rawValue })
    }

    @Test func loopbackIsPlain() throws {
        #expect(try kinds("loopback").contains { $0.hook == MPS_HOOK_ENABLE_SOCK.rawValue })
        let ends = try replay("loopback").handshakes
        #expect(ends.map(\.outcome) == [.fallback, .fallback])
        #expect(ends.map(\.token) == [0, 0])
    }

    /// Softirqs run in whoever was interrupted; a join is made by a worker.
    @Test func softirqsOwnNothing() throws {
        for sequence in StackSequence.all {
            for bytes in sequence.events(steps: true) {
                let event = Played.event(bytes)
                let isOwned = event.flags & UInt16(MPS_F_OWNER) != 0
                // The process's CPUs are 0 and 2, the softirqs' and workers' 1 and 3.
                if event.cpu % 2 == 1, isOwned {
                    // Only connect(), told by its SYN, has one.
                    Issue.record("\(sequence.name): kind \(event.kind) of a softirq has an owner")
                }
            }
        }
        let owners = try replay("capable-ipv4").steps.compactMap(\.observation.owner?.comm)
        #expect(!owners.contains(Comm("bystander".utf8)))
    }

    /// Each time it is another connection, with its own ports and tokens.
    @Test func addressesComeBack() throws {
        let sequence = try StackSequence.play("addresses-come-back")
        let clients = try sequence.replay().handshakes.filter { $0.side == .client }
        #expect(Set(clients.map(\.local.port)).count == clients.count)
        #expect(Set(clients.map(\.token)).count == clients.count)
        let sockets = try sequence.observations().filter { $0.hook == .tcpConnect }.map(\.socket)
        #expect(sockets.count == 4)
        #expect(Set(sockets).count == 1)
    }

    /// The server knows it by the first data, and until then for MPTCP.
    @Test func aStrippedSynackIsASuccessUntilTheFirstData() throws {
        let replay = try replay("synack-stripped")
        let server = try #require(replay.handshakes.first { $0.side == .server })
        let lost = try #require(replay.fallbacks.first)
        #expect(server.outcome == .mptcp)
        #expect(lost.conn == server.conn)
        #expect(lost.time > server.time)
        #expect(lost.reason == .infiniteMapping)
    }

    /// The switch is the listener's, as it was when it was made.
    @Test func aListenerKeepsItsSwitch() throws {
        let replay = try replay("switch-to-0-between-listeners")
        let listeners: [ListenerRecord] = replay.records.compactMap {
            if case .listener(let it) = $0 { it } else { nil }
        }
        #expect(listeners.map(\.enabledAtCreation) == [true, nil])
        let servers = replay.handshakes.filter { $0.side == .server }
        #expect(servers.map(\.listener) == listeners.map(\.listener))
        #expect(servers.map(\.outcome) == [.mptcp, .fallback])
    }
}
