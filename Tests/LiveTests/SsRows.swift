// SPDX-License-Identifier: Apache-2.0

import Judging
import Testing

@testable import Scenarios

/// What `ss` lists in a namespace of connections that are open, a text for each row with the fields
/// that `status` has, too.
struct SsRows: Equatable {
    private var mptcp: Set<Msk> = []
    /// Those that have no token.
    private var early: Set<Msk> = []
    private var subflows: Set<String> = []
    private var plain: [Plain] = []
    /// Where MPTCP listens.
    private var mptcpPorts: Set<Int> = []
    /// The switch there, as sysctl prints it.
    private let enabled: String

    private struct Plain: Equatable {
        let port: Int
        let row: String
    }

    /// An MPTCP socket.
    fileprivate struct Msk: Hashable {
        var tcpState = ""
        let local: String
        let remote: String
        let token: String
        let isFallback: Bool
        var hasRemoteKey = false
        let subflows: Int
        let pid: Int
        var uid = ""
    }

    private static let open: Set<Substring> = [
        "ESTAB", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "LAST-ACK", "CLOSING",
    ]

    init(in namespace: String) throws {
        func rows(_ options: String) throws -> [[Substring]] {
            try Tool.check("ip", ["netns", "exec", namespace, "ss", options]).standardOutput
                .split(separator: "\n").map { $0.split(whereSeparator: \.isWhitespace) }
        }
        enabled = try Tool.check(
            "ip", ["netns", "exec", namespace, "sysctl", "-n", "net.mptcp.enabled"]
        ).standardOutput.filter { !$0.isWhitespace }
        let mptcpRows = try rows("-MHanpieO").filter { $0.count >= 5 }
        mptcpPorts = Set(mptcpRows.filter { $0[0] == "LISTEN" }.map { Self.port($0[3]) })
        // How many subflows each token has.
        var counts: [String: Int] = [:]
        for row in try rows("-tHanpieO") where row.count >= 5 {
            let (state, local, remote) = (Self.state(row[0]), Self.plain(row[3]), Self.plain(row[4]))
            guard let ulp = row.firstIndex(of: "tcp-ulp-mptcp") else {
                guard Self.open.contains(row[0]), !row.contains(where: { $0.hasPrefix("timer:(timewait") })
                else { continue }
                plain.append(
                    Plain(port: Self.port(row[3]), row: "\(state) \(local) \(remote) \(Self.uid(row))"))
                continue
            }
            if row[0] == "LISTEN" { continue }
            let flags = row[ulp...].first { $0.hasPrefix("flags:") }?.dropFirst(6) ?? ""
            // The first of a connection that is not there yet.
            if row[0] == "SYN-SENT", !flags.contains("j") { continue }
            // flags:Jjec token:53a54b35(id:0)/99e7d462(id:1)
            let tokens = row[ulp...].first { $0.hasPrefix("token:") }?.dropFirst(6) ?? ""
            let ends = tokens.split(separator: "/").map { $0.split(whereSeparator: { "(:)".contains($0) }) }
            guard ends.count == 2, ends.allSatisfy({ $0.count == 3 }) else { throw Trouble("ss: \(row)") }
            let names = ends.map { Int($0[0], radix: 16) == 0 ? "-" : Line.token(String($0[0])) }
            counts[names[1], default: 0] += 1
            if names[1] == "-", !flags.contains(where: { "MmJj".contains($0) }) {
                // It fell back before it asked for MPTCP: the other table does not have it.
                early.insert(
                    Msk(
                        tcpState: state, local: local, remote: remote, token: "-", isFallback: true,
                        subflows: 1, pid: Self.pid(row), uid: Self.uid(row)))
            }
            subflows.insert(
                "\(state) \(local) \(remote) \(flags) \(names[0]) \(ends[0][2]) \(names[1]) \(ends[1][2])")
        }
        for row in mptcpRows where Self.open.contains(row[0]) {
            let token = row.first { $0.hasPrefix("token:") }.map { Line.token(String($0.dropFirst(6))) }
            mptcp.insert(
                Msk(
                    tcpState: Self.state(row[0]), local: Self.plain(row[3]), remote: Self.plain(row[4]),
                    token: token ?? "-", isFallback: row.contains("fallback"),
                    hasRemoteKey: row.contains("remote_key"), subflows: token.flatMap { counts[$0] } ?? 0,
                    pid: Self.pid(row), uid: Self.uid(row)))
        }
    }

    /// Holds what `status` told of that namespace against it.
    /// - Parameter all: it was run with --all-tcp.
    func compare(with lines: [Line], all: Bool) {
        let connections = lines.filter { $0.type == "connection" }
        #expect(Set(connections.map { $0.number("conn") }).count == connections.count)

        let told = connections.filter { $0.text("state") != "plain" }
        #expect(Set(told.map { Msk($0, wholly: true) }) == mptcp.union(early))
        #expect(told.count == mptcp.count + early.count)

        let toldSubflows = lines.filter { $0.type == "subflow" }
        #expect(Set(toldSubflows.map(Self.subflow)) == subflows)
        #expect(toldSubflows.count == subflows.count)
        for line in told {
            let its = toldSubflows.filter { $0.number("conn") == line.number("conn") }
            // Its first may be gone.
            let first = its.first?.number("subflow") == 0 ? 0 : 1
            #expect(its.map { $0.number("subflow") } == (first..<first + its.count).map { $0 })
            #expect(its.count == line.number("subflows") ?? 0, "\(line)")
            #expect(its.allSatisfy { $0.text("token") == line.text("token") })
            guard first == 0 else { continue }
            #expect(its.first?.end("local") == line.end("local"))
            #expect(its.first?.end("remote") == line.end("remote"))
        }

        let toldPlain = connections.filter { $0.text("state") == "plain" }
        let expected = plain.filter { all || mptcpPorts.contains($0.port) }
        #expect(toldPlain.map(Self.plain).sorted() == expected.map(\.row).sorted())
        let namespaces = lines.filter { $0.type == "namespace" }
        #expect(namespaces.count == 1)
        #expect(namespaces.first?.number("other_tcp") == plain.count - expected.count)
        #expect(namespaces.first?.flag("enabled") == (enabled == "1"))
        #expect(lines.filter { $0.type == "hidden" } == [])
    }

    /// Holds the opening snapshot of a trace, that namespace's part, against it.
    func compare(withSnapshot connections: [Line]) {
        let expected = mptcp.map { msk in
            Msk(
                local: msk.local, remote: msk.remote, token: msk.token, isFallback: msk.isFallback,
                subflows: msk.subflows, pid: msk.pid)
        }
        #expect(Set(connections.map { Msk($0, wholly: false) }) == Set(expected))
        #expect(connections.count == expected.count)
    }

    var subflowCount: Int { subflows.count }

    /// Whether a subflow that joined is fully established.
    var hasJoined: Bool { subflows.contains { $0.contains("J") && $0.contains("ec ") } }

    // The same of our lines.

    private static func subflow(_ line: Line) -> String {
        "\(line.text("tcp_state") ?? "?") \(line.end("local")?.description ?? "?") "
            + "\(line.end("remote")?.description ?? "?") \(line.text("flags") ?? "?") "
            + "\(line.text("remote_token") ?? "-") \(line.number("remote_id") ?? -1) "
            + "\(line.text("token") ?? "-") \(line.number("local_id") ?? -1)"
    }

    private static func plain(_ line: Line) -> String {
        "\(line.text("tcp_state") ?? "?") \(line.end("local")?.description ?? "?") "
            + "\(line.end("remote")?.description ?? "?") \(line.number("uid") ?? -1)"
    }

    private static func state(_ word: Substring) -> String {
        word == "ESTAB" ? "established" : word.lowercased().split(separator: "-").joined(separator: "_")
    }

    private static func port(_ end: Substring) -> Int {
        end.split(separator: ":").last.flatMap { Int($0) } ?? 0
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

extension SsRows.Msk {
    /// - Parameter wholly: with what only `status` tells.
    fileprivate init(_ line: Line, wholly: Bool) {
        self.init(
            local: line.end("local")?.description ?? "?", remote: line.end("remote")?.description ?? "?",
            token: line.text("token") ?? "-", isFallback: line.text("state") == "fallback",
            subflows: line.number("subflows") ?? 0, pid: line.number("pid") ?? 0)
        guard wholly else { return }
        tcpState = line.text("tcp_state") ?? "?"
        hasRemoteKey = line.flag("remote_key") == true
        uid = "\(line.number("uid") ?? -1)"
    }
}
