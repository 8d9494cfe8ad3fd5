// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake
import Testing

@testable import Probes

/// Bytes may come from a file: nothing in them is trusted.
@Suite struct DecoderTests {
    private func decode(_ bytes: [UInt8]) -> Result<Observation, Decoder.Problem> {
        bytes.withUnsafeBytes { bytes in
            do throws(Decoder.Problem) {
                return .success(try Decoder.decode(bytes))
            } catch {
                return .failure(error)
            }
        }
    }

    private func problem(_ bytes: [UInt8]) -> Decoder.Problem? {
        if case .failure(let problem) = decode(bytes) { problem } else { nil }
    }

    @Test func sizesAreExact() throws {
        let event = try #require(Recordings.events("refused").first)
        for count in 0..<event.count { #expect(problem(Array(event[..<count])) == .size(count)) }
        #expect(problem(event + [0]) == .size(event.count + 1))
        #expect(problem(event) == nil)
    }

    @Test func versionKindAndHookAreChecked() throws {
        var event = try #require(Recordings.events("refused").first)
        event[0] = 3
        #expect(problem(event) == .version(3))
        event[0] = UInt8(MPS_EVENT_VERSION)
        let kind = event[2]
        event[2] = 0
        #expect(problem(event) == .kind(0))
        event[2] = UInt8(MPS_KIND_COUNT.rawValue)
        #expect(problem(event) == .kind(UInt8(MPS_KIND_COUNT.rawValue)))
        event[2] = kind
        event[3] = 200
        #expect(problem(event) == .hook(200))
    }

    /// Any bytes behind a valid head: an observation or a problem, never a crash.
    @Test func forgedBytes() throws {
        var generator = SystemRandomNumberGenerator()
        let events = try Recordings.names.flatMap { try Recordings.events($0) }
        var tracker = Tracker()
        for _ in 0..<20_000 {
            var event = try #require(events.randomElement())
            for _ in 0..<Int.random(in: 1...20, using: &generator) {
                event[Int.random(in: 0..<event.count, using: &generator)] = .random(
                    in: 0...255, using: &generator)
            }
            if case .success(let observation) = decode(event) { tracker.take(observation) }
        }
    }

    /// A key and its token, from RFC 8684's reference to SHA-256; checked with `openssl dgst -sha256`.
    @Test func tokenOfAKey() {
        // printf '\x01\x02\x03\x04\x05\x06\x07\x08' | openssl dgst -sha256
        #expect(token(ofKey: 0x0102_0304_0506_0708) == 0x6684_0dda)
    }

    @Test func aNameOfSixteenBytesIsKept() throws {
        var event = try #require(try Recordings.events("refused").first { $0.count == 160 })
        for place in 0..<16 { event[120 + 24 + place] = UInt8(ascii: "a") + UInt8(place) }
        guard case .success(let observation) = decode(event) else {
            Issue.record("not decoded")
            return
        }
        #expect(observation.owner?.comm.count == 16)
        #expect(observation.owner?.comm == Comm("abcdefghijklmnop".utf8))
    }
}
