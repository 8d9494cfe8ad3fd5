// SPDX-License-Identifier: Apache-2.0

import Handshake
import Judging
import Testing

@testable import Scenarios

extension Live {
    /// A join follows its connection: what a filter says of the handshake it says of all that comes
    /// after it, whatever addresses and ports that has, and whoever began it.
    @Suite struct JoinFilters {
        private static let port = 27960
        /// Announced by the server, and by the client.
        private static let serverPort = 27961
        private static let clientPort = 27962

        /// Whose handshakes are left. The words in capitals stand for the namespaces and processes.
        private static let filters: [([String], Set<Side>)] = [
            (["-4"], [.client, .server]),
            (["-6"], []),
            (["--side", "client"], [.client]),
            (["--side", "server"], [.server]),
            (["--port", "\(port)"], [.client, .server]),
            (["--port", "\(serverPort)"], []),
            (["--port", "\(clientPort)"], []),
            (["--local-port", "\(port)"], [.server]),
            (["--remote-port", "\(port)"], [.client]),
            (["--local-port", "\(clientPort)"], []),
            (["--remote-port", "\(serverPort)"], []),
            (["--addr", "10.77.0.0/16"], [.client, .server]),
            (["--addr", "10.78.0.0/16"], []),
            (["--addr", "fd77::/16"], []),
            (["--netns", "CLIENT"], [.client]),
            (["--netns", "SERVER"], [.server]),
            (["--pid", "PID"], [.client]),
            (["--pid", "SERVERPID"], [.server]),
            (["--comm", "mp-server"], [.server]),
            (["--outcome", "mptcp"], [.client, .server]),
            (["--outcome", "fallback,refused"], []),
        ]

        @Test(arguments: [false, true]) func aJoinFollowsItsConnection(_ steps: Bool) throws {
            let stage = try Stage(executable: try Program.path())
            let spaces = Sides(client: stage.client.namespace, server: stage.server.namespace)
            var meeting = try Meeting(stage, port: Self.port)
            let words = [
                "CLIENT": spaces.client.name, "SERVER": spaces.server.name,
                "PID": "\(meeting.client.pid)", "SERVERPID": "\(meeting.server.pid)",
            ]
            let more = steps ? ["--steps"] : []
            var everything = try Tracing(more)
            var three = try Tracing(more + ["--netns", spaces.server.name, "-c", "3"])
            let traces = try Self.filters.map { options, _ in
                HeldTracing(try Tracing(more + options.map { words[$0] ?? $0 }))
            }
            try everything.awaitReady()
            try three.awaitReady()
            for trace in traces { try trace.tracing.awaitReady() }
            try meeting.join(
                stage, serverPort: Self.serverPort, clientPort: Self.clientPort, seenIn: everything.output)
            try meeting.end(stage)

            let whole = try everything.finish()
            for side in Side.allCases {
                let joins = whole.of("join", in: spaces[side].inode)
                #expect(joins.map(\.verdict) == Array(repeating: "joined", count: 4))
                #expect(joins.filter { $0.text("side") != side.rawValue }.count == 1)
                #expect(
                    Set(joins.map { $0.number("conn") })
                        == Set(whole.of("handshake", in: spaces[side].inode).map { $0.number("conn") }))
            }
            let counted = try three.finish(signal: 0)
            #expect(counted.of("handshake").count == 1)
            #expect(counted.of("join").count == 2)
            for ((options, wanted), trace) in zip(Self.filters, traces) {
                let file = try trace.tracing.finish(validating: false)
                for side in Side.allCases {
                    let netns = spaces[side].inode
                    #expect(
                        file.told(in: netns) == (wanted.contains(side) ? whole.told(in: netns) : []),
                        "\(options) \(side)")
                }
            }
        }

        /// So does a fallback.
        @Test func aFallbackFollowsItsConnection() throws {
            let filters: [([String], Set<Side>)] = [
                (["--port", "7780"], [.client, .server]), (["--port", "7781"], []),
                (["--side", "client"], [.client]), (["--side", "server", "--steps"], [.server]),
                (["--remote-port", "7780", "--steps"], [.client]), (["--local-port", "7780"], [.server]),
                (["-6", "--steps"], []), (["--outcome", "mptcp"], [.client, .server]),
                (["--outcome", "fallback"], []),
            ]
            let stage = try Stage(executable: try Program.path())
            let spaces = Sides(client: stage.client.namespace, server: stage.server.namespace)
            let scenario = try #require(Scenario.named("dss-stripped-to-client"))
            #expect(scenario.port == 7780)
            var everything = try Tracing()
            var stepped = try Tracing(["--steps"])
            let traces = try filters.map { HeldTracing(try Tracing($0.0)) }
            try everything.awaitReady()
            try stepped.awaitReady()
            for trace in traces { try trace.tracing.awaitReady() }
            _ = try scenario.run(on: stage)
            let whole = try everything.finish()
            let wholeSteps = try stepped.finish()
            #expect(whole.of("fallback").filter { $0.isIn(spaces) }.count == 2)
            for ((options, wanted), trace) in zip(filters, traces) {
                let file = try trace.tracing.finish(validating: false)
                let all = options.contains("--steps") ? wholeSteps : whole
                for side in Side.allCases {
                    let netns = spaces[side].inode
                    #expect(
                        file.told(in: netns) == (wanted.contains(side) ? all.told(in: netns) : []),
                        "\(options) \(side)")
                }
            }
        }
    }
}

/// To be kept in a list.
private final class HeldTracing {
    var tracing: Tracing
    init(_ tracing: consuming Tracing) { self.tracing = tracing }
}

/// One connection over IPv4 that is joined four times: from the client's second address, over IPv6,
/// to a port that the server announced, and by the server to one that the client announced.
private struct Meeting: ~Copyable {
    var server: ActorProcess
    var client: ActorProcess
    private let surroundings: Surroundings

    init(_ stage: borrowing Stage, port: Int) throws {
        surroundings = Surroundings(
            Sides(client: stage.client.namespace, server: stage.server.namespace))
        for side in Side.allCases { try surroundings.setLimits(side, subflows: 8, accepted: 8) }
        var server = try Actors.server(stage.server, port: port, family: "6+4")
        _ = try server.expect(["ready"], interruptedBy: -1)
        var client = try Actors.client(stage.client, to: "::ffff:\(stage.server.ipv4Text)", port: port)
        _ = try client.expect(["ready"], interruptedBy: -1)
        self.server = server
        self.client = client
    }

    /// One after the other, each when both ends have told the one before in `output`.
    mutating func join(
        _ stage: borrowing Stage, serverPort: Int, clientPort: Int, seenIn output: String
    ) throws {
        client.tell("go")
        _ = try client.expect(["connected"], interruptedBy: -1)
        let spaces = Sides(client: stage.client.namespace, server: stage.server.namespace)
        let endpoints: [(Side, String, String)] = [
            (.client, stage.client.second.ipv4Text, "subflow"),
            (.server, stage.server.second.ipv6Text, "signal"),
            (.server, stage.server.second.ipv4Text, "signal port \(serverPort)"),
            (.client, stage.client.thirdIPv4Text, "signal port \(clientPort)"),
        ]
        for (place, (side, address, flags)) in endpoints.enumerated() {
            try surroundings.addEndpoint(side, address, flags)
            _ = try Tracing.lines(of: output) { lines in
                lines.filter { $0.isIn(spaces) && $0.type == "join" && $0.verdict == "joined" }.count == 2
                    * (place + 1)
            }
        }
    }

    mutating func end(_ stage: borrowing Stage) throws {
        server.tell("close")
        client.tell("close")
        _ = try client.expect(["done"], interruptedBy: -1)
        try client.finish()
        try server.finish()
        // The listeners of announced ports are endpoints' own.
        try surroundings.restore()
        try stage.awaitSilence()
    }
}

extension TraceFile {
    /// All that is told of a namespace's connections, without what differs from trace to trace.
    fileprivate func told(in netns: UInt32) -> [String] {
        let conns = Set(of("handshake", in: netns).compactMap { $0.number("conn") })
        var told: [String] = []
        for type in ["handshake", "join", "fallback", "address", "step"] {
            for line in of(type, in: netns)
            where !["step", "address"].contains(type) || line.number("conn") != nil {
                // Of a listener.
                if line.text("step") == "socket_created", !conns.contains(line.number("conn") ?? 0) {
                    continue
                }
                let words = ["side", "step", "hook", "option", "token", "change", "from", "to"].map {
                    line.text($0) ?? "-"
                }
                let ends = ["local", "remote", "addr"].map {
                    line.end($0)?.description ?? line.address($0) ?? "-"
                }
                told.append(([type, line.verdict] + words + ends).joined(separator: " "))
            }
        }
        for close in of("close") where conns.contains(close.number("conn") ?? 0) {
            told.append("close \(close.number("subflows") ?? -1)")
        }
        return told.sorted()
    }
}
