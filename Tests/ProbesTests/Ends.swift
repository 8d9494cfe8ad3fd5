// SPDX-License-Identifier: Apache-2.0

import Handshake
import Replaying
import Scenarios
import Testing

/// The namespaces of the two ends of a recording.
struct Ends {
    var namespaces = Sides<UInt32>(client: 0, server: 0)

    /// Only clients send SYNs, and a client's namespace has no listener.
    init(_ observations: [Observation]) throws {
        let clients = Set(
            observations.filter {
                $0.side == .client && ($0.step == .synSent || $0.step == .joinSynSent)
            }.map(\.netns))
        let servers = Set(observations.map(\.netns)).subtracting(clients)
        try #require(clients.count <= 1 && servers.count <= 1)
        namespaces.client = clients.first ?? 0
        namespaces.server = servers.first ?? 0
        for observation in observations where observation.step == .listening {
            #expect(observation.netns == namespaces.server)
        }
    }
}

extension Scenarios.Expectation {
    /// What of it was not found, and what was found beside it.
    func differences(from replay: Replay, netns: UInt32) -> [String] {
        Self.differences(
            handshakes.map { ($0, $0.count) }, replay.handshakes.filter { $0.netns == netns }
        ) { $0.outcome == $1.outcome && $0.reason == $1.reason && $0.family == $1.family }
            // Those of which more is known first.
            + Self.differences(
                joins.sorted { $0.backup != nil && $1.backup == nil }.map { ($0, $0.count) },
                replay.joins.filter { $0.netns == netns }
            ) {
                $0.outcome == $1.outcome && $0.reason == $1.reason && $0.family == $1.family
                    && ($0.backup == nil || $0.backup == $1.backup)
            }
            + Self.differences(
                fallbacks.map { ($0, $0.count) }, replay.fallbacks.filter { $0.netns == netns }
            ) { $0.reason == $1.reason }
            + Self.differences(
                addresses.map { ($0, $0.count) }, replay.addresses.filter { $0.netns == netns }
            ) { $0.change == $1.change }
    }

    private static func differences<Wanted, Found>(
        _ wanted: [(Wanted, Int)], _ found: [Found], _ fits: (Wanted, Found) -> Bool
    ) -> [String] {
        var problems: [String] = []
        var left = found
        for (one, count) in wanted {
            for _ in 0..<count {
                if let at = left.firstIndex(where: { fits(one, $0) }) {
                    left.remove(at: at)
                } else {
                    problems.append("missing: \(one)")
                }
            }
        }
        return problems + left.map { "unexpected: \($0)" }
    }
}
