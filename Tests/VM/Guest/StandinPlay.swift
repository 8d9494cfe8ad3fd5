// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Scenarios

/// The stand-in for an out-of-tree MPTCP stack (see Tests/Standin): has it play every row, traced by
/// every transport at once, and holds the traces against what it says that it played.
struct StandinPlay {
    /// Each with the moments at which the switch is turned, as far as there are any.
    private static let rows: [(name: String, acts: [Act])] = [
        ("mp-capable", [.all]), ("mp-capable-ipv6", [.all]), ("tcp-server", [.all]), ("tcp-client", [.all]),
        // The listener is older than the switch's being on, and stays plain.
        ("listener-is-tcp", [.turn(0), .part("listen"), .turn(1), .part("socket"), .part("connect")]),
        ("synack-stripped", [.all]), ("stripped-after", [.all]), ("refused", [.all]), ("join", [.all]),
        ("join-synack-stripped", [.all]), ("join-hmac", [.all]), ("synack-discarded", [.all]),
        ("plain", [.all]), ("loopback", [.all]), ("switched-off", [.turn(0), .all, .turn(1)]),
        // The listener is older than the switch's being off, and goes on.
        (
            "listener-outlives",
            [.part("listen"), .part("socket"), .turn(0), .part("connect"), .turn(1)]
        ),
        ("fastopen", [.all]), ("address-reuse", [.all]), ("address-reuse-plain", [.all]),
    ]
    /// Played by the form of v0.90 too, where that differs.
    private static let elder = ["mp-capable", "synack-stripped", "join", "fastopen"]
    private static let switchPath = "/proc/sys/net/mptcp/mptcp_enabled"
    private static let module = "mpscope_standin"

    /// What is to be judged: each row, and of each form the traces as a whole.
    static let names =
        rows.map { "standin-\($0.name)" } + ["standin-trace"]
        + elder.map { "standin-elder-\($0)" } + ["standin-elder-trace"]

    private enum Act {
        case all
        case part(String)
        case turn(Int)
    }

    let program: String
    let folder: String
    let port: Port

    func play(_ wanted: [String]) throws(Trouble) {
        do throws(ScenarioError) {
            try port.listPrograms(of: program, types: "\(folder)/standin.btf")
        } catch {
            throw Trouble("\(error)")
        }
        for form in ["standin", "standin-elder"] {
            let names = wanted.filter { $0.hasPrefix("standin-elder-") == (form == "standin-elder") }
            if !names.isEmpty { try play(form, Set(names)) }
        }
    }

    private func play(_ form: String, _ names: Set<String>) throws(Trouble) {
        try tool("insmod", ["\(folder)/\(form).ko"])
        let has = try read("/proc/\(Self.module)_rows").split(separator: "\n").map(String.init)
        let known = Self.rows.map(\.name)
        guard has == known else { throw Trouble("the stand-in has other rows: \(has) instead of \(known)") }
        let rows = Self.rows.filter {
            names.contains("\(form)-\($0.name)") || names.contains("\(form)-trace")
        }
        .filter { form == "standin" || Self.elder.contains($0.name) }

        var outcomes: [(transport: String, result: Result<TraceFile, Trouble>)] = []
        var truths: [StandinTruth] = []
        var untold: [String: String] = [:]
        do throws(Trouble) {
            let traces = try Traces(program, "\(folder)/\(form).btf", transports)
            for row in rows {
                port.say(["start", "\(form)-\(row.name)"])
                do throws(Trouble) { truths += try play(row.name, row.acts, after: truths.count) } catch {
                    untold[row.name] = "the stand-in: \(error)"
                }
                port.say(["end", "\(form)-\(row.name)", "0"])
            }
            outcomes = traces.finish()
        } catch {
            outcomes = [("", .failure(error))]
        }
        try tool("rmmod", [Self.module])

        let netns = try Self.netns()
        var verdicts: [String: [String]] = [:]
        for (transport, result) in outcomes {
            let mark = transport.isEmpty ? "" : "\(transport): "
            switch result {
            case .success(let file):
                let judged = StandinJudgement(file, truths, rows: rows.map(\.name), netns: netns)
                for (name, differences) in judged.differences {
                    verdicts[name, default: []] += differences.map { mark + $0 }
                }
            case .failure(let trouble):
                for name in rows.map(\.name) + ["trace"] {
                    verdicts[name, default: []].append("\(mark)\(trouble)")
                }
            }
        }
        for name in rows.map(\.name) + ["trace"] where names.contains("\(form)-\(name)") {
            let differences = (untold[name].map { [$0] } ?? []) + (verdicts[name] ?? ["it was not judged"])
            port.say([
                "result", "kprobe", "\(form)-\(name)", differences.isEmpty ? "pass" : "fail",
                differences.prefix(4).joined(separator: "; "),
            ])
        }
    }

    /// This process is whose sockets they are.
    private func play(_ name: String, _ acts: [Act], after told: Int) throws(Trouble) -> [StandinTruth] {
        for act in acts {
            switch act {
            case .all: try write("/proc/\(Self.module)", name)
            case .part(let part): try write("/proc/\(Self.module)", "\(part) \(name)")
            case .turn(let value): try write(Self.switchPath, "\(value)")
            }
        }
        // It keeps what it said of the rows before.
        let truths = try read("/proc/\(Self.module)").split(separator: "\n").dropFirst(told)
            .map(StandinTruth.init)
        for truth in truths where truth.row != name { throw Trouble("it played \(truth.row)") }
        return truths
    }

    /// By which events can come here; a program that can't be told has one.
    private var transports: [String] {
        let help = try? Tool.run(program, ["trace", "--help-hidden"])
        return help?.standardOutput.contains("--transport") == true ? ["ringbuf", "perfbuf"] : [""]
    }

    private static func netns() throws(Trouble) -> Int {
        var attributes = stat()
        guard stat("/proc/self/ns/net", &attributes) == 0 else { throw Trouble("/proc/self/ns/net") }
        return Int(attributes.st_ino)
    }

    private func write(_ path: String, _ text: String) throws(Trouble) {
        do throws(ScenarioError) { try SmallFile.write(path, text) } catch { throw Trouble("\(error)") }
    }

    private func read(_ path: String) throws(Trouble) -> String { try File.text(path) }

    private func tool(_ name: String, _ arguments: [String]) throws(Trouble) {
        do throws(ScenarioError) { try Tool.check(name, arguments) } catch { throw Trouble("\(error)") }
    }

    /// One trace for each transport.
    private struct Traces {
        private final class Slot {
            var trace: BackendTrace
            init(_ trace: consuming BackendTrace) { self.trace = trace }
        }

        private var running: [(transport: String, slot: Slot)] = []

        init(_ program: String, _ btf: String, _ transports: [String]) throws(Trouble) {
            for transport in transports {
                let options =
                    ["--module", StandinPlay.module, "--btf", btf, "--steps"]
                    + (transport.isEmpty ? [] : ["--transport", transport])
                let trace = try BackendTrace(program, "kprobe", options, name: "standin\(transport)")
                running.append((transport, Slot(trace)))
            }
            for (_, slot) in running { try slot.trace.awaitReady() }
        }

        func finish() -> [(transport: String, result: Result<TraceFile, Trouble>)] {
            running.map { transport, slot in
                do throws(Trouble) {
                    return (transport, .success(try slot.trace.finish()))
                } catch {
                    return (transport, .failure(error))
                }
            }
        }
    }
}

/// One trace held against what was played while it ran.
struct StandinJudgement {
    /// By rows, and `trace` for what is about no row. Each has an entry.
    private(set) var differences: [String: [String]] = [:]

    init(_ file: TraceFile, _ truths: [StandinTruth], rows: [String], netns: Int) {
        for name in rows + ["trace"] { differences[name] = [] }
        var whole = Differences()
        whole.equal(file.lines.first?.text("stack"), "multipath-tcp.org", "stack")
        whole.equal(file.lostTotal, 0, "lost (\(file.losses))")
        // Never whom a softirq interrupted, nor a kworker.
        let strangers = Set(file.lines.compactMap { $0.number("pid") }).subtracting([Int(getpid())])
        whole.equal(strangers, [], "processes that own none of the sockets")
        differences["trace"] = whole.words + file.formDifferences()

        var left = file.lines.filter { ["handshake", "join", "fallback", "listener"].contains($0.type) }
        for truth in truths {
            let records = left.filter(truth.concerns)
            left.removeAll { truth.concerns($0) }
            var found = Differences()
            if truth.type == "listener" {
                let states = records.map { $0.text("state") ?? "?" }
                found.equal(states, ["open", "closed"], "states of the listener")
            } else {
                found.equal(records.count, 1, "records: \(truth.words)")
            }
            for record in records {
                differences[truth.row, default: []] += truth.differences(record, netns: netns)
            }
            if truth.isConnection, let conn = records.first?.number("conn") {
                let closes = file.of("close").filter { $0.number("conn") == conn }
                found.equal(closes.count, 1, "closes: \(truth.words)")
            }
            differences[truth.row, default: []] += found.words
        }
        for record in left {
            let ports = [record.end("local")?.port, record.end("remote")?.port]
            let row = truths.first { ports.contains($0.serverPort) }?.row ?? "trace"
            differences[row, default: []].append("nobody played \(record)")
        }
    }
}
