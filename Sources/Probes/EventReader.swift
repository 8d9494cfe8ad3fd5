// SPDX-License-Identifier: Apache-2.0

import BPF
import CEvent
import Handshake

/// Takes the events in order, and hands on what they mean.
final class EventReader: RingBufferReader {
    /// Records that came, whatever they held.
    private(set) var delivered: UInt64 = 0
    /// Of these, such that are no event of this version.
    private(set) var malformed: UInt64 = 0
    /// How many more it takes before it has enough.
    var left = Int.max
    /// Who takes the observations.
    var take: (Observation) -> Void = { _ in }
    /// Who takes changes of settings, at their place among these.
    var takeSetting: (SettingChange) -> Void = { _ in }
    /// Who takes the bytes as well; nil: nobody.
    var tap: ((UnsafeRawBufferPointer) -> Void)?

    /// What found no room in the perf buffer, as far as what came after it was taken.
    private(set) var perfLost: UInt64 = 0
    /// What came when something later had been taken already, by hook (MPS_HOOK_*).
    private(set) var late = [UInt64](repeating: 0, count: Int(MPS_HOOK_COUNT.rawValue))
    /// Both of these so far: such a gap is told by the event behind it, as those of the ring are.
    private var gaps: UInt32 = 0

    static let callback: @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, Int) -> Int32 = {
        context, data, size in
        guard let context else { return 0 }
        let reader = Unmanaged<EventReader>.fromOpaque(context).takeUnretainedValue()
        reader.record(UnsafeRawBufferPointer(start: data, count: size))
        reader.left -= 1
        return reader.left > 0 ? 0 : EventReader.enough
    }

    /// One event of a perf buffer.
    func record(_ event: EventOrder.Event) {
        if event.gap > 0 {
            perfLost &+= event.gap
            gaps &+= UInt32(truncatingIfNeeded: event.gap)
        }
        if event.isLate, event.bytes.count >= Decoder.plainSize {
            let hook = Int(event.bytes[PerfEvents.hookOffset])
            if hook < late.count {
                late[hook] &+= 1
                gaps &+= 1
            }
        }
        record(event.bytes)
    }

    /// So many more found no room, and nothing came after them.
    func addPerfLost(_ count: UInt64) {
        perfLost &+= count
        gaps &+= UInt32(truncatingIfNeeded: count)
    }

    private func record(_ bytes: UnsafeRawBufferPointer) {
        delivered &+= 1
        tap?(bytes)
        do throws(Decoder.Problem) {
            if let change = try Decoder.setting(bytes) {
                takeSetting(change)
                return
            }
            var observation = try Decoder.decode(bytes)
            observation.losses &+= gaps
            take(observation)
        } catch {
            malformed &+= 1
        }
    }
}
