// SPDX-License-Identifier: Apache-2.0

import BPF
import CLibbpf
import Testing

@testable import Probes

/// The programs for the out-of-tree stack are such as Linux 4.14 takes.
@Suite struct OldKernelTests {
    /// By number (include/uapi/linux/bpf.h), those that 4.14 has; `bpf_probe_read_kernel` is replaced by
    /// libbpf where the kernel lacks it.
    private static let helpers: Set<Int32> = [
        1,  // map_lookup_elem
        2,  // map_update_elem
        3,  // map_delete_elem
        4,  // probe_read
        5,  // ktime_get_ns
        8,  // get_smp_processor_id
        14,  // get_current_pid_tgid
        15,  // get_current_uid_gid
        16,  // get_current_comm
        25,  // perf_event_output
        35,  // get_current_task
        113,  // probe_read_kernel
    ]

    /// bpf_ringbuf_*: 5.8.
    private static let ring: Set<Int32> = [130, 131, 132, 133, 134]

    private struct Program {
        var name: String
        var instructions: [bpf_insn]
    }

    private static func programs(_ transport: EventTransport) throws -> [Program] {
        let object = try #require(
            mps_bpf_open(
                ProgramObject.multipath(transport).bytes.baseAddress,
                ProgramObject.multipath(transport).bytes.count, "old", nil))
        defer { bpf_object__close(object) }
        var found: [Program] = []
        var program = bpf_object__next_program(object, nil)
        while let one = program {
            let instructions = UnsafeBufferPointer(
                start: bpf_program__insns(one), count: bpf_program__insn_cnt(one))
            found.append(
                Program(name: String(cString: bpf_program__name(one)), instructions: Array(instructions)))
            program = bpf_object__next_program(object, one)
        }
        return found
    }

    @Test(arguments: EventTransport.allCases)
    func everyInstruction(_ transport: EventTransport) throws {
        let programs = try Self.programs(transport)
        #expect(Set(programs.map(\.name)) == Set(HookTable.multipath.flatMap(\.ways).flatMap(\.programs)))
        for program in programs {
            #expect(program.instructions.count <= 4096, "\(program.name)")
            var isSecondHalf = false
            for (place, instruction) in program.instructions.enumerated() {
                // A constant of 64 bits takes two.
                if isSecondHalf {
                    isSecondHalf = false
                    continue
                }
                isSecondHalf = instruction.code == 0x18
                let at = "\(program.name), instruction \(place)"
                switch instruction.code & 7 {
                case 5:
                    switch instruction.code {
                    case 0x85:
                        // Calls between BPF functions came with 4.16, the kernel's functions later.
                        #expect(instruction.src_reg == 0, "\(at): calls a function")
                        let allowed =
                            transport == .perfbuf ? Self.helpers : Self.helpers.union(Self.ring)
                        #expect(allowed.contains(instruction.imm), "\(at): helper \(instruction.imm)")
                    default: break
                    }
                case 6: Issue.record("\(at): a jump by 32 bits (5.1)")
                case 3 where instruction.code & 0xe0 == 0xc0:
                    // BPF_XADD of 4 or 8 bytes; what returns a value, or is no addition, came with 5.12.
                    #expect(instruction.imm == 0, "\(at): an atomic operation that returns a value")
                default: break
                }
            }
            // Loops came with 5.3. (A jump back alone is none.)
            #expect(Self.loop(in: program.instructions) == nil, "\(program.name)")
        }
    }

    /// Where the program comes back to an instruction that it comes from; nil: nowhere.
    private static func loop(in instructions: [bpf_insn]) -> Int? {
        enum Mark { case new, entered, left }
        var marks = [Mark](repeating: .new, count: instructions.count)
        var path = [(place: 0, next: successors(of: 0, instructions))]
        marks[0] = .entered
        while var last = path.popLast() {
            guard let place = last.next.popLast() else {
                marks[last.place] = .left
                continue
            }
            path.append(last)
            switch marks[place] {
            case .entered: return place
            case .left: break
            case .new:
                marks[place] = .entered
                path.append((place, successors(of: place, instructions)))
            }
        }
        return nil
    }

    private static func successors(of place: Int, _ instructions: [bpf_insn]) -> [Int] {
        let instruction = instructions[place]
        let following = place + (instruction.code == 0x18 ? 2 : 1)
        guard instruction.code & 7 == 5, instruction.code != 0x85 else { return [following] }
        let target = place + 1 + Int(instruction.off)
        return instruction.code == 0x95 ? [] : instruction.code == 0x05 ? [target] : [following, target]
    }

    /// Global variables came with 5.2.
    @Test(arguments: EventTransport.allCases)
    func noVariables(_ transport: EventTransport) throws {
        let object = try BPFObject(ProgramObject.multipath(transport).bytes, name: "old")
        for section in [".bss", ".data", ".rodata", ".kconfig", ".ksyms"] {
            let has = object.hasMap(section)
            #expect(!has, "\(section)")
        }
        let events = try object.map("events")
        #expect(events.isPerfBuffer == (transport == .perfbuf))
    }
}
