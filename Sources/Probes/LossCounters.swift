// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake

/// The programs' own books of what they sent and what did not fit, mapped from the kernel.
struct LossCounters {
    private let counters: UnsafeBufferPointer<mps_counter>
    private let cpus: Int
    private var seen = [Seen](repeating: Seen(), count: Int(MPS_HOOK_COUNT.rawValue))

    private struct Seen {
        var ringFull: UInt64 = 0
        var tableFull: UInt64 = 0
        var recursion: UInt64 = 0
    }

    /// - Parameters:
    ///   - memory: the array `counters` of the BPF object.
    ///   - cpus: how many CPUs the kernel may run on.
    init(_ memory: UnsafeRawBufferPointer, cpus: Int) {
        counters = memory.bindMemory(to: mps_counter.self)
        self.cpus = min(cpus, Int(MPS_MAX_CPUS))
    }

    private func sum(_ hook: Int) -> (events: UInt64, lost: UInt64, tableFull: UInt64) {
        var result: (events: UInt64, lost: UInt64, tableFull: UInt64) = (0, 0, 0)
        for cpu in 0..<cpus {
            let place = cpu * Int(MPS_MAX_HOOKS) + hook
            guard place < counters.count else { break }
            // Plain loads of aligned words that another CPU adds to: each is some recent value.
            let counter = counters[place]
            result.events &+= counter.events
            result.lost &+= counter.lost
            result.tableFull &+= counter.table_full
        }
        return result
    }

    /// Everything the programs decided to send, and how much of it had no room.
    func totals() -> (events: UInt64, lost: UInt64) {
        var events: UInt64 = 0
        var lost: UInt64 = 0
        for hook in 0..<Int(MPS_HOOK_COUNT.rawValue) {
            let sum = sum(hook)
            events &+= sum.events
            lost &+= sum.lost
        }
        return (events, lost)
    }

    /// What was lost since the last call.
    /// - Parameter misses: how often the kernel skipped the program of a hook so far.
    mutating func new(at time: UInt64, misses: (Hook) -> UInt64, _ report: (LostRecord) -> Void) {
        for index in 0..<Int(MPS_HOOK_COUNT.rawValue) {
            guard let hook = Decoder.hook(UInt8(index)) else { continue }
            let sum = sum(index)
            if sum.lost > seen[index].ringFull {
                report(
                    LostRecord(
                        time: time, hook: hook, count: sum.lost - seen[index].ringFull, reason: .ringFull))
                seen[index].ringFull = sum.lost
            }
            if sum.tableFull > seen[index].tableFull {
                report(
                    LostRecord(
                        time: time, hook: hook, count: sum.tableFull - seen[index].tableFull,
                        reason: .tableFull))
                seen[index].tableFull = sum.tableFull
            }
            let missed = misses(hook)
            if missed > seen[index].recursion {
                report(
                    LostRecord(
                        time: time, hook: hook, count: missed - seen[index].recursion, reason: .recursion))
                seen[index].recursion = missed
            }
        }
    }
}
