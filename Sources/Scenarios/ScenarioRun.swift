// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Synchronization

/// What a run of a scenario really was, to hold a trace against.
public struct ScenarioResult: Sendable {
    /// Who called connect(), one after the other; all processes of the client's end.
    public let clientPIDs: [Int32]
    /// Who called listen(), and who took over from it.
    public let serverPIDs: [Int32]
    /// The first who called connect(); 0: nobody did.
    public var clientPID: Int32 { clientPIDs.first ?? 0 }
    /// Who called listen(); nil: nobody did.
    public var serverPID: Int32? { serverPIDs.first }
    /// The two ends of each connection's first subflow, in the order of connect(); v4-mapped ones
    /// as IPv4. Port 0 of the client: it no longer had one when connect() had failed.
    public let connections: [Sides<Endpoint>]
    /// What the kernel counted in each namespace from before the first SYN to after the last
    /// socket was gone, of `Counters.compared`.
    public let counters: Sides<Counters>
    /// The same, of all that it counts.
    public let allCounters: Sides<Counters>
}

extension Scenario {
    /// Runs the scenario. `whileOpen` is called once, where the script says: mostly when every
    /// connection is established and has carried a byte each way, or has failed as it should; the
    /// connections are closed after it, also when it throws. All processes are gone at the end,
    /// however it ends, and the stage is as it was.
    public func run(
        on stage: borrowing Stage, whileOpen: () throws -> Void = {}
    ) throws(ScenarioError) -> ScenarioResult {
        let before = Sides(client: try stage.counters(.client), server: try stage.counters(.server))
        var remaining = Sides(client: try stage.openSockets(.client), server: try stage.openSockets(.server))
        remaining.server += overcounted
        let surroundings = Surroundings(
            Sides(client: stage.client.namespace, server: stage.server.namespace))
        let cast = try ScenarioCast(self, stage, surroundings, before)
        var failure: (any Error)?
        for act in script {
            if case .open = act {
                do { try whileOpen() } catch { failure = error }
            } else {
                try cast.perform(act)
            }
        }
        try cast.finish()
        try surroundings.unfilter()
        try stage.awaitSilence(but: remaining)
        let after = Sides(client: try stage.counters(.client), server: try stage.counters(.server))
        try surroundings.restore()
        if let failure { throw .whileOpen(failure) }

        let counted = Sides(client: after.client - before.client, server: after.server - before.server)
        return ScenarioResult(
            clientPIDs: cast.pids.client, serverPIDs: cast.pids.server, connections: cast.connections,
            counters: Sides(
                client: counted.client.only(Counters.compared),
                server: counted.server.only(Counters.compared)),
            allCounters: counted)
    }
}

/// The processes of a scenario that is under way.
private final class ScenarioCast {
    private let scenario: Scenario
    private let surroundings: Surroundings
    private let before: Sides<Counters>
    private let connectsBefore: Sides<UInt64>
    private let interruptedBy: CInt
    private let texts: [(name: String, text: String)]
    private let addresses: [String: Address]
    private let ends: Sides<Stage.End>
    private let nobody: (address: Address, text: String)
    private let executable: String
    private(set) var pids = Sides<[Int32]>(client: [], server: [])
    private(set) var connections: [Sides<Endpoint>] = []
    private var listener: ActorProcess?
    private var connector: ActorProcess?
    private var puppets: [String: PuppetProcess] = [:]
    private var sides: [String: Side] = [:]
    private var daemons: [Int32] = []
    /// Of files of the scenario's own; nil: it has none.
    private var folder: String?
    /// What the puppets can send descriptors to one another through.
    private let passage: DescriptorPair

    init(
        _ scenario: Scenario, _ stage: borrowing Stage, _ surroundings: Surroundings,
        _ before: Sides<Counters>
    ) throws(ScenarioError) {
        passage = try .sockets()
        self.scenario = scenario
        self.surroundings = surroundings
        self.before = before
        connectsBefore = Sides(
            client: try stage.client.namespace.inside(TCPCounters.activeOpens),
            server: try stage.server.namespace.inside(TCPCounters.activeOpens))
        interruptedBy = stage.interruptedBy
        // Longer names first: one may begin with another.
        texts = [
            ("$server4b", stage.server.second.ipv4Text), ("$server6b", stage.server.second.ipv6Text),
            ("$client4b", stage.client.second.ipv4Text), ("$client6b", stage.client.second.ipv6Text),
            ("$client4c", stage.client.thirdIPv4Text),
            ("$server4", stage.server.ipv4Text), ("$server6", stage.server.ipv6Text),
            ("$client4", stage.client.ipv4Text), ("$client6", stage.client.ipv6Text),
            ("$nobody", stage.nobodyText), ("$port", "\(scenario.port)"),
        ]
        addresses = [
            stage.server.ipv4Text: stage.server.ipv4, stage.server.ipv6Text: stage.server.ipv6,
            stage.nobodyText: stage.nobody,
        ]
        ends = Sides(client: stage.client, server: stage.server)
        nobody = (stage.nobody, stage.nobodyText)
        executable = stage.executable
    }

    func perform(_ act: Act) throws(ScenarioError) {
        switch act {
        case .open: break
        case .listen:
            guard let plan = scenario.server else { return }
            listener = try startServer(plan)
        case .listenUnder(let command):
            guard let plan = scenario.server else { return }
            listener = try startServer(plan, under: command)
        case .connect: try connectClient()
        case .exchange(let bytes):
            connector?.tell("exchange \(bytes)")
            _ = try connector?.expect(["exchanged"], interruptedBy: interruptedBy)
        case .hangUp: try hangUp()
        case .close:
            // The client's end comes first; the server's follows when it sees that.
            listener?.tell("close")
            try hangUp()
            _ = try listener?.expect(["done"], interruptedBy: interruptedBy)
            try listener?.finish()
            listener = nil

        case .start(let name, let side):
            let puppet = try PuppetProcess(
                ActorProcess(
                    role: "puppet", executable: executable,
                    arguments: Actor.arguments([
                        "netns": ends[side].namespace.name, "comm": "mp-\(side.rawValue)",
                    ]),
                    // The first gets one end, every later one the other.
                    inheriting: puppets.isEmpty ? passage.reading.raw : passage.writing.raw))
            puppets[name] = puppet
            try puppet.expect("ready", interruptedBy: interruptedBy)
            sides[name] = side
        case .ask(let name, let command, let answer):
            try tell(name, command)
            try hear(name, answer)
        case .tell(let name, let command): try tell(name, command)
        case .hear(let name, let answer): try hear(name, answer)
        case .end(let name):
            try puppet(name).finish()
            puppets[name] = nil
        case .kill(let name):
            try puppet(name).kill()
            puppets[name] = nil

        case .file(let path, let text):
            try SmallFile.write(expand(path), expand(text), creates: true)
        case .run(let side, let command, let status):
            let command = command.map(expand)
            let output = try ends[side].namespace.inside { () throws(ScenarioError) in
                try Tool.run(command[0], Array(command.dropFirst()))
            }
            guard output.status == status else {
                throw .tool(
                    command: command.joined(separator: " "), status: "ended with \(output.status)",
                    output: (output.standardError + output.standardOutput).oneLine)
            }
        case .daemon(let side, let command, let pidFile):
            try perform(.run(side, command))
            let path = expand(pidFile)
            try wait("a process id in \(path)") { () throws(ScenarioError) -> String? in
                guard let pid = Self.processID(in: path) else { return "there is none" }
                pids[side].append(pid)
                daemons.append(pid)
                return nil
            }
        case .gone(let pidFile):
            let path = expand(pidFile)
            try wait("the end of the daemon") { () throws(ScenarioError) -> String? in
                // It takes its file away; and its workers may be a moment longer.
                if let pid = Self.processID(in: path), kill(pid, 0) == 0 { return "\(pid) is there" }
                return daemons.contains { kill($0, 0) == 0 } ? "it is there" : nil
            }
            daemons = []

        case .set(let side, let path, let value): try surroundings.set(side, path, value)
        case .filter(let side, let rules):
            try surroundings.filter(side, hook: "prerouting", rules.map(expand))
        case .filterSent(let side, let rules):
            try surroundings.filter(side, hook: "output", rules.map(expand))
        case .unfilter(let side): try surroundings.unfilter(side)
        case .endpoint(let side, let address, let flags):
            try surroundings.addEndpoint(side, expand(address), flags)
        case .removeEndpoint(let side, let id):
            try surroundings.removeEndpoint(side, id, ends[side].ipv4Text)
        case .limits(let side, let subflows, let accepted):
            try surroundings.setLimits(side, subflows: subflows, accepted: accepted)
        case .destroy(let side, let filter):
            try surroundings.tool(side, "ss", ["-tKH"] + Self.words(expand(filter)))

        case .pause(let milliseconds):
            var entry = pollfd(fd: interruptedBy, events: Int16(POLLIN), revents: 0)
            if poll(&entry, 1, milliseconds) > 0 { throw .interrupted }
        case .await(let side, let counter, let count):
            try wait("\(counter) \(count) at the \(side.rawValue)") { () throws(ScenarioError) -> String? in
                let counted = try self.counted(side)
                if counted[counter] >= count { return nil }
                let other = side == .client ? Side.server : .client
                return "counted: \(counted); at the \(other.rawValue): \(try self.counted(other))"
            }
        case .connects(let side, let count):
            try wait("\(count) connects at the \(side.rawValue)") { () throws(ScenarioError) -> String? in
                let begun = try self.ends[side].namespace.inside(TCPCounters.activeOpens)
                let connects = begun - self.connectsBefore[side]
                return connects >= count ? nil : "there were \(connects)"
            }
        case .sockets(let side, let filter, let count):
            let words = ["-tanHO"] + Self.words(expand(filter))
            try wait("\(count) × \(filter) at the \(side.rawValue)") { () throws(ScenarioError) -> String? in
                let listed = try self.surroundings.tool(side, "ss", words)
                return listed.split(separator: "\n").count == count ? nil : "listed: \(listed.oneLine)"
            }
        }
    }

    private static func processID(in path: String) -> Int32? {
        guard let text = try? SmallFile.read(path) else { return nil }
        return Int32(text.split(whereSeparator: \.isWhitespace).first ?? "")
    }

    deinit {
        for pid in daemons { kill(pid, SIGKILL) }
        if let folder { _ = try? Tool.run("rm", ["-rf", folder]) }
    }

    /// Ends who is still there.
    func finish() throws(ScenarioError) {
        for name in puppets.keys.sorted() { try puppet(name).finish() }
        puppets = [:]
    }

    /// Since the scenario began.
    private func counted(_ side: Side) throws(ScenarioError) -> Counters {
        try ends[side].namespace.inside(Counters.ofThisThread) - before[side]
    }

    private static func words(_ text: String) -> [String] { text.split(separator: " ").map(String.init) }

    /// `$token`: by which the server's one connection is joined, as `ss` tells it.
    private func expandToken(_ text: String) throws(ScenarioError) -> String {
        guard let place = text.firstRange(of: "$token") else { return text }
        let listed = try surroundings.tool(.server, "ss", ["-ManiHO"])
        guard
            let token = listed.split(whereSeparator: \.isWhitespace).first(where: { $0.hasPrefix("token:") })
        else { throw .usage("ss shows no token: \(listed.oneLine)") }
        var text = text
        text.replaceSubrange(place, with: token.dropFirst("token:".count))
        return text
    }

    private func expand(_ text: String) -> String {
        var text = text
        if text.contains("$self") { text = text == "$self" ? ownFile : text }
        if text.contains("$folder") {
            if folder == nil { folder = Self.makeFolder() }
            while let place = text.firstRange(of: "$folder") {
                text.replaceSubrange(place, with: folder ?? "/nowhere")
            }
        }
        for (name, value) in texts {
            while let place = text.firstRange(of: name) { text.replaceSubrange(place, with: value) }
        }
        return text
    }

    /// The program's file: to another one, /proc/self/exe is its own.
    private var ownFile: String {
        guard let path = realpath(executable, nil) else { return executable }
        defer { free(path) }
        return String(cString: path)
    }

    private static func makeFolder() -> String? {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(parent)/mpscope-XXXXXX".utf8CString)
        return mkdtemp(&template).map { String(cString: $0) }
    }

    /// Until `missing` says that nothing is.
    private func wait(
        _ awaited: String, _ missing: () throws(ScenarioError) -> String?
    ) throws(ScenarioError) {
        let deadline = Deadline()
        while let diagnostics = try missing() {
            if deadline.hasPassed {
                throw .deadline(
                    awaited: awaited, from: "scenario \(scenario.name)", seconds: deadline.seconds,
                    diagnostics: diagnostics)
            }
            var entry = pollfd(fd: interruptedBy, events: Int16(POLLIN), revents: 0)
            if poll(&entry, 1, 2) > 0 { throw .interrupted }
        }
    }

    // MARK: Puppets

    private func puppet(_ name: String) throws(ScenarioError) -> PuppetProcess {
        guard let puppet = puppets[name] else { throw .usage("\(scenario.name): there is no \(name)") }
        return puppet
    }

    /// Who connects and who listens is remembered, and between which ends.
    private func tell(_ name: String, _ command: String) throws(ScenarioError) {
        let puppet = try puppet(name)
        puppet.command = try expandToken(expand(command))
        let words = Self.words(puppet.command)
        if let side = sides[name], let word = words.first, ["connect", "listen", "attend"].contains(word) {
            if !pids[side].contains(puppet.pid) { pids[side].append(puppet.pid) }
            if word == "connect", words.count == 4, let address = addresses[words[2]] {
                let local = address.isV4 ? ends.client.ipv4 : ends.client.ipv6
                connections.append(
                    Sides(client: Endpoint(local, 0), server: Endpoint(address, UInt16(words[3]) ?? 0)))
            }
        }
        puppet.tell(puppet.command)
    }

    private func hear(_ name: String, _ answer: String) throws(ScenarioError) {
        let puppet = try puppet(name)
        let said: String
        do throws(ScenarioError) {
            said = try puppet.hear(interruptedBy: interruptedBy)
        } catch .deadline(_, _, let seconds, let diagnostics) {
            let counted = "client: \(try counted(.client)); server: \(try counted(.server))"
            throw .deadline(
                awaited: "\(answer)\" to \"\(puppet.command)", from: "scenario \(scenario.name): \(name)",
                seconds: seconds, diagnostics: diagnostics + " counted: \(counted)")
        }
        guard answer.isEmpty || said == answer || said.hasPrefix("\(answer) ") else {
            throw .actor(
                role: "scenario \(scenario.name): \(name)", awaited: "\(answer)\" to \"\(puppet.command)",
                got: "said: \(said)", diagnostics: "")
        }
        if puppet.command.hasPrefix("child "), said == "ok" { NamespaceNumbers.keep(of: puppet.pid) }
        // "ok" and the local port.
        let words = Self.words(said)
        if puppet.command.hasPrefix("connect "), words.first == "ok",
            let port = words.last.flatMap({ UInt16($0) }),
            let made = connections.popLast()
        {
            connections.append(Sides(client: Endpoint(made.client.address, port), server: made.server))
        }
    }

    // MARK: The regular course

    private func hangUp() throws(ScenarioError) {
        connector?.tell("close")
        _ = try connector?.expect(["done"], interruptedBy: interruptedBy)
        try connector?.finish()
        connector = nil
    }

    private func startServer(
        _ plan: Scenario.ServerPlan, under wrapper: [String] = []
    ) throws(ScenarioError) -> ActorProcess {
        var options = [
            "netns": ends.server.namespace.name, "protocol": plan.transport.rawValue,
            "family": plan.family.rawValue, "port": "\(scenario.port)",
            "connections": "\(scenario.client.connections)",
        ]
        options["address"] = plan.address.map(expand)
        var actor = try ActorProcess(
            role: "server", executable: wrapper.isEmpty ? executable : ownFile,
            arguments: Actor.arguments(options), under: wrapper)
        _ = try actor.expect(["ready"], interruptedBy: interruptedBy)
        pids.server.append(actor.pid)
        return actor
    }

    private func connectClient() throws(ScenarioError) {
        let client = scenario.client
        let address =
            switch client.target {
            case .serverIPv4: ends.server.ipv4Text
            case .serverIPv6: ends.server.ipv6Text
            case .serverIPv4Mapped: "::ffff:\(ends.server.ipv4Text)"
            case .nobody: nobody.text
            }
        var actor = try ActorProcess(
            role: "client", executable: executable,
            arguments: Actor.arguments([
                "netns": ends.client.namespace.name, "protocol": client.transport.rawValue,
                "address": address, "port": "\(scenario.port)", "connections": "\(client.connections)",
                "connect": client.blocking ? "blocking" : "nonblocking",
            ]))
        _ = try actor.expect(["ready"], interruptedBy: interruptedBy)
        pids.client.append(actor.pid)
        actor.tell("go")
        let reply = try actor.expect(["connected", "failed"], interruptedBy: interruptedBy)
        connections += try endpoints(from: reply)
        connector = consume actor
    }

    /// Judges the client's word ("connected", and a local port for each connection, or "failed"
    /// and the errno) and makes endpoints of it.
    private func endpoints(
        from reply: Reply
    ) throws(ScenarioError) -> [Sides<Endpoint>] {
        let client = scenario.client
        let ending: Scenario.Ending? =
            switch (reply.word, reply.arguments.first.flatMap { CInt($0) }) {
            case ("connected", _): .connected
            case ("failed", ECONNREFUSED): .refused
            case ("failed", ETIMEDOUT): .timedOut
            default: nil
            }
        guard ending == client.ending else {
            throw .unexpectedResult(
                scenario: scenario.name, expected: client.ending.rawValue,
                got: ending?.rawValue ?? "\(reply.word) \(reply.arguments.joined(separator: " "))")
        }
        let ports =
            ending == .connected
            ? reply.arguments.compactMap { UInt16($0) }
            : [UInt16](repeating: 0, count: client.connections)
        let (local, remote) =
            switch client.target {
            case .serverIPv4, .serverIPv4Mapped: (ends.client.ipv4, ends.server.ipv4)
            case .serverIPv6: (ends.client.ipv6, ends.server.ipv6)
            case .nobody: (ends.client.ipv4, nobody.address)
            }
        return ports.map { Sides(client: Endpoint(local, $0), server: Endpoint(remote, scenario.port)) }
    }
}

/// Namespaces that a scenario made besides its own two: as long as this process is there, their numbers are
/// no other's, in whatever traces them.
private enum NamespaceNumbers {
    private static let kept = Mutex<[CInt]>([])

    static func keep(of pid: Int32) {
        let descriptor = open("/proc/\(pid)/ns/net", O_RDONLY | O_CLOEXEC)
        if descriptor >= 0 { kept.withLock { $0.append(descriptor) } }
    }
}

/// A puppet, to be kept in a table.
private final class PuppetProcess {
    private var process: ActorProcess
    /// The last it was told.
    var command = ""

    init(_ process: consuming ActorProcess) throws(ScenarioError) { self.process = process }

    var pid: Int32 { process.pid }

    func tell(_ command: String) { process.tell(command) }

    func expect(_ word: String, interruptedBy: CInt) throws(ScenarioError) {
        _ = try process.expect([word], interruptedBy: interruptedBy)
    }

    /// Its answer, whatever it is.
    func hear(interruptedBy: CInt) throws(ScenarioError) -> String {
        let reply = try process.expect(["ok", "failed", "ended"], interruptedBy: interruptedBy)
        return ([reply.word] + reply.arguments).joined(separator: " ")
    }

    func finish() throws(ScenarioError) { try process.finish() }

    func kill() { process.kill() }
}
