// SPDX-License-Identifier: Apache-2.0

import BPF
import CEvent

/// The programs' global variables, mapped from the kernel.
final class ProgramMemory {
    private let memory: BPFMemory

    init(_ object: borrowing BPFObject) throws(BPFError) {
        memory = try object.memory(ofSection: ".bss")
    }

    /// Sets a 32-bit variable of the programs.
    func set(_ place: Range<Int>, to value: UInt32) {
        memory.bytes.storeBytes(of: value, toByteOffset: place.lowerBound, as: UInt32.self)
    }

    /// A variable of the programs.
    func value<Value: BitwiseCopyable>(at place: Range<Int>, as type: Value.Type) -> Value {
        memory.bytes.loadUnaligned(fromByteOffset: place.lowerBound, as: type)
    }

    /// An array of counters, as long as this object lives.
    func counters(at place: Range<Int>) -> UnsafeBufferPointer<mps_counter> {
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(memory.bytes)[place])
            .bindMemory(to: mps_counter.self)
    }
}
