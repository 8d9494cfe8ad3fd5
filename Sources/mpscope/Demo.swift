// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Handshake
import Kernel
import Output
import Probes
import Scenarios
import SystemPackage

/// `mpscope demo`: real traffic in namespaces of its own, traced.
struct Demo: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make real MPTCP traffic in network namespaces and trace it.",
        discussion: """
            Runs the short ones of its scenarios (or those named), shows each handshake as a ladder, and ends with a table of what was \
            expected and what was seen. Exit status 0 only if all match. Needs root; leaves nothing \
            behind.
            """)

    @Flag(help: "List the scenarios and stop.")
    var list = false

    @Option(help: ArgumentHelp("Only this scenario; may be given again.", valueName: "name"))
    var scenario: [String] = []

    @Option(help: "text for people, json for JSON Lines (the table then goes to standard error).")
    var format: Format?

    @Option(name: [.short, .long], help: ArgumentHelp("Where the records go as well.", valueName: "path"))
    var output: String?

    @Option(help: "How to attach: auto, fentry, kprobe or tracepoint.")
    var backend = Backend.auto

    @Option(help: .hidden)
    var record: String?

    func validate() throws {
        for name in scenario where Scenario.named(name) == nil {
            throw ValidationError("there is no scenario \(name); see mpscope demo --list.")
        }
    }

    func run() throws {
        if list {
            let lines = Scenario.all.map {
                "\(Self.padded($0.name, 31))\($0.inDemo ? "" : "(not shown unless named) ")\($0.summary)\n"
            }
            return try Print.standardOutput(lines.joined())
        }
        var arguments = ["--steps", "--backend", backend.rawValue]
        if let format { arguments += ["--format", format.rawValue] }
        if let output { arguments += ["--output", output] }
        let options = try LiveOptions.parse(arguments)

        // Before anything is made: what can't be traced needs no namespaces.
        let subject = try Requirements.check(Machine.read())
        if subject.stack != .mainline {
            throw Failure(
                "the demo's scenarios are for mainline's MPTCP; trace real traffic on this kernel, with mpscope trace",
                .unavailable)
        }
        let signals = try Signals()
        let worker: StageWorker
        let ends: StageWorker.Ends
        do throws(ScenarioError) {
            worker = try StageWorker(interruptedBy: FileDescriptor(rawValue: signals.descriptor))
        } catch {
            throw Failure("\(error)", .unavailable)
        }
        defer { worker.finish() }
        do throws(ScenarioError) {
            ends = try worker.ends()
        } catch {
            throw Failure("\(error)", .unavailable)
        }
        let show = try DemoRun(options, worker, ends, json: format == .json)
        show.recordings = record
        throw try show.run(
            Scenario.all.indices.filter {
                // What the unit tests replay is all that there is.
                scenario.isEmpty
                    ? record != nil || Scenario.all[$0].inDemo : scenario.contains(Scenario.all[$0].name)
            })
    }

    /// At least two spaces follow.
    static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(2, width - text.count))
    }
}

/// The scenarios, one after the other, and what was seen of each.
private final class DemoRun {
    private let session: Session
    private let worker: StageWorker
    private let ends: StageWorker.Ends
    private let json: Bool
    /// A directory for the bytes of each scenario's events; what the unit tests replay.
    var recordings: String?
    private let kernel: KernelFeatures
    private var seen: [UInt32: [String: Int]] = [:]
    private var rows: [Row] = []

    private struct Row {
        var name: String
        var expected: String
        var seen: String
        var matches: Bool
    }

    init(_ options: LiveOptions, _ worker: StageWorker, _ ends: StageWorker.Ends, json: Bool) throws {
        self.worker = worker
        self.ends = ends
        self.json = json
        do throws(ScenarioError) {
            kernel = try KernelFeatures()
        } catch {
            throw Failure("\(error)", .unavailable)
        }
        session = try Session(
            options,
            only: [ends.client, ends.server].map {
                NetworkNamespace(inode: $0.inode, name: $0.name, path: "/run/netns/\($0.name)")
            })
        session.observer = { [unowned self] record in
            guard let (netns, words) = Self.words(record) else { return }
            seen[netns, default: [:]][words, default: 0] += 1
        }
    }

    func run(_ indices: [Int]) throws -> ExitStatus {
        do {
            try session.begin()
            for (number, index) in indices.enumerated() {
                let scenario = Scenario.all[index]
                progress("[\(number + 1)/\(indices.count)] \(scenario.name): \(scenario.summary)")
                if !json { try session.say("\n── \(scenario.name): \(scenario.summary)\n\n") }
                try one(scenario, index)
            }
            progress("")
            try session.end()
        } catch let error as OutputError {
            if error.isCleanEnd { return .done }
            throw Failure("\(error)", .outputFailed)
        }
        try table()
        return rows.allSatisfy(\.matches) ? .done : ExitStatus(1)
    }

    private func one(_ scenario: Scenario, _ index: Int) throws {
        seen.removeAll()
        let recording = EventRecording()
        if recordings != nil {
            let namespaces: Set<UInt32> = [ends.client.inode, ends.server.inode]
            session.setTap { recording.add($0, onlyOf: namespaces) }
        }
        if let obstacle = scenario.obstacle(on: kernel) {
            rows.append(
                Row(name: scenario.name, expected: "nothing", seen: "not played: \(obstacle)", matches: true))
            return
        }
        worker.start(index)
        try session.follow(until: .readable(worker.descriptor), 0)
        do throws(ScenarioError) {
            _ = try worker.result()
        } catch {
            if case .interrupted = error {
                throw Failure("interrupted; nothing is left behind", ExitStatus(130))
            }
            // The others may well work: a kernel without a counter, a machine under load.
            try session.catchUp()
            session.setTap(nil)
            rows.append(Row(name: scenario.name, expected: "to run", seen: "\(error)", matches: false))
            return
        }
        // Everything happened before the scenario was over: it is in the buffer.
        try session.catchUp()
        if let recordings {
            session.setTap(nil)
            do throws(OutputError) {
                var sink = try Sink.open(path: "\(recordings)/\(scenario.name).events")
                recording.bytes.withUnsafeBufferPointer { sink.buffer.append($0) }
                try sink.flush()
            } catch {
                throw Failure("\(error)", .outputFailed)
            }
        }
        let found = Sides(
            client: Self.words(seen[ends.client.inode] ?? [:]),
            server: Self.words(seen[ends.server.inode] ?? [:]))
        // Kernels differ in what they do.
        let candidates = scenario.candidates(on: kernel).map { expected in
            Sides(
                client: Self.words(expected.client, joins(scenario, .client)),
                server: Self.words(expected.server, joins(scenario, .server)))
        }
        let fitting = candidates.first { $0.client == found.client && $0.server == found.server }
        guard let expected = fitting ?? candidates.first else { return }
        for side in Side.allCases {
            rows.append(
                Row(
                    name: side == .client ? scenario.name : "",
                    expected: "\(side.rawValue) \(expected[side])",
                    seen: found[side], matches: expected[side] == found[side]))
        }
    }

    /// A record that the table counts, in words, and where it was.
    private static func words(_ record: Record) -> (netns: UInt32, words: String)? {
        switch record {
        case .handshake(let it): (it.netns, words(it.outcome.rawValue, it.reason))
        case .join(let it): (it.netns, words("join " + it.outcome.rawValue, it.reason))
        case .fallback(let it): (it.netns, words("then fallback", it.reason))
        case .address(let it) where it.netns != 0 && it.conn != 0: (it.netns, "address " + it.change.rawValue)
        case .anomaly(let it) where it.state == .open: (it.netns, "found " + it.kind.rawValue)
        default: nil
        }
    }

    private static func words(_ outcome: String, _ reason: Reason?) -> String {
        outcome + (reason.map { " " + $0.rawValue } ?? "")
    }

    /// Those that only a function shows.
    private func joins(_ scenario: Scenario, _ side: Side) -> [ExpectedJoin] {
        session.hasAttached(.subflowConnect) ? scenario.seenByFunctions[side].joins : []
    }

    private static func words(_ expected: Expectation, _ more: [ExpectedJoin]) -> String {
        var counts: [String: Int] = [:]
        for it in expected.handshakes {
            counts[words(it.outcome.rawValue, it.reason), default: 0] += it.count
        }
        for it in expected.joins + more {
            counts[words("join " + it.outcome.rawValue, it.reason), default: 0] += it.count
        }
        for it in expected.fallbacks { counts[words("then fallback", it.reason), default: 0] += it.count }
        for it in expected.findings { counts["found " + it.kind.rawValue, default: 0] += 1 }
        for it in expected.addresses { counts["address " + it.change.rawValue, default: 0] += it.count }
        return words(counts)
    }

    /// Such as `10 × mptcp, join joined`, or `none`; handshakes first.
    private static func words(_ counts: [String: Int]) -> String {
        if counts.isEmpty { return "none" }
        let later = ["join ", "then ", "address ", "found "]
        func place(_ words: String) -> Int {
            later.firstIndex { words.hasPrefix($0) }.map { $0 + 1 } ?? 0
        }
        return counts.sorted { (place($0.key), $0.key) < (place($1.key), $1.key) }
            .map { $0.value == 1 ? $0.key : "\($0.value) × \($0.key)" }.joined(separator: ", ")
    }

    /// One line on the terminal that the next one replaces.
    private func progress(_ text: String) {
        guard isatty(STDERR_FILENO) == 1 else { return }
        let bytes = Array("\r\u{1b}[K\(text)".utf8)
        _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    private func table() throws {
        let first = (rows.map(\.name.count).max() ?? 0) + 2
        let second = (rows.map(\.expected.count).max() ?? 0) + 2
        var text = "\n" + Demo.padded("scenario", first) + Demo.padded("expected", second) + "seen\n"
        for row in rows {
            text += Demo.padded(row.name, first) + Demo.padded(row.expected, second)
            text += row.matches ? "\(row.seen)\n" : "\(row.seen)   DIFFERS\n"
        }
        let wrong = rows.filter { !$0.matches }.count
        text += wrong == 0 ? "\nall as expected\n" : "\n\(wrong) not as expected\n"
        if json {
            let bytes = Array(text.utf8)
            _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        } else {
            try Print.standardOutput(text)
        }
    }
}
