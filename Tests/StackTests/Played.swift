// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake
import Output
import Replaying
import StackSequences
import Testing

@testable import Probes

extension StackSequence {
    static let names = all.map(\.name)

    static func play(_ name: String) throws -> StackSequence {
        try #require(named(name), "no sequence \(name)")
    }

    /// What the decoder makes of its events, in the order of their times.
    func observations(steps: Bool = true) throws -> [Observation] {
        try Played.ordered(events(steps: steps)).map { event in
            try event.withUnsafeBytes { try Decoder.decode($0) }
        }
    }

    /// All that is told in the end, with steps or without.
    func replay(steps: Bool = true) throws -> Replay {
        Replay(try observations(steps: steps), allTcp: allTcp, steps: steps)
    }
}

enum Played {
    static func event(_ bytes: [UInt8]) -> mps_event {
        bytes.withUnsafeBytes { $0.loadUnaligned(as: mps_event.self) }
    }

    /// As the perf buffers of the CPUs give them, one after the other, and then as `EventOrder` does.
    static func ordered(_ events: [[UInt8]]) -> [[UInt8]] {
        var order = EventOrder(capacity: .max)
        for cpu in Set(events.map { event($0).cpu }).sorted() {
            for bytes in events where event(bytes).cpu == cpu {
                bytes.withUnsafeBytes { order.add($0, time: event(bytes).time, gap: 0) }
            }
        }
        var ordered: [[UInt8]] = []
        order.release(before: .max) { ordered.append(Array($0.bytes)) }
        return ordered
    }

    private static let offset = 1_763_826_000_000_000_000 - Int64(Stack.start)

    static func json(_ records: [Record]) -> [UInt8] {
        var writer = RecordWriter(realtimeOffset: offset)
        var lines = ByteBuffer(capacity: 64)
        for record in records { writer.write(record, to: &lines) }
        return lines.bytes()
    }

    static func ladder(_ records: [Record]) -> [UInt8] {
        var writer = TextWriter(
            width: 132, colour: false, steps: true, realtimeOffset: offset, utcOffset: 0)
        var text = ByteBuffer(capacity: 64)
        for record in records { writer.write(record, to: &text) }
        return text.bytes()
    }
}

extension Replay {
    /// Each record but the steps, in a line.
    var lines: [String] { records.compactMap(StackSequence.line) }
}
