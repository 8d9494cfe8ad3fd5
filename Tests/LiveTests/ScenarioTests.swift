// SPDX-License-Identifier: Apache-2.0

import Handshake
import Output
import Testing

@testable import Scenarios

extension Live {
    /// Every scenario, as seen by traces of everything and of one end alone.
    @Suite struct EveryScenario {
        @Test(arguments: Scenario.all.map(\.name)) func everyTraceSeesWhatIsDeclared(_ name: String) throws {
            // A program that a softirq interrupts is skipped and counted as lost: such a run proves
            // nothing, and is made again.
            for attempt in 1...3 {
                if try look(at: name, isLast: attempt == 3) { return }
            }
        }

        /// - Returns: false if something was lost.
        private func look(at name: String, isLast: Bool) throws -> Bool {
            let scenario = try #require(Scenario.named(name))
            let stage = try Stage(executable: try Program.path())
            // Four traces of the same run.
            var everything = try Tracing(["--verify"])
            var steps = try Tracing(["--steps", "--verify"])
            var clientAlone = try Tracing(["--netns", stage.client.namespace.name])
            var serverAlone = try Tracing(["--netns", stage.server.namespace.name])
            try everything.awaitReady()
            try steps.awaitReady()
            try clientAlone.awaitReady()
            try serverAlone.awaitReady()
            var clientMonitor = try Monitor(stage.client.namespace)
            var serverMonitor = try Monitor(stage.server.namespace)
            let midway = Midway()
            let joins = !(scenario.expected.client.joins + scenario.expected.server.joins).isEmpty
            let result = try scenario.run(on: stage) { try midway.look(at: stage, tracing: joins) }
            #expect(result.counters.client == scenario.expected.client.counters)
            #expect(result.counters.server == scenario.expected.server.counters)
            let files = (
                try everything.finish(), try steps.finish(), try clientAlone.finish(),
                try serverAlone.finish()
            )
            let late = try midway.finish()
            let lost = files.0.lostTotal + files.1.lostTotal + files.2.lostTotal + files.3.lostTotal
            if lost > 0, !isLast { return false }
            let whole = try Seen(files.0, scenario, stage, result)
            let stepped = try Seen(files.1, scenario, stage, result)
            let client = try Seen(files.2, scenario, stage, result, only: .client)
            let server = try Seen(files.3, scenario, stage, result, only: .server)

            // An end alone tells the same, whatever else is traced.
            #expect(whole.normalised(.client) == stepped.normalised(.client))
            #expect(whole.normalised(.client) == client.normalised(.client))
            #expect(whole.normalised(.server) == stepped.normalised(.server))
            #expect(whole.normalised(.server) == server.normalised(.server))

            // The kernel's books say the same, of every namespace there is.
            for file in [files.0, files.1] {
                let verified = try Verified(file)
                #expect(verified.differences == [])
                #expect(verified.equal == verified.checked)
                let counters = try Verified.counters(steps: file.of("step") != [], in: stage.client.namespace)
                #expect(verified.checked >= 2 * counters)
            }

            #expect(whole.file.of("step") == [])
            stepped.judgeCounters(scenario, result)
            stepped.file.judge(.client, in: stage.client.namespace.inode, try clientMonitor.events())
            stepped.file.judge(.server, in: stage.server.namespace.inode, try serverMonitor.events())

            // What was open when a trace began ends in it under the same number.
            #expect((late != nil) == joins)
            for space in [stage.client.namespace, stage.server.namespace] {
                guard let late else { break }
                let conns = late.of("connection", in: space.inode).map { $0.number("conn") }
                #expect(conns.count == 1)
                for conn in conns {
                    #expect(late.of("close").filter { $0.number("conn") == conn }.count == 1)
                }
            }
            guard Scenario.basic.contains(where: { $0.name == name }) else { return true }
            for handshake in scenario.expected.client.handshakes {
                #expect(
                    stepped.ladders(.client)
                        == Array(repeating: Ladder.client(handshake), count: handshake.count))
            }
            for handshake in scenario.expected.server.handshakes {
                #expect(
                    stepped.ladders(.server)
                        == Array(repeating: Ladder.server(handshake), count: handshake.count))
            }
            return true
        }
    }
}

/// A scenario that was traced.
private struct Seen {
    let file: TraceFile
    private let inodes: Sides<Int>

    /// Holds the records of each side against what really was; with `only` there must be none of
    /// the other.
    init(
        _ file: TraceFile, _ scenario: Scenario, _ stage: borrowing Stage, _ result: ScenarioResult,
        only: Side? = nil
    ) throws {
        self.file = file
        inodes = Sides(
            client: Int(stage.client.namespace.inode), server: Int(stage.server.namespace.inode))
        #expect(file.lostTotal == 0)
        for side in Side.allCases {
            guard only ?? side == side else {
                #expect(file.lines.filter { $0.number("netns") == inodes[side] } == [])
                continue
            }
            judgeVerdicts(side, scenario)
            if Scenario.basic.contains(where: { $0.name == scenario.name }) {
                judge(side, scenario, stage, result)
            }
            let pids = side == .client ? result.clientPIDs : result.serverPIDs
            for line in handshakes(side) + lines("join", side) {
                #expect(pids.map { Int($0) }.contains(line.number("pid") ?? 0), "\(line)")
            }
        }
    }

    /// How often each verdict was told, of every kind of record.
    private func judgeVerdicts(_ side: Side, _ scenario: Scenario) {
        let expected = scenario.expected[side]
        var wanted: [String: Int] = [:]
        func words(_ outcome: String, _ reason: Reason?) -> String {
            outcome + (reason.map { " \($0.rawValue)" } ?? "")
        }
        for handshake in expected.handshakes {
            let verdict = words(handshake.outcome.rawValue, handshake.reason)
            wanted["handshake \(verdict) IPv\(handshake.family)", default: 0] += handshake.count
        }
        for join in expected.joins {
            let verdict = words(join.outcome.rawValue, join.reason)
            wanted["join \(verdict) IPv\(join.family)", default: 0] += join.count
        }
        for fallback in expected.fallbacks {
            wanted[words("fallback", fallback.reason), default: 0] += fallback.count
        }
        for address in expected.addresses {
            wanted["address \(address.change.rawValue)", default: 0] += address.count
        }
        var seen: [String: Int] = [:]
        for line in handshakes(side) + lines("join", side) {
            seen["\(line.type) \(line.verdict) IPv\(line.number("family") ?? 0)", default: 0] += 1
        }
        for line in lines("fallback", side) {
            seen["fallback" + (line.text("reason").map { " \($0)" } ?? ""), default: 0] += 1
        }
        for line in lines("address", side) { seen["address \(line.text("change") ?? "")", default: 0] += 1 }
        #expect(seen == wanted)
        for join in expected.joins {
            guard let backup = join.backup else { continue }
            #expect(lines("join", side).contains { $0.flag("backup") == backup })
        }
    }

    /// The kernel's own books: each counter against the records that it counts.
    func judgeCounters(_ scenario: Scenario, _ result: ScenarioResult) {
        for side in Side.allCases {
            var counted: [String: Int] = [:]
            var recorded: [String: Int] = [:]
            for counter in KernelCounter.all {
                counted[counter.name] = Int(result.allCounters[side][counter.name])
                recorded[counter.name] = counter.counts.reduce(0) { sum, term in
                    sum + term.sign
                        * lines(term.type, side).filter { line in
                            (term.type != "step" || line.text("from") != line.text("to"))
                                && term.fields.allSatisfy { line.text($0.name) == $0.word }
                        }.count
                }
            }
            // accept() counts these: a connection that nobody accepts is none of them.
            if counted["MPCapableACKRX"] ?? 0 < recorded["MPCapableACKRX"] ?? 0, side == .server {
                #expect(["closed-before-accept"].contains(scenario.name))
                recorded["MPCapableACKRX"] = counted["MPCapableACKRX"]
            }
            #expect(recorded == counted, "\(side)")
        }
    }

    func lines(_ type: String, _ side: Side) -> [Line] {
        file.of(type).filter { $0.number("netns") == inodes[side] }
    }

    func handshakes(_ side: Side) -> [Line] {
        file.of("handshake").filter { $0.number("netns") == inodes[side] }
    }

    private func judge(
        _ side: Side, _ scenario: Scenario, _ stage: borrowing Stage, _ result: ScenarioResult
    ) {
        let handshakes = handshakes(side)
        let listeners = judgeListeners(side, scenario, result)
        let pid = side == .client ? result.clientPID : result.serverPID ?? 0
        for line in handshakes {
            #expect(line.text("side") == side.rawValue)
            #expect(line.number("pid") == Int(pid))
            #expect(line.text("comm") == (side == .client ? "mp-client" : "mp-server"))
            #expect(line.text("pid_source") == (side == .client ? "connect" : "listen"))
            #expect(line.number("uid") == 0)
            #expect(line.number("listener") == listeners.first)
            let mptcp = line.text("outcome") == "mptcp"
            // What was agreed, where something was.
            #expect(line.number("mptcp_version") == (mptcp ? 1 : nil))
            #expect((line.text("remote_token") != nil) == mptcp)
            if side == .client { #expect(line.text("token") != nil) }
            #expect(line.number("syn_retransmits") == (line.text("outcome") == "timeout" ? 1 : 0))
            #expect(line.numbers("timings_us")["total"] != nil)
        }
        judgeAddresses(side, stage, result, handshakes)
        judgeTheRest(side, handshakes, listeners)
    }

    /// The ids of the listeners there: the server's one, which opened and closed.
    private func judgeListeners(_ side: Side, _ scenario: Scenario, _ result: ScenarioResult) -> [Int] {
        let lines = file.of("listener").filter { $0.number("netns") == inodes[side] }
        guard side == .server, let pid = result.serverPID, let plan = scenario.server else {
            #expect(lines == [])
            return []
        }
        #expect(lines.map { $0.text("state") } == ["open", "closed"])
        #expect(Set(lines.map { $0.number("listener") }).count == 1)
        for line in lines {
            #expect(line.text("origin") == "seen")
            #expect(line.text("protocol") == plan.transport.rawValue)
            #expect(line.number("pid") == Int(pid))
            #expect(line.text("comm") == "mp-server")
            #expect(line.end("local")?.port == Int(scenario.port))
            #expect(line.flag("enabled_at_creation") == (plan.transport == .mptcp ? true : nil))
        }
        return lines.prefix(1).compactMap { $0.number("listener") }
    }

    private func judgeAddresses(
        _ side: Side, _ stage: borrowing Stage, _ result: ScenarioResult, _ handshakes: [Line]
    ) {
        if handshakes.isEmpty { return }
        var local: Set<Place> = []
        var remote: Set<Place> = []
        for connection in result.connections {
            local.insert(stage.end(connection[side]))
            remote.insert(stage.end(connection[side == .client ? .server : .client]))
        }
        // A client whose connect() failed can't tell its port any more.
        let portKnown = result.connections.allSatisfy { $0.client.port != 0 }
        func seen(_ key: String) -> Set<Place> {
            Set(
                handshakes.compactMap { line in
                    line.end(key).map { key == "local" && !portKnown ? Place(addr: $0.addr, port: 0) : $0 }
                })
        }
        #expect(seen("local") == local)
        #expect(seen("remote") == remote)
    }

    /// Beside handshakes and listeners there is a `close` of each connection, and nothing else.
    private func judgeTheRest(_ side: Side, _ handshakes: [Line], _ listeners: [Int]) {
        let others = file.lines.filter {
            $0.number("netns") == inodes[side] && !["handshake", "listener", "step"].contains($0.type)
        }
        #expect(others == [])
        let conns = handshakes.compactMap { $0.number("conn") }
        #expect(Set(conns).count == handshakes.count)
        for line in handshakes {
            let closes = file.of("close").filter { $0.number("conn") == line.number("conn") }
            let established = ["mptcp", "fallback"].contains(line.text("outcome"))
            #expect(closes.count == (established ? 1 : 0))
            for close in closes {
                #expect(close.number("subflows") == 1)
                let duration = close.number("duration_us") ?? -1
                #expect(duration >= line.numbers("timings_us")["total"] ?? 0)
            }
        }
        for type in ["fallback", "join", "connection", "address"] {
            #expect(file.of(type).filter { conns.contains($0.number("conn") ?? 0) } == [])
        }
    }

    /// What must be the same in every trace of the same run.
    func normalised(_ side: Side) -> [[String]] {
        (handshakes(side) + lines("join", side) + lines("fallback", side) + lines("address", side)).map {
            line in
            var fields = line.fields
            for key in ["seq", "mono_ns", "time", "conn"] { fields[key] = nil }
            // One each of a trace, or another by how its records happen to lie in the file.
            fields["subflow"] = fields["subflow"].map { _ in .text("some") }
            if fields["listener"] != nil { fields["listener"] = .text("some") }
            // Each trace reads the clock for itself.
            fields["timings_us"] = .list(line.numbers("timings_us").keys.sorted().map { .text($0) })
            return fields.keys.sorted().map { key in
                if let end = line.end(key) { return "\(key)=\(end)" }
                return "\(key)=\(fields[key].map { "\($0)" } ?? "")"
            }
        }.sorted { $0.joined() < $1.joined() }
    }

    /// The steps of each connection, in their order; msk and subflow may close in either.
    func ladders(_ side: Side) -> [[String]] {
        handshakes(side).map { handshake in
            let steps = file.of("step").filter { $0.number("conn") == handshake.number("conn") }
            #expect(steps.allSatisfy { $0.number("netns") == inodes[side] })
            #expect(steps.allSatisfy { $0.text("side") == side.rawValue })
            #expect(steps.allSatisfy { $0.number("pid") == handshake.number("pid") })
            #expect(steps.last?.text("to") == "closed")
            var words: [String] = []
            for step in steps {
                let option = step.text("option").map { " \($0)" } ?? ""
                let word = (step.text("step") ?? "") + option
                if word != "closed" || words.last != word { words.append(word) }
            }
            return words
        }
    }
}

/// The steps of the contract that each kind of handshake has.
private enum Ladder {
    static func client(_ handshake: ExpectedHandshake) -> [String] {
        let rest =
            switch handshake.outcome {
            case .mptcp: ["synack_received MP_CAPABLE", "established", "mptcp_established"]
            case .fallback: ["synack_received none", "established", "fallback"]
            case .refused: ["reset"]
            case .timeout: ["syn_sent MP_CAPABLE"]
            default: ["?"]
            }
        return ["socket_created", "syn_sent", "syn_sent MP_CAPABLE"] + rest + ["closed"]
    }

    static func server(_ handshake: ExpectedHandshake) -> [String] {
        switch handshake.reason {
        case nil:
            [
                "syn_received MP_CAPABLE", "synack_sent MP_CAPABLE", "ack_received MP_CAPABLE",
                "mptcp_established", "established", "closed",
            ]
        case .listenerIsTcp:
            ["syn_received MP_CAPABLE", "synack_sent none", "ack_received none", "established", "closed"]
        default:
            ["syn_received none", "synack_sent none", "ack_received none", "established", "closed"]
        }
    }
}
