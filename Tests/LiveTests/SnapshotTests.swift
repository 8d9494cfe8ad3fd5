// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Judging
import Testing

@testable import Scenarios

extension Live {
    /// What was there before the trace is told once, and followed from there.
    @Suite struct Snapshots {
        @Test func whatWasThereIsToldAndFollowed() throws {
            let stage = try Stage(executable: try Program.path())
            let here = stage.client.namespace.inode
            let there = stage.server.namespace.inode
            var server = try Actors.server(stage.server, port: 27721, connections: 2)
            var plain = try Actors.server(stage.server, port: 27722, transport: "tcp")
            _ = try server.expect(["ready"], interruptedBy: -1)
            _ = try plain.expect(["ready"], interruptedBy: -1)
            var old = try Actors.client(stage.client, to: stage.server.ipv4Text, port: 27721)
            var fallen = try Actors.client(stage.client, to: stage.server.ipv4Text, port: 27722)
            let oldPort = try open(&old)
            let fallenPort = try open(&fallen)
            var new = try Actors.client(stage.client, to: stage.server.ipv4Text, port: 27721)
            _ = try new.expect(["ready"], interruptedBy: -1)
            let tokens = Sides(
                client: try tokens(stage.client.namespace), server: try tokens(stage.server.namespace))

            var tracing = try Tracing()
            try tracing.awaitReady()
            new.tell("go")
            let newPort = try #require(
                Int(try new.expect(["connected"], interruptedBy: -1).arguments.joined()))
            let output = tracing.output
            _ = try Tracing.lines(of: output) { lines in
                lines.filter {
                    $0.type == "handshake" && $0.end("local")?.port == newPort
                        || $0.end("remote")?.port == newPort
                }.count == 2
            }
            let closed = Deadline.now()
            for step in ["close", "done"] {
                if step == "close" {
                    server.tell(step)
                    plain.tell(step)
                    old.tell(step)
                    new.tell(step)
                    fallen.tell(step)
                } else {
                    _ = try old.expect([step], interruptedBy: -1)
                    _ = try new.expect([step], interruptedBy: -1)
                    _ = try fallen.expect([step], interruptedBy: -1)
                }
            }
            try old.finish()
            try new.finish()
            try fallen.finish()
            try server.finish()
            try plain.finish()
            try stage.awaitSilence()
            let file = try tracing.finish()

            // Listeners.
            #expect(file.of("listener", in: here) == [])
            let listeners = file.of("listener", in: there)
            #expect(listeners.count == 4)
            for (port, transport, pid) in [(27721, "mptcp", server.pid), (27722, "tcp", plain.pid)] {
                let its = listeners.filter { $0.end("local")?.port == port }
                #expect(its.map { $0.text("state") } == ["open", "closed"])
                #expect(Set(its.map { $0.number("listener") }).count == 1)
                for line in its {
                    #expect(line.text("origin") == "snapshot")
                    #expect(line.text("protocol") == transport)
                    #expect(line.number("pid") == Int(pid))
                    #expect(line.text("comm") == "mp-server")
                    #expect(line.end("local")?.addr == "0.0.0.0")
                    #expect(line.flag("enabled_at_creation") == nil)
                }
            }

            // Connections: both ends of the one, the client's of the other.
            let connections = file.of("connection", in: here) + file.of("connection", in: there)
            let serverText = stage.server.ipv4Text
            let clientText = stage.client.ipv4Text
            var told: Set<[String]> = []
            for line in connections {
                told.insert([
                    line.number("netns") == Int(here) ? "client" : "server", line.text("state") ?? "?",
                    line.end("local")?.description ?? "?", line.end("remote")?.description ?? "?",
                    "\(line.number("pid") ?? 0)", line.text("comm") ?? "?", "\(line.number("subflows") ?? 0)",
                ])
            }
            #expect(connections.count == 3)
            let (from, to) = ("\(clientText) \(oldPort)", "\(serverText) 27721")
            let (fallenFrom, fallenTo) = ("\(clientText) \(fallenPort)", "\(serverText) 27722")
            #expect(
                told == [
                    ["client", "mptcp", from, to, "\(old.pid)", "mp-client", "1"],
                    ["server", "mptcp", to, from, "\(server.pid)", "mp-server", "1"],
                    ["client", "fallback", fallenFrom, fallenTo, "\(fallen.pid)", "mp-client", "1"],
                ])
            // Which side an end is can be told where its listener still is.
            #expect(file.of("connection", in: there).map { $0.text("side") } == ["server"])
            #expect(file.of("connection", in: here).allSatisfy { $0.text("side") != "server" })
            // A token is this end's number; ss shows the same.
            for line in connections where line.text("state") == "mptcp" {
                let side = line.number("netns") == Int(here) ? tokens.client : tokens.server
                #expect(side.contains(line.text("token") ?? "?"), "\(side)")
            }

            // The new connection's records name the old listener and its owner.
            let fresh = file.of("handshake", in: here) + file.of("handshake", in: there)
            #expect(fresh.map(\.verdict) == ["mptcp", "mptcp"])
            let accepted = try #require(fresh.first { $0.text("side") == "server" })
            #expect(accepted.end("remote")?.port == newPort)
            #expect(
                accepted.number("listener")
                    == listeners.first { $0.end("local")?.port == 27721 }?.number("listener"))
            #expect(accepted.number("pid") == Int(server.pid))
            #expect(accepted.text("comm") == "mp-server")
            #expect(accepted.text("pid_source") == "holder")

            // All of them ended, after they were told to.
            let conns = Set((connections + fresh).compactMap { $0.number("conn") })
            let closes = file.of("close").filter { conns.contains($0.number("conn") ?? 0) }
            #expect(conns.count == 5)
            #expect(closes.count == 5)
            #expect(Set(closes.compactMap { $0.number("conn") }) == conns)
            #expect(closes.allSatisfy { UInt64($0.number("mono_ns") ?? 0) >= closed })
        }

        /// Joins and addresses of a connection that is older than the trace have its number.
        @Test func anOldConnectionIsJoined() throws {
            let stage = try Stage(executable: try Program.path())
            let spaces = Sides(client: stage.client.namespace, server: stage.server.namespace)
            let surroundings = Surroundings(spaces)
            for side in Side.allCases { try surroundings.setLimits(side, subflows: 4, accepted: 4) }
            var server = try Actors.server(stage.server, port: 27725)
            _ = try server.expect(["ready"], interruptedBy: -1)
            var client = try Actors.client(stage.client, to: stage.server.ipv4Text, port: 27725)
            _ = try open(&client)
            var clientMonitor = try Monitor(spaces.client)
            var serverMonitor = try Monitor(spaces.server)
            var plain = try Tracing()
            var stepped = try Tracing(["--steps"])
            try plain.awaitReady()
            try stepped.awaitReady()

            func seen(_ type: String, _ word: String, _ count: Int) throws {
                for output in [plain.output, stepped.output] {
                    _ = try Tracing.lines(of: output) { lines in
                        lines.filter {
                            $0.isIn(spaces) && $0.type == type && $0.verdict == word
                        }.count == count
                    }
                }
            }
            try surroundings.addEndpoint(.client, stage.client.second.ipv4Text, "subflow id 5")
            try seen("join", "joined", 2)
            try surroundings.addEndpoint(.server, stage.server.second.ipv4Text, "signal id 6")
            try seen("join", "joined", 4)
            try surroundings.removeEndpoint(.server, 6, stage.server.ipv4Text)
            // The kernel's own word for it: its subflow at the client is gone.
            let deadline = Deadline()
            while try SsRows(in: spaces.client.name).subflowCount > 2 {
                if deadline.hasPassed { throw Trouble("the subflow was not removed") }
                usleep(1000)
            }
            server.tell("close")
            client.tell("close")
            _ = try client.expect(["done"], interruptedBy: -1)
            try client.finish()
            try server.finish()
            try surroundings.restore()
            try stage.awaitSilence()

            let files = [try plain.finish(), try stepped.finish()]
            for side in Side.allCases {
                let netns = spaces[side].inode
                for file in files {
                    let old = try #require(file.of("connection", in: netns).first)
                    let conn = old.number("conn")
                    #expect(file.of("connection", in: netns).count == 1)
                    #expect(old.number("subflows") == 1)
                    let joins = file.of("join", in: netns)
                    #expect(joins.map { $0.number("conn") } == [conn, conn])
                    #expect(joins.map { $0.number("subflow") } == [1, 2])
                    #expect(joins.map { $0.text("side") } == [side.rawValue, side.rawValue])
                    #expect(joins.map { $0.text("token") } == [old.text("token"), old.text("token")])
                    #expect(joins.map { $0.number("pid") } == [old.number("pid"), old.number("pid")])
                    let closes = file.of("close").filter { $0.number("conn") == conn }
                    #expect(closes.count == 1)
                    #expect(closes.first?.number("duration_us") == nil)
                    #expect(closes.first?.number("subflows") == nil)
                }
            }
            let told = Sides(client: try clientMonitor.events(), server: try serverMonitor.events())
            for side in Side.allCases {
                #expect(files[1].joinDifferences(side, in: spaces[side].inode, told[side]) == [])
            }
        }

        /// The loop goes on while mpscope starts: nothing is told twice, nothing is missed.
        @Test func whatHappensDuringTheStartIsToldOnce() throws {
            let stage = try Stage(executable: try Program.path())
            let space = stage.client.namespace
            for round in 0..<4 {
                var tracing = try Tracing(["--netns", space.name])
                let ready = tracing.readyFile
                let first = UInt16(10_000 + round * 5_000)
                var acts: [Act] = []
                try space.inside { () throws(ScenarioError) in
                    acts = try Act.loop(from: first) { access(ready, F_OK) == 0 }
                }
                try tracing.awaitReady()
                let file = try tracing.finish()
                judge(acts, file)
            }
        }

        /// The SYN came before the trace, the third ACK while it runs: the rest of the handshake is
        /// told, and nothing of it is called impossible.
        @Test(arguments: [[], ["--steps"]]) func aHalfOpenHandshakeIsFollowed(_ options: [String]) throws {
            let stage = try Stage(executable: try Program.path())
            let there = stage.server.namespace
            let dropped = """
                table inet live {
                  chain input {
                    type filter hook input priority 0
                    tcp dport 27723 tcp flags & (syn | ack) == ack drop
                  }
                }
                """
            try Tool.check("ip", ["netns", "exec", there.name, "nft", "-f", "-"], input: dropped)
            var server = try Actors.server(stage.server, port: 27723)
            _ = try server.expect(["ready"], interruptedBy: -1)
            var client = try Actors.client(stage.client, to: stage.server.ipv4Text, port: 27723)
            _ = try client.expect(["ready"], interruptedBy: -1)
            client.tell("go")
            // Its end is established, the server's can't be.
            let deadline = Deadline()
            while try Tool.check(
                "ip", ["netns", "exec", stage.client.namespace.name, "ss", "-MnH", "state", "established"]
            ).standardOutput.isEmpty {
                if deadline.hasPassed { throw Trouble("the client did not connect") }
            }
            var tracing = try Tracing(options)
            try tracing.awaitReady()
            try Tool.check("ip", ["netns", "exec", there.name, "nft", "delete", "table", "inet", "live"])
            _ = try client.expect(["connected"], interruptedBy: -1)
            server.tell("close")
            client.tell("close")
            _ = try client.expect(["done"], interruptedBy: -1)
            try client.finish()
            try server.finish()
            try stage.awaitSilence()
            let file = try tracing.finish()
            let handshakes = file.of("handshake", in: there.inode)
            #expect(handshakes.map(\.verdict) == ["mptcp"])
            #expect(handshakes.map { $0.number("pid") } == [Int(server.pid)])
            #expect(file.of("anomaly", in: there.inode) == [])
            let here = stage.client.namespace.inode
            #expect(file.of("connection", in: here).map { $0.text("state") } == ["mptcp"])
            #expect(file.of("handshake", in: here) == [])
        }

        private func judge(_ acts: [Act], _ file: TraceFile) {
            #expect(acts.contains { !$0.afterReady } && acts.contains { $0.afterReady })
            let listeners = file.of("listener")
            let ends = file.of("connection") + file.of("handshake")
            for act in acts {
                let its = listeners.filter { $0.end("local")?.port == Int(act.port) }
                let open = its.filter { $0.text("state") == "open" }.count
                let closed = its.filter { $0.text("state") == "closed" }.count
                #expect(act.openWhenReady || act.afterReady ? open == 1 : open <= 1, "\(act) \(its)")
                #expect(closed == open, "\(act) \(its)")

                let clients = ends.filter { $0.end("remote")?.port == Int(act.port) }
                let servers = ends.filter { $0.end("local")?.port == Int(act.port) }
                let must = act.openWhenReady || act.afterReady
                #expect(must ? clients.count == 1 : clients.count <= 1, "\(act) \(clients)")
                #expect(must ? servers.count == 1 : servers.count <= 1, "\(act) \(servers)")
            }
            let ids = listeners.filter { $0.text("state") == "open" }.compactMap { $0.number("listener") }
            #expect(Set(ids).count == ids.count)
            let closes = file.of("close").compactMap { $0.number("conn") }
            #expect(Set(closes).count == closes.count)
            #expect(Set(ends.map { $0.text("outcome") ?? $0.text("state") }).isSubset(of: ["mptcp"]))
        }

        private func open(_ client: inout ActorProcess) throws -> Int {
            _ = try client.expect(["ready"], interruptedBy: -1)
            client.tell("go")
            let reply = try client.expect(["connected"], interruptedBy: -1)
            return try #require(Int(reply.arguments.joined()))
        }

        /// The tokens that ss shows of MPTCP sockets.
        private func tokens(_ space: Namespace) throws -> [String] {
            let text = try Tool.check("ip", ["netns", "exec", space.name, "ss", "-ManiH"]).standardOutput
            return text.split(whereSeparator: \.isWhitespace).filter { $0.hasPrefix("token:") }
                .map { Line.token(String($0.dropFirst(6))) }
        }
    }
}

/// A listener and a connection to it, as one turn of a loop made them.
private struct Act {
    let port: UInt16
    /// It began after the trace was ready.
    let afterReady: Bool
    /// It was there when the trace became ready.
    var openWhenReady = false
    private var sockets: [CInt] = []

    /// Opens and closes, a few being open at any time, until `isReady` and some turns more.
    static func loop(from first: UInt16, _ isReady: () -> Bool) throws(ScenarioError) -> [Act] {
        var acts: [Act] = []
        var open = 0..<0
        defer { for act in acts { act.sockets.forEach { close($0) } } }
        var turnsAfter = 0
        var port = first
        let deadline = Deadline()
        while turnsAfter < 20, port < first + 5_000, !deadline.hasPassed {
            let ready = turnsAfter > 0 || isReady()
            if ready {
                // Whatever happened before this moment may have been before or after the snapshot.
                if turnsAfter == 0 { for place in open { acts[place].openWhenReady = true } }
                turnsAfter += 1
            }
            acts.append(try Act(port: port, afterReady: ready))
            open = open.lowerBound..<acts.count
            port += 1
            // So that the ports last until the trace is ready.
            usleep(100)
            if open.count > 4 {
                acts[open.lowerBound].end()
                open = open.lowerBound + 1..<acts.count
            }
        }
        return acts
    }

    private init(port: UInt16, afterReady: Bool) throws(ScenarioError) {
        self.port = port
        self.afterReady = afterReady
        let address = try SocketAddress("127.0.0.1", port: port)
        let listener = try ActorSocket.listener(address, 262, dual: false, backlog: 4)
        let client = try ActorSocket.make(address, 262, blocking: true)
        sockets = [listener, client]
        guard address.withPointer({ connect(client, $0, $1) }) == 0 else {
            throw .failed("connect", on: "127.0.0.1:\(port)", -errno)
        }
        sockets.append(accept(listener, nil, nil))
    }

    private mutating func end() {
        for socket in sockets.reversed() { close(socket) }
        sockets = []
    }
}
