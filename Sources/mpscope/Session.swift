// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Kernel
import Logging
import Output
import Probes

/// One trace: attaches, takes the opening snapshot, and then carries what the kernel tells
/// through the mirror to the outputs, until something ends it.
///
/// Single-threaded; nothing in it is touched by any other thread.
final class Session {
    /// How long an event may wait in the buffer, in ms. Programs don't wake the reader: it looks.
    private static let pause: Int32 = 20
    /// How many events, or timeouts, are taken before what they became is written.
    private static let piece = 4096

    private let options: LiveOptions
    private let telling: Telling
    private let log: Logger
    private let machine: Machine
    private let stack: MptcpStack
    /// Whose socket tables are read at the beginning; nil: those of all that can be found then.
    private let namespaces: [NetworkNamespace]?
    private let tracer: Tracer
    private let books: LossBooks
    /// By the events themselves.
    private var lossesSeen: UInt32 = 0
    /// Events that made no sense, as far as that was written.
    private var malformedTold: UInt64 = 0
    private let settings: SettingsCourse
    private let holders = ListenerHolders()
    private var tracker: Tracker
    private var selection: Selection
    private var outputs: Outputs
    /// nil: not asked for.
    private let verification: Verification?
    private var verified: VerifyResult?
    private var passed: ContiguousArray<Record> = []
    /// Handshakes and joins that may still be written (`--count`).
    private var remaining: UInt64
    /// What an output refused.
    private var outputError: OutputError?
    /// Called with every record that is written, after it was.
    var observer: ((Record) -> Void)?

    /// Which records are written.
    enum Telling {
        case everything
        /// Settings, listeners, findings and losses.
        case settings

        func includes(_ record: Record) -> Bool {
            switch (self, record) {
            case (.everything, _): true
            case (.settings, .address(let address)): address.conn == 0
            case (.settings, .sysctl), (.settings, .listener), (.settings, .anomaly), (.settings, .lost): true
            case (.settings, _): false
            }
        }
    }

    /// - Parameters:
    ///   - only: restricts everything to these namespaces; nil: `--netns`, or all.
    ///   - telling: which records are written.
    init(
        _ options: LiveOptions, only: [NetworkNamespace]? = nil, telling: Telling = .everything
    ) throws {
        self.options = options
        self.telling = telling
        var log = Logger(label: "mpscope", factory: { StreamLogHandler.standardError(label: $0) })
        log.logLevel =
            getenv("MPSCOPE_LOG").flatMap { Logger.Level(rawValue: String(cString: $0)) } ?? .warning
        self.log = log
        machine = Machine.read()
        let subject = try Requirements.check(machine, btf: options.btf, module: options.module)
        stack = subject.stack
        // Without it a trace sees less, and the tracer says what.
        let cgroups = try? CgroupMount.find()

        let wanted: NetworkNamespace?
        do throws(KernelError) {
            if let only {
                wanted = nil
                namespaces = only
            } else if let text = options.netns {
                let only = try NetworkNamespaces.resolve(text)
                wanted = only
                namespaces = [only]
            } else {
                wanted = nil
                namespaces = nil
            }
        } catch {
            throw Failure("\(error)", options.netns == nil ? .unavailable : .usage)
        }

        let names = CgroupLookup(cgroups)
        var inCgroup: ((UInt64) -> Bool)?
        if let path = options.cgroup {
            guard let filter = names.filter(under: path) else {
                throw Failure(
                    "no cgroup \(path)\(cgroups.map { " below \($0.path)" } ?? ": cgroup v2 is not mounted"); "
                        + "name one as in /proc/PID/cgroup", .usage)
            }
            inCgroup = filter
        }
        selection = options.selection(inCgroup: inCgroup)
        selection.namespaces = only.map { Set($0.map(\.inode)) }
        remaining = options.count ?? .max

        let offset = KernelClock.realtimeOffset()
        do throws(OutputError) {
            outputs = try Outputs(options, realtimeOffset: offset, names: { names.name(of: $0) })
        } catch {
            throw Failure("\(error)", .outputFailed)
        }

        nameListeners(of: namespaces ?? (try? NetworkNamespaces.all()) ?? [])
        if options.verify, stack != .mainline {
            throw Failure(
                "--verify compares with mainline's counters and socket tables, which this stack does not have; "
                    + "leave it out", .usage)
        }
        verification = options.verify ? Verification(options, only: namespaces) : nil
        var tracing = Tracer.Options(cgroupRoot: cgroups?.path)
        tracing.backend = options.backend
        tracing.btf = subject.btf
        tracing.module = subject.module
        tracing.functions = try subject.functions()
        tracing.transport = options.transport
        tracing.calibrationTraffic = Self.calibrationTraffic
        tracing.filters = options.filters(netns: wanted)
        tracing.steps = options.steps
        tracing.allTcp = options.allTcp
        tracing.bufferSize = options.bufferSize
        do throws(TracerError) {
            tracer = try Tracer(tracing, log: log)
        } catch {
            switch error {
            case .notPermitted(let text): throw Failure(text, .notPrivileged)
            case .notPossible(let text): throw Failure(text, .unavailable)
            }
        }
        books = tracer.books
        let seesWrites = tracer.reports.contains { $0.plan.hook == .sysctl && $0.status == .attached }
        // After attaching: whatever is written from here on is seen by the program as well.
        settings = SettingsCourse(only: namespaces, seesWrites: seesWrites)
        tracer.expectRefusals(settings.isOffAnywhere)
        var tracking = Tracker.Options()
        tracking.steps = options.steps
        tracking.allTcp = options.allTcp
        tracking.seesWrites = seesWrites
        tracking.seed = UInt64.random(in: .min ... .max)
        tracker = Tracker(tracking)
    }

    /// Connections of mpscope's own, by which a tracer finds out what the kernel does not tell.
    static let calibrationTraffic: @Sendable (@escaping @Sendable (UInt32) -> Void) throws -> Void = {
        begin in
        try OwnConnections.makePair(
            address: Calibration.address, threadName: Calibration.threadName, begin: begin)
    }

    // MARK: the course of a trace

    /// Follows until the end, whatever it is.
    /// - Parameter command: started once everything is attached; empty: none.
    /// - Returns: with what status the program should end.
    func run(command: [String]) throws -> ExitStatus {
        let signals = try Signals()
        let began = KernelClock.monotonic()
        var result = ExitStatus.done
        do {
            try begin()
            if let path = options.readyFile { try touch(path) }
            if command.isEmpty {
                try follow(until: .signal(signals.descriptor), began)
            } else {
                let child = try Child.start(command)
                try follow(until: .child(child.descriptor, signals.descriptor), began)
                if let status = child.reap() {
                    result = ExitStatus(status)
                } else {
                    child.terminate()
                }
            }
            try end()
        } catch let error as OutputError {
            // Whoever read us has gone: nothing more to say to it, and nothing went wrong.
            if error.isCleanEnd { return .done }
            throw Failure("\(error)", .outputFailed)
        }
        if let seen = failOn(), result.code == 0 { result = seen }
        return result
    }

    /// The first line, the snapshot, and what happened meanwhile.
    func begin() throws {
        verification?.began()
        tracer.setSettingTaker { [unowned self] in take($0) }
        var born: [Observation] = []
        // Attached already: a namespace made after this is seen from its beginning.
        let found: [NetworkNamespace]
        do throws(KernelError) {
            if let namespaces { found = namespaces } else { found = try NetworkNamespaces.all() }
        } catch {
            throw Failure("\(error)", .unavailable)
        }
        let opening = takeSnapshot(of: found, stack: stack)
        verification?.note(opening.snapshot)
        tracer.awaitTurn()
        _ = try consume(atMost: tracer.bufferCapacity) { born.append($0) }
        for problem in opening.problems { log.warning("\(problem)") }
        try outputs.begin(meta())
        settings.begin(&tracker)
        tracker.begin(opening.snapshot, born: born)
        for observation in born { take(observation) }
        try deliver()
        try outputs.flush()
    }

    enum End {
        case signal(Int32)
        case child(Int32, Int32)
        /// The descriptor becomes readable.
        case readable(Int32)
    }

    /// Carries events until the end comes.
    func follow(until end: End, _ began: UInt64) throws {
        var watched = [pollfd(fd: tracer.descriptor, events: Int16(POLLIN), revents: 0)]
        switch end {
        case .signal(let descriptor), .readable(let descriptor):
            watched.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
        case .child(let child, let signals):
            watched.append(pollfd(fd: child, events: Int16(POLLIN), revents: 0))
            watched.append(pollfd(fd: signals, events: Int16(POLLIN), revents: 0))
        }
        // Whoever reads us may go while there is nothing to write: a pipe tells by POLLERR.
        watched.append(pollfd(fd: outputs.usesStandardOutput ? STDOUT_FILENO : -1, events: 0, revents: 0))
        let deadline = options.duration.map { began &+ UInt64($0 * 1e9) } ?? .max
        while true {
            let now = KernelClock.monotonic()
            if now >= deadline || remaining == 0 { return }
            let left = min(UInt64(Self.pause), (deadline - now) / 1_000_000 + 1)
            let ready = poll(&watched, nfds_t(watched.count), Int32(left))
            if ready < 0, errno != EINTR {
                throw Failure("cannot wait for events: \(String(cString: strerror(errno)))", .unavailable)
            }
            try pump()
            if ready > 0, watched.dropFirst().contains(where: { $0.revents != 0 }) { return }
        }
    }

    /// Takes what is there to the outputs.
    func pump() throws {
        // First: what the kernel skipped (recursion) no event tells. A gap within what is read now
        // is told by the event after it, one at its end by the next look.
        let now = KernelClock.monotonic()
        books.new(at: now) { tracker.noteLoss($0) }
        holders.look(for: &tracker, at: now)
        // Before the drain: of what is another value by now, the write is in the buffer.
        let look = settings.look(at: now)
        try drain()
        settings.settle(at: now)
        try release()
        if let look { settings.compare(look, for: &tracker) }
        tracer.expectRefusals(settings.isOffAnywhere)
        // What is younger than that may wait for its turn still.
        let passed = min(now - min(now, tracer.wait), settings.oldest ?? .max)
        while !tracker.advance(to: passed, atMost: Self.piece) { try deliver() }
        try deliver()
        try outputs.flush()
    }

    /// The same; whatever happened before this call is among it.
    func catchUp() throws {
        tracer.awaitTurn()
        try pump()
    }

    /// Takes what is in the buffer, and writes it piece by piece: at most one buffer full, however
    /// fast more comes.
    private func drain() throws {
        var left = tracer.bufferCapacity
        while left > 0 {
            let limit = min(left, Self.piece)
            let taken = try consume(atMost: limit) { [unowned self] in take($0) }
            if tracer.malformed > malformedTold {
                tracker.noteLoss(
                    LostRecord(
                        time: KernelClock.monotonic(), hook: .tracker,
                        count: tracer.malformed - malformedTold, reason: .malformed))
                malformedTold = tracer.malformed
            }
            try release()
            try deliver()
            if taken < limit { return }
            left -= taken
        }
    }

    /// Stops the programs, drains, and writes the last line.
    func end() throws {
        if let verification {
            try catchUp()
            try verification.ends(tracker.openConnections()) { try drain() }
        }
        tracer.stop()
        // A program may still be running on another CPU: its event comes, or is counted.
        var totals = tracer.totals
        for _ in 0..<200 {
            try drain()
            totals = tracer.totals
            if totals.events == totals.delivered + totals.lost { break }
            usleep(1000)
        }
        tracer.settle { [unowned self] in take($0) }
        settings.settle(at: .max)
        try release()
        try deliver()
        verification?.ended(tracker.openConnections())
        let now = KernelClock.monotonic()
        books.new(at: now) { tracker.noteLoss($0) }
        totals = tracer.totals
        while !tracker.finish(at: now, atMost: Self.piece) { try deliver() }
        try deliver()
        verified = verification?.result(lost: outputs.tally.lostTotal)
        var summary = outputs.tally.summary(
            time: now, events: totals.events, delivered: totals.delivered, verify: verified)
        summary.lostTotal = totals.lost
        try outputs.end(summary)
    }

    /// Gives the bytes of every event to `tap` as well; they are valid during the call only.
    func setTap(_ tap: ((UnsafeRawBufferPointer) -> Void)?) { tracer.setTap(tap) }

    /// Whether that hook is attached.
    func hasAttached(_ hook: Hook) -> Bool {
        tracer.reports.contains { $0.plan.hook == hook && $0.status == .attached }
    }

    /// A line for people between the records.
    func say(_ text: String) throws {
        try outputs.say(text)
    }

    // MARK: parts of it

    /// A write to a setting.
    private func take(_ change: SettingChange) {
        // Whoever is to be restarted is named by what it is now.
        holders.look(for: &tracker, at: KernelClock.monotonic(), soon: true)
        settings.take(change, to: &tracker)
        // At once: who is refused comes next.
        if settings.isOffAnywhere { tracer.expectRefusals(true) }
    }

    private func take(_ observation: Observation) {
        if settings.passes(observation) { hand(observation) }
    }

    /// What no longer needs to wait behind a write.
    private func release() throws(OutputError) {
        var count = 0
        while let item = settings.next() {
            switch item {
            case .observation(let observation): hand(observation)
            case .change(let change, _): tracker.take(change)
            }
            count += 1
            if count % Self.piece == 0 { try deliver() }
        }
    }

    /// One observation to the mirror; a gap before it is told before it.
    private func hand(_ observation: Observation) {
        if observation.losses != lossesSeen {
            lossesSeen = observation.losses
            books.new(at: observation.time) { tracker.noteLoss($0) }
        }
        settings.learn(of: observation, for: &tracker)
        tracker.take(observation)
    }

    private func consume(atMost limit: Int, _ take: @escaping (Observation) -> Void) throws -> Int {
        do throws(TracerError) {
            return try tracer.consume(atMost: limit, take)
        } catch {
            throw Failure("\(error)", .unavailable)
        }
    }

    /// Hands what the tracker found to the outputs.
    private func deliver() throws(OutputError) {
        // Whatever of it is written.
        verification?.take(tracker.records)
        if !selection.isActive {
            for record in tracker.records { try write(record) }
            tracker.records.removeAll(keepingCapacity: true)
            return
        }
        for record in tracker.records { selection.pass(record, to: &passed) }
        tracker.records.removeAll(keepingCapacity: true)
        selection.tellLosses(at: KernelClock.monotonic(), to: &passed)
        for record in passed { try write(record) }
        passed.removeAll(keepingCapacity: true)
    }

    private func write(_ record: Record) throws(OutputError) {
        guard telling.includes(record) else { return }
        var record = record
        switch record {
        case .lost: break
        case .handshake(var handshake)
        where handshake.side == .server
            && holders.isYoung(handshake.listener, in: tracker, at: handshake.time):
            holders.look(for: &tracker, at: KernelClock.monotonic())
            handshake.owner = tracker.listener(handshake.listener)?.owner ?? handshake.owner
            record = .handshake(handshake)
            if remaining == 0 { return }
            remaining -= 1
        // What was asked for is written: nothing follows but losses and the summary.
        case _ where remaining == 0: return
        case .handshake, .join: remaining -= 1
        default: break
        }
        try outputs.write(record)
        observer?(record)
    }

    private func failOn() -> ExitStatus? {
        let wanted = options.failOn?.words ?? []
        if wanted.contains(.fallback), outputs.tally.sawFallback { return .seen }
        if wanted.contains(.anomaly), outputs.tally.sawAnomaly { return .seen }
        if wanted.contains(.lost), outputs.tally.sawLost { return .seen }
        if wanted.contains(.difference), verified?.differing ?? 0 > 0 { return .seen }
        return nil
    }

    private func meta() -> MetaRecord {
        MetaRecord(
            time: KernelClock.monotonic(), tool: "mpscope \(Mpscope.version)", host: machine.hostname,
            bootID: machine.bootID, kernel: machine.kernel, arch: machine.architecture,
            stack: MetaRecord.Stack(rawValue: stack.rawValue), backend: tracer.backend.rawValue,
            transport: .init(tracer.transport),
            hooks: tracer.reports.map(HookStatus.init))
    }

    private func touch(_ path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw Failure(
                "cannot create the ready file \(path): \(String(cString: strerror(errno)))", .outputFailed)
        }
        close(descriptor)
    }
}
