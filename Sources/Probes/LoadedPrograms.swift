// SPDX-License-Identifier: Apache-2.0

import BPF
import CEvent
import Glibc
import Handshake

/// Where programs are attached, beside what the hook's way says.
struct AttachPlaces {
    /// A descriptor of the cgroup v2 root; -1: there is none.
    var cgroup: Int32
    /// Of functions, the kernel module that has them; nil: the kernel itself.
    var module: String?
}

/// The BPF object with the programs that were chosen: loaded and attached, or not at all.
final class LoadedPrograms {
    /// Why not: each program that failed. `program` is empty where no single one is to blame.
    struct Refusal: Error {
        var failures: [(program: String, error: BPFError)]
    }

    let object: BPFObject
    private let links: Links
    let programs: [(hook: Hook, program: BPFProgram)]
    /// Those that are attached now and then, and how.
    private let onDemand: [(program: BPFProgram, way: HookWay)]
    private let places: AttachPlaces
    /// While they are attached.
    private var demanded: Links?
    /// They could not be, which is told once.
    private var cannotDemand = false

    init(
        _ source: ProgramObject, _ chosen: [(plan: HookPlan, way: HookWay)], _ config: mps_config,
        bufferSize: Int, btf: String?, places: AttachPlaces
    ) throws(Refusal) {
        let object = try Self.loaded(source, Set(chosen.flatMap(\.way.programs)), config, bufferSize, btf)
        var links = Links()
        var programs: [(hook: Hook, program: BPFProgram)] = []
        var failures: [(program: String, error: BPFError)] = []
        var onDemand: [(program: BPFProgram, way: HookWay)] = []
        for (plan, way) in chosen {
            do throws(BPFError) {
                // What keeps the arguments comes first. Of fentry programs that attached last runs first.
                let isReversed = way.attachment == .fentry
                for name in isReversed ? way.programs.reversed() : way.programs {
                    let program = try object.program(name)
                    let link = try Self.attach(program, way, atReturn: name == way.program, places)
                    // That it can be attached is known by now.
                    if plan.onDemand { onDemand.append((program, way)) } else { links.add(link) }
                    // Nothing is lost when one that fills in is skipped.
                    if !way.substitutes.contains(name) { programs.append((plan.hook, program)) }
                }
            } catch {
                failures.append((way.program, error))
            }
        }
        if !failures.isEmpty { throw Refusal(failures: failures) }
        self.object = object
        self.links = links
        self.programs = programs
        self.onDemand = onDemand
        self.places = places
    }

    /// Whether what costs the whole machine is attached.
    var isDemanding: Bool { demanded != nil }

    /// Attaches it, or takes it away. What could not be attached is not tried again until it was not wanted.
    func demand(_ wanted: Bool) throws(BPFError) {
        guard wanted else {
            demanded = nil
            cannotDemand = false
            return
        }
        if isDemanding || cannotDemand || onDemand.isEmpty { return }
        var links = Links()
        cannotDemand = true
        for (program, way) in onDemand {
            links.add(try Self.attach(program, way, atReturn: false, places))
        }
        cannotDemand = false
        demanded = consume links
    }

    private static func loaded(
        _ source: ProgramObject, _ wanted: Set<String>, _ config: mps_config, _ bufferSize: Int,
        _ btf: String?
    ) throws(Refusal) -> BPFObject {
        do throws(BPFError) {
            let object = try BPFObject(source.bytes, name: "mpscope", btf: btf)
            let hasVariables = object.hasMap(".rodata")
            if hasVariables { try object.set("config", in: ".rodata", to: config) }
            let events = try object.map("events")
            if !events.isPerfBuffer { try events.setMaxEntries(UInt32(bufferSize)) }
            for name in object.programNames() {
                try object.program(name).setLoaded(wanted.contains(name))
            }
            // Kernels without variables count what BPF takes as locked memory: 64 KiB by default.
            if !hasVariables { BPFObject.raiseMemoryLimit() }
            try object.load()
            if !hasVariables { try object.map("settings").set(0, to: config) }
            return object
        } catch {
            throw Refusal(failures: [(error.program ?? "", error)])
        }
    }

    private static func attach(
        _ program: BPFProgram, _ way: HookWay, atReturn: Bool, _ places: AttachPlaces
    ) throws(BPFError) -> BPFLink {
        let function = places.module.map { "\($0):\(way.target)" } ?? way.target
        return switch way.attachment {
        case .cgroup: try program.attach(cgroup: places.cgroup)
        case .rawTracepoint: try program.attach(rawTracepoint: way.target)
        case .tracepoint: try program.attach(tracepoint: way.target, of: "syscalls")
        case .fentry, .fexit: try program.attachToFunction()
        case .kprobe: try program.attach(kprobe: function, atReturn: false)
        case .kretprobe: try program.attach(kprobe: function, atReturn: atReturn)
        }
    }
}

/// The links, which can't be put into an array.
private struct Links: ~Copyable {
    private var first: Node?

    private final class Node {
        let link: BPFLink
        let next: Node?

        init(_ link: consuming BPFLink, next: Node?) {
            self.link = link
            self.next = next
        }
    }

    mutating func add(_ link: consuming BPFLink) { first = Node(link, next: first) }
}
