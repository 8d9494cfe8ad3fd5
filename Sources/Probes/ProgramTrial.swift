// SPDX-License-Identifier: Apache-2.0

import BPF

/// Loads each BPF program by itself: what this kernel's verifier says to it.
public struct ProgramTrial: Sendable {
    public enum Result: Sendable {
        /// The number of instructions that the verifier went through; nil: this kernel (before 5.16)
        /// does not tell.
        case loaded(verified: UInt32?)
        /// This kernel does not have its place.
        case cannot(String)
        case failed(String)
    }

    public var program: String
    public var way: HookWay
    public var result: Result

    /// Every program, with what makes most work: steps, plain TCP, an address.
    public static func all() throws(BPFError) -> [ProgramTrial] {
        let types = try KernelTypes()
        let noFentry = Trial.fentry(on: "tcp_connect")?.reason
        var trials: [ProgramTrial] = []
        for way in HookTable.all.flatMap(\.ways) {
            for program in way.programs {
                let result: Result
                if let missing = HookChoice.lacks(way, types)
                    ?? ([.fentry, .fexit].contains(way.attachment) ? noFentry : nil)
                {
                    result = .cannot(missing)
                } else {
                    result = load(program, types)
                }
                trials.append(ProgramTrial(program: program, way: way, result: result))
            }
        }
        return trials
    }

    /// Every program for the out-of-tree stack, whatever kernel this is: loading asks for none of its functions.
    /// - Parameter btf: that stack's types.
    public static func multipath(btf: String) -> [(transport: EventTransport, trial: ProgramTrial)] {
        EventTransport.allCases.filter { $0 != .ringbuf || Trial.ringBuffer }.flatMap { transport in
            HookTable.multipath.flatMap(\.ways).flatMap { way in
                way.programs.map { program in
                    let result = loadMultipath(program, transport, btf)
                    return (transport, ProgramTrial(program: program, way: way, result: result))
                }
            }
        }
    }

    private static func loadMultipath(_ name: String, _ transport: EventTransport, _ btf: String) -> Result {
        do throws(BPFError) {
            let object = try BPFObject(ProgramObject.multipath(transport).bytes, name: "mpscope", btf: btf)
            for other in object.programNames() { try object.program(other).setLoaded(other == name) }
            BPFObject.raiseMemoryLimit()
            try object.load()
            let verified = try object.program(name).statistics?.verified
            return .loaded(verified: verified == 0 ? nil : verified)
        } catch {
            return .failed(error.lastDetail.isEmpty ? error.reason : "\(error.reason): \(error.lastDetail)")
        }
    }

    private static func load(_ name: String, _ types: borrowing KernelTypes) -> Result {
        var filters = Filters()
        filters.prefixLength = 99
        do throws(BPFError) {
            let object = try BPFObject(ProgramObject.mainline.bytes, name: "mpscope")
            let config = filters.configuration(
                steps: true, allTcp: true, ownPid: 1, wakeBytes: 1 << 20,
                perCPUDistance: types.perCPUDistance(from: "runqueues", to: "this_cpu_off"))
            try object.set("config", in: ".rodata", to: config)
            for other in object.programNames() { try object.program(other).setLoaded(other == name) }
            try object.load()
            let verified = try object.program(name).statistics?.verified
            return .loaded(verified: verified == 0 ? nil : verified)
        } catch {
            return .failed(error.lastDetail.isEmpty ? error.reason : "\(error.reason): \(error.lastDetail)")
        }
    }
}
