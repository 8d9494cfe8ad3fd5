// SPDX-License-Identifier: Apache-2.0

import BPF
import CEvent

/// What the programs count, CPU by CPU and hook by hook (bpf/books.h): their memory itself, or where
/// the kernel has no global variables for BPF, a copy of the map `counters`.
final class ProgramCounters {
    struct Sum: Equatable {
        var events: UInt64 = 0
        var lost: UInt64 = 0
        var tableFull: UInt64 = 0
        var caught: Int64 = 0
    }

    private enum Source {
        /// Kept for the memory that `counters` looks into.
        case memory(ProgramMemory)
        case map(BPFMap, UnsafeMutableBufferPointer<mps_counter>)
    }

    private let source: Source
    private let counters: UnsafeBufferPointer<mps_counter>
    private let cpus: Int

    /// - Parameter memory: nil: the programs have no variables.
    init(_ object: borrowing BPFObject, _ memory: ProgramMemory?) throws(BPFError) {
        if let memory {
            source = .memory(memory)
            counters = memory.counters(at: try object.place(of: "counters", in: ".bss"))
            cpus = min(BPFObject.possibleCPUs, counters.count / Int(MPS_MAX_HOOKS))
        } else {
            let map = try object.map("counters")
            cpus = BPFObject.possibleCPUs
            let copy = UnsafeMutableBufferPointer<mps_counter>.allocate(capacity: cpus * Int(MPS_MAX_HOOKS))
            copy.initialize(repeating: mps_counter())
            source = .map(map, copy)
            counters = UnsafeBufferPointer(copy)
        }
    }

    deinit {
        if case .map(_, let copy) = source { copy.deallocate() }
    }

    /// Makes what `sum` says recent. It does so by itself where the memory is the programs' own.
    ///
    /// While a map is read, the kernel runs no kprobe's program on that CPU (`bpf_disable_instrumentation`):
    /// what happens then is not seen. So it is read once a second.
    /// - Parameter now: in any case, as nothing is seen any more.
    func refresh(now: Bool = false) {
        guard case .map(let map, let copy) = source else { return }
        let time = monotonicTime()
        guard now || time &- lastRead >= Self.pause else { return }
        lastRead = time
        // What can't be read stays as it was.
        _ = map.readPerCPU(into: UnsafeMutableRawBufferPointer(copy))
    }

    /// ns.
    private static let pause: UInt64 = 1_000_000_000
    /// ns, CLOCK_MONOTONIC.
    private var lastRead: UInt64 = 0

    /// Of a hook, over all CPUs.
    func sum(_ hook: Int) -> Sum {
        var result = Sum()
        for cpu in 0..<cpus {
            // Plain loads of aligned words that another CPU adds to: each is some recent value.
            let counter = counters[cpu * Int(MPS_MAX_HOOKS) + hook]
            result.events &+= counter.events
            result.lost &+= counter.lost
            result.tableFull &+= counter.table_full
            result.caught &+= Int64(bitPattern: counter.caught)
        }
        return result
    }
}
