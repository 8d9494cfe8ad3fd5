// SPDX-License-Identifier: Apache-2.0

import Handshake
import Histogram

/// Counts the records as they pass, for the summary and for `--fail-on`.
public struct Tally: ~Copyable {
    /// The longest latency kept apart from longer ones, in ns: an hour.
    private static let longest: UInt64 = 3_600_000_000_000

    private var handshakes = Counts<Outcome>()
    private var joins = Counts<JoinOutcome>()
    private var reasons = Counts<Reason>()
    private var anomalies = Counts<AnomalyKind>()
    private var latencies = Histogram<UInt64>(
        lowestDiscernibleValue: 1, highestTrackableValue: Tally.longest)
    private var longestSeen: UInt64 = 0

    /// Handshakes and joins so far (`--count`).
    public private(set) var decided: UInt64 = 0
    /// A handshake fell back, or a connection did later.
    public private(set) var sawFallback = false
    public private(set) var sawAnomaly = false
    public private(set) var sawLost = false
    /// How much was lost, by the `lost` records.
    public private(set) var lostTotal: UInt64 = 0

    public init() {}

    /// Takes one record into account.
    public mutating func take(_ record: Record) {
        switch record {
        case .handshake(let handshake):
            decided &+= 1
            handshakes.count(handshake.outcome)
            if let reason = handshake.reason { reasons.count(reason) }
            if handshake.outcome == .fallback { sawFallback = true }
            if handshake.outcome == .mptcp || handshake.outcome == .fallback,
                let total = handshake.timings.total
            {
                latencies.record(min(total, Tally.longest))
                longestSeen = max(longestSeen, total)
            }
        case .join(let join):
            decided &+= 1
            joins.count(join.outcome)
            if let reason = join.reason { reasons.count(reason) }
        case .fallback(let fallback):
            sawFallback = true
            if let reason = fallback.reason { reasons.count(reason) }
        case .anomaly(let anomaly):
            sawAnomaly = true
            // One that grows or ends is still one.
            if anomaly.state == .open { anomalies.count(anomaly.kind) }
        case .lost(let lost):
            sawLost = true
            lostTotal &+= lost.count
        case .step, .connection, .close, .listener, .address, .sysctl:
            break
        }
    }

    /// The summary at `time` (ns, CLOCK_MONOTONIC); `events` and `delivered` as the probes counted.
    public func summary(
        time: UInt64, events: UInt64, delivered: UInt64, verify: VerifyResult? = nil
    ) -> SummaryRecord {
        SummaryRecord(
            time: time, events: events, delivered: delivered, lostTotal: lostTotal,
            handshakes: handshakes.seen, joins: joins.seen, reasons: reasons.seen,
            anomalies: anomalies.seen, latency: latency, verify: verify)
    }

    private var latency: Latency? {
        guard latencies.totalCount > 0 else { return nil }
        // A value stands for its neighbours of the same three digits: never above what was seen.
        func microseconds(_ percentile: Double) -> UInt64 {
            min(latencies.valueAtPercentile(percentile), longestSeen) / 1000
        }
        return Latency(
            p50: microseconds(50), p90: microseconds(90), p99: microseconds(99), max: longestSeen / 1000)
    }
}
