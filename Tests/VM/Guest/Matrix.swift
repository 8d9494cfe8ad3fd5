// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Judging
import Scenarios

/// One kernel's part of the matrix.
final class Matrix {
    /// A scenario that proves nothing is played again, so often in all: one whose actors could not
    /// do as they should (a machine that is emulated is slow, and the kernel's timers are not), or
    /// that a loss may have spoiled (a program that is interrupted is skipped, and counted as lost).
    private static let rounds = 3

    private let program: String
    private let backends: [String]
    private let port: Port
    private let kernel: KernelFeatures
    /// Of every trace; later versions of the program know more.
    private let options: [String]

    init(program: String, backends: [String], port: Port, kernel: KernelFeatures) {
        self.program = program
        self.backends = backends
        self.port = port
        self.kernel = kernel
        let help = (try? Tool.run(program, ["trace", "--help"]))?.standardOutput ?? ""
        options = help.contains("--verify") ? ["--verify"] : []
    }

    /// Every BPF program, and whether this kernel takes it.
    func listPrograms() throws { try port.listPrograms(of: program) }

    // MARK: Scenarios

    func play(_ scenarios: [Scenario], lanes: Int) throws {
        var left: [Scenario] = []
        for scenario in scenarios {
            if let obstacle = scenario.obstacle(on: kernel) {
                for backend in backends { port.say(["result", backend, scenario.name, "cannot", obstacle]) }
            } else {
                left.append(scenario)
            }
        }
        for round in 1...Self.rounds where !left.isEmpty {
            left = try play(
                left, lanes: round == 1 ? lanes : 1, isLast: round == Self.rounds)
        }
    }

    /// - Returns: those to be played again.
    private func play(_ scenarios: [Scenario], lanes: Int, isLast: Bool) throws -> [Scenario] {
        var begin = Deadline.now()
        func took(_ what: String) {
            port.say(["time", what, "\((Deadline.now() - begin) / 1_000_000)"])
            begin = Deadline.now()
        }
        let traces = Traces(program, backends, ["--steps"] + options)
        took("start of the traces")
        let lanes = try Lanes(scenarios, lanes: lanes, program: program, port: port)
        let played = lanes.results()
        took("scenarios")
        let files = traces.finish()
        took("end of the traces")
        lanes.finish()
        took("end of the stages")

        var parts: [String: [Int: TraceFile]] = [:]
        var sights: [String: Sight] = [:]
        var lossy = false
        var failures: [String: [String]] = [:]
        var verified: [String: Verification] = [:]
        for (backend, outcome) in files {
            switch outcome {
            case .success(let file):
                parts[backend] = file.byNamespace()
                sights[backend] = file.sight
                failures[backend] = file.formDifferences()
                if !options.isEmpty {
                    if let found = Verification(file) {
                        verified[backend] = found
                    } else {
                        failures[backend, default: []].append("the summary has no verify")
                    }
                }
                if file.lostTotal != 0 {
                    lossy = true
                    port.say(["note", "\(backend) lost \(file.lostTotal): \(file.losses)"])
                }
            case .failure(let trouble): failures[backend] = [trouble.description]
            }
        }
        var again: [Scenario] = []
        for scenario in scenarios where !isLast {
            guard
                case .failure(let error)? = played.first(where: { $0.scenario.name == scenario.name })?.result
            else { continue }
            port.say(["note", "\(scenario.name) is played again: \(error)"])
            again.append(scenario)
        }
        for scenario in scenarios where !again.contains(where: { $0.name == scenario.name }) {
            let played = played.first { $0.scenario.name == scenario.name }
            let verdicts =
                played.map { judge($0, parts, failures, verified, sights) }
                ?? backends.map { ($0, [lanes.trouble(scenario.name)]) }
            if lossy, !isLast, verdicts.contains(where: { !$0.differences.isEmpty }) {
                again.append(scenario)
                continue
            }
            for (backend, differences) in verdicts { say(backend, scenario.name, differences) }
        }
        took("judgement")
        return again
    }

    private func judge(
        _ played: Played, _ parts: [String: [Int: TraceFile]], _ failures: [String: [String]],
        _ verified: [String: Verification], _ sights: [String: Sight]
    ) -> [(backend: String, differences: [String])] {
        let scenario = played.scenario
        let result: ScenarioResult
        switch played.result {
        case .success(let value): result = value
        case .failure(let error): return backends.map { ($0, ["the scenario itself: \(error)"]) }
        }
        let otherwise = Expected.countedOtherwise(scenario, result, on: kernel)
        let counted = Expected.counterDifferences(scenario, result, on: kernel)
        let spaces = Side.allCases.map { played.whereabouts.netns($0) }
        var reference: (backend: String, seen: Seen)?
        return backends.map { backend in
            guard let parts = parts[backend] else {
                return (backend, counted + (failures[backend] ?? []))
            }
            let lines = spaces.flatMap { parts[$0]?.lines ?? [] }
            let seen = Seen(
                TraceFile(lines: lines), scenario, played.whereabouts, result, on: kernel,
                sight: sights[backend])
            var differences = counted + (failures[backend] ?? [])
            differences += seen.differences() + seen.counterDifferences(on: kernel)
            differences += seen.ladderDifferences(once: backend != "tracepoint")
            differences +=
                verified[backend]?.differences(
                    in: Set(spaces), but: otherwise.client.union(otherwise.server))
                ?? []
            if let reference {
                differences += Agreement.differences(seen, reference.seen, reference.backend)
            } else {
                reference = (backend, seen)
            }
            return (backend, differences)
        }
    }

    // MARK: Loads

    func run(_ load: Load) throws {
        for round in 1...Self.rounds {
            port.say(["start", load.rawValue])
            let begin = Deadline.now()
            let traces = Traces(program, backends, load.options + options)
            let said = try load.run(program, traces.pids)
            let files = traces.finish()
            var verdicts: [(String, [String])] = []
            var spoiled = false
            for (backend, outcome) in files {
                switch outcome {
                case .success(let file):
                    // What a softirq took can be seen to be that.
                    let lost = file.of("lost")
                    spoiled = spoiled || !lost.isEmpty && lost.allSatisfy { $0.text("reason") == "recursion" }
                    verdicts.append(
                        (
                            backend,
                            load.differences(file, said) + file.formDifferences()
                                + (load == .churn ? Verification(file)?.differences() ?? [] : [])
                        ))
                case .failure(let trouble): verdicts.append((backend, [trouble.description]))
                }
            }
            port.say(["end", load.rawValue, "\((Deadline.now() - begin) / 1_000_000)"])
            if spoiled, round < Self.rounds, verdicts.contains(where: { !$0.1.isEmpty }) { continue }
            for (backend, differences) in verdicts { say(backend, load.rawValue, differences) }
            return
        }
    }

    private func say(_ backend: String, _ name: String, _ differences: [String]) {
        let verdict = differences.isEmpty ? "pass" : "fail"
        // The first of them tell enough.
        var why = differences.prefix(4).joined(separator: "; ")
        if differences.count > 4 { why += "; and \(differences.count - 4) more" }
        port.say(["result", backend, name, verdict, why])
    }
}

/// The traces of all backends, side by side.
private struct Traces: ~Copyable {
    private let backends: [String]
    private var running: [Slot] = []
    private var failures: [String: Trouble] = [:]

    private final class Slot {
        var trace: BackendTrace
        init(_ trace: consuming BackendTrace) { self.trace = trace }
    }

    init(_ program: String, _ backends: [String], _ options: [String]) {
        self.backends = backends
        for backend in backends {
            do throws(Trouble) {
                running.append(Slot(try BackendTrace(program, backend, options)))
            } catch {
                failures[backend] = error
            }
        }
        // They start side by side.
        var ready: [Slot] = []
        for slot in running {
            do throws(Trouble) {
                try slot.trace.awaitReady()
                ready.append(slot)
            } catch {
                failures[slot.trace.backend] = error
            }
        }
        running = ready
    }

    var pids: [Int32] { running.map { $0.trace.pid } }

    /// Ends them; what each wrote, or why there is nothing.
    consuming func finish() -> [(backend: String, outcome: Result<TraceFile, Trouble>)] {
        backends.map { backend in
            if let failure = failures[backend] { return (backend, .failure(failure)) }
            guard let slot = running.first(where: { $0.trace.backend == backend }) else {
                return (backend, .failure(Trouble("no trace")))
            }
            do throws(Trouble) {
                return (backend, .success(try slot.trace.finish()))
            } catch {
                return (backend, .failure(error))
            }
        }
    }
}
