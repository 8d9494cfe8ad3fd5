// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
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
            #expect(try clientMonitor.tokens(mptcp ? client.count : 0) == (mptcp ? client : []))
            #expect(try serverMonitor.tokens(server.count) == server)

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
    }
}

extension Line {
    fileprivate func isIn(_ spaces: Sides<Namespace>) -> Bool {
        number("netns") == Int(spaces.client.inode) || number("netns") == Int(spaces.server.inode)
    }
}

/// `ip mptcp monitor` in a namespace.
private struct Monitor: ~Copyable {
    private var child: ChildProcess
    private let output: Descriptor
    private var printed: [UInt8] = []

    init(_ namespace: Namespace) throws {
        guard let ip = Tool.find("ip"), let buffering = Tool.find("stdbuf") else {
            throw Trouble("ip or stdbuf is missing")
        }
        let pipe = try DescriptorPair.pipe()
        let child = try ChildProcess(
            ip, ["netns", "exec", namespace.name, buffering, "-oL", ip, "mptcp", "monitor"],
            descriptors: [-1, pipe.writing.raw, 2])
        let pid = child.pid
        try namespace.inside { () throws(ScenarioError) in
            let deadline = Deadline()
            while !(try Self.listens(pid)) {
                if deadline.hasPassed { throw .usage("ip mptcp monitor did not subscribe") }
                poll(nil, 0, 1)
            }
        }
        self.child = child
        output = pipe.dropWriting()
    }

    /// Whether the process has a generic netlink socket (16) with a group: number, pid, groups.
    private static func listens(_ pid: Int32) throws(ScenarioError) -> Bool {
        let table = try SmallFile.read("/proc/thread-self/net/netlink")
        for line in table.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count > 3, words[1] == "16", words[2] == "\(pid)" else { continue }
            if words[3].contains(where: { $0 != "0" }) { return true }
        }
        return false
    }

    /// The tokens of all connections that were created and established, once that many were
    /// closed; what else it says must be about them.
    mutating func tokens(_ count: Int) throws -> Set<String> {
        let deadline = Deadline()
        while found("CLOSED]").count < count {
            if deadline.hasPassed { throw Trouble("ip mptcp monitor said \(text)") }
            var entry = pollfd(fd: output.raw, events: Int16(POLLIN), revents: 0)
            if poll(&entry, 1, 100) > 0 { _ = readOnce(output.raw, &printed) }
        }
        let created = found(" CREATED]")
        #expect(created.count == count)
        #expect(Set(created) == Set(found(" ESTABLISHED]")))
        return Set(created)
    }

    private var text: String { String(decoding: printed, as: UTF8.self) }

    private func found(_ event: String) -> [String] {
        let lines = text.split(separator: "\n").filter { $0.contains(event) && !$0.contains("SF_") }
        return lines.compactMap { line in
            let token = line.split(separator: " ").first { $0.hasPrefix("token=") }
            return token.map { Line.token(String($0.dropFirst(6))) }
        }
    }
}
