// SPDX-License-Identifier: Apache-2.0

import BPF
import CEvent

/// Takes the events of a perf buffer, CPU by CPU, and keeps them until they are in order.
final class PerfEvents: PerfBufferReader {
    static let hookOffset = MemoryLayout<mps_event>.offset(of: \.hook) ?? 0
    private static let timeOffset = MemoryLayout<mps_event>.offset(of: \.time) ?? 0
    private static let flagsOffset = MemoryLayout<mps_event>.offset(of: \.flags) ?? 0

    /// How long an event waits for others, in ns.
    ///
    /// All CPUs' buffers are emptied in one look, so what came is complete up to when the look began, but
    /// for events whose program had taken their time and not yet put them there. That takes microseconds,
    /// or as long as the program is interrupted: softirqs go on for 2 ms at most, a virtual CPU that has
    /// to let others run may be away longer.
    static let wait: UInt64 = 10_000_000

    var order = EventOrder(capacity: .max)
    /// How many came, by hook (MPS_HOOK_*).
    private(set) var arrived = [UInt64](repeating: 0, count: Int(MPS_HOOK_COUNT.rawValue))
    /// What each CPU lost since its last event.
    private var gaps = [UInt64](repeating: 0, count: BPFObject.possibleCPUs)
    private var lastTime: UInt64 = 0

    func event(cpu: Int, _ bytes: UnsafeRawBufferPointer) {
        var gap: UInt64 = 0
        if gaps.indices.contains(cpu), gaps[cpu] > 0 {
            gap = gaps[cpu]
            gaps[cpu] = 0
        }
        guard bytes.count >= Decoder.plainSize else {
            // No event: it is counted as that when its turn comes.
            order.add(bytes, time: lastTime, gap: gap)
            return
        }
        lastTime = bytes.loadUnaligned(fromByteOffset: Self.timeOffset, as: UInt64.self)
        let hook = Int(bytes[Self.hookOffset])
        if hook < arrived.count { arrived[hook] &+= 1 }
        // The kernel rounded the size up.
        let flags = bytes.loadUnaligned(fromByteOffset: Self.flagsOffset, as: UInt16.self)
        let size = flags & UInt16(MPS_F_OWNER) != 0 ? Decoder.ownedSize : Decoder.plainSize
        let isRounded = bytes.count > size && bytes.count - size < 8
        order.add(
            isRounded ? UnsafeRawBufferPointer(rebasing: bytes[..<size]) : bytes, time: lastTime, gap: gap)
    }

    func lost(cpu: Int, _ count: UInt64) {
        if gaps.indices.contains(cpu) { gaps[cpu] &+= count }
    }
}
