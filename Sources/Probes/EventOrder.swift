// SPDX-License-Identifier: Apache-2.0

/// Puts events that come CPU by CPU into the order of their times, without a clock: the caller says
/// up to when everything has come.
///
/// Events wait here, as bytes in one arena, until that time has passed theirs. What comes later
/// still, when a later event has been released already, is released all the same, and marked.
public struct EventOrder {
    /// One event, as it is released.
    public struct Event {
        /// Valid during the call only.
        public var bytes: UnsafeRawBufferPointer
        /// How many were lost on its CPU just before it.
        public var gap: UInt64
        /// An event with a later time was released before.
        public var isLate: Bool
    }

    private struct Entry {
        var time: UInt64
        /// Where in the arena.
        var offset: Int
        var size: Int
        var gap: UInt64
        /// Of two with the same time the first that came goes first.
        var arrival: UInt64
    }

    /// The bytes of the entries, in the order in which they came.
    private var arena: [UInt8] = []
    /// What the arena is moved to, when much of it is free.
    private var spare: [UInt8] = []
    /// Sorted up to `sorted`; behind that what came since the last release.
    private var entries: [Entry] = []
    private var sorted = 0
    /// Entries before this one are released.
    private var first = 0
    private var arrivals: UInt64 = 0
    /// The bytes of those that wait.
    private var waitingBytes = 0
    /// Of the last event that was released in order.
    private var lastTime: UInt64 = 0
    private let capacity: Int

    /// - Parameter capacity: how many bytes may wait; when there are more, the oldest is released
    ///   though others may still come before it.
    public init(capacity: Int) { self.capacity = capacity }

    /// How many wait.
    public var count: Int { entries.count - first }

    /// Takes an event.
    /// - Parameters:
    ///   - time: its own.
    ///   - gap: how many were lost on its CPU just before it.
    public mutating func add(_ bytes: UnsafeRawBufferPointer, time: UInt64, gap: UInt64) {
        entries.append(
            Entry(time: time, offset: arena.count, size: bytes.count, gap: gap, arrival: arrivals))
        arrivals &+= 1
        waitingBytes += bytes.count
        arena.append(contentsOf: bytes)
    }

    /// Releases those older than `bound`, and the oldest of what exceeds the capacity.
    /// - Parameters:
    ///   - bound: every event that is older has come, or is late.
    ///   - limit: at most so many; the next call goes on.
    /// - Returns: how many were released.
    @discardableResult
    public mutating func release(
        before bound: UInt64, atMost limit: Int = .max, _ take: (Event) -> Void
    ) -> Int {
        sort()
        var released = 0
        arena.withUnsafeBytes { arena in
            while first < entries.count, released < limit {
                let entry = entries[first]
                guard entry.time < bound || waitingBytes > capacity else { break }
                first += 1
                released += 1
                waitingBytes -= entry.size
                let isLate = entry.time < lastTime
                if !isLate { lastTime = entry.time }
                take(
                    Event(
                        bytes: UnsafeRawBufferPointer(
                            rebasing: arena[entry.offset..<entry.offset + entry.size]),
                        gap: entry.gap, isLate: isLate))
            }
        }
        tidy()
        return released
    }

    /// Whether there is enough for the next call without any new ones, or no place for more.
    func hasReady(_ limit: Int, before bound: UInt64) -> Bool {
        guard sorted == entries.count, count > 0 else { return false }
        return waitingBytes > capacity
            || limit > 0 && limit <= count && entries[first + limit - 1].time < bound
    }

    private mutating func sort() {
        guard sorted < entries.count else { return }
        // Runs of one CPU each, which are in order themselves nearly always.
        entries[first...].sort { ($0.time, $0.arrival) < ($1.time, $1.arrival) }
        sorted = entries.count
    }

    /// Makes the released ones' place free, when that is worth the moving.
    private mutating func tidy() {
        if first == entries.count {
            entries.removeAll(keepingCapacity: true)
            arena.removeAll(keepingCapacity: true)
        } else if first > count {
            entries.removeSubrange(..<first)
            spare.removeAll(keepingCapacity: true)
            for index in entries.indices {
                let entry = entries[index]
                entries[index].offset = spare.count
                spare.append(contentsOf: arena[entry.offset..<entry.offset + entry.size])
            }
            swap(&arena, &spare)
        } else {
            return
        }
        first = 0
        sorted = entries.count
    }
}
