// SPDX-License-Identifier: Apache-2.0

import BPF
import Glibc

/// The events' way from the programs to the reader, in the kernel's order whichever it is.
protocol EventBuffer: AnyObject {
    var transport: EventTransport { get }
    /// What it holds at any one time, in bytes.
    var size: Int { get }
    /// Becomes readable when the buffer fills.
    var descriptor: Int32 { get }
    /// How long an event may wait here until its turn comes, in ns.
    var wait: UInt64 { get }
    /// What came by perf buffers; nil: there are none.
    var perfEvents: PerfEvents? { get }

    /// Hands what is there to the reader, in order.
    /// - Parameters:
    ///   - limit: when events come faster than they are taken, it goes on up to here.
    ///   - beforeDrain: called before perf buffers are emptied.
    func consume(atMost limit: Int, beforeDrain: () -> Void) throws(BPFError)

    /// Hands on what still waits for its turn: nothing comes any more.
    func flush()
}

extension EventBuffer {
    /// Returns when whatever happened before this call comes with the next `consume`.
    func awaitTurn() {
        guard wait > 0 else { return }
        let end = monotonicTime() + wait
        while case let now = monotonicTime(), now <= end { usleep(UInt32((end - now) / 1000) + 100) }
    }
}

/// ns, CLOCK_MONOTONIC, by which the programs take the time.
func monotonicTime() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// The one that `map` needs, by its type.
/// - Parameters:
///   - map: the programs' end.
///   - size: that of the ring as it was loaded, or what the perf buffers shall have together.
func openEventBuffer(_ map: BPFMap, size: Int, reader: EventReader) throws(BPFError) -> any EventBuffer {
    if map.isPerfBuffer { return try PerfEventBuffer(map, size: size, reader: reader) }
    return try RingEventBuffer(map, size: size, reader: reader)
}

/// By the ring buffer, which is in order.
private final class RingEventBuffer: EventBuffer {
    private let ring: RingBuffer<EventReader>
    private let reader: EventReader
    let size: Int

    init(_ map: BPFMap, size: Int, reader: EventReader) throws(BPFError) {
        ring = try RingBuffer(map, reader: reader)
        self.reader = reader
        self.size = size
    }

    var transport: EventTransport { .ringbuf }
    var descriptor: Int32 { ring.descriptor }
    var wait: UInt64 { 0 }
    var perfEvents: PerfEvents? { nil }

    func consume(atMost limit: Int, beforeDrain: () -> Void) throws(BPFError) {
        reader.left = limit
        try ring.consume()
    }

    func flush() {}
}

/// By the perf buffer, whose CPUs are put in order here.
private final class PerfEventBuffer: EventBuffer {
    private let buffer: PerfBuffer
    private let events: PerfEvents
    private let reader: EventReader
    /// Up to when everything has come; what is older and comes still is late.
    private var bound: UInt64 = 0

    init(_ map: BPFMap, size: Int, reader: EventReader) throws(BPFError) {
        let events = PerfEvents()
        buffer = try PerfBuffer(map, size: size, reader: events)
        // Where the buffers are small, they are no measure of what comes in the time that events wait.
        events.order = EventOrder(capacity: max(buffer.size, 1 << 20))
        self.events = events
        self.reader = reader
    }

    var transport: EventTransport { .perfbuf }
    var size: Int { buffer.size }
    var descriptor: Int32 { buffer.descriptor }
    var wait: UInt64 { PerfEvents.wait }
    var perfEvents: PerfEvents? { events }

    func consume(atMost limit: Int, beforeDrain: () -> Void) throws(BPFError) {
        if !events.order.hasReady(limit, before: bound) {
            beforeDrain()
            let now = monotonicTime()
            try buffer.consume()
            bound = now - min(now, wait)
        }
        events.order.release(before: bound, atMost: limit) { reader.record($0) }
    }

    func flush() {
        events.order.release(before: .max) { reader.record($0) }
    }
}
