// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Judging
import Kernel
import Output
import Testing

@testable import Scenarios

/// The summary's `verify`.
struct Verified {
    let checked: Int
    let equal: Int
    /// How many of `equal` are only as near as can be told.
    let withinBounds: Int
    let lost: Int
    let skipped: [String: Int]
    /// `COUNTER KERNEL SEEN`, or `state KERNEL SEEN`.
    let differences: [String]

    init(_ file: TraceFile) throws {
        guard case .object(let verify)? = file.lines.last?.fields["verify"] else {
            throw Trouble("the summary has no verify: \(file.lines.last.map { "\($0)" } ?? "none")")
        }
        func number(_ key: String) -> Int { if case .number(let it)? = verify[key] { it } else { 0 } }
        checked = number("checked")
        equal = number("equal")
        withinBounds = number("within_bounds")
        lost = number("lost")
        var skipped: [String: Int] = [:]
        if case .object(let members)? = verify["skipped"] {
            for (key, value) in members { if case .number(let it) = value { skipped[key] = it } }
        }
        self.skipped = skipped
        var differences: [String] = []
        if case .list(let all)? = verify["differences"] {
            for case .object(let one) in all {
                let words = ["counter", "field", "kernel", "seen"].compactMap { key in
                    switch one[key] {
                    case .text(let text)?: text
                    case .number(let number)?: "\(number)"
                    default: nil
                    }
                }
                differences.append(words.joined(separator: " "))
            }
        }
        self.differences = differences
    }

    /// How many counters this kernel has that a trace is held against.
    static func counters(steps: Bool, in space: Namespace) throws -> Int {
        let there = try MptcpCounters.read(in: try NetworkNamespaces.resolve(space.name))
        return KernelCounter.all.filter { counter in
            let types = Set(counter.counts.map(\.type))
            return there["MPTcpExt\(counter.name)"] != nil && !types.contains("address")
                && (steps || !types.contains("step"))
        }.count
    }
}

extension Live {
    /// `--verify`: what was seen against the kernel's own books.
    @Suite struct Verification {
        @Test(
            arguments: [
                "mptcp-ten-at-once", "mptcp-to-tcp-server", "third-ack-stripped", "join-over-limit",
                "closed-before-accept",
            ], [false, true])
        func everythingIsEqual(_ name: String, _ steps: Bool) throws {
            let scenario = try #require(Scenario.named(name))
            let stage = try Stage(executable: try Program.path())
            for side in Side.allCases {
                let space = stage[side].namespace
                let file = try traced(
                    ["--verify", "--netns", space.name] + (steps ? ["--steps"] : [])
                ) { _ in
                    _ = try scenario.run(on: stage)
                }
                let verified = try Verified(file)
                #expect(verified.differences == [])
                #expect(verified.checked == (try Verified.counters(steps: steps, in: space)))
                #expect(verified.equal == verified.checked)
                // accept() counts MPCapableACKRX: a connection that nobody accepted is not among them.
                let unaccepted = name == "closed-before-accept" && side == .server
                #expect(verified.withinBounds == (unaccepted ? 1 : 0))
                #expect(verified.lost == 0)
                #expect(verified.skipped == (steps ? [:] : ["counters_need_steps": 5]))
            }
        }

        /// What is open at the end: as MPTCP, fallen back, and as plain TCP at the server; some of
        /// it older than the trace.
        @Test func openConnectionsAreInTheKernelsTables() throws {
            let stage = try Stage(executable: try Program.path())
            let spaces = Sides(client: stage.client.namespace, server: stage.server.namespace)
            var open = try OpenCast(stage)
            try open.connectOld()
            var client = try Tracing(["--verify", "--steps", "--netns", spaces.client.name])
            var server = try Tracing(["--verify", "--steps", "--netns", spaces.server.name])
            var pid = try Tracing(["--verify", "--pid", "1", "--netns", spaces.server.name])
            var port = try Tracing(["--verify", "--port", "27811", "--netns", spaces.server.name])
            var side = try Tracing(["--verify", "--side", "server", "--netns", spaces.server.name])
            for tracing in 0..<5 {
                switch tracing {
                case 0: try client.awaitReady()
                case 1: try server.awaitReady()
                case 2: try pid.awaitReady()
                case 3: try port.awaitReady()
                default: try side.awaitReady()
                }
            }
            try open.connectNew()
            let files = (
                try client.finish(), try server.finish(), try pid.finish(), try port.finish(),
                try side.finish()
            )
            try open.close()
            try stage.awaitSilence()
            let counters = try Verified.counters(steps: true, in: spaces.client)
            let connections = OpenCast.connections
            for (file, checked, skipped) in [
                (files.0, counters + connections.client, [:]),
                (files.1, counters + connections.server, [:]),
                // What is written does not matter.
                (files.2, counters - 5 + connections.server, ["counters_need_steps": 5]),
                // The two with that port; its counters can't be told from the others'.
                (files.3, 2, ["counters_filtered": VerifyResult.counterCount]),
                (files.4, connections.server, ["counters_filtered": VerifyResult.counterCount]),
            ] {
                let verified = try Verified(file)
                #expect(verified.differences == [])
                #expect(verified.checked == checked)
                #expect(verified.equal == checked)
                #expect(verified.withinBounds == 0)
                #expect(verified.skipped == skipped)
            }
            #expect(files.2.of("handshake") == [])
        }

        /// A connect() that never sends a SYN is counted by the kernel all the same.
        @Test func aConnectWithoutARouteIsNoDifference() throws {
            let script =
                "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)\n"
                + "try: s.connect(('203.0.113.7', 80))\nexcept OSError: pass\n"
            let stage = try Stage(executable: try Program.path())
            let space = stage.client.namespace.name
            let file = try traced(
                ["--verify", "--steps", "--netns", space, "--fail-on", "difference"],
                command: ["ip", "netns", "exec", space, "/usr/bin/python3", "-c", script])
            let verified = try Verified(file)
            #expect(verified.differences == [])
            #expect(verified.withinBounds == 1)
        }

        /// What got lost is a difference, by as much as was lost.
        @Test func whatWasMissedIsADifference() throws {
            var actor = try ActorProcess(
                role: "churn", executable: try Program.path(),
                arguments: Actor.arguments([
                    "count": "500", "new-netns": "1", "port": "27812", "wait": "1", "hold": "1",
                ]))
            _ = try actor.expect(["ready"], interruptedBy: -1)
            var tracing = try Tracing([
                "--verify", "--buffer-size", "4096", "--fail-on", "difference",
                "--netns", "/proc/\(actor.pid)/ns/net",
            ])
            try tracing.awaitReady()
            kill(tracing.pid, SIGSTOP)
            actor.tell("go")
            _ = try actor.expect(["churn"], interruptedBy: -1)
            kill(tracing.pid, SIGCONT)
            let file = try tracing.finish(status: 1)
            actor.tell("close")
            try actor.finish()
            #expect(file.lostTotal > 0)
            let verified = try Verified(file)
            #expect(verified.lost == file.lostTotal)
            let clients = file.of("handshake").filter { $0.verdict == "mptcp" && $0.text("side") == "client" }
            let servers = file.of("handshake").filter { $0.verdict == "mptcp" && $0.text("side") == "server" }
            #expect(clients.count < 500)
            #expect(verified.differences.contains("MPCapableSYNACKRX 500 \(clients.count)"))
            #expect(verified.differences.contains("MPCapableACKRX 500 \(servers.count)"))
            // And connections whose end was lost.
            let closed = Set(file.of("close").map { $0.number("conn") })
            let open = (clients + servers).filter { !closed.contains($0.number("conn")) }.count
            #expect(verified.differences.filter { $0 == "state none mptcp" }.count == open)
            #expect(verified.checked - verified.equal == verified.differences.count)
        }

        /// Connections come and go all the while: what happens as tracing is switched on and off may
        /// be in the kernel's books and not in the trace, or the other way round.
        @Test(arguments: [[], ["--steps"]]) func trafficAtTheEndsIsNoDifference(_ options: [String]) throws {
            var actor = try ActorProcess(
                role: "churn", executable: try Program.path(),
                arguments: Actor.arguments([
                    "count": "1000000", "new-netns": "1", "port": "27816", "wait": "1",
                ]))
            _ = try actor.expect(["ready"], interruptedBy: -1)
            let space = "/proc/\(actor.pid)/ns/net"
            actor.tell("go")
            var whole = 0
            for _ in 0..<3 {
                var tracing = try Tracing(
                    ["--verify", "--buffer-size", "\(64 << 20)", "--netns", space] + options)
                try tracing.awaitReady()
                poll(nil, 0, 100)
                let file = try tracing.finish(seconds: 60, validating: false)
                let verified = try Verified(file)
                #expect(verified.lost == file.lostTotal)
                if file.lostTotal > 0 { continue }
                #expect(verified.differences == [])
                #expect(file.of("handshake").count > 10)
                whole += 1
            }
            #expect(whole > 0)
        }

        /// Namespaces that end before the trace take their counters along; of those made meanwhile the
        /// counters began with 0.
        @Test func namespacesComeAndGo() throws {
            let scenario = try #require(Scenario.named("mptcp-ten-at-once"))
            var tracing = try Tracing(["--verify", "--fail-on", "difference"])
            try tracing.awaitReady()
            for _ in 0..<2 {
                let stage = try Stage(executable: try Program.path())
                _ = try scenario.run(on: stage)
            }
            let stage = try Stage(executable: try Program.path())
            _ = try scenario.run(on: stage)
            let file = try tracing.finish()
            let verified = try Verified(file)
            if verified.lost > 0 { return }
            #expect(verified.differences == [])
            // These two, unless they got the numbers of those before, and the one that the tests run in.
            let counters = try Verified.counters(steps: false, in: stage.client.namespace)
            let uncertain = verified.skipped["namespaces_uncertain"] ?? 0
            #expect(verified.checked + uncertain * counters >= 3 * counters)
            // Each number of those before is given up, or another's now.
            #expect(uncertain + (verified.skipped["namespaces_gone"] ?? 0) >= 2)
        }

        /// Once somebody has asked for its cookie, a listener's connections all have the same one.
        @Test func connectionsWithOneCookieAreTold() throws {
            let stage = try Stage(executable: try Program.path())
            let space = stage.server.namespace
            var server = try Actors.server(stage.server, port: 27813, connections: 5)
            _ = try server.expect(["ready"], interruptedBy: -1)
            let status = ["status", "--format", "json", "--netns", space.name]
            try Tool.check(try Program.path(), status)
            var client = try Actors.client(
                stage.client, to: stage.server.ipv4Text, port: 27813, connections: 5)
            _ = try client.expect(["ready"], interruptedBy: -1)
            client.tell("go")
            _ = try client.expect(["connected"], interruptedBy: -1)
            let told = try Line.all(
                Array(try Tool.check(try Program.path(), status).standardOutput.utf8))
            #expect(told.filter { $0.type == "connection" }.count == 5)
            var tracing = try Tracing(["--verify", "--netns", space.name])
            try tracing.awaitReady()
            server.tell("close")
            client.tell("close")
            _ = try client.expect(["done"], interruptedBy: -1)
            try client.finish()
            try server.finish()
            try stage.awaitSilence()
            let file = try tracing.finish()
            let conns = file.of("connection").map { $0.number("conn") ?? 0 }
            #expect(conns.count == 5)
            #expect(file.of("close").map { $0.number("conn") ?? 0 }.sorted() == conns.sorted())
            #expect(try Verified(file).differences == [])
        }

        @Test func withoutVerifyNothingDiffers() throws {
            let result = try Tool.run(
                try Program.path(), ["trace", "--fail-on", "difference", "--duration", "1"])
            #expect(result.status == 64)
            #expect(result.standardError.contains("--verify"))
        }
    }
}

/// Connections that stay open: two of MPTCP (one of them older than the trace), one that fell back
/// at a TCP listener, and one of a TCP client.
private struct OpenCast: ~Copyable {
    private var server: ActorProcess
    private var tcpServer: ActorProcess
    private var takesPlain: ActorProcess
    private var old: ActorProcess
    private var new: ActorProcess
    private var fallen: ActorProcess
    private var plain: ActorProcess

    /// How many of them each end's trace has open.
    static let connections = Sides(client: 3, server: 4)

    init(_ stage: borrowing Stage) throws {
        let end = stage.server
        let address = end.ipv4Text
        var server = try Actors.server(end, port: 27811, connections: 2)
        var tcpServer = try Actors.server(end, port: 27814, transport: "tcp")
        var takesPlain = try Actors.server(end, port: 27815)
        _ = try server.expect(["ready"], interruptedBy: -1)
        _ = try tcpServer.expect(["ready"], interruptedBy: -1)
        _ = try takesPlain.expect(["ready"], interruptedBy: -1)
        let old = try Actors.client(stage.client, to: address, port: 27811)
        let new = try Actors.client(stage.client, to: address, port: 27811)
        let fallen = try Actors.client(stage.client, to: address, port: 27814)
        let plain = try Actors.client(stage.client, to: address, port: 27815, transport: "tcp")
        self.server = server
        self.tcpServer = tcpServer
        self.takesPlain = takesPlain
        self.old = old
        self.new = new
        self.fallen = fallen
        self.plain = plain
    }

    mutating func connectOld() throws { try Self.connect(&old) }

    mutating func connectNew() throws {
        try Self.connect(&new)
        try Self.connect(&fallen)
        try Self.connect(&plain)
    }

    private static func connect(_ client: inout ActorProcess) throws {
        _ = try client.expect(["ready"], interruptedBy: -1)
        client.tell("go")
        _ = try client.expect(["connected"], interruptedBy: -1)
    }

    mutating func close() throws {
        server.tell("close")
        tcpServer.tell("close")
        takesPlain.tell("close")
        old.tell("close")
        new.tell("close")
        fallen.tell("close")
        plain.tell("close")
        _ = try old.expect(["done"], interruptedBy: -1)
        _ = try new.expect(["done"], interruptedBy: -1)
        _ = try fallen.expect(["done"], interruptedBy: -1)
        _ = try plain.expect(["done"], interruptedBy: -1)
        try old.finish()
        try new.finish()
        try fallen.finish()
        try plain.finish()
        try server.finish()
        try tcpServer.finish()
        try takesPlain.finish()
    }
}
