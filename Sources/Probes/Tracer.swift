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
        /// Of the ring buffer, in bytes: rounded up to a power of two of at least a page.
        public var bufferSize = 8 << 20
        /// Where the root of cgroup v2 is mounted.
        public var cgroupRoot: String
        /// A file with the kernel's BTF; nil: where the kernel keeps it.
        public var btf: String?

        public init(cgroupRoot: String) { self.cgroupRoot = cgroupRoot }
    }

    private let object: BPFObject
    private let ring: RingBuffer<EventReader>
    private let reader: EventReader
    private let links: Links
    /// What did not come.
    public let books: LossBooks
    /// Where the programs look whether they shall send.
    private let switchPlace: Range<Int>
    private let programs: [(hook: Hook, program: BPFProgram)]
    /// What became of each hook.
    public let reports: [HookReport]
    /// The size the event buffer really has, in bytes.
    public let bufferSize: Int

    /// Loads and attaches; from here on every event waits in the buffer.
    public init(_ options: Options, log: Logger) throws(TracerError) {
        let bytes = Self.embeddedObject
        let bufferSize = Self.roundedBufferSize(options.bufferSize)
        let plans = HookTable.tracepoint
        let object = try Self.explained { () throws(BPFError) in
            try BPFObject(bytes, name: "mpscope", btf: options.btf)
        }
        let cgroup = open(options.cgroupRoot, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard cgroup >= 0 else {
            throw .notPossible(
                "cannot open the cgroup v2 root \(options.cgroupRoot): \(String(cString: strerror(errno))); "
                    + "mount it with: mount -t cgroup2 none /sys/fs/cgroup")
        }
        defer { Glibc.close(cgroup) }

        var reports: [HookReport] = []
        var programs: [(hook: Hook, program: BPFProgram)] = []
        var links = Links()
        do throws(BPFError) {
            let config = options.filters.configuration(
                steps: options.steps, allTcp: options.allTcp, ownPid: UInt32(getpid()),
                wakeBytes: UInt64(bufferSize / 4),
                // By which the programs find the kernel's counters; see bpf/handlers/marks.h.
                perCPUDistance: BPFObject.perCPUDistance(
                    from: "runqueues", to: "this_cpu_off", btf: options.btf))
            try object.set("config", in: ".rodata", to: config)
            try object.map("events").setMaxEntries(UInt32(bufferSize))
            for plan in plans where plan.onlySteps && !options.steps {
                try object.program(plan.program).setLoaded(false)
            }
            try object.load()
        } catch {
            throw Self.explain(error)
        }
        for plan in plans {
            if plan.onlySteps && !options.steps {
                reports.append(HookReport(plan: plan, status: .notNeeded))
                continue
            }
            do throws(BPFError) {
                let program = try object.program(plan.program)
                let link: BPFLink
                switch plan.attachment {
                case .cgroup: link = try program.attach(cgroup: cgroup)
                default: link = try program.attach(rawTracepoint: plan.target)
                }
                links.add(link)
                programs.append((plan.hook, program))
                reports.append(HookReport(plan: plan, status: .attached))
            } catch {
                if plan.required { throw Self.explain(error) }
                log.warning("\(error); \(plan.withoutIt)")
                reports.append(
                    HookReport(
                        plan: plan, status: error.code == ENOENT ? .missing : .refused, error: error.reason))
            }
        }
        let reader = EventReader()
        do throws(BPFError) {
            let events = try object.map("events")
            let memory = try object.memory(ofSection: ".bss")
            let place = try object.place(of: "counters", in: ".bss")
            let switchPlace = try object.place(of: "tracing", in: ".bss")
            let ring = try RingBuffer(events, reader: reader)
            self.object = object
            self.ring = ring
            self.switchPlace = switchPlace
            books = LossBooks(memory, at: place, of: programs)
        } catch {
            throw Self.explain(error)
        }
        self.reader = reader
        self.reports = reports
        self.programs = programs
        self.bufferSize = bufferSize
        self.links = links
        books.set(switchPlace, to: 1)
    }

    private static func explained<T: ~Copyable>(_ body: () throws(BPFError) -> T) throws(TracerError) -> T {
        do throws(BPFError) { return try body() } catch { throw explain(error) }
    }

    /// The event buffer's size that `bytes` asks for: a power of two, at least a page, at most 1 GiB.
    public static func roundedBufferSize(_ bytes: Int) -> Int {
        var size = max(4096, Int(getpagesize()))
        while size < bytes && size < 1 << 30 { size *= 2 }
        return size
    }

    static var embeddedObject: UnsafeRawBufferPointer {
        var size = 0
        let start = mps_tracepoint_object(&size)
        return UnsafeRawBufferPointer(start: start, count: size)
    }

    private static func explain(_ error: BPFError) -> TracerError {
        switch error.code {
        case EPERM where error.operation != .find, EACCES where error.detail.isEmpty:
            return .notPermitted(
                "\(error.operation.rawValue) \(error.subject) was refused: \(error.reason); "
                    + "run mpscope as root, or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_ADMIN")
        default:
            return .notPossible("\(error)")
        }
    }

    /// Becomes readable when the buffer fills; it need not be waited for otherwise.
    public var descriptor: Int32 { ring.descriptor }

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
        reader.left = limit
        reader.take = take
        defer { reader.take = { _ in } }
        do throws(BPFError) {
            try ring.consume()
        } catch {
            throw .notPossible("\(error)")
        }
        return Int(reader.delivered - before)
    }

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
        books.set(switchPlace, to: 0)
    }

    /// Nanoseconds and runs of each program, and the instructions that the verifier went
    /// through; time and runs only count while kernel.bpf_stats_enabled is 1.
    public var statistics: [(program: String, nanoseconds: UInt64, runs: UInt64, verified: UInt32)] {
        programs.compactMap { entry in
            entry.program.statistics.map { (entry.program.name, $0.nanoseconds, $0.runs, $0.verified) }
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
