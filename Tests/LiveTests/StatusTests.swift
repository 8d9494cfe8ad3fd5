// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Judging
import Testing

@testable import Scenarios

extension Live {
    /// `status` field by field against `ss`, where every kind of connection is open: MPTCP with a
    /// further subflow over a second link, fallen back, plain at an MPTCP listener, plain elsewhere.
    @Suite struct StatusFieldTests {
        @Test func everyFieldAgreesWithSs() throws {
            let program = try Program.path()
            let stage = try Stage(executable: program)
            let (here, there) = (stage.client.namespace.name, stage.server.namespace.name)
            try Tool.check(
                "ip",
                "link add name second netns \(here) type veth peer name second netns \(there)"
                    .split(separator: " ").map(String.init))
            for (name, host) in [(here, 1), (there, 2)] {
                try Tool.check(
                    "ip", ["-n", name, "-batch", "-"],
                    input: """
                        addr add 10.178.1.\(host)/24 dev second
                        link set second up
                        mptcp limits set subflows 4 add_addr_accepted 4

                        """)
            }
            try Tool.check(
                "ip", ["-n", here, "mptcp", "endpoint", "add", "10.178.1.1", "id", "7", "subflow", "backup"])

            var server = try Actors.server(stage.server, port: 27801, connections: 2)
            var tcpServer = try Actors.server(
                stage.server, port: 27802, transport: "tcp", connections: 2)
            _ = try server.expect(["ready"], interruptedBy: -1)
            _ = try tcpServer.expect(["ready"], interruptedBy: -1)
            let address = stage.server.ipv4Text
            var both = try Actors.client(stage.client, to: address, port: 27801)
            var plain = try Actors.client(stage.client, to: address, port: 27801, transport: "tcp")
            var fallen = try Actors.client(stage.client, to: address, port: 27802)
            var tcp = try Actors.client(stage.client, to: address, port: 27802, transport: "tcp")
            try Self.open(&both)
            try Self.open(&plain)
            try Self.open(&fallen)
            try Self.open(&tcp)
            try Self.awaitJoin(in: [here, there])

            for name in [here, there] {
                let ss = try SsRows(in: name)
                for all in [false, true] {
                    let output = try Tool.check(
                        program, ["status", "--format", "json", "--netns", name] + (all ? ["--all-tcp"] : []))
                    ss.compare(with: try Line.all(Array(output.standardOutput.utf8)), all: all)
                }
            }

            // Who is who, as the actors know it.
            let told = try [here, there].map { name in
                try Line.all(
                    Array(
                        try Tool.check(program, ["status", "--format", "json", "--netns", name])
                            .standardOutput.utf8))
            }
            let clients = told[0].filter { $0.type == "connection" }
            #expect(
                Set(
                    clients.map {
                        "\($0.number("pid") ?? 0) \($0.text("state") ?? "") \($0.text("side") ?? "")"
                    })
                    == ["\(both.pid) mptcp client", "\(fallen.pid) fallback client"])
            let servers = told[1].filter { $0.type == "connection" }
            #expect(
                servers.map { "\($0.number("pid") ?? 0) \($0.text("side") ?? "")" }
                    == ["\(server.pid) server", "\(server.pid) server"])
            #expect(Set(servers.map { $0.text("state") }) == ["mptcp", "plain"])
            let listener = told[1].first { $0.type == "listener" && $0.text("protocol") == "mptcp" }
            #expect(servers.allSatisfy { $0.number("listener") == listener?.number("listener") })
            // The further subflow, as it was asked for.
            for (lines, local) in zip(told, [true, false]) {
                let joined = lines.filter { $0.type == "subflow" && $0.number("subflow") == 1 }
                #expect(joined.count == 1)
                #expect(joined.first?.flag("backup") == true)
                #expect(joined.first?.number(local ? "local_id" : "remote_id") == 7)
                #expect(joined.first?.number(local ? "remote_id" : "local_id") == 0)
                #expect(joined.first?.end(local ? "local" : "remote")?.addr == "10.178.1.1")
            }
            let text = try Tool.check(program, ["status", "--netns", there]).standardOutput
            #expect(text.contains("backup") && text.contains("0→7") && text.contains("plain"))
            #expect(text.contains("other TCP connection"))

            server.tell("close")
            tcpServer.tell("close")
            both.tell("close")
            plain.tell("close")
            fallen.tell("close")
            tcp.tell("close")
            try both.finish()
            try plain.finish()
            try fallen.finish()
            try tcp.finish()
            try server.finish()
            try tcpServer.finish()
        }

        /// What was made before the switch was turned, and what it is now: in one namespace, and in
        /// another where it was left alone.
        @Test func theSwitchEachWasMadeUnder() throws {
            let program = try Program.path()
            let stage = try Stage(executable: program)
            let (here, there) = (stage.client.namespace.name, stage.server.namespace.name)
            func set(_ setting: String, _ value: Int) throws {
                try Tool.check(
                    "ip", ["netns", "exec", there, "sysctl", "-qw", "net.mptcp.\(setting)=\(value)"])
            }
            func told(_ name: String) throws -> [Line] {
                try Line.all(
                    Array(
                        try Tool.check(
                            program, ["status", "--format", "json", "--all-tcp", "--netns", name]
                        ).standardOutput.utf8))
            }
            func text(_ name: String) throws -> String {
                // Not as it is broken into lines and columns.
                try Tool.check(program, ["status", "--netns", name]).standardOutput
                    .split(whereSeparator: \.isWhitespace).joined(separator: " ")
            }
            /// `mptcp true false`: protocol or state, the switch as it was made and as it is.
            func values(_ lines: [Line], _ type: String) -> [String] {
                func word(_ flag: Bool?) -> String { flag.map { "\($0)" } ?? "-" }
                return lines.filter { $0.type == type }.map {
                    "\($0.text(type == "listener" ? "protocol" : "state") ?? "?") "
                        + "\(word($0.flag("enabled_at_creation"))) \(word($0.flag("enabled_now")))"
                }.sorted()
            }

            var server = try Actors.server(stage.server, port: 27811, connections: 2)
            var tcpServer = try Actors.server(stage.server, port: 27812, transport: "tcp", connections: 2)
            var other = try Actors.server(stage.client, port: 27813)
            _ = try server.expect(["ready"], interruptedBy: -1)
            _ = try tcpServer.expect(["ready"], interruptedBy: -1)
            _ = try other.expect(["ready"], interruptedBy: -1)
            let address = stage.server.ipv4Text
            var before = try Actors.client(stage.client, to: address, port: 27811)
            var fallen = try Actors.client(stage.client, to: address, port: 27812)
            var plain = try Actors.client(stage.client, to: address, port: 27812, transport: "tcp")
            try Self.open(&before)
            try Self.open(&fallen)
            try Self.open(&plain)
            let shownFirst = try text(there)
            #expect(!shownFirst.contains(", now"))

            try set("enabled", 0)
            try set("checksum_enabled", 1)
            // The listener goes on taking MPTCP, by its old value.
            var after = try Actors.client(stage.client, to: address, port: 27811)
            try Self.open(&after)
            try Self.awaitConnections(2, in: there)
            let off = try told(there)
            #expect(off.first { $0.type == "namespace" }?.flag("enabled") == false)
            #expect(values(off, "listener") == ["mptcp true false", "tcp - false"])
            #expect(
                values(off, "connection")
                    == ["mptcp true false", "mptcp true false", "plain - false", "plain - false"])
            // The first was made without checksums; the second read the setting anew.
            #expect(
                Set(off.filter { $0.text("state") == "mptcp" }.map { $0.flag("checksum") }) == [false, true])
            let shown = try text(there)
            #expect(shown.split(separator: " mptcp 1, now 0 ", omittingEmptySubsequences: false).count == 4)
            #expect(shown.contains(" tcp unknown "))
            #expect(
                shown.contains(
                    "1 listener and 2 connections were made while net.mptcp.enabled was 1, which is 0 now: they "
                        + "go on with MPTCP until they are closed. Restart mp-server (pid \(server.pid))."))
            #expect(
                shown.contains("1 connection was made while net.mptcp.checksum_enabled was 0, which is 1"))

            let on = try told(here)
            #expect(values(on, "listener") == ["mptcp true true"])
            #expect(
                values(on, "connection")
                    == ["fallback true true", "mptcp true true", "mptcp true true", "plain - true"])
            let shownHere = try text(here)
            #expect(shownHere.contains(" mptcp 1 ") && shownHere.contains(" fallback 1 "))
            #expect(!shownHere.contains("1, now") && !shownHere.contains("net.mptcp.enabled was"))
            // Its peer wanted them.
            #expect(shownHere.contains("1 connection has checksums though net.mptcp.checksum_enabled is 0"))

            // On again: nothing is old.
            try set("enabled", 1)
            try set("checksum_enabled", 0)
            let (again, shownAgain) = (try told(there), try text(there))
            #expect(values(again, "listener") == ["mptcp true true", "tcp - true"])
            #expect(!shownAgain.contains("net.mptcp.enabled was"))

            server.tell("close")
            tcpServer.tell("close")
            other.tell("close")
            before.tell("close")
            after.tell("close")
            fallen.tell("close")
            plain.tell("close")
            try before.finish()
            try after.finish()
            try fallen.finish()
            try plain.finish()
            try server.finish()
            try tcpServer.finish()
            try other.finish()
        }

        private static func open(_ client: inout ActorProcess) throws {
            _ = try client.expect(["ready"], interruptedBy: -1)
            client.tell("go")
            _ = try client.expect(["connected"], interruptedBy: -1)
        }

        /// Until so many MPTCP connections are there: a server's is once it took in the third ACK.
        private static func awaitConnections(_ count: Int, in name: String) throws {
            let deadline = Deadline()
            while true {
                let rows = try Tool.check(
                    "ip", ["netns", "exec", name, "ss", "-MHnO", "state", "established"])
                if rows.standardOutput.split(separator: "\n").count >= count { return }
                if deadline.hasPassed {
                    throw Trouble("no \(count) connections within \(deadline.seconds) s")
                }
                usleep(10_000)
            }
        }

        /// Until both ends have two subflows that are fully established.
        private static func awaitJoin(in names: [String]) throws {
            let deadline = Deadline()
            while true {
                if try names.allSatisfy({ try SsRows(in: $0).hasJoined }) { return }
                if deadline.hasPassed { throw Trouble("no subflow joined within \(deadline.seconds) s") }
                usleep(10_000)
            }
        }
    }
}
