// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Kernel
import Testing

@testable import Handshake
@testable import Scenarios

extension Live {
    /// A flood of handshakes that nobody completes, at a listener that others connect to meanwhile.
    @Suite struct Floods {
        struct Case: Sendable, CustomTestStringConvertible {
            var options: [String] = []
            var count: Int
            /// capable or join.
            var option = "capable"
            /// net.ipv4.tcp_syncookies: 0 keeps a half-open handshake for each SYN, 2 for none.
            var cookies = 0

            var testDescription: String {
                (["\(count) × \(option), syncookies \(cookies)"] + options).joined(separator: " ")
            }
        }

        @Test(arguments: [
            Case(options: ["--steps"], count: 100_000),
            // More than the table holds.
            Case(count: 150_000),
            Case(options: ["--steps", "--outcome", "mptcp"], count: 50_000),
            Case(count: 50_000, cookies: 2),
            Case(options: ["--steps"], count: 20_000, option: "join"),
        ])
        func realConnectionsAreAllThere(_ flood: Case) throws {
            let stage = try Stage(executable: try Program.path())
            var play = try FloodPlay(flood, stage)
            var tracing = try Tracing(flood.options)
            try tracing.awaitReady()
            var usage = Usage(of: tracing.pid)
            let before = usage
            try play.run()
            try tracing.end { usage.read() }
            let seen = try FloodFile(tracing.output)

            // What the program was before, a tracker's table that is full, each growth having had the
            // old one beside it, and 16 MiB, which is no more than a round number, for all else.
            let tables = Connections.worstCase(Tracker.Options().capacity)
            let bound = before.peak + tables + 16 << 20
            let perEvent = Double(usage.cpu - before.cpu) / Double(max(1, seen.number("events")))
            print(
                "flood of \(flood.testDescription): peak \(usage.peak >> 20) of at most \(bound >> 20) MiB,"
                    + " \(seen.number("events")) events, \(Int(perEvent * 1_000)) ns of CPU each")
            #expect(usage.peak > 0)
            #expect(usage.peak < bound)
            // Anything that grows with what is open would be far beyond.
            #expect(perEvent < 100)

            try check(seen, flood, stage, play.real)
        }

        private func check(
            _ seen: FloodFile, _ flood: Case, _ stage: borrowing Stage, _ real: Int
        ) throws {
            #expect(seen.lines.first?.type == "meta")
            #expect(seen.lines.last?.type == "summary")
            #expect(seen.number("seq") == seen.lineCount)
            let lost = seen.lost { $0 != "table_full" }
            #expect(seen.number("lost_total") == lost)
            #expect(seen.number("events") == seen.number("delivered") + lost)
            #expect(seen.lines.filter { $0.type == "anomaly" } == [])

            // What the kernel made of the real ones; an event that was lost may have been one of theirs.
            let client = stage.client.namespace.inode
            let server = stage.server.namespace.inode
            let clients = seen.handshakes(in: client)
            let servers = seen.handshakes(in: server)
            let onlyMptcp = flood.options.contains("--outcome")
            if !onlyMptcp {
                #expect((real - lost...real).contains(clients.count))
                #expect((real - lost...real).contains(servers.count))
            }
            let asked = Int(try stage.counters(.client).synackReceived)
            let accepted = Int(try stage.counters(.server).ackReceived)
            #expect(asked > 0)
            let agreed = clients.filter { $0.verdict == "mptcp" }
            let granted = servers.filter { $0.verdict == "mptcp" }
            #expect((asked - lost...asked).contains(agreed.count))
            #expect((accepted - lost...accepted).contains(granted.count))
            #expect(Set(granted.map { $0.text("comm") }) == ["mp-server"])
            if lost == 0 {
                #expect(
                    Set(agreed.map { $0.text("token") }) == Set(granted.map { $0.text("remote_token") }))
            }

            // And of the flood: each is told, or counted.
            let evicted = seen.lost { $0 == "table_full" }
            let counters = try MptcpCounters.read(in: NetworkNamespaces.resolve(stage.server.namespace.name))
            if flood.option == "join" {
                let refused = Int(counters["MPTcpExtMPJoinNoTokenFound"] ?? 0)
                #expect(refused > flood.count * 9 / 10)
                #expect(evicted == 0)
                #expect((refused - lost...refused).contains(seen.flood["mp_join_no_token_found"] ?? 0))
                #expect(Set(seen.flood.keys).isSubset(of: ["mp_join_no_token_found", "trace_ended"]))
                return
            }
            let came = Int(counters["MPTcpExtMPCapableSYNRX"] ?? 0)
            let ofReal = servers.filter { ["mptcp", "fallback ack_without_mptcp"].contains($0.verdict) }
            #expect(came > flood.count * 9 / 10)
            if onlyMptcp {
                #expect(seen.flood == [:])
                // A look at a time, not a handshake at a time.
                #expect(seen.lines.filter { $0.type == "lost" }.count < flood.count / 20)
                return
            }
            #expect(Set(seen.flood.keys).isSubset(of: ["trace_ended", "closed_by_process", "not_followed"]))
            let told = seen.flood.values.reduce(0, +)
            #expect((came - lost...came).contains(told + evicted + ofReal.count))
            #expect(evicted == 0 || came > Tracker.Options().capacity - 1_000)
        }
    }
}

/// The traffic: a listener, the flood, and real connections during it and after it.
private struct FloodPlay: ~Copyable {
    /// How many real connections there are.
    let real = 20
    private let settings: Surroundings
    private var server: ActorProcess
    private var flooder: ActorProcess
    private var early: ActorProcess
    private var late: ActorProcess

    init(_ flood: Live.Floods.Case, _ stage: borrowing Stage) throws {
        let client = stage.client
        let port = 27951
        // There is a way back to the sources, and nobody at its end who would answer with a RST.
        try Tool.check(
            "ip",
            ["-n", stage.server.namespace.name, "route", "add", "198.18.0.0/16", "via", client.ipv4Text]
        )
        let settings = Surroundings(
            Sides(client: client.namespace, server: stage.server.namespace))
        try settings.set(.server, "net/ipv4/tcp_syncookies", "\(flood.cookies)")
        try settings.set(.server, "net/ipv4/tcp_max_syn_backlog", "1000000")
        try settings.set(.server, "net/core/somaxconn", "1000000")
        let target = stage.server.ipv4Text
        var server = try Actors.server(stage.server, port: port, connections: real, backlog: 1_000_000)
        var early = try Actors.client(client, to: target, port: port, connections: real / 2)
        var late = try Actors.client(client, to: target, port: port, connections: real / 2)
        var flooder = try ActorProcess(
            role: "flood", executable: try Program.path(),
            arguments: Actor.arguments([
                "netns": client.namespace.name, "address": target, "port": "\(port)",
                "from": "198.18.0.0", "count": "\(flood.count)", "option": flood.option,
            ]))
        _ = try server.expect(["ready"], interruptedBy: -1)
        _ = try early.expect(["ready"], interruptedBy: -1)
        _ = try late.expect(["ready"], interruptedBy: -1)
        _ = try flooder.expect(["ready"], interruptedBy: -1)
        self.settings = settings
        self.server = server
        self.early = early
        self.late = late
        self.flooder = flooder
    }

    mutating func run() throws {
        flooder.tell("go")
        _ = try flooder.expect(["begun"], interruptedBy: -1)
        early.tell("go")
        _ = try early.expect(["connected"], interruptedBy: -1)
        _ = try flooder.expect(["flooded"], interruptedBy: -1)
        try flooder.finish()
        late.tell("go")
        _ = try late.expect(["connected"], interruptedBy: -1)
        server.tell("close")
        early.tell("close")
        late.tell("close")
        _ = try early.expect(["done"], interruptedBy: -1)
        _ = try late.expect(["done"], interruptedBy: -1)
        _ = try server.expect(["done"], interruptedBy: -1)
        try early.finish()
        try late.finish()
        try server.finish()
    }
}

/// What a process used so far.
private struct Usage {
    private let pid: Int32
    /// The most memory that was ever resident, in bytes.
    private(set) var peak = 0
    /// User and system time, in µs.
    private(set) var cpu = 0

    init(of pid: Int32) {
        self.pid = pid
        read()
    }

    /// What can't be read any more stays as it was.
    mutating func read() {
        if let status = try? SmallFile.read("/proc/\(pid)/status"),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") })
        {
            peak = max(peak, (Int(line.split { $0 == " " || $0 == "\t" }[1]) ?? 0) << 10)
        }
        // After the name, which may hold anything, utime is the 12th word and stime the 13th.
        if let words = (try? SmallFile.read("/proc/\(pid)/stat"))?.split(separator: ")").last?.split(
            separator: " "),
            words.count > 12, let user = Int(words[11]), let system = Int(words[12])
        {
            cpu = (user + system) * 1_000_000 / sysconf(CInt(_SC_CLK_TCK))
        }
    }
}

/// What a trace of a flood wrote: very many lines, so tools sort the flood's from the others.
private struct FloodFile {
    /// Those that are not about the flood.
    let lines: [Line]
    let lineCount: Int
    /// By reason: handshakes and joins of the flood.
    let flood: [String: Int]

    init(_ path: String) throws {
        let source = #""addr":"198.18."#
        let folder = try Folder()
        let script = """
            export LC_ALL=C
            wc -l < "$1"
            grep -vF '\(source)' "$1" > "$2/rest"
            grep -F '\(source)' "$1" | grep -E '"type":"(handshake|join)"' | grep -oE '"reason":"[a-z_]+"' \
            | awk -F '"' '{n[$4]++} END {for (key in n) print key, n[key]}'
            grep -F '\(source)' "$1" | head -2000 | cat - "$2/rest" > "$2/some"
            """
        let output = try Tool.run("bash", ["-c", script, "-", path, folder.path], seconds: 30)
        #expect(output.standardError == "")
        let words = output.standardOutput.split(whereSeparator: \.isWhitespace).map(String.init)
        lineCount = words.first.flatMap { Int($0) } ?? 0
        var flood: [String: Int] = [:]
        for place in stride(from: 1, to: words.count - 1, by: 2) {
            flood[words[place]] = Int(words[place + 1])
        }
        self.flood = flood
        lines = try Line.all(try File.bytes("\(folder.path)/rest"))
        let check = try Tool.run(
            "/usr/bin/python3", ["\(Tracing.here)/validate.py", try Program.path(), "\(folder.path)/some"],
            seconds: 60)
        #expect(check.status == 0, "\(check.standardOutput.prefix(2_000)) \(check.standardError)")
    }

    /// Of the summary.
    func number(_ key: String) -> Int { lines.last?.number(key) ?? -1 }

    func handshakes(in netns: UInt32) -> [Line] {
        lines.filter { $0.type == "handshake" && $0.number("netns") == Int(netns) }
    }

    func lost(_ isMeant: (String) -> Bool) -> Int {
        lines.filter { $0.type == "lost" && isMeant($0.text("reason") ?? "") }
            .compactMap { $0.number("count") }.reduce(0, +)
    }
}
