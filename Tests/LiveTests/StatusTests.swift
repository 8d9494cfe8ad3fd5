// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
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
                    try compare(try Line.all(Array(output.standardOutput.utf8)), with: ss, all: all)
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

        private func compare(_ lines: [Line], with ss: SsRows, all: Bool) throws {
            let connections = lines.filter { $0.type == "connection" }
            var conns: [Int: Line] = [:]
            for line in connections { conns[try #require(line.number("conn"))] = line }
            #expect(conns.count == connections.count)

            let mptcp = connections.filter { $0.text("state") != "plain" }
            #expect(Set(mptcp.map(SsRows.mptcp)) == ss.mptcp)
            #expect(mptcp.count == ss.mptcp.count)

            let subflows = lines.filter { $0.type == "subflow" }
            #expect(Set(subflows.map(SsRows.subflow)) == ss.subflows)
            #expect(subflows.count == ss.subflows.count)
            for (conn, line) in conns where line.text("state") != "plain" {
                let its = subflows.filter { $0.number("conn") == conn }
                #expect(its.map { $0.number("subflow") } == (0..<its.count).map { $0 })
                #expect(its.count == line.number("subflows"))
                #expect(its.allSatisfy { $0.text("token") == line.text("token") })
                #expect(its.first?.end("local") == line.end("local"))
                #expect(its.first?.end("remote") == line.end("remote"))
            }

            let plain = connections.filter { $0.text("state") == "plain" }
            let expected = ss.plain.filter { all || ss.mptcpPorts.contains($0.port) }
            #expect(Set(plain.map(SsRows.plain)) == Set(expected.map(\.row)))
            #expect(plain.count == expected.count)
            let namespaces = lines.filter { $0.type == "namespace" }
            #expect(namespaces.count == 1)
            #expect(namespaces.first?.number("other_tcp") == ss.plain.count - expected.count)
            #expect(namespaces.first?.flag("enabled") == true)
            #expect(lines.allSatisfy { $0.type != "hidden" })
        }

        private static func open(_ client: inout ActorProcess) throws {
            _ = try client.expect(["ready"], interruptedBy: -1)
            client.tell("go")
            _ = try client.expect(["connected"], interruptedBy: -1)
        }

        /// Until both ends have two subflows that are fully established.
        private static func awaitJoin(in names: [String]) throws {
            let deadline = Deadline()
            while true {
                let ready = try names.allSatisfy { name in
                    try SsRows(in: name).subflows.contains { $0.contains("J") && $0.contains("ec ") }
                }
                if ready { return }
                if deadline.hasPassed { throw Trouble("no subflow joined within \(deadline.seconds) s") }
                usleep(10_000)
            }
        }
    }
}

/// What `ss` lists in a namespace, a text for each row with the fields that `status` has, too.
private struct SsRows {
    var mptcp: Set<String> = []
    var subflows: Set<String> = []
    var plain: [(port: Int, row: String)] = []
    /// Where MPTCP listens.
    var mptcpPorts: Set<Int> = []

    init(in namespace: String) throws {
        func rows(_ options: String) throws -> [[Substring]] {
            try Tool.check("ip", ["netns", "exec", namespace, "ss", options]).standardOutput
                .split(separator: "\n").map { $0.split(whereSeparator: \.isWhitespace) }
        }
        for row in try rows("-MHanpieO") where row.count >= 5 {
            if row[0] == "LISTEN" {
                if let port = row[3].split(separator: ":").last.flatMap({ Int($0) }) {
                    mptcpPorts.insert(port)
                }
                continue
            }
            let more = row.first { $0.hasPrefix("subflows:") }.flatMap { Int($0.dropFirst(9)) } ?? 0
            let token = row.first { $0.hasPrefix("token:") }.map { Line.token(String($0.dropFirst(6))) }
            mptcp.insert(
                "\(Self.state(row[0])) \(Self.plain(row[3])) \(Self.plain(row[4])) \(token ?? "-") "
                    + "\(row.contains("fallback")) \(row.contains("remote_key")) \(more + 1) \(Self.pid(row)) "
                    + Self.uid(row))
        }
        for row in try rows("-tHanpieO") where row.count >= 5 && row[0] != "LISTEN" && row[0] != "TIME-WAIT" {
            let (state, local, remote) = (Self.state(row[0]), Self.plain(row[3]), Self.plain(row[4]))
            guard let ulp = row.firstIndex(of: "tcp-ulp-mptcp") else {
                let port = row[3].split(separator: ":").last.flatMap { Int($0) } ?? 0
                plain.append((port, "\(state) \(local) \(remote) \(Self.uid(row))"))
                continue
            }
            // flags:Jjec token:53a54b35(id:0)/99e7d462(id:1)
            let flags = row[ulp...].first { $0.hasPrefix("flags:") }?.dropFirst(6) ?? ""
            let tokens = row[ulp...].first { $0.hasPrefix("token:") }?.dropFirst(6) ?? ""
            let ends = tokens.split(separator: "/").map { $0.split(whereSeparator: { "(:)".contains($0) }) }
            guard ends.count == 2, ends.allSatisfy({ $0.count == 3 }) else { throw Trouble("ss: \(row)") }
            let names = ends.map { Int($0[0], radix: 16) == 0 ? "-" : Line.token(String($0[0])) }
            subflows.insert(
                "\(state) \(local) \(remote) \(flags) \(names[0]) \(ends[0][2]) \(names[1]) \(ends[1][2])")
        }
    }

    /// The same of our lines.
    static func mptcp(_ line: Line) -> String {
        "\(line.text("tcp_state") ?? "?") \(line.end("local")?.description ?? "?") "
            + "\(line.end("remote")?.description ?? "?") \(line.text("token") ?? "-") "
            + "\(line.text("state") == "fallback") \(line.flag("remote_key") == true) "
            + "\(line.number("subflows") ?? 0) \(line.number("pid") ?? 0) \(line.number("uid") ?? -1)"
    }

    static func subflow(_ line: Line) -> String {
        "\(line.text("tcp_state") ?? "?") \(line.end("local")?.description ?? "?") "
            + "\(line.end("remote")?.description ?? "?") \(line.text("flags") ?? "?") "
            + "\(line.text("remote_token") ?? "-") \(line.number("remote_id") ?? -1) "
            + "\(line.text("token") ?? "-") \(line.number("local_id") ?? -1)"
    }

    static func plain(_ line: Line) -> String {
        "\(line.text("tcp_state") ?? "?") \(line.end("local")?.description ?? "?") "
            + "\(line.end("remote")?.description ?? "?") \(line.number("uid") ?? -1)"
    }

    private static func state(_ word: Substring) -> String {
        word == "ESTAB" ? "established" : word.lowercased().split(separator: "-").joined(separator: "_")
    }

    private static func pid(_ row: [Substring]) -> Int {
        row.joined(separator: " ").split(separator: "pid=").dropFirst().first
            .flatMap { Int($0.prefix { $0.isNumber }) } ?? 0
    }

    /// ss leaves root's out.
    private static func uid(_ row: [Substring]) -> String {
        row.first { $0.hasPrefix("uid:") }.map { String($0.dropFirst(4)) } ?? "0"
    }

    private static func plain(_ text: Substring) -> String {
        guard let colon = text.lastIndex(of: ":") else { return String(text) }
        var address = text[..<colon]
        if address.hasPrefix("[") { address = address.dropFirst().dropLast() }
        if address.hasPrefix("::ffff:") { address = address.dropFirst(7) }
        return "\(address == "*" ? "::" : address) \(text[text.index(after: colon)...])"
    }
}
