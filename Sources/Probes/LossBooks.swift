// SPDX-License-Identifier: Apache-2.0

import BPF
import CEvent
import Glibc
import Handshake

/// The programs' own books of what they sent and what did not fit, and what was lost behind them.
///
/// Belongs to the thread that reads the events; it may be asked while events are being taken.
public final class LossBooks {
    private let counters: ProgramCounters
    private let reader: EventReader
    private let programs: [(hook: Hook, program: BPFProgram)]
    private var seen = [Seen](repeating: Seen(), count: Int(MPS_HOOK_COUNT.rawValue))
    /// What the programs had sent by hook when the perf buffers were last emptied.
    private var sent = [UInt64](repeating: 0, count: Int(MPS_HOOK_COUNT.rawValue))
    /// What came of it; nil: there are no perf buffers.
    private let perf: PerfEvents?

    private struct Seen {
        var ringFull: UInt64 = 0
        var tableFull: UInt64 = 0
        var recursion: UInt64 = 0
        var perfLost: UInt64 = 0
        var late: UInt64 = 0
    }

    /// - Parameter programs: those whose skipped runs count as lost.
    init(
        _ counters: ProgramCounters, _ reader: EventReader, _ perf: PerfEvents?,
        of programs: [(hook: Hook, program: BPFProgram)]
    ) {
        self.counters = counters
        self.reader = reader
        self.perf = perf
        self.programs = programs
    }

    /// How often the kernel skipped a program of a hook, because it was already running.
    private func misses(_ hook: Hook) -> UInt64 {
        programs.reduce(0) { $1.hook == hook ? $0 + $1.program.recursionMisses : $0 }
    }

    /// What the kernel skipped of a hook and no other program saw (yet: a moment after a skip the
    /// program that fills in may still be on its way, and what is then told as lost was not).
    private func missed(_ hook: Hook, _ index: Int) -> UInt64 {
        let skipped = Int64(clamping: misses(hook))
        return UInt64(max(0, skipped &- counters.sum(index).caught))
    }

    /// Everything that the programs saw, and how much of it was not sent. To be asked once they send
    /// nothing any more.
    func totals() -> (events: UInt64, lost: UInt64) {
        counters.refresh(now: true)
        var events: UInt64 = 0
        var lost = reader.perfLost
        for hook in 0..<Int(MPS_HOOK_COUNT.rawValue) {
            let sum = counters.sum(hook)
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
        counters.refresh()
        // Of perf buffers too the programs count some: those that a CPU without a buffer sent.
        let noRoom: LossReason = perf == nil ? .ringFull : .perfLost
        for index in 0..<Int(MPS_HOOK_COUNT.rawValue) {
            guard let hook = Decoder.hook(UInt8(index)) else { continue }
            let missed = missed(hook, index)
            let sum = counters.sum(index)
            if sum.lost > seen[index].ringFull {
                report(
                    LostRecord(
                        time: time, hook: hook, count: sum.lost - seen[index].ringFull, reason: noRoom))
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
            let late = reader.late[index]
            if late > seen[index].late {
                report(LostRecord(time: time, hook: hook, count: late - seen[index].late, reason: .late))
                seen[index].late = late
            }
        }
        if perf != nil { newPerfLost(at: time, report) }
    }

    /// The perf buffer says how many it lost, not of which hook: that is whose events are missing among
    /// those that came, and what then remains is put down to the hook that sends most.
    private func newPerfLost(at time: UInt64, _ report: (LostRecord) -> Void) {
        var left = reader.perfLost - seen.reduce(0) { $0 + $1.perfLost }
        while left > 0 {
            var index = 0
            for other in sent.indices where missing(other) > missing(index) { index = other }
            var count = min(left, missing(index))
            if count == 0 {
                for other in sent.indices where sent[other] > sent[index] { index = other }
                count = left
            }
            left -= count
            seen[index].perfLost += count
            guard let hook = Decoder.hook(UInt8(index)) else { continue }
            report(LostRecord(time: time, hook: hook, count: count, reason: .perfLost))
        }
    }

    /// What was sent of a hook, did not come, and was not told yet.
    private func missing(_ index: Int) -> UInt64 {
        let come = (perf?.arrived[index] ?? 0) + seen[index].perfLost
        return sent[index] > come ? sent[index] - come : 0
    }

    /// Notes what the programs have sent: the perf buffers are about to be emptied of it.
    func noteSent() {
        counters.refresh()
        for index in sent.indices {
            let sum = counters.sum(index)
            sent[index] = sum.events - min(sum.lost, sum.events)
        }
    }

    /// No program runs any more, and all that came was taken: what is missing still was lost at the
    /// very end, where the perf buffer does not say so.
    func settle() {
        counters.refresh(now: true)
        guard perf != nil else { return }
        noteSent()
        let (events, lost) = totals()
        let known = reader.delivered + lost
        if events > known { reader.addPerfLost(events - known) }
    }
}
