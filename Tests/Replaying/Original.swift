// SPDX-License-Identifier: Apache-2.0

import Handshake

/// An attempt at one end: where, and between which ends.
private struct Attempt: Hashable {
    var netns: UInt32
    var port: UInt16
    var remote: Endpoint

    init(_ netns: UInt32, _ local: Endpoint, _ remote: Endpoint) {
        self.netns = netns
        port = local.port
        self.remote = remote
    }

    /// What is known of it; its own port is not known when its subflow was gone already.
    func of<Value>(_ all: [Attempt: [Value]]) -> [Value] {
        if port != 0 { return all[self] ?? [] }
        return all.filter { $0.key.netns == netns && $0.key.remote == remote }.flatMap(\.value)
    }
}

/// What is claimed of each attempt.
private struct Claims {
    var handshakes: [Attempt: [HandshakeRecord]]
    var joins: [Attempt: [JoinRecord]]
    var fallbacks: [Attempt: [FallbackRecord]]

    init(_ replay: Replay) {
        handshakes = Dictionary(grouping: replay.handshakes) { Attempt($0.netns, $0.local, $0.remote) }
        joins = Dictionary(grouping: replay.joins) { Attempt($0.netns, $0.local, $0.remote) }
        fallbacks = Dictionary(grouping: replay.fallbacks) { Attempt($0.netns, $0.local, $0.remote) }
    }
}

/// One scenario's events, and what they tell when nothing is wrong with them.
package struct Original {
    package var observations: [Observation]
    private var claims: Claims

    package init(_ observations: [Observation], allTcp: Bool = false) {
        self.observations = observations
        claims = Claims(Replay(observations, allTcp: allTcp))
    }

    /// What `replay` claims that is not so. `repeated`: how often a true claim may be told again.
    package func wrong(_ replay: Replay, lossesTold: Bool = false, repeated: Int = 0) -> [String] {
        var wrong = replay.brokenChains(nobodys: false)
        let found = Claims(replay)
        for (attempt, records) in found.handshakes {
            let truth = attempt.of(claims.handshakes)
            let so = truth.count { $0.outcome == .mptcp }
            let claimed = records.count { $0.outcome == .mptcp }
            if claimed > so + (so == 0 ? 0 : repeated) { wrong.append("mptcp of \(attempt)") }
            for record in records where lossesTold {
                let fits = truth.contains { one in
                    if one.outcome == record.outcome {
                        return record.reason == nil || record.reason == one.reason
                            || record.outcome.isFailure
                    }
                    // Why it failed may have been lost; that it did is true.
                    return record.outcome.isFailure && one.outcome.isFailure
                }
                if !fits, record.outcome != .aborted {
                    wrong.append(
                        "\(record.side) \(record.outcome) \(record.reason?.rawValue ?? "") of "
                            + "\(truth.map { "\($0.outcome) \($0.reason?.rawValue ?? "")" })")
                }
            }
        }
        for (attempt, records) in found.joins {
            let truth = attempt.of(claims.joins)
            let so = truth.count { $0.outcome == .joined }
            let claimed = records.count { $0.outcome == .joined }
            if claimed > so + (so == 0 ? 0 : repeated) { wrong.append("joined of \(attempt)") }
            for record in records where lossesTold {
                let fits = truth.contains { ($0.outcome == .joined) == (record.outcome == .joined) }
                if !fits, record.outcome != .aborted {
                    wrong.append(
                        "join \(record.side) \(record.outcome) \(record.reason?.rawValue ?? "") of "
                            + "\(truth.map { "\($0.outcome) \($0.reason?.rawValue ?? "")" })")
                }
            }
        }
        for (attempt, records) in found.fallbacks {
            let truth = attempt.of(claims.fallbacks)
            if records.count > truth.count + (truth.isEmpty ? 0 : repeated) {
                wrong.append("fallback of \(attempt)")
            }
            for record in records {
                if let reason = record.reason, !truth.contains(where: { $0.reason == reason }) {
                    wrong.append("fallback \(reason) of \(truth.map(\.reason))")
                }
            }
        }
        if lossesTold { wrong += replay.anomalies.map(\.message) }
        return wrong
    }
}

extension Outcome {
    fileprivate var isFailure: Bool {
        self == .refused || self == .reset || self == .timeout || self == .aborted
    }
}
