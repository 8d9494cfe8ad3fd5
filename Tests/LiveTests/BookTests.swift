// SPDX-License-Identifier: Apache-2.0

import Handshake
import Judging
import Kernel
import Testing

@testable import Scenarios

extension Live {
    /// What the kernel tells by itself, held against the records.
    @Suite struct Books {
        /// MPCurrEstab and the tokens of `ip mptcp monitor`.
        @Test(arguments: ["mptcp-ipv4", "mptcp-ipv6", "mptcp-ten-at-once", "mptcp-to-tcp-server"])
        func tokensAndGauges(_ name: String) throws {
            let scenario = try #require(Scenario.named(name))
            let stage = try Stage(executable: try Program.path())
            let spaces = Sides(client: stage.client.namespace, server: stage.server.namespace)
            var clientMonitor = try Monitor(spaces.client)
            var serverMonitor = try Monitor(spaces.server)
            var open = Sides(client: UInt64(0), server: UInt64(0))
            var recorded = Sides(client: UInt64(0), server: UInt64(0))
            let expected = scenario.expected.client.handshakes + scenario.expected.server.handshakes
            let count = expected.map(\.count).reduce(0, +)
            let file = try traced { tracing in
                let output = tracing.output
                _ = try scenario.run(on: stage) {
                    let lines = try Tracing.lines(of: output) { lines in
                        lines.filter { $0.type == "handshake" && $0.isIn(spaces) }.count == count
                    }
                    for side in Side.allCases {
                        let space = try NetworkNamespaces.resolve(spaces[side].name)
                        let gauge = try MptcpCounters.read(in: space)["MPTcpExtMPCurrEstab"]
                        // An MPTCP socket is one also after it fell back: the client's. The
                        // server's end of a fallback is a plain TCP socket.
                        let kinds = side == .client ? ["mptcp", "fallback"] : ["mptcp"]
                        let established = lines.filter {
                            $0.type == "handshake" && kinds.contains($0.text("outcome") ?? "")
                                && $0.number("netns") == Int(spaces[side].inode)
                        }
                        if side == .client {
                            open.client = gauge ?? .max
                            recorded.client = UInt64(established.count)
                        } else {
                            open.server = gauge ?? .max
                            recorded.server = UInt64(established.count)
                        }
                    }
                }
            }
            #expect(open == recorded)

            let client = Set(file.of("handshake", in: spaces.client.inode).compactMap { $0.text("token") })
            let server = Set(file.of("handshake", in: spaces.server.inode).compactMap { $0.text("token") })
            let mptcp = scenario.expected.client.handshakes.first?.outcome == .mptcp
            #expect(client.count == scenario.expected.client.handshakes.first?.count)
            #expect(server.count == (mptcp ? client.count : 0))
            #expect(try clientMonitor.tokens() == (mptcp ? client : []))
            #expect(try serverMonitor.tokens() == server)

            // Each end knows the other's.
            func pairs(_ space: Namespace, _ own: String, _ other: String) -> Set<[String?]> {
                Set(
                    file.of("handshake", in: space.inode).filter { $0.text("outcome") == "mptcp" }
                        .map { [$0.text(own), $0.text(other)] })
            }
            #expect(
                pairs(spaces.client, "token", "remote_token")
                    == pairs(spaces.server, "remote_token", "token"))
        }

        /// Two addresses are announced one after the other, and taken back in one packet.
        @Test func severalAddresses() throws {
            let stage = try Stage(executable: try Program.path())
            let spaces = Sides(client: stage.client.namespace, server: stage.server.namespace)
            let surroundings = Surroundings(spaces)
            for side in Side.allCases { try surroundings.setLimits(side, subflows: 4, accepted: 4) }
            var server = try Actors.server(stage.server, port: 27726, family: "6+4")
            _ = try server.expect(["ready"], interruptedBy: -1)
            var client = try Actors.client(
                stage.client, to: "::ffff:\(stage.server.ipv4Text)", port: 27726)
            _ = try client.expect(["ready"], interruptedBy: -1)
            var clientMonitor = try Monitor(spaces.client)
            var serverMonitor = try Monitor(spaces.server)
            let file = try traced(["--steps"]) { tracing in
                let output = tracing.output
                func seen(_ type: String, _ word: String, _ count: Int) throws {
                    _ = try Tracing.lines(of: output) { lines in
                        lines.filter {
                            $0.isIn(spaces)
                                && ($0.type == type && $0.verdict == word || $0.text("change") == word)
                        }
                        .count == count
                    }
                }
                client.tell("go")
                _ = try client.expect(["connected"], interruptedBy: -1)
                try surroundings.addEndpoint(.server, stage.server.second.ipv4Text, "signal id 6")
                try seen("join", "joined", 2)
                try surroundings.addEndpoint(.server, stage.server.second.ipv6Text, "signal id 9")
                try seen("join", "joined", 4)
                try surroundings.tool(.server, "ip", ["mptcp", "endpoint", "flush"])
                try seen("address", "removed", 2)
                server.tell("close")
                client.tell("close")
                _ = try client.expect(["done"], interruptedBy: -1)
                try client.finish()
                try server.finish()
                try surroundings.restore()
                try stage.awaitSilence()
            }
            let removed = file.of("address", in: spaces.client.inode).filter {
                $0.text("change") == "removed"
            }
            #expect(removed.map { $0.number("id") ?? -1 }.sorted() == [6, 9])
            let told = Sides(client: try clientMonitor.events(), server: try serverMonitor.events())
            for side in Side.allCases {
                #expect(file.joinDifferences(side, in: spaces[side].inode, told[side]) == [])
            }
        }
    }
}

extension Line {
    func isIn(_ spaces: Sides<Namespace>) -> Bool {
        number("netns") == Int(spaces.client.inode) || number("netns") == Int(spaces.server.inode)
    }
}

extension Monitor {
    /// The tokens of all connections that were created, established and closed, each once. The end
    /// of a client's that fell back in its handshake is told as well.
    fileprivate mutating func tokens() throws -> Set<String> {
        let events = try events()
        func tokens(_ name: String) -> [String] {
            events.filter { $0.name == name }.map(\.token).sorted()
        }
        #expect(tokens("CREATED") == tokens("ESTABLISHED"))
        #expect(Set(tokens("CREATED")).isSubset(of: tokens("CLOSED")))
        #expect(Set(tokens("CLOSED")).count == tokens("CLOSED").count)
        #expect(Set(tokens("CREATED")).count == tokens("CREATED").count)
        return Set(tokens("CREATED"))
    }
}
