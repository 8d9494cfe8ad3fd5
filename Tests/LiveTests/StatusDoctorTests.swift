// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Judging
import Testing

@testable import Scenarios

extension Live {
    /// `status`, held against `ss` where real connections are open.
    @Suite struct StatusTests {
        @Test(arguments: [
            "mptcp-ten-at-once", "mptcp-ipv6", "mptcp-v4-mapped", "mptcp-to-tcp-server",
            "tcp-to-mptcp-server",
        ]) func agreesWithSs(_ name: String) throws {
            let scenario = try #require(Scenario.named(name))
            let program = try Program.path()
            let stage = try Stage(executable: program)
            let names = [stage.client.namespace.name, stage.server.namespace.name]
            var told: [[Line]] = []
            var listed: [SsTables] = []
            let result = try scenario.run(on: stage) {
                for name in names {
                    listed.append(try SsTables(in: name))
                    let output = try Tool.check(program, ["status", "--format", "json", "--netns", name])
                    told.append(try Line.all(Array(output.standardOutput.utf8)))
                }
            }
            #expect(told.count == 2)
            let fromMptcp = name == "tcp-to-mptcp-server" ? 0 : result.connections.count
            #expect(listed.first?.connections.count == fromMptcp)
            #expect(listed.last?.listeners.count == 1)
            for (lines, tables) in zip(told, listed) {
                #expect(lines.first?.type == "meta")
                #expect(lines.last?.type == "summary")
                #expect(lines.last?.number("events") == 0)
                #expect(lines.map { $0.number("seq") } == (1...lines.count).map { $0 })
                let listeners = lines.filter { $0.type == "listener" }
                // What an MPTCP listener took as plain TCP stands in no table of MPTCP.
                let connections = lines.filter { $0.type == "connection" && $0.text("state") != "plain" }
                #expect(Set(listeners.compactMap(SsListener.init)) == tables.listeners)
                #expect(listeners.count == tables.listeners.count)
                #expect(Set(connections.compactMap(SsConnection.init)) == tables.connections)
                #expect(connections.count == tables.connections.count)
                #expect(listeners.allSatisfy { $0.text("origin") == "snapshot" })
            }
            let ours = told.flatMap { $0 }.filter { $0.number("pid") != nil }
            let pids = Set(ours.compactMap { $0.number("pid") })
            #expect(pids.isSubset(of: [Int(result.clientPID), Int(result.serverPID ?? 0)]))
            #expect(ours.contains { $0.number("pid") == result.serverPID.map(Int.init) })
        }

        @Test func followsTheSchema() throws {
            let program = try Program.path()
            let folder = try Folder()
            let path = "\(folder.path)/status"
            try Tool.check("sh", ["-c", "\"$0\" status --format json > \"$1\"", program, path])
            let script =
                #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast()
                .joined(separator: "/") + "/validate.py"
            let check = try Tool.run("/usr/bin/python3", [script, program, path], seconds: 60)
            #expect(check.status == 0, "\(check.standardOutput) \(check.standardError)")
        }

        @Test func saysWhatItMayNotSee() throws {
            let program = try PublicProgram()
            let stage = try Stage(executable: try Program.path())
            let text = try program.runUnprivileged(["status"])
            #expect(text.status == 0)
            #expect(text.standardOutput.contains("Run it as root to see all."))
            #expect(text.standardError.isEmpty)
            let json = try program.runUnprivileged(["status", "--format", "json"])
            #expect(json.status == 0)
            #expect(json.standardError.contains("as root"))
            let hidden = try Line.all(Array(json.standardOutput.utf8)).filter { $0.type == "hidden" }
            #expect(hidden.contains { $0.text("what") == "unknown_namespaces" })
            let closed = hidden.first { $0.text("what") == "namespaces" }
            #expect(closed?.number("count").map { $0 >= 2 } == true)
            #expect(hidden.allSatisfy { $0.text("message")?.isEmpty == false })
            let refused = try program.runUnprivileged(["status", "--netns", stage.server.namespace.name])
            #expect(refused.status == 77)
            #expect(try Tool.run(program.path, ["status", "--netns", "no-such-name"]).status == 64)
        }
    }

    /// `doctor`, on this kernel and where something is missing.
    @Suite struct DoctorTests {
        @Test func attachesEveryHookHere() throws {
            let program = try Program.path()
            let text = try Tool.run(program, ["doctor"])
            #expect(text.status == 0)
            #expect(text.standardOutput.contains("mpscope can trace this kernel"))
            let report = try Self.report(try Tool.check(program, ["doctor", "--format", "json"]))
            #expect(
                Set(report.fields.keys).isSuperset(of: [
                    "kernel", "arch", "stack", "btf", "capabilities", "cgroup2", "namespaces", "hooks",
                    "verdict",
                ]))
            #expect(report.text("stack") == "mainline")
            #expect(report.flag("btf") == true)
            #expect(Self.verdict(of: report) == true)
            let hooks = Self.hooks(of: report)
            #expect(!hooks.isEmpty)
            for hook in hooks {
                // This kernel may keep its functions to itself; then something stands in.
                let way = hook["attach"]
                let isFunction = [.text("fentry"), .text("fexit"), .text("kprobe"), .text("kretprobe")]
                    .contains(way)
                // One is only attached while MPTCP is off somewhere.
                let isOnDemand =
                    hook["name"] == .text("sys_exit_socket") && hook["status"] == .text("not_needed")
                #expect(hook["status"] == .text("attached") || isFunction || isOnDemand, "\(hook)")
                #expect(hook["tells"] != nil && hook["without_it"] != nil && hook["attach"] != nil)
            }
        }

        @Test func tellsMissingPrivilegesFromAnUnfitKernel() throws {
            let program = try PublicProgram()
            let unprivileged = try program.runUnprivileged(["doctor", "--format", "json"])
            #expect(unprivileged.status == 77)
            let report = try Self.report(unprivileged)
            #expect(Self.verdict(of: report) == false)
            #expect(
                report.fields["capabilities"]
                    == .object(
                        Dictionary(
                            uniqueKeysWithValues: [
                                "CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE",
                                "CAP_DAC_READ_SEARCH",
                            ].map { ($0, .flag(false)) })))
            // What was not tried has no status.
            #expect(Self.hooks(of: report).allSatisfy { $0["status"] == nil })

            let hide = "mount -t tmpfs none /sys/kernel/btf && "
            let unfit = try Tool.run(
                "unshare", ["-m", "sh", "-c", hide + "exec \"$0\" doctor --format json", program.path])
            #expect(unfit.status == 69)
            let other = try Self.report(unfit)
            #expect(other.flag("btf") == false)
            #expect(Self.verdict(of: other) == false)
            // The kernel comes first: no privilege would help.
            let both = try Tool.run(
                "unshare",
                ["-m", "sh", "-c", hide + "exec setpriv \(PublicProgram.nobody) \"$0\" doctor", program.path])
            #expect(both.status == 69)
            #expect(both.standardOutput.contains("CONFIG_DEBUG_INFO_BTF"))
        }

        @Test func leavesATraceAlone() throws {
            let program = try Program.path()
            let scenario = try #require(Scenario.named("mptcp-ten-at-once"))
            let stage = try Stage(executable: program)
            let file = try traced(["--steps"]) { _ in
                for _ in 1...3 {
                    try Tool.check(program, ["doctor"])
                    _ = try scenario.run(on: stage) { try Tool.check(program, ["doctor"]) }
                }
            }
            #expect(file.lostTotal == 0)
            for namespace in [stage.client.namespace, stage.server.namespace] {
                let verdicts = file.of("handshake", in: namespace.inode).map(\.verdict)
                #expect(verdicts == Array(repeating: "mptcp", count: 30))
            }
        }

        private static func report(_ output: Tool.Output) throws -> Line {
            let lines = try Line.all(Array(output.standardOutput.utf8))
            #expect(lines.count == 1)
            return try #require(lines.first)
        }

        private static func verdict(of report: Line) -> Bool? {
            guard case .object(let verdict)? = report.fields["verdict"],
                case .flag(let canTrace)? = verdict["can_trace"], case .text(let reason)? = verdict["reason"],
                !reason.isEmpty
            else { return nil }
            return canTrace
        }

        private static func hooks(of report: Line) -> [[String: JSON]] {
            guard case .list(let hooks)? = report.fields["hooks"] else { return [] }
            return hooks.compactMap { if case .object(let hook) = $0 { hook } else { nil } }
        }
    }
}

/// A copy of the program that everybody may run.
private struct PublicProgram: ~Copyable {
    static let nobody = "--reuid=65534 --regid=65534 --clear-groups"

    private let folder: Folder
    var path: String { "\(folder.path)/mpscope" }

    init() throws {
        let folder = try Folder(mode: 0o755)
        try Tool.check("install", ["-m", "0755", try Program.path(), "\(folder.path)/mpscope"])
        self.folder = folder
    }

    func runUnprivileged(_ arguments: [String]) throws -> Tool.Output {
        try Tool.run("setpriv", Self.nobody.split(separator: " ").map(String.init) + [path] + arguments)
    }
}

private struct SsListener: Hashable {
    var local: String
    var isMptcp: Bool
    var pid: Int?

    init(local: String, isMptcp: Bool, pid: Int?) {
        (self.local, self.isMptcp, self.pid) = (local, isMptcp, pid)
    }

    init?(_ line: Line) {
        guard let end = line.end("local") else { return nil }
        self.init(
            local: "\(end.addr) \(end.port)", isMptcp: line.text("protocol") == "mptcp",
            pid: line.number("pid"))
    }
}

private struct SsConnection: Hashable {
    var local: String
    var remote: String
    var token: String?
    var isFallback: Bool

    init(local: String, remote: String, token: String?, isFallback: Bool) {
        (self.local, self.remote, self.token, self.isFallback) = (local, remote, token, isFallback)
    }

    init?(_ line: Line) {
        guard let local = line.end("local"), let remote = line.end("remote") else { return nil }
        self.init(
            local: "\(local.addr) \(local.port)", remote: "\(remote.addr) \(remote.port)",
            token: line.text("token"), isFallback: line.text("state") == "fallback")
    }
}

/// What `ss` lists in a namespace.
private struct SsTables {
    var listeners: Set<SsListener> = []
    var connections: Set<SsConnection> = []

    init(in namespace: String) throws {
        func rows(_ options: String) throws -> [[Substring]] {
            try Tool.check("ip", ["netns", "exec", namespace, "ss", options]).standardOutput
                .split(separator: "\n").map { $0.split(whereSeparator: \.isWhitespace) }
        }
        var mptcp: Set<String> = []
        for row in try rows("-MHaniO") where row.count >= 5 {
            if row[0] == "LISTEN" {
                mptcp.insert(Self.plain(row[3]))
                continue
            }
            let token = row.first { $0.hasPrefix("token:") }.map { String($0.dropFirst(6)) }
            connections.insert(
                SsConnection(
                    local: Self.plain(row[3]), remote: Self.plain(row[4]),
                    token: token.map { String(repeating: "0", count: 8 - $0.utf8.count) + $0 },
                    isFallback: row.contains("fallback")))
        }
        for row in try rows("-tHlnpO") where row.count >= 5 {
            let local = Self.plain(row[3])
            let pid = row.dropFirst(5).joined(separator: " ").split(separator: "pid=").dropFirst().first
            listeners.insert(
                SsListener(
                    local: local, isMptcp: mptcp.contains(local),
                    pid: pid.flatMap { Int($0.prefix { $0.isNumber }) }))
        }
    }

    /// `[::ffff:10.0.0.1]:80` → `10.0.0.1 80`, `*:80` → `:: 80`.
    private static func plain(_ text: Substring) -> String {
        guard let colon = text.lastIndex(of: ":") else { return String(text) }
        var address = text[..<colon]
        if address.hasPrefix("[") { address = address.dropFirst().dropLast() }
        if address.hasPrefix("::ffff:") { address = address.dropFirst(7) }
        return "\(address == "*" ? "::" : address) \(text[text.index(after: colon)...])"
    }
}
