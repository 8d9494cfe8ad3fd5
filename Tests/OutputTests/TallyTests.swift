// SPDX-License-Identifier: Apache-2.0

import Handshake
import Output
import Testing

@Suite struct TallyTests {
    @Test func countsAndPercentiles() {
        var tally = Tally()
        for milliseconds in 1...100 as ClosedRange<UInt64> {
            var record = Samples.success
            record.timings.total = milliseconds * 1_000_000
            tally.take(.handshake(record))
        }
        var slow = Samples.bare
        slow.timings.total = 60_000_000_000
        tally.take(.handshake(slow))
        tally.take(.join(Samples.rejected))
        #expect(!tally.sawFallback && !tally.sawAnomaly && !tally.sawLost)
        #expect(tally.decided == 102)
        let summary = tally.summary(time: 0, events: 1, delivered: 1)
        #expect(summary.handshakes == [WordCount("mptcp", 100), WordCount("timeout", 1)])
        #expect(summary.joins == [WordCount("rejected", 1)])
        #expect(summary.reasons == [WordCount("mp_join_ack_hmac_failure", 1)])
        let latency = summary.latency
        #expect(latency?.max == 100_000)
        // Three digits.
        #expect(latency.map { (49_950...50_050).contains($0.p50) } == true)
        #expect(latency.map { (89_900...90_100).contains($0.p90) } == true)
        #expect(latency.map { (98_900...99_100).contains($0.p99) } == true)
    }

    @Test func percentilesNeverPassTheMaximum() {
        var tally = Tally()
        var record = Samples.success
        record.timings.total = 123_457_999
        tally.take(.handshake(record))
        let expected = Latency(p50: 123_457, p90: 123_457, p99: 123_457, max: 123_457)
        #expect(tally.summary(time: 0, events: 0, delivered: 0).latency == expected)
    }

    @Test func longerThanAnHour() {
        var tally = Tally()
        var record = Samples.success
        record.timings.total = .max
        tally.take(.handshake(record))
        #expect(tally.summary(time: 0, events: 0, delivered: 0).latency?.max == UInt64.max / 1000)
    }

    @Test func flags() {
        var tally = Tally()
        for record in Samples.all { tally.take(record) }
        #expect(tally.sawFallback && tally.sawAnomaly && tally.sawLost)
        #expect(tally.lostTotal == 12)
        // One that is seen again is not one more.
        #expect(
            tally.summary(time: 0, events: 0, delivered: 0).anomalies
                == [WordCount("listener_outlives_disable", 1)])
    }

    @Test func nothingSeen() {
        let tally = Tally()
        let summary = tally.summary(time: 0, events: 0, delivered: 0)
        #expect(summary.latency == nil && summary.handshakes.isEmpty)
    }
}
