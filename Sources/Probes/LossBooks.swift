// SPDX-License-Identifier: Apache-2.0

import BPF
import CEvent
import Glibc
import Handshake

/// The programs' own books of what they sent and what did not fit, mapped from the kernel.
///
/// Belongs to the thread that reads the events; it may be asked while events are being taken.
public final class LossBooks {
    /// What `counters` looks into.
    private let memory: BPFMemory
    private let counters: UnsafeBufferPointer<mps_counter>
    private let programs: [(hook: Hook, program: BPFProgram)]
    private let cpus: Int
    private var seen = [Seen](repeating: Seen(), count: Int(MPS_HOOK_COUNT.rawValue))

    private struct Seen {
        var ringFull: UInt64 = 0
        var tableFull: UInt64 = 0
        var recursion: UInt64 = 0
    }

    /// - Parameters:
    ///   - memory: the section that the array `counters` of the BPF object is in.
    ///   - place: where in it.
    ///   - programs: those whose skipped runs count as lost.
    init(
        _ memory: consuming BPFMemory, at place: Range<Int>, of programs: [(hook: Hook, program: BPFProgram)]
    ) {
        counters = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(memory.bytes)[place])
            .bindMemory(to: mps_counter.self)
        self.memory = memory
        self.programs = programs
        cpus = min(BPFObject.possibleCPUs, Int(MPS_MAX_CPUS))
    }

    /// Sets a 32-bit variable of the programs.
    func set(_ place: Range<Int>, to value: UInt32) {
        memory.bytes.storeBytes(of: value, toByteOffset: place.lowerBound, as: UInt32.self)
    }

    /// A variable of the programs.
    func value<Value: BitwiseCopyable>(at place: Range<Int>, as type: Value.Type) -> Value {
        memory.bytes.loadUnaligned(fromByteOffset: place.lowerBound, as: type)
    }

    /// How often the kernel skipped a program of a hook, because it was already running.
    private func misses(_ hook: Hook) -> UInt64 {
        programs.reduce(0) { $1.hook == hook ? $0 + $1.program.recursionMisses : $0 }
    }

    private func sum(_ hook: Int) -> (events: UInt64, lost: UInt64, tableFull: UInt64, caught: Int64) {
        var result: (events: UInt64, lost: UInt64, tableFull: UInt64, caught: Int64) = (0, 0, 0, 0)
        for cpu in 0..<cpus {
            let place = cpu * Int(MPS_MAX_HOOKS) + hook
            guard place < counters.count else { break }
            // Plain loads of aligned words that another CPU adds to: each is some recent value.
            let counter = counters[place]
            result.events &+= counter.events
            result.lost &+= counter.lost
            result.tableFull &+= counter.table_full
            result.caught &+= Int64(bitPattern: counter.caught)
        }
        return result
    }

    /// What the kernel skipped of a hook and no other program saw (yet: a moment after a skip the
    /// program that fills in may still be on its way, and what is then told as lost was not).
    private func missed(_ hook: Hook, _ index: Int) -> UInt64 {
        let skipped = Int64(clamping: misses(hook))
        return UInt64(max(0, skipped &- sum(index).caught))
    }

    /// Everything that the programs saw, and how much of it was not sent.
    func totals() -> (events: UInt64, lost: UInt64) {
        var events: UInt64 = 0
        var lost: UInt64 = 0
        for hook in 0..<Int(MPS_HOOK_COUNT.rawValue) {
            let sum = sum(hook)
            events &+= sum.events
            lost &+= sum.lost
        }
        // As far as it was told.
        let missed = seen.reduce(0) { $0 + $1.recursion }
        return (events + missed, lost + missed)
    }

    /// What was lost since the last call, by hook and cause.
    /// - Parameter time: ns, CLOCK_MONOTONIC, that the records shall bear.
    public func new(at time: UInt64, _ report: (LostRecord) -> Void) {
        for index in 0..<Int(MPS_HOOK_COUNT.rawValue) {
            guard let hook = Decoder.hook(UInt8(index)) else { continue }
            let missed = missed(hook, index)
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
            if missed > seen[index].recursion {
                report(
                    LostRecord(
                        time: time, hook: hook, count: missed - seen[index].recursion, reason: .recursion))
                seen[index].recursion = missed
            }
        }
    }
}
