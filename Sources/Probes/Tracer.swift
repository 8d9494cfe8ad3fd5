// SPDX-License-Identifier: Apache-2.0

import BPF
import CEvent
import Glibc
import Handshake
import Logging

/// Why nothing can be traced.
public enum TracerError: Error, CustomStringConvertible, Sendable {
    /// This process may not do it.
    case notPermitted(String)
    /// This kernel can't do it.
    case notPossible(String)

    public var description: String {
        switch self {
        case .notPermitted(let text), .notPossible(let text): text
        }
    }
}

/// The BPF programs, loaded and attached, and the stream of what they see.
///
/// Single-threaded: all of it belongs to one thread.
public struct Tracer: ~Copyable {
    public struct Options: Sendable {
        public var filters = Filters()
        public var steps = false
        public var allTcp = false
        /// Of the event buffer, in bytes. Of a ring buffer it is rounded up to a power of two of at
        /// least a page; perf buffers share it (`PerfBuffer`).
        public var bufferSize = 8 << 20
        /// Of the out-of-tree stack, those of `HookTable.multipathFunctions` that the kernel has; nil: the
        /// stack is mainline's.
        public var functions: Set<String>?
        /// Whose functions those are; nil: the kernel's own.
        public var module: String?
        /// How events shall come; nil: the best that this kernel has.
        public var transport: EventTransport?
        /// Which ways of attaching functions may be used.
        public var backend = Backend.auto
        /// Where the root of cgroup v2 is mounted; nil: nowhere.
        public var cgroupRoot: String?
        /// A file with the kernel's BTF; nil: where the kernel keeps it.
        public var btf: String?
        /// Makes an MPTCP connection that falls back and then one that does not, from and to
        /// `Calibration.address`, on a thread named `Calibration.threadName`; calls `begin` with the
        /// number of their namespace before. nil: no calibration.
        public var calibrationTraffic:
            (@Sendable (_ begin: @escaping @Sendable (UInt32) -> Void) throws -> Void)?

        public init(cgroupRoot: String?) { self.cgroupRoot = cgroupRoot }
    }

    private let loaded: LoadedPrograms
    private let buffer: any EventBuffer
    private let reader: EventReader
    /// What did not come.
    public let books: LossBooks
    /// What the calibration found; nil: there was none, or it failed.
    public let calibration: Calibration?
    private let switches: ProgramSwitches
    private let attached: [HookReport]
    private let log: Logger

    /// Loads and attaches; from here on every event waits in the buffer.
    public init(_ options: Options, log: Logger) throws(TracerError) {
        let stack: HookTable.Stack = options.functions == nil ? .mainline : .multipath
        let transport = try EventTransport.chosen(
            options.transport, of: ProgramObject.transports(of: stack))
        let bufferSize = Self.roundedBufferSize(options.bufferSize)
        let object = ProgramObject(stack, transport)
        let (loaded, reports) = try Self.load(object, options, bufferSize, log)
        let reader = EventReader()
        do throws(BPFError) {
            let memory = loaded.object.hasMap(".bss") ? try ProgramMemory(loaded.object) : nil
            let switches = try ProgramSwitches(loaded.object, memory)
            let counters = try ProgramCounters(loaded.object, memory)
            let buffer = try openEventBuffer(
                try loaded.object.map("events"), size: bufferSize, reader: reader)
            try switches.setAttached(Self.bits(reports))
            var calibration: Calibration?
            if let memory, let traffic = options.calibrationTraffic {
                calibration = try Self.calibrate(loaded.object, memory, traffic, log)
            }
            try switches.setTracing(true)
            self.calibration = calibration
            books = LossBooks(counters, reader, buffer.perfEvents, of: loaded.programs)
            self.loaded = loaded
            self.switches = switches
            self.buffer = buffer
        } catch {
            throw Self.explain(error)
        }
        self.reader = reader
        self.log = log
        attached = reports
    }

    /// What became of each hook.
    public var reports: [HookReport] {
        attached.map { report in
            guard report.plan.onDemand, report.status == .attached, !loaded.isDemanding else { return report }
            var report = report
            report.status = .notNeeded
            return report
        }
    }

    /// Whether MPTCP is switched off in some namespace, so that sockets are refused there.
    public func expectRefusals(_ expected: Bool) {
        do throws(BPFError) {
            try loaded.demand(expected)
        } catch {
            log.warning("refused sockets are not seen: \(error)")
        }
    }

    /// Lets two connections be made, reads what the programs kept of their flags, and tells the
    /// programs which bit is the fallback's. Where that fails, they go by the kernel's version.
    private static func calibrate(
        _ object: borrowing BPFObject, _ memory: ProgramMemory,
        _ traffic: (_ begin: @escaping @Sendable (UInt32) -> Void) throws -> Void, _ log: Logger
    ) throws(BPFError) -> Calibration? {
        let place = try object.place(of: "calibrating", in: ".bss")
        let countPlace = try object.place(of: "calibrated", in: ".bss")
        let flagsPlace = try object.place(of: "calibration", in: ".bss")
        let bitPlace = try object.place(of: "fallback_bit", in: ".bss")
        let shared = Shared(memory: memory)
        defer { memory.set(place, to: 0) }
        do {
            try traffic { shared.memory.set(place, to: $0) }
        } catch {
            log.info("the flag of a fallback is taken from the kernel's version: \(error)")
            return nil
        }
        let count = memory.value(at: countPlace, as: UInt32.self)
        let found = Calibration(
            fallen: memory.value(at: flagsPlace, as: UInt64.self),
            healthy: memory.value(at: flagsPlace.lowerBound + 8..<flagsPlace.upperBound, as: UInt64.self))
        guard count == 2, let bit = found.bit else {
            log.info("the flag of a fallback is taken from the kernel's version: \(count) seen, \(found)")
            return nil
        }
        log.debug("a fallback is bit \(bit) of the flags: \(found)")
        memory.set(bitPlace, to: UInt32(bit) + 1)
        return found
    }

    /// The thread that makes the connections ends before anyone else writes.
    private struct Shared: @unchecked Sendable {
        let memory: ProgramMemory
    }

    /// Tries until all that is chosen attaches.
    private static func load(
        _ object: ProgramObject, _ options: Options, _ bufferSize: Int, _ log: Logger
    ) throws(TracerError) -> (LoadedPrograms, [HookReport]) {
        let root = CgroupRoot(options.cgroupRoot)
        var choice: HookChoice
        let config: mps_config
        do throws(BPFError) {
            let types = try KernelTypes(path: options.btf)
            choice = HookChoice(
                options.backend, steps: options.steps, types: types, functions: options.functions,
                noCgroup: root.problem)
            config = options.filters.configuration(
                steps: options.steps, allTcp: options.allTcp, ownPid: UInt32(getpid()),
                wakeBytes: UInt64(bufferSize / 4),
                // By which the programs find the kernel's counters; see bpf/handlers/marks.h.
                perCPUDistance: types.perCPUDistance(from: "runqueues", to: "this_cpu_off"))
        } catch {
            throw explain(error)
        }
        while true {
            if let obstacle = choice.obstacle { throw .notPossible(obstacle) }
            do throws(LoadedPrograms.Refusal) {
                let loaded = try LoadedPrograms(
                    object, choice.chosen, config, bufferSize: bufferSize, btf: options.btf,
                    places: AttachPlaces(cgroup: root.descriptor, module: options.module))
                let reports = choice.reports
                for report in reports where report.status == .missing || report.status == .refused {
                    let text = "\(report.plan.hook.name): \(report.error); \(report.plan.withoutIt)"
                    let level: Logger.Level =
                        report.plan.ways.allSatisfy(\.attachment.isFunction) ? .info : .warning
                    log.log(level: level, "\(text)")
                }
                return (loaded, reports)
            } catch {
                for (program, error) in error.failures {
                    log.debug("\(error)")
                    if choice.isRequired(program: program) || !choice.refuse(program: program, error) {
                        throw explain(error)
                    }
                }
            }
        }
    }

    /// The best way that any function is attached; `tracepoint`: none is.
    public var backend: Backend {
        func uses(_ ways: Set<Attachment>) -> Bool {
            reports.contains { report in
                report.status == .attached && report.way.map { ways.contains($0.attachment) } == true
            }
        }
        return uses([.fentry, .fexit]) ? .fentry : uses([.kprobe, .kretprobe]) ? .kprobe : .tracepoint
    }

    /// As the programs see what is attached: 1 << MPS_HOOK_*.
    private static func bits(_ reports: [HookReport]) -> UInt32 {
        var bits: UInt32 = 0
        for number in 0..<UInt8(MPS_HOOK_COUNT.rawValue) {
            guard let hook = Decoder.hook(number) else { continue }
            if reports.contains(where: { $0.plan.hook == hook && $0.status == .attached }) {
                bits |= 1 << UInt32(number)
            }
        }
        return bits
    }

    /// The event buffer's size that `bytes` asks for: a power of two, at least a page, at most 1 GiB.
    public static func roundedBufferSize(_ bytes: Int) -> Int {
        var size = max(4096, Int(getpagesize()))
        while size < bytes && size < 1 << 30 { size *= 2 }
        return size
    }

    private static func explain(_ error: BPFError) -> TracerError {
        switch error.code {
        case _ where error.operation == .types:
            return .notPossible(
                "cannot \(error.operation.rawValue) \(error.subject): \(error.reason); this libbpf "
                    + "(\(KernelTypes.readerVersion)) may be older than they are: use a newer one, or --btf with "
                    + "a file that it can read")
        case EPERM where error.operation != .find, EACCES where error.detail.isEmpty:
            return .notPermitted(
                "\(error.operation.rawValue) \(error.subject) was refused: \(error.reason); "
                    + "run mpscope as root, or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_ADMIN")
        default:
            return .notPossible("\(error)")
        }
    }

    /// Becomes readable when the buffer fills; it need not be waited for otherwise.
    public var descriptor: Int32 { buffer.descriptor }

    /// How events come.
    public var transport: EventTransport { buffer.transport }

    /// The size the event buffer really has, in bytes.
    public var bufferSize: Int { buffer.size }

    /// How long after it happened an event may come, in ns, beside the time between two looks.
    public var wait: UInt64 { buffer.wait }

    /// Returns when whatever happened before this call comes with the next `consume`.
    public func awaitTurn() { buffer.awaitTurn() }

    /// More events than the buffer holds at any one time.
    public var bufferCapacity: Int { bufferSize / MemoryLayout<mps_event>.size }

    /// Takes what the buffer holds, in the kernel's order.
    /// - Parameter limit: when events come faster than they are taken, it goes on up to here.
    /// - Returns: how many events there were; `limit`: there may be more.
    @discardableResult
    public func consume(
        atMost limit: Int, _ take: @escaping (Observation) -> Void
    ) throws(TracerError) -> Int {
        let before = reader.delivered
        reader.take = take
        defer { reader.take = { _ in } }
        do throws(BPFError) {
            try buffer.consume(atMost: limit) { books.noteSent() }
        } catch {
            throw .notPossible("\(error)")
        }
        return Int(reader.delivered - before)
    }

    /// Who takes changes of settings, at their place among the observations.
    public func setSettingTaker(_ take: @escaping (SettingChange) -> Void) { reader.takeSetting = take }

    /// Gives the bytes of every event to `tap` as well; they are valid during the call only.
    public func setTap(_ tap: ((UnsafeRawBufferPointer) -> Void)?) { reader.tap = tap }

    /// Events that the programs saw, and of these such as came and such as did not. Whatever is
    /// still in the buffer is in neither.
    public var totals: (events: UInt64, delivered: UInt64, lost: UInt64) {
        let (events, lost) = books.totals()
        // What came and made no sense is lost as well.
        return (events, reader.delivered - reader.malformed, lost + reader.malformed)
    }

    /// Events that came but were none of this version.
    public var malformed: UInt64 { reader.malformed }

    /// From here on no program sends anything (one that runs on another CPU may still finish);
    /// what is in the buffer can still be read. The attachments end with this value.
    public func stop() {
        // An array of the program's own can always be written; at worst its end comes with the links'.
        try? switches.setTracing(false)
    }

    /// After `stop`, when nothing comes any more: what still waits for its turn, and what is missing
    /// then is counted as lost.
    public func settle(_ take: @escaping (Observation) -> Void) {
        reader.take = take
        defer { reader.take = { _ in } }
        buffer.flush()
        books.settle()
    }

    /// Nanoseconds and runs of each program, and the instructions that the verifier went
    /// through; time and runs only count while kernel.bpf_stats_enabled is 1.
    public var statistics: [(program: String, nanoseconds: UInt64, runs: UInt64, verified: UInt32)] {
        loaded.programs.compactMap { entry in
            entry.program.statistics.map { (entry.program.name, $0.nanoseconds, $0.runs, $0.verified) }
        }
    }
}

/// The root of cgroup v2, to which programs attach.
private final class CgroupRoot {
    let descriptor: Int32
    /// Why it can't be opened; nil: it is.
    let problem: String?

    init(_ path: String?) {
        guard let path else {
            descriptor = -1
            problem = "cgroup v2 is mounted nowhere; mount it with: mount -t cgroup2 none /sys/fs/cgroup"
            return
        }
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        problem =
            descriptor >= 0
            ? nil
            : "cannot open the cgroup v2 root \(path): \(String(cString: strerror(errno))); "
                + "mount it with: mount -t cgroup2 none /sys/fs/cgroup"
    }

    deinit { if descriptor >= 0 { close(descriptor) } }
}
