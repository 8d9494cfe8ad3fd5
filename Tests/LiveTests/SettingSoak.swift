// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import TestSupport
import Testing

@testable import Scenarios

extension Live {
    /// Whatever is switched, opened, connected and closed, in whatever order: every finding that is true is
    /// told, and none that is not.
    @Suite struct SettingSoak {
        @Test func aThousandTurns() throws {
            let stage = try Stage(executable: try Program.path())
            let seed = UInt64.random(in: 0...999_999)
            var course = try SoakCourse(stage, seed)
            let file = try traced { _ in
                for _ in 0..<1_000 { try course.step() }
                try course.end()
            }
            #expect(file.lostTotal == 0, "seed \(seed)")
            var seen: [String] = []
            let spaces = [stage.client.namespace.inode, stage.server.namespace.inode].map { Int($0) }
            let findings = file.of("anomaly").filter { spaces.contains($0.number("netns") ?? 0) }
            let byID = Dictionary(grouping: findings) { $0.number("id") ?? 0 }
            for (_, records) in byID.sorted(by: { $0.key < $1.key }) {
                seen.append(try SoakCourse.words(records))
            }
            #expect(seen.sorted() == course.told.sorted(), "seed \(seed)")
            #expect(course.told.count > 50, "seed \(seed)")
            let changes = spaces.map { space in
                file.of("sysctl").filter { $0.number("netns") == space && $0.text("source") == "bpf" }.count
            }
            #expect(changes == [course.turns.client, course.turns.server], "seed \(seed)")
            #expect(file.of("sysctl").allSatisfy { $0.text("source") == "bpf" }, "seed \(seed)")
        }
    }
}

/// Random acts of a few processes, and what is true of them.
private struct SoakCourse: ~Copyable {
    /// One that is told, and what is to be told of it in the end.
    struct Told {
        var kind: String
        var subject: String
        var severity: String
        var count: Int

        func words(isClosed: Bool) -> String {
            "\(kind) \(subject) \(severity) × \(count)\(isClosed ? ", closed" : "")"
        }
    }

    struct Listener {
        var puppet: Int
        var port: Int
        var isMptcp: Bool
        var wasRefused: Bool
        var madeWhileOn: Bool
    }

    struct Socket {
        var name: String
        var puppet: Int
        /// Of the pair's other end; nil: not connected.
        var server: (name: String, puppet: Int)?
    }

    private let client: Stage.End
    private let server: Stage.End
    private var dice: Dice
    /// Three that want MPTCP and take TCP, and one that only wants TCP.
    private var servers: [Puppet] = []
    private var clients: [Puppet] = []
    private var isOn = Sides(client: true, server: true)
    private(set) var turns = Sides(client: 0, server: 0)
    private var listeners: [Listener] = []
    private var pool: [Socket] = []
    private var connected: [Socket] = []
    private var refused: Set<Int> = []
    private var number = 0
    /// Open ones, by their subject.
    private var open: [String: Told] = [:]
    /// Of each process's, sockets that it ends with.
    private var members: [Int: Set<String>] = [:]
    /// What every finding was in the end.
    private(set) var told: [String] = []

    init(_ stage: borrowing Stage, _ seed: UInt64) throws {
        client = stage.client
        server = stage.server
        dice = Dice(seed)
        for _ in 0..<4 { servers.append(try Puppet(server)) }
        for _ in 0..<2 { clients.append(try Puppet(client)) }
    }

    private static let path = "/proc/sys/net/mptcp/enabled"

    private mutating func turn(_ isClient: Bool) throws {
        let space = (isClient ? client : server).namespace
        let on = !(isClient ? isOn.client : isOn.server)
        try space.inside { () throws(ScenarioError) in try SmallFile.write(Self.path, on ? "1" : "0") }
        if isClient {
            isOn.client = on
            turns.client += 1
            if on { for pid in members.keys.sorted() { close("socket \(pid)") } }
            if on { members = [:] }
            return
        }
        isOn.server = on
        turns.server += 1
        for listener in listeners {
            if on {
                if listener.isMptcp { close("outlives \(listener.port)") }
                if listener.wasRefused { show("predates", listener.port, "warning") }
            } else {
                close("predates \(listener.port)")
                if listener.isMptcp { show("outlives", listener.port, "warning") }
            }
        }
        // Where no function can be hooked, refusals are looked for a moment after that.
        if !on { poll(nil, 0, 120) }
    }

    private mutating func show(_ kind: String, _ subject: Int, _ severity: String) {
        let key = "\(kind) \(subject)"
        if var told = open[key] {
            told.count += 1
            if severity == "error" { told.severity = severity }
            open[key] = told
        } else {
            open[key] = Told(kind: kind, subject: "\(subject)", severity: severity, count: 1)
        }
    }

    private mutating func close(_ key: String) {
        guard let found = open.removeValue(forKey: key) else { return }
        told.append(found.words(isClosed: true))
    }

    mutating func step() throws {
        switch Int.random(in: 0..<16, using: &dice) {
        case 0: try turn(true)
        case 1: try turn(false)
        case 2, 3: try listen()
        case 4: try closeListener()
        case 5, 6, 7, 8:
            guard isOn.client else { return try step() }
            let socket = try makeSocket()
            try connect(socket)
        case 9, 10:
            guard isOn.client, pool.count < 12 else { return try step() }
            pool.append(try makeSocket())
        case 11, 12, 13:
            guard let place = pool.indices.randomElement(using: &dice) else { return try step() }
            try connect(pool.remove(at: place))
        case 14:
            guard let place = pool.indices.randomElement(using: &dice) else { return try step() }
            let socket = pool.remove(at: place)
            try clients[socket.puppet].ask("close \(socket.name)")
            lose(socket)
        default:
            guard let place = connected.indices.randomElement(using: &dice) else { return try step() }
            try end(connected.remove(at: place))
        }
    }

    private mutating func listen() throws {
        guard listeners.count < 8 else { return try closeListener() }
        number += 1
        let puppet = Int.random(in: 0..<4, using: &dice)
        let wants = puppet < 3
        let port = 20_000 + number
        let said = try servers[puppet].ask("listen l\(port) 0.0.0.0 \(port) 64 \(wants ? "willing" : "tcp")")
        if wants {
            if isOn.server { refused.remove(puppet) } else { refused.insert(puppet) }
        }
        let listener = Listener(
            puppet: puppet, port: port, isMptcp: said == "ok mptcp",
            wasRefused: refused.contains(puppet) && !isOn.server,
            madeWhileOn: isOn.server)
        try #require(listener.isMptcp == (wants && isOn.server))
        listeners.append(listener)
    }

    private mutating func closeListener() throws {
        guard let place = listeners.indices.randomElement(using: &dice) else { return try listen() }
        let listener = listeners.remove(at: place)
        try servers[listener.puppet].ask("close l\(listener.port)")
        close("outlives \(listener.port)")
        close("predates \(listener.port)")
    }

    private mutating func makeSocket() throws -> Socket {
        number += 1
        let puppet = Int.random(in: 0..<2, using: &dice)
        try clients[puppet].ask("socket c\(number) 4")
        return Socket(name: "c\(number)", puppet: puppet)
    }

    private mutating func connect(_ socket: Socket) throws {
        guard let listener = listeners.randomElement(using: &dice) else {
            try clients[socket.puppet].ask("close \(socket.name)")
            lose(socket)
            return try listen()
        }
        try clients[socket.puppet].ask("connect \(socket.name) \(server.ipv4Text) \(listener.port)")
        number += 1
        let other = "a\(number)"
        try servers[listener.puppet].ask("accept \(other) l\(listener.port)")
        var socket = socket
        socket.server = (other, listener.puppet)
        connected.append(socket)
        if !isOn.server, listener.isMptcp { show("outlives", listener.port, "error") }
        if isOn.server, !listener.isMptcp {
            if listener.wasRefused {
                show("predates", listener.port, "error")
            } else if !listener.madeWhileOn {
                show("predates", listener.port, "warning")
            }
        }
        guard !isOn.client else { return }
        let pid = Int(clients[socket.puppet].pid)
        if open["socket \(pid)"] == nil {
            members[pid] = Set(pool.filter { $0.puppet == socket.puppet }.map(\.name))
        }
        members[pid]?.insert(socket.name)
        show("socket", pid, "warning")
    }

    /// At once, whatever is on its way.
    private mutating func end(_ socket: Socket) throws {
        try clients[socket.puppet].ask("linger \(socket.name)")
        try clients[socket.puppet].ask("close \(socket.name)")
        lose(socket)
        if let server = socket.server { try servers[server.puppet].ask("close \(server.name)") }
    }

    private mutating func lose(_ socket: Socket) {
        let pid = Int(clients[socket.puppet].pid)
        guard members[pid]?.remove(socket.name) != nil, members[pid]?.isEmpty == true else { return }
        members[pid] = nil
        close("socket \(pid)")
    }

    /// What is still open stays so.
    mutating func end() throws {
        for found in open.values { told.append(found.words(isClosed: false)) }
        // The last that was done is seen a moment later.
        poll(nil, 0, 200)
    }

    /// A finding's records, as `Told.words`.
    static func words(_ records: [Line]) throws -> String {
        let first = try #require(records.first)
        let last = try #require(records.last)
        let message = first.text("message") ?? ""
        let kind = [
            "listener_outlives_disable": "outlives", "listener_predates_enable": "predates",
            "socket_outlives_toggle": "socket",
        ][first.text("kind") ?? ""]
        let prefix = kind == "socket" ? "(pid " : "port "
        let start = message.firstRange(of: prefix)?.upperBound ?? message.endIndex
        let subject = String(message[start...].prefix { $0.isNumber })
        let severity = records.contains { $0.text("severity") == "error" } ? "error" : last.text("severity")
        let found = Told(
            kind: kind ?? first.text("kind") ?? "?", subject: subject, severity: severity ?? "?",
            count: last.number("count") ?? 0)
        return found.words(isClosed: last.text("state") == "closed")
    }
}

/// A process that does as it is told.
private final class Puppet {
    private var process: ActorProcess

    init(_ end: Stage.End) throws {
        process = try ActorProcess(
            role: "puppet", executable: try Program.path(),
            arguments: Actor.arguments(["netns": end.namespace.name, "comm": "mp-soak"]))
        _ = try process.expect(["ready"], interruptedBy: -1)
    }

    var pid: Int32 { process.pid }

    @discardableResult
    func ask(_ command: String) throws -> String {
        process.tell(command)
        let reply = try process.expect(["ok"], interruptedBy: -1)
        return ([reply.word] + reply.arguments).joined(separator: " ")
    }
}
