// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Judging
import Scenarios

/// What can be played on a kernel of another MPTCP stack with nothing but the kernel: two namespaces
/// joined by veth, and sockets of this process in them. Nothing newer than Linux 4.14 is used: no
/// nftables, no cgroup v2, no pidfd; neither are the kernel's counters, which differ.
struct StackPlay {
    /// How an application asks for MPTCP, and where the switch is.
    enum Stack {
        /// A socket of its own kind; each namespace has its switch.
        case mainline
        /// Every TCP socket, unless it is told not to; one switch for the machine.
        case outOfTree

        func socket(mptcp: Bool) -> CInt {
            let tcp = CInt(IPPROTO_TCP)
            switch self {
            case .mainline:
                let raw = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), mptcp ? 262 : tcp)
                // Switched off: an application goes on with TCP.
                return raw < 0 && mptcp ? Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), tcp) : raw
            case .outOfTree:
                let raw = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), tcp)
                var off: CInt = 0
                // MPTCP_ENABLED; refused where it is off anyway.
                if raw >= 0, !mptcp { setsockopt(raw, tcp, 42, &off, socklen_t(MemoryLayout<CInt>.size)) }
                return raw
            }
        }
    }

    private enum Turn { case never, beforeListen, afterListen }

    private struct Play {
        let name: String
        var client = true
        var server = true
        var listens = true
        /// When the switch goes to 0. The client's socket is always older than that.
        var off = Turn.never
        var joins = false
        /// By the sides' words: `outcome`, or `outcome reason`.
        let expected: [Side: String]
    }

    private static let plays: [Play] = [
        Play(name: "mptcp", expected: [.client: "mptcp", .server: "mptcp"]),
        Play(name: "plain-client", client: false, expected: [.server: "fallback syn_without_mptcp"]),
        Play(
            name: "plain-server", server: false,
            expected: [.client: "fallback synack_without_mptcp", .server: "fallback listener_is_tcp"]),
        Play(name: "plain-both", client: false, server: false, expected: [:]),
        Play(name: "refused", listens: false, expected: [.client: "refused rst_to_syn"]),
        Play(
            name: "listener-outlives", off: .afterListen, expected: [.client: "mptcp", .server: "mptcp"]),
        Play(
            name: "listener-after-off", off: .beforeListen,
            expected: [.client: "fallback synack_without_mptcp", .server: "fallback listener_is_tcp"]),
        Play(name: "join", joins: true, expected: [.client: "mptcp", .server: "mptcp"]),
    ]

    static let names = plays.map { "stack-\($0.name)" } + ["stack-trace"]
    private static let firstPort = 4101

    let program: String
    let stack: Stack
    let btf: String?
    let backend: String
    let port: Port

    func play(_ wanted: [String]) throws(Trouble) {
        let stage: StageBox
        do throws(ScenarioError) {
            stage = StageBox(try Stage(executable: program))
        } catch {
            throw Trouble("\(error)")
        }
        let stuck = try switchTo(1, stage)
        // Only one of the plays is to have joins.
        if stack == .outOfTree { _ = write("/proc/sys/net/mptcp/mptcp_path_manager", "default") }
        var trace = try BackendTrace(program, backend, ["--steps"] + (btf.map { ["--btf", $0] } ?? []))
        try trace.awaitReady()
        var troubles: [String: String] = [:]
        var obstacles: [String: String] = [:]
        for (number, play) in Self.plays.enumerated() where wanted.contains("stack-\(play.name)") {
            port.say(["start", "stack-\(play.name)"])
            if let stuck { obstacles[play.name] = stuck }
            do throws(Trouble) {
                if play.joins, let obstacle = try preparePathManager(stage) {
                    obstacles[play.name] = obstacle
                } else {
                    try self.play(play, UInt16(Self.firstPort + number), stage)
                }
            } catch {
                troubles[play.name] = "\(error)"
            }
            _ = try switchTo(1, stage)
            port.say(["end", "stack-\(play.name)", "0"])
        }
        let file = try trace.finish()
        for (number, play) in Self.plays.enumerated() where wanted.contains("stack-\(play.name)") {
            judge(play, Self.firstPort + number, file, troubles[play.name], obstacles[play.name])
        }
        var whole = Differences()
        whole.equal(
            file.lines.first?.text("stack"), stack == .mainline ? "mainline" : "multipath-tcp.org", "stack")
        whole.equal(file.lostTotal, 0, "lost (\(file.losses))")
        if wanted.contains("stack-trace") { say("trace", whole.words + file.formDifferences()) }
    }

    // MARK: Playing

    private func play(_ play: Play, _ number: UInt16, _ stage: StageBox) throws(Trouble) {
        var listener: CInt = -1
        defer { if listener >= 0 { close(listener) } }
        func listen() throws(Trouble) {
            listener = try inside(stage, .server) { () throws(ScenarioError) in
                stack.socket(mptcp: play.server)
            }
            let done =
                Self.with(number, nil, { bind(listener, $0, $1) }) == 0 && Glibc.listen(listener, 8) == 0
            guard done else { throw Trouble("listen: \(String(cString: strerror(errno)))") }
        }
        let client = try inside(stage, .client) { () throws(ScenarioError) in
            stack.socket(mptcp: play.client)
        }
        defer { close(client) }
        if play.off == .beforeListen { _ = try switchTo(0, stage) }
        if play.listens { try listen() }
        if play.off == .afterListen { _ = try switchTo(0, stage) }

        let server = stage.stage.server.ipv4Text
        let result = Self.with(number, server) { connect(client, $0, $1) }
        guard play.listens else {
            guard result < 0, errno == ECONNREFUSED else { throw Trouble("connect() was not refused") }
            return
        }
        guard result == 0 else { throw Trouble("connect: \(String(cString: strerror(errno)))") }
        let accepted = accept(listener, nil, nil)
        guard accepted >= 0 else { throw Trouble("accept: \(String(cString: strerror(errno)))") }
        defer { close(accepted) }
        // There and back again, so that both ends are sure; a path manager wants some time.
        for _ in 0..<(play.joins ? 20 : 2) {
            try pass(from: client, to: accepted)
            try pass(from: accepted, to: client)
            if play.joins { poll(nil, 0, 100) }
        }
    }

    private func pass(from: CInt, to: CInt) throws(Trouble) {
        var bytes = [UInt8](repeating: 7, count: 1000)
        guard send(from, bytes, bytes.count, CInt(MSG_NOSIGNAL)) == bytes.count else {
            throw Trouble("send: \(String(cString: strerror(errno)))")
        }
        var left = bytes.count
        while left > 0 {
            var entry = pollfd(fd: to, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 10_000) > 0 else { throw Trouble("no data came in 10 s") }
            let count = recv(to, &bytes, left, 0)
            guard count > 0 else { throw Trouble("recv: \(String(cString: strerror(errno)))") }
            left -= count
        }
    }

    /// nil as address: any.
    private static func with(
        _ port: UInt16, _ address: String?, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
    ) -> CInt {
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = port.bigEndian
        if let address { inet_pton(AF_INET, address, &place.sin_addr) }
        return withUnsafePointer(to: &place) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    // MARK: The kernel's settings

    /// - Returns: why it can't be turned.
    private func switchTo(_ value: Int, _ stage: StageBox) throws(Trouble) -> String? {
        switch stack {
        case .outOfTree:
            // It is in no namespace but the first one.
            return write("/proc/sys/net/mptcp/mptcp_enabled", "\(value)")
        case .mainline:
            for side in Side.allCases {
                let path = "/proc/sys/net/mptcp/enabled"
                let trouble = try inside(stage, side) { () throws(ScenarioError) in write(path, "\(value)") }
                if let trouble { return trouble }
            }
            return nil
        }
    }

    /// - Returns: why no path manager can be had.
    private func preparePathManager(_ stage: StageBox) throws(Trouble) -> String? {
        switch stack {
        case .outOfTree:
            // Both ends have two addresses already: a full mesh has joins to make.
            return write("/proc/sys/net/mptcp/mptcp_path_manager", "fullmesh")
        case .mainline:
            let end = stage.stage.client
            do throws(ScenarioError) {
                try Tool.check(
                    "ip",
                    [
                        "-n", end.namespace.name, "mptcp", "endpoint", "add", end.second.ipv4Text, "subflow",
                    ])
                return nil
            } catch {
                return "\(error)"
            }
        }
    }

    /// - Returns: why it was not taken.
    private func write(_ path: String, _ text: String) -> String? {
        do throws(ScenarioError) {
            try SmallFile.write(path, text)
            return nil
        } catch {
            return "\(error)"
        }
    }

    private func inside<Value>(
        _ stage: StageBox, _ side: Side, _ body: () throws(ScenarioError) -> Value
    ) throws(Trouble) -> Value {
        do throws(ScenarioError) {
            return try withoutActuallyEscaping(body) { body throws(ScenarioError) in
                try stage.stage[side].namespace.inside(body)
            }
        } catch {
            throw Trouble("\(error)")
        }
    }

    /// A stage, to be handed about.
    private final class StageBox {
        let stage: Stage
        init(_ stage: consuming Stage) { self.stage = stage }
    }

    // MARK: Judging

    private func judge(
        _ play: Play, _ number: Int, _ file: TraceFile, _ trouble: String?, _ obstacle: String?
    ) {
        if let obstacle {
            port.say(["result", backend, "stack-\(play.name)", "cannot", obstacle])
            return
        }
        var differences = Differences()
        if let trouble { differences.hold(false, "the play itself: \(trouble)") }
        func told(_ type: String, _ side: Side) -> [Line] {
            file.of(type).filter {
                $0.text("side") == side.rawValue
                    && $0.end(side == .client ? "remote" : "local")?.port == number
            }
        }
        for side in Side.allCases {
            let records = told("handshake", side)
            differences.equal(records.map(\.verdict), play.expected[side].map { [$0] } ?? [], side.rawValue)
            differences.equal(
                Set(records.map { $0.number("pid") ?? 0 }).subtracting([Int(getpid())]), [],
                "\(side.rawValue)'s pid")
            if !play.joins { differences.equal(told("join", side).map(\.verdict), [], "joins") }
        }
        differences.equal(
            file.of("fallback").filter { [$0.end("local")?.port, $0.end("remote")?.port].contains(number) },
            [], "fallbacks")
        guard play.joins, differences.words.isEmpty else {
            say(play.name, differences.words)
            return
        }
        // What a path manager does is its own affair: it is told, and nothing hangs on it.
        let joins = Side.allCases.map { told("join", $0).map(\.verdict).sorted() }
        let made = joins.contains { !$0.isEmpty }
        port.say([
            "result", backend, "stack-join", made ? "pass" : "cannot",
            made ? "client: \(joins[0]), server: \(joins[1])" : "the path manager made no join",
        ])
    }

    private func say(_ name: String, _ differences: [String]) {
        port.say([
            "result", backend, "stack-\(name)", differences.isEmpty ? "pass" : "fail",
            differences.prefix(4).joined(separator: "; "),
        ])
    }
}
