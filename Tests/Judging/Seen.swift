// SPDX-License-Identifier: Apache-2.0

import Handshake
import Output
import Scenarios

/// A scenario that was traced: its records, and what they are held against.
package struct Seen {
    package let file: TraceFile
    private let scenario: Scenario
    private let expected: [Sides<Expectation>]
    private let whereabouts: Whereabouts
    private let result: ScenarioResult
    private let countedOtherwise: Sides<Set<String>>
    private let kernel: KernelFeatures
    package let sight: Sight

    /// - Parameters:
    ///   - file: whole, or what is in it of the scenario's namespaces.
    ///   - sight: of the whole file; nil: `file` is that.
    package init(
        _ file: TraceFile, _ scenario: Scenario, _ whereabouts: Whereabouts, _ result: ScenarioResult,
        on kernel: KernelFeatures, sight: Sight? = nil
    ) {
        self.kernel = kernel
        self.sight = sight ?? file.sight
        self.file = file
        self.scenario = scenario
        self.whereabouts = whereabouts
        self.result = result
        expected = Expected.candidates(scenario, result, on: kernel)
        countedOtherwise = Expected.countedOtherwise(scenario, result, on: kernel)
    }

    private var isBasic: Bool { Scenario.basic.contains { $0.name == scenario.name } }

    /// Holds the records of each side against what really was; with `only` there must be none of
    /// the other.
    package func differences(only: Side? = nil) -> [String] {
        let all = expected.map { differences(from: $0, only: only) }
        return all.first { $0.isEmpty } ?? all[0]
    }

    private func differences(from expected: Sides<Expectation>, only: Side?) -> [String] {
        var differences = Differences()
        for side in Side.allCases {
            guard only ?? side == side else {
                let foreign = file.lines.filter { $0.number("netns") == whereabouts.netns(side) }
                differences.equal(foreign, [], "records of the \(side.rawValue)")
                continue
            }
            judgeVerdicts(side, expected[side], &differences)
            if isBasic { judge(side, &differences) }
            let pids = side == .client ? result.clientPIDs : result.serverPIDs
            for line in handshakes(side) + lines("join", side) {
                differences.hold(
                    pids.contains { Int($0) == line.number("pid") }, "not of the processes \(pids): \(line)")
            }
        }
        return differences.words
    }

    /// How often each verdict was told, of every kind of record.
    private func judgeVerdicts(_ side: Side, _ expected: Expectation, _ differences: inout Differences) {
        var wanted: [String: Int] = [:]
        func words(_ outcome: String, _ reason: Reason?) -> String {
            outcome + (reason.map { " \($0.rawValue)" } ?? "")
        }
        for handshake in expected.handshakes {
            let verdict = words(handshake.outcome.rawValue, handshake.reason)
            wanted["handshake \(verdict) IPv\(handshake.family)", default: 0] += handshake.count
        }
        let besides = scenario.seenByFunctions[side]
        for join in expected.joins + (sight.seesFailedJoins ? besides.joins : []) {
            var verdict = words(join.outcome.rawValue, join.reason)
            if !sight.explainsRefusals, side == .server,
                [.mpJoinRejected, .ackWithoutMpJoin].contains(join.reason)
            {
                verdict = JoinOutcome.rejected.rawValue
            }
            wanted["join \(verdict) IPv\(join.family)", default: 0] += join.count
        }
        for fallback in expected.fallbacks {
            wanted[words("fallback", fallback.reason), default: 0] += fallback.count
        }
        for address in expected.addresses {
            wanted["address \(address.change.rawValue)", default: 0] += address.count
        }
        for finding in expected.findings {
            wanted[
                "\(finding.kind.rawValue) \(finding.severity.rawValue) × \(finding.count)"
                    + (finding.isClosed ? ", closed" : ""), default: 0] += 1
        }
        var seen: [String: Int] = [:]
        for finding in Dictionary(grouping: lines("anomaly", side), by: { $0.number("id") }).values {
            let severities = finding.compactMap { $0.text("severity").flatMap(Severity.init) }
            let gravest = [Severity.error, .warning, .info].first { severities.contains($0) }
            seen[
                "\(finding[0].text("kind") ?? "") \(gravest?.rawValue ?? "") × \(finding.last?.number("count") ?? 0)"
                    + (finding.last?.text("state") == "closed" ? ", closed" : ""), default: 0] += 1
        }
        for line in handshakes(side) + lines("join", side) {
            seen["\(line.type) \(line.verdict) IPv\(line.number("family") ?? 0)", default: 0] += 1
        }
        for line in lines("fallback", side) {
            seen["fallback" + (line.text("reason").map { " \($0)" } ?? ""), default: 0] += 1
        }
        // Endpoints and limits are looked at now and then: what a scenario sets for a moment may be missed.
        for line in lines("address", side) where line.number("conn") != nil {
            seen["address \(line.text("change") ?? "")", default: 0] += 1
        }
        differences.equal(seen, wanted, side.rawValue)
        // Only a trace with --steps has them.
        if sight.seesRefusedSockets, !lines("step", side).isEmpty {
            let refused = lines("step", side).filter { $0.text("step") == "socket_refused" }
            differences.equal(refused.count, besides.refusedSockets, "\(side.rawValue)'s refused sockets")
            differences.hold(
                refused.allSatisfy { $0.number("error") == Int(besides.error) && $0.number("pid") != nil },
                "refused otherwise: \(refused)")
        }
        for join in expected.joins {
            guard let backup = join.backup else { continue }
            differences.hold(
                lines("join", side).contains { $0.flag("backup") == backup },
                "\(side.rawValue): no join with backup \(backup)")
        }
    }

    /// The kernel's own books, of a trace with --steps: each counter that this kernel has against
    /// the records that it counts.
    package func counterDifferences(on kernel: KernelFeatures) -> [String] {
        var differences = Differences()
        for side in Side.allCases {
            var counted: [String: Int] = [:]
            var recorded: [String: Int] = [:]
            let names = kernel.counters.subtracting(countedOtherwise[side])
            for counter in KernelCounter.all where names.contains(counter.name) {
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
            if scenario.name == "closed-before-accept", side == .server {
                recorded["MPCapableACKRX"] = counted["MPCapableACKRX"]
            }
            differences.equal(recorded, counted, "\(side.rawValue): records that are counted as")
        }
        return differences.words
    }

    /// The steps of each connection, where the contract names them.
    /// - Parameter once: what is asked is the order in which each kind of step first comes: who sees
    ///   the kernel's functions sees a step both as a packet and as a decision.
    package func ladderDifferences(once: Bool = false) -> [String] {
        func shape(_ ladders: [[String]]) -> [[String]] {
            guard once else { return ladders }
            return ladders.map { ladder in
                ladder.map { String($0.prefix { $0 != " " }) }.reduce(into: []) { words, word in
                    if !words.contains(word) { words.append(word) }
                }
            }
        }
        var differences = Differences()
        guard isBasic else { return [] }
        let expected = expected[0]
        for handshake in expected.client.handshakes {
            differences.equal(
                shape(ladders(.client, &differences)),
                shape(Array(repeating: Ladder.client(handshake), count: handshake.count)),
                "the client's steps")
        }
        for handshake in expected.server.handshakes {
            var ladder = Ladder.server(handshake)
            // 6.1 shows no IPv6 SYN-ACK to a cgroup's programs. That can't be looked up; this counter,
            // which it lacks as well, can.
            if handshake.family == 6, !kernel.has(.counter("MPJoinSynTx")) {
                ladder.removeAll { $0.hasPrefix("synack_sent") }
            }
            differences.equal(
                shape(ladders(.server, &differences)),
                shape(Array(repeating: ladder, count: handshake.count)), "the server's steps")
        }
        return differences.words
    }

    private func lines(_ type: String, _ side: Side) -> [Line] {
        file.of(type).filter { $0.number("netns") == whereabouts.netns(side) }
    }

    private func handshakes(_ side: Side) -> [Line] { lines("handshake", side) }

    private func judge(_ side: Side, _ differences: inout Differences) {
        let handshakes = handshakes(side)
        let listeners = judgeListeners(side, &differences)
        let pid = side == .client ? result.clientPID : result.serverPID ?? 0
        for line in handshakes {
            func equal<Value: Equatable>(_ seen: Value, _ expected: Value, _ key: String) {
                differences.equal(seen, expected, "\(side.rawValue)'s handshake: \(key)")
            }
            equal(line.text("side"), side.rawValue, "side")
            equal(line.number("pid"), Int(pid), "pid")
            equal(line.text("comm"), side == .client ? "mp-client" : "mp-server", "comm")
            equal(line.text("pid_source"), side == .client ? "connect" : "listen", "pid_source")
            equal(line.number("uid"), 0, "uid")
            equal(line.number("listener"), listeners.first, "listener")
            let mptcp = line.text("outcome") == "mptcp"
            // What was agreed, where something was.
            equal(line.number("mptcp_version"), mptcp ? 1 : nil, "mptcp_version")
            equal(line.text("remote_token") != nil, mptcp, "has remote_token")
            if side == .client { equal(line.text("token") != nil, true, "has token") }
            equal(
                line.number("syn_retransmits"), line.text("outcome") == "timeout" ? 1 : 0, "syn_retransmits")
            equal(line.numbers("timings_us")["total"] != nil, true, "has timings_us.total")
        }
        judgeAddresses(side, handshakes, &differences)
        judgeTheRest(side, handshakes, &differences)
    }

    /// The ids of the listeners there: the server's one, which opened and closed.
    private func judgeListeners(_ side: Side, _ differences: inout Differences) -> [Int] {
        let lines = lines("listener", side)
        guard side == .server, let pid = result.serverPID, let plan = scenario.server else {
            differences.equal(lines, [], "the \(side.rawValue)'s listeners")
            return []
        }
        differences.equal(lines.map { $0.text("state") }, ["open", "closed"], "listener: state")
        differences.equal(Set(lines.map { $0.number("listener") }).count, 1, "listener: how many")
        for line in lines {
            differences.equal(line.text("origin"), "seen", "listener: origin")
            differences.equal(line.text("protocol"), plan.transport.rawValue, "listener: protocol")
            differences.equal(line.number("pid"), Int(pid), "listener: pid")
            differences.equal(line.text("comm"), "mp-server", "listener: comm")
            differences.equal(line.end("local")?.port, Int(scenario.port), "listener: port")
            differences.equal(
                line.flag("enabled_at_creation"), true, "listener: enabled_at_creation")
        }
        return lines.prefix(1).compactMap { $0.number("listener") }
    }

    private func judgeAddresses(_ side: Side, _ handshakes: [Line], _ differences: inout Differences) {
        if handshakes.isEmpty { return }
        var local: Set<Place> = []
        var remote: Set<Place> = []
        for connection in result.connections {
            local.insert(whereabouts.place(connection[side]))
            remote.insert(whereabouts.place(connection[side == .client ? .server : .client]))
        }
        // A client whose connect() failed can't tell its port any more.
        let portKnown = result.connections.allSatisfy { $0.client.port != 0 }
        func seen(_ key: String) -> Set<Place> {
            Set(
                handshakes.compactMap { line in
                    line.end(key).map { key == "local" && !portKnown ? Place(addr: $0.addr, port: 0) : $0 }
                })
        }
        differences.equal(seen("local"), local, "\(side.rawValue)'s handshakes: local")
        differences.equal(seen("remote"), remote, "\(side.rawValue)'s handshakes: remote")
    }

    /// Beside handshakes and listeners there is a `close` of each connection, and nothing else.
    private func judgeTheRest(_ side: Side, _ handshakes: [Line], _ differences: inout Differences) {
        let netns = whereabouts.netns(side)
        let others = file.lines.filter {
            $0.number("netns") == netns && !["handshake", "listener", "step"].contains($0.type)
        }
        differences.equal(others, [], "\(side.rawValue)'s other records")
        let conns = handshakes.compactMap { $0.number("conn") }
        differences.equal(Set(conns).count, handshakes.count, "\(side.rawValue)'s connections")
        for line in handshakes {
            let closes = file.of("close").filter { $0.number("conn") == line.number("conn") }
            let established = ["mptcp", "fallback"].contains(line.text("outcome"))
            differences.equal(closes.count, established ? 1 : 0, "close records of \(line)")
            for close in closes {
                differences.equal(close.number("subflows"), 1, "close: subflows")
                let duration = close.number("duration_us") ?? -1
                differences.hold(
                    duration >= line.numbers("timings_us")["total"] ?? 0,
                    "closed before it was established: \(close)")
            }
        }
        for type in ["fallback", "join", "connection", "address"] {
            let more = file.of(type).filter { conns.contains($0.number("conn") ?? 0) }
            differences.equal(more, [], "\(type) records")
        }
    }

    /// What must be the same in every trace of the same run.
    /// - Parameters:
    ///   - without: fields of a record that one of them can't know.
    ///   - isLeftOut: a record that one of them can't have.
    package func normalised(
        _ side: Side, without: (Line) -> Set<String> = { _ in [] },
        leavingOut isLeftOut: (Line) -> Bool = { _ in false }
    ) -> [[String]] {
        let all =
            handshakes(side) + lines("join", side) + lines("fallback", side)
            // What is looked at now and then, each trace sees at another moment.
            + lines("address", side).filter { $0.number("conn") != nil }
        return all.filter { !isLeftOut($0) }.map { line in
            var fields = line.fields
            for key in without(line).union(["seq", "mono_ns", "time", "conn"]) { fields[key] = nil }
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
    private func ladders(_ side: Side, _ differences: inout Differences) -> [[String]] {
        var ladders: [[String]] = []
        for handshake in handshakes(side) {
            let steps = file.of("step").filter { $0.number("conn") == handshake.number("conn") }
            differences.hold(
                steps.allSatisfy {
                    $0.number("netns") == whereabouts.netns(side) && $0.text("side") == side.rawValue
                        && $0.number("pid") == handshake.number("pid")
                }, "\(side.rawValue)'s steps are of somebody else")
            differences.equal(steps.last?.text("to"), "closed", "\(side.rawValue)'s last step")
            var words: [String] = []
            for step in steps {
                let option = step.text("option").map { " \($0)" } ?? ""
                let word = (step.text("step") ?? "") + option
                if word != "closed" || words.last != word { words.append(word) }
            }
            ladders.append(words)
        }
        return ladders
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
