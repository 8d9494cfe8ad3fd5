// SPDX-License-Identifier: Apache-2.0

import Handshake
import Testing

@testable import Probes

/// The whole way from the kernel's bytes to the records, without a kernel.
@Suite struct ReplayTests {
    private struct Expected {
        var client: [String]
        var server: [String]
    }

    private static let mptcp = Expected(client: ["mptcp"], server: ["mptcp"])
    private static let expected: [String: Expected] = [
        "mptcp-ipv4": mptcp, "mptcp-ipv6": mptcp, "mptcp-v4-mapped": mptcp, "mptcp-nonblocking": mptcp,
        "mptcp-ten-at-once": Expected(
            client: Array(repeating: "mptcp", count: 10), server: Array(repeating: "mptcp", count: 10)),
        "mptcp-to-tcp-server": Expected(
            client: ["fallback synack_without_mptcp"], server: ["fallback listener_is_tcp"]),
        "tcp-to-mptcp-server": Expected(client: [], server: ["fallback syn_without_mptcp"]),
        "refused": Expected(client: ["refused rst_to_syn"], server: []),
        "unanswered": Expected(client: ["timeout no_synack"], server: []),
    ]

    private func replay(_ events: [[UInt8]]) throws -> (records: [Record], tracker: Tracker) {
        var options = Tracker.Options()
        options.steps = true
        var tracker = Tracker(options)
        for event in events {
            tracker.take(try event.withUnsafeBytes { try Decoder.decode($0) })
        }
        let records = Array(tracker.records)
        tracker.records.removeAll()
        return (records, tracker)
    }

    private func words(_ records: [Record], _ side: Side) -> [String] {
        records.compactMap {
            guard case .handshake(let handshake) = $0, handshake.side == side else { return nil }
            return handshake.outcome.rawValue + (handshake.reason.map { " " + $0.rawValue } ?? "")
        }
    }

    @Test(arguments: Recordings.names)
    func everyScenario(_ name: String) throws {
        let expected = try #require(Self.expected[name])
        let (records, tracker) = try replay(Recordings.events(name))
        #expect(words(records, .client) == expected.client)
        #expect(words(records, .server) == expected.server)
        #expect(tracker.connectionCount == 0)
        var last: [UInt64: SubflowState] = [:]
        var tokens: Set<UInt32> = []
        var remoteTokens: Set<UInt32> = []
        for record in records {
            switch record {
            case .anomaly(let anomaly): Issue.record("\(anomaly.message)")
            case .step(let step) where step.conn != 0:
                #expect(step.from == last[step.conn] ?? .none)
                last[step.conn] = step.to
            case .handshake(let handshake) where handshake.outcome == .mptcp:
                tokens.insert(handshake.token)
                remoteTokens.insert(handshake.remoteToken)
                #expect(handshake.owner != nil)
                #expect(handshake.mptcpVersion == 1)
                #expect(handshake.family == (name == "mptcp-ipv6" ? 6 : 4))
            default: break
            }
        }
        // Each end's remote token is the other end's token.
        #expect(tokens == remoteTokens)
        #expect(!tokens.contains(0))
    }

    /// Each event left out in turn: never a wrong `mptcp`, and never a crash.
    @Test(arguments: Recordings.names)
    func eachEventMissing(_ name: String) throws {
        let expected = try #require(Self.expected[name])
        let events = try Recordings.events(name)
        let mptcp = (expected.client + expected.server).filter { $0 == "mptcp" }.count
        for missing in events.indices {
            var some = events
            some.remove(at: missing)
            let (records, _) = try replay(some)
            let found = words(records, .client) + words(records, .server)
            #expect(found.filter { $0 == "mptcp" }.count <= mptcp)
        }
    }

    @Test func noRecordingHoldsAKey() throws {
        for name in Recordings.names {
            for event in try Recordings.events(name) {
                let key = event.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 48, as: UInt64.self) }
                #expect(key == 0)
            }
        }
    }

    @Test func aCutRecordingSaysWhere() throws {
        let bytes = try Recordings.bytes("refused")
        #expect(throws: EventRecording.Problem.noRecording) { try EventRecording.events(in: [1, 2, 3]) }
        for length in EventRecording.magic.count + 1..<min(bytes.count, 200) where length != 8 + 162 {
            let problem = #expect(throws: EventRecording.Problem.self) {
                try EventRecording.events(in: Array(bytes[..<length]))
            }
            if case .cut(let at)? = problem { #expect(at <= length) }
        }
    }
}
