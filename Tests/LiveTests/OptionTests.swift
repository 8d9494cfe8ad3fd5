// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Testing

@testable import Scenarios

extension Live {
    /// Each option of `trace` does what it says, and nothing else.
    @Suite struct Options {
        /// What is left of the cast's handshakes, as `port side`.
        private static let all: Set<String> = [
            "27701 client", "27701 server", "27702 client", "27702 server", "27703 client", "27703 server",
            "27704 server",
        ]

        /// The words in capitals stand for the ends' namespaces, and for the processes of 27701.
        private static let filters: [([String], [String])] = [
            (["--port", "27702"], ["27702 client", "27702 server"]),
            (["-P", "27703"], ["27703 client", "27703 server"]),
            (["--local-port", "27702"], ["27702 server"]),
            (["--remote-port", "27702"], ["27702 client"]),
            (["-4"], ["27701 client", "27701 server", "27702 client", "27702 server", "27704 server"]),
            (["-6"], ["27703 client", "27703 server"]),
            (["--side", "client"], ["27701 client", "27702 client", "27703 client"]),
            (["--side", "server"], ["27701 server", "27702 server", "27703 server", "27704 server"]),
            (["--outcome", "fallback"], ["27702 client", "27702 server", "27704 server"]),
            (["--outcome", "mptcp"], ["27701 client", "27701 server", "27703 client", "27703 server"]),
            (["--outcome", "refused,timeout"], []),
            (["--comm", "mp-client"], ["27701 client", "27702 client", "27703 client"]),
            (["--comm", "mp-clien"], []),
            (["-p", "PID"], ["27701 client"]),
            (["--pid", "SERVERPID"], ["27701 server"]),
            (["--addr", "fd77::/16"], ["27703 client", "27703 server"]),
            (["--addr", "10.77.0.0/16", "--side", "client"], ["27701 client", "27702 client"]),
            (["--addr", "192.0.2.1"], []),
            (["--netns", "CLIENT"], ["27701 client", "27702 client", "27703 client"]),
            (
                ["--netns", "/run/netns/SERVER"],
                ["27701 server", "27702 server", "27703 server", "27704 server"]
            ),
            (["--netns", "SERVERINODE", "-6"], ["27703 server"]),
            (["--cgroup", "/"], Array(all)),
        ]

        @Test(arguments: filters)
        func restricts(_ options: [String], _ expected: [String]) throws {
            let stage = try Stage(executable: try Program.path())
            var cast = try Cast(stage)
            let client = stage.client.namespace
            let server = stage.server.namespace
            let words = [
                "CLIENT": client.name, "/run/netns/SERVER": "/run/netns/\(server.name)",
                "SERVERINODE": "\(server.inode)", "PID": "\(cast.clients.both.pid)",
                "SERVERPID": "\(cast.servers.both.pid)",
            ]
            var tracing = try Tracing(["--format", "json", "--steps"] + options.map { words[$0] ?? $0 })
            try tracing.awaitReady()
            try cast.play()
            let file = try tracing.finish()
            let handshakes = file.of("handshake", in: client.inode) + file.of("handshake", in: server.inode)
            let found = handshakes.map { line in
                let side = line.text("side") ?? ""
                return "\((side == "client" ? line.end("remote") : line.end("local"))?.port ?? 0) \(side)"
            }
            #expect(found.sorted() == expected.sorted())
            // Nothing of the others' is told in any other way.
            let conns = Set(handshakes.map { $0.number("conn") })
            let steps = file.of("step", in: client.inode) + file.of("step", in: server.inode)
            #expect(Set(steps.filter { $0.number("conn") != nil }.map { $0.number("conn") }) == conns)
            let foreign = Set(file.of("handshake").map { $0.number("conn") })
            #expect(Set(file.of("close").map { $0.number("conn") }).isSubset(of: foreign))
            // Filters restrict connections, only --netns listeners too.
            let open = file.of("listener", in: server.inode).filter { $0.text("state") == "open" }
            #expect(open.count == (options == ["--netns", "CLIENT"] ? 0 : 4))
        }

        @Test func countEndsTheTrace() throws {
            let stage = try Stage(executable: try Program.path())
            var cast = try Cast(stage)
            var tracing = try Tracing(["--count", "2", "--netns", stage.server.namespace.name])
            try tracing.awaitReady()
            try cast.play()
            let file = try tracing.finish(signal: 0)
            #expect(file.of("handshake").count == 2)
        }

        @Test func durationEndsTheTrace() throws {
            let before = Deadline.now()
            var tracing = try Tracing(["--duration", "0.4"])
            _ = try tracing.finish(signal: 0)
            #expect(Deadline.now() - before >= 400_000_000)
        }

        @Test(arguments: [("mptcp-to-tcp-server", Int32(1)), ("mptcp-ipv4", Int32(0))])
        func failOnFallback(_ name: String, _ status: Int32) throws {
            let stage = try Stage(executable: try Program.path())
            let scenario = try #require(Scenario.named(name))
            var tracing = try Tracing(["--fail-on", "fallback", "--netns", stage.client.namespace.name])
            try tracing.awaitReady()
            _ = try scenario.run(on: stage)
            _ = try tracing.finish(status: status)
        }

        private static let commands: [([String], Int32)] = [
            (["true"], 0), (["sh", "-c", "exit 3"], 3), (["sh", "-c", "kill -TERM $$"], 143),
            (["/etc/passwd"], 126), (["/nonexistent/program"], 127),
        ]

        @Test(arguments: commands)
        func theCommandsStatusIsTheTraces(_ command: [String], _ status: Int32) throws {
            let output = try Tool.run(
                try Program.path(), ["trace", "--format", "json", "--"] + command)
            #expect(output.status == status)
            if status < 126 || status > 127 {
                #expect(output.standardOutput.hasPrefix("{\"v\":1,\"type\":\"meta\""))
                #expect(output.standardOutput.contains("\"type\":\"summary\""))
                #expect(output.standardError == "")
            } else {
                #expect(output.standardError.split(separator: "\n").count == 1)
                #expect(output.standardError.contains(command[0]))
            }
        }

        /// Nobody asked for MPTCP: told only with --all-tcp.
        @Test func plainTcp() throws {
            let stage = try Stage(executable: try Program.path())
            for options in [["--all-tcp"], []] {
                var server = try Actors.server(stage.server, port: 27710, transport: "tcp")
                _ = try server.expect(["ready"], interruptedBy: -1)
                var client = try Actors.client(
                    stage.client, to: stage.server.ipv4Text, port: 27710, transport: "tcp")
                _ = try client.expect(["ready"], interruptedBy: -1)
                var tracing = try Tracing(options)
                try tracing.awaitReady()
                client.tell("go")
                _ = try client.expect(["connected"], interruptedBy: -1)
                server.tell("close")
                client.tell("close")
                _ = try client.expect(["done"], interruptedBy: -1)
                try client.finish()
                try server.finish()
                let file = try tracing.finish()
                let clients = file.of("handshake", in: stage.client.namespace.inode)
                let servers = file.of("handshake", in: stage.server.namespace.inode)
                #expect(clients.map(\.verdict) == (options.isEmpty ? [] : ["tcp"]))
                #expect(servers.map(\.verdict) == (options.isEmpty ? [] : ["tcp"]))
                if !options.isEmpty {
                    #expect(clients.map { $0.number("pid") } == [Int(client.pid)])
                    #expect(servers.map { $0.number("pid") } == [Int(server.pid)])
                }
            }
        }

        @Test func recordsAreTheirOwnersAlone() throws {
            let tracing = try Tracing(["--duration", "0.1"])
            let output = tracing.output
            _ = try Tracing.lines(of: output) { !$0.isEmpty }
            var attributes = stat()
            #expect(stat(output, &attributes) == 0)
            #expect(attributes.st_mode & 0o7777 == 0o600)
        }
    }
}
