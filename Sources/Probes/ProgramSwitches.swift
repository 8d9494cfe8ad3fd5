// SPDX-License-Identifier: Apache-2.0

import BPF

/// What the programs are told while they run: by their variables, or where the kernel has none for
/// BPF, by the array `switches` (bpf/settings.h).
struct ProgramSwitches {
    private enum Place {
        case variables(ProgramMemory, tracing: Range<Int>, attached: Range<Int>)
        case array(BPFMap)
    }

    private let place: Place

    /// - Parameter memory: nil: the programs have no variables.
    init(_ object: borrowing BPFObject, _ memory: ProgramMemory?) throws(BPFError) {
        if let memory {
            place = .variables(
                memory, tracing: try object.place(of: "tracing", in: ".bss"),
                attached: try object.place(of: "attached", in: ".bss"))
        } else {
            place = .array(try object.map("switches"))
        }
    }

    /// Which hooks are attached, 1 << MPS_HOOK_*. To be told before they shall send.
    func setAttached(_ hooks: UInt32) throws(BPFError) {
        switch place {
        case .variables(let memory, _, let attached): memory.set(attached, to: hooks)
        case .array(let map): try map.set(1, to: hooks)
        }
    }

    /// Whether they shall send.
    func setTracing(_ on: Bool) throws(BPFError) {
        switch place {
        case .variables(let memory, let tracing, _): memory.set(tracing, to: on ? 1 : 0)
        case .array(let map): try map.set(0, to: UInt32(on ? 1 : 0))
        }
    }
}
