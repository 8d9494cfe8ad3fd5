// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import Handshake

/// A namespace with its switch, listeners and clients, and what is true of them: held against what the
/// tracker finds.
private struct World {
    static let netns: UInt32 = 7
    static let enabled = "net.mptcp.enabled"

    struct Server {
        var pid: UInt32
        var port: UInt16
        var isMptcp: Bool
        /// Its process was refused MPTCP before.
        var wasRefused: Bool
        var madeWhileOn: Bool
    }

    var tracker: Tracker
    var now: UInt64 = 1_000
    var isOn = true
    var pointer: UInt64 = 0x1000
    var port: UInt16 = 10_000
    var servers: [UInt64: Server] = [:]
    /// Processes that got no MPTCP socket when they asked last.
    var refused: Set<UInt32> = []

    init(seesWrites: Bool = true) {
        var options = Tracker.Options()
        options.seesWrites = seesWrites
        tracker = Tracker(options)
        tracker.know(Self.enabled, is: "1", in: Self.netns)
    }

    mutating func pass() -> UInt64 {
        // Longer than a finding waits: everything is told.
        now += 1_000_000_001
        return now
    }

    mutating func next() -> UInt64 {
        pointer += 0x100
        return pointer
    }

    func owner(_ pid: UInt32, _ source: OwnerSource) -> Owner {
        Owner(pid: pid, tid: pid, uid: 0, comm: Comm("p\(pid)".utf8), cgroup: 0, source: source)
    }

    func observation(_ step: Step, _ hook: Hook, _ side: Side?, _ facts: Facts, pid: UInt32? = nil)
        -> Observation
    {
        var o = Observation(time: now, step: step, hook: hook, side: side)
        o.netns = Self.netns
        o.facts = facts
        o.owner = pid.map { owner($0, step == .listening ? .listen : .connect) }
        return o
    }

    mutating func set(
        _ old: String, _ new: String, _ name: String = enabled, source: ChangeSource = .bpf,
        earliest: UInt64? = nil
    ) {
        let time = pass()
        tracker.take(
            SettingChange(
                time: time, netns: Self.netns, name: name, old: old, new: new, source: source, accepted: true,
                earliest: earliest))
    }

    mutating func toggle() {
        set(isOn ? "1" : "0", isOn ? "0" : "1")
        isOn.toggle()
    }

    /// So many sockets that a process makes while MPTCP is on.
    mutating func sockets(_ count: Int, _ pid: UInt32) throws -> [UInt64] {
        let made = (0..<count).compactMap { _ in socket(pid) }
        try #require(made.count == count)
        return made
    }

    /// socket() of a process that wants MPTCP; nil: it was refused.
    mutating func socket(_ pid: UInt32) -> UInt64? {
        _ = pass()
        if isOn { refused.remove(pid) } else { refused.insert(pid) }
        if !isOn {
            tracker.take(observation(.socketRefused, .initSock, .client, .mptcpSocket, pid: pid))
            return nil
        }
        var o = observation(.socketCreated, .initSock, .client, .mptcpSocket, pid: pid)
        o.msk = next()
        tracker.take(o)
        return o.msk
    }

    /// - Parameter wants: the process wants MPTCP, and falls back to TCP by itself.
    @discardableResult
    mutating func listen(_ pid: UInt32, wants: Bool, isKnown: Bool = true) -> UInt64 {
        let msk = wants ? socket(pid) : nil
        let created = wants ? now : pass()
        _ = pass()
        port += 1
        var o = observation(
            .listening, .inetSockSetState, .server, msk != nil ? .mptcpSocket : .plainSocket, pid: pid)
        o.socket = next()
        o.msk = msk ?? 0
        o.created = isKnown ? created : 0
        o.local = Endpoint(Address(v4: 0), port)
        tracker.take(o)
        let wasRefused = refused.contains(pid) && !isOn
        servers[o.socket] = Server(
            pid: pid, port: port, isMptcp: msk != nil, wasRefused: wasRefused, madeWhileOn: isOn)
        return o.socket
    }

    mutating func close(_ listener: UInt64) {
        _ = pass()
        var o = observation(.closed, .inetSockSetState, nil, .plainSocket)
        o.socket = listener
        o.listener = listener
        tracker.take(o)
        servers[listener] = nil
    }

    /// A client's connection with MP_CAPABLE comes from elsewhere.
    mutating func accept(_ listener: UInt64) {
        guard let server = servers[listener] else { return }
        _ = pass()
        port += 1
        let here = Endpoint(Address(v4: 0x0a00_0001), server.port)
        let there = Endpoint(Address(v4: 0x0a00_0002), port)
        var syn = observation(
            .synReceived, .skbIngress, .server,
            [server.isMptcp ? .mptcpSocket : .plainSocket, .optionCapable])
        syn.listener = listener
        syn.local = here
        syn.remote = there
        tracker.take(syn)
        var done = observation(
            .established, .inetSockSetState, .server,
            server.isMptcp ? [.mptcpSocket, .capable] : .plainSocket)
        done.socket = next()
        done.msk = server.isMptcp ? next() : 0
        done.token = server.isMptcp ? UInt32(port) : 0
        done.listener = listener
        done.local = here
        done.remote = there
        tracker.take(done)
    }

    /// A socket of the pool, or a new one, connects.
    @discardableResult
    mutating func connect(_ msk: UInt64, _ pid: UInt32, checksum: Bool? = false) -> (
        ssk: UInt64, there: Endpoint
    ) {
        _ = pass()
        port += 1
        let there = Endpoint(Address(v4: 0x0a00_0009), port)
        var syn = observation(.synSent, .inetSockSetState, .client, [.mptcpSocket, .requestsMptcp], pid: pid)
        syn.socket = next()
        syn.msk = msk
        syn.remote = there
        syn.socketChecksum = checksum
        syn.token = UInt32(port)
        tracker.take(syn)
        var done = observation(.mptcpEstablished, .inetSockSetState, .client, [.mptcpSocket, .capable])
        done.socket = syn.socket
        done.msk = msk
        done.local = Endpoint(Address(v4: 0x0a00_0001), port)
        done.remote = there
        done.token = UInt32(port)
        tracker.take(done)
        return (syn.socket, there)
    }

    mutating func end(_ msk: UInt64) {
        _ = pass()
        var o = observation(.closed, .inetSockSetState, nil, [.mptcpSocket, .msk])
        o.msk = msk
        tracker.take(o)
    }

    var findings: [AnomalyRecord] {
        tracker.records.compactMap { if case .anomaly(let it) = $0 { it } else { nil } }
    }

    mutating func takeFindings() -> [AnomalyRecord] {
        defer { tracker.records.removeAll() }
        return findings
    }

    /// The open ones, by kind, and what they are about: a listener's port, or a process.
    static func open(_ records: [AnomalyRecord]) -> [UInt64: AnomalyRecord] {
        var open: [UInt64: AnomalyRecord] = [:]
        for record in records { open[record.id] = record.state == .closed ? nil : record }
        return open
    }
}

@Suite struct OldValueTests {
    // MARK: listener_predates_enable

    @Test func whoWasRefusedAndListenedOnTcp() throws {
        var world = World()
        world.toggle()
        let plain = world.listen(1, wants: false)
        let refused = world.listen(2, wants: true)
        #expect(world.findings.isEmpty)
        world.toggle()
        var found = world.takeFindings()
        #expect(found.map(\.kind) == [.listenerPredatesEnable])
        #expect(found.map(\.listener) == [2])
        #expect(found.map(\.severity) == [.warning])
        #expect(found[0].message.contains("p2 (pid 2) was refused an MPTCP socket"))
        #expect(found[0].advice.hasPrefix("Restart p2 (pid 2)"))
        // MPTCP's clients fall back: graver. Of the other, which may only speak TCP, it is as far as it is known.
        world.accept(refused)
        world.accept(plain)
        found = world.takeFindings()
        #expect(found.map(\.state) == [.repeated, .open])
        #expect(found.map(\.severity) == [.error, .warning])
        #expect(found.map(\.listener) == [2, 1])
        #expect(found[1].message.contains("is older than that"))
        world.close(refused)
        world.toggle()
        found = world.takeFindings()
        #expect(found.map(\.state) == [.closed, .closed])
        #expect(found.map(\.listener) == [2, 1])
    }

    @Test func whoHasGotMptcpSinceIsNotRefusedAnyMore() {
        var world = World()
        world.toggle()
        _ = world.socket(1)
        world.toggle()
        _ = world.socket(1)
        let listener = world.listen(1, wants: false)
        world.accept(listener)
        #expect(world.findings.isEmpty)
    }

    /// It asked before, and does not ask again: but this listener could have had it.
    @Test func whoWasRefusedAndListensOnTcpLater() {
        var world = World()
        world.toggle()
        _ = world.socket(1)
        world.toggle()
        let listener = world.listen(1, wants: false)
        world.accept(listener)
        #expect(world.findings.isEmpty)
    }

    @Test func aTcpListenerMadeWhileItWasOnSaysNothing() {
        var world = World()
        let before = world.listen(1, wants: false)
        world.toggle()
        world.toggle()
        let after = world.listen(2, wants: false)
        world.accept(before)
        world.accept(after)
        #expect(world.findings.isEmpty)
    }

    /// When its socket was made is not known: no more than a hint, if that.
    @Test func whatIsNotKnownIsInfo() throws {
        var world = World()
        world.toggle()
        // The change back is found by looking: it happened within five seconds.
        let before = world.listen(1, wants: false, isKnown: false)
        let earliest = world.pass()
        let within = world.listen(2, wants: false, isKnown: false)
        world.set("0", "1", source: .poll, earliest: earliest)
        world.isOn = true
        let after = world.listen(3, wants: false, isKnown: false)
        for listener in [before, within, after] { world.accept(listener) }
        let found = world.findings
        #expect(found.map(\.listener) == [1, 2])
        #expect(found.map(\.severity) == [.warning, .info])
        #expect(found.last?.message.contains("not known") == true)
    }

    @Test(arguments: [("0", Severity.warning), ("1", .info)])
    func aListenerOfTheSnapshot(_ first: String, _ severity: Severity) {
        var tracker = Tracker()
        tracker.know(World.enabled, is: first, in: World.netns)
        var snapshot = Snapshot(time: 5)
        snapshot.listeners = [
            SnapshotListener(
                transport: .tcp, local: Endpoint(Address(v4: 0), 80), netns: World.netns, inode: 3, cookie: 9,
                mskCookie: 0, owner: nil)
        ]
        tracker.begin(snapshot, born: [])
        var world = World()
        world.tracker = tracker
        world.isOn = first == "1"
        if world.isOn { world.toggle() }
        world.toggle()
        world.servers[0x99] = World.Server(
            pid: 1, port: 80, isMptcp: false, wasRefused: false, madeWhileOn: false)
        world.accept(0x99)
        #expect(world.findings.map(\.severity) == [severity])
        #expect(world.findings.map(\.listener) == [1])
    }

    // MARK: socket_outlives_toggle

    @Test func aPoolConnectsAfterTheSwitch() throws {
        var world = World()
        let pool = try world.sockets(3, 5)
        let other = try world.sockets(1, 6)[0]
        world.toggle()
        var found = world.takeFindings()
        #expect(found.isEmpty)
        world.connect(pool[0], 5)
        world.connect(pool[1], 5)
        world.connect(other, 6)
        found = world.takeFindings()
        #expect(found.map(\.kind) == Array(repeating: .socketOutlivesToggle, count: 3))
        #expect(found.map(\.state) == [.open, .repeated, .open])
        #expect(found.map(\.count) == [1, 2, 1])
        #expect(Set(found.map(\.id)).count == 2)
        #expect(found.allSatisfy { $0.conn != 0 && $0.evidence.contains(.connection($0.conn)) })
        #expect(found[0].advice.contains("Restart p5 (pid 5)"))
        // It ends with the last of its sockets, also one that never connects, or with the switch.
        world.end(pool[0])
        world.end(pool[1])
        #expect(world.takeFindings().isEmpty)
        var gone = world.observation(.closed, .sockRelease, nil, [.mptcpSocket, .msk])
        gone.msk = pool[2]
        world.tracker.take(gone)
        found = world.takeFindings()
        #expect(found.map(\.state) == [.closed])
        world.toggle()
        found = world.takeFindings()
        #expect(found.map(\.state) == [.closed])
    }

    @Test(arguments: [false, true])
    func socketAndSynDisagreeAboutChecksums(_ made: Bool) throws {
        var world = World()
        let name = "net.mptcp.checksum_enabled"
        world.tracker.know(name, is: made ? "1" : "0", in: World.netns)
        let pool = try world.sockets(2, 5)
        world.set(made ? "1" : "0", made ? "0" : "1", name)
        world.connect(pool[0], 5, checksum: made)
        let fresh = try world.sockets(1, 5)[0]
        world.connect(fresh, 5, checksum: !made)
        var found = world.takeFindings()
        #expect(found.map(\.kind) == [.socketOutlivesToggle])
        #expect(found.map(\.sysctl) == [name])
        world.set(made ? "0" : "1", made ? "1" : "0", name)
        world.connect(pool[1], 5, checksum: made)
        found = world.takeFindings()
        #expect(found.map(\.state) == [.closed])
    }

    // MARK: setting_needs_restart

    @Test func aListenerKeepsItsScheduler() throws {
        var world = World()
        let name = "net.mptcp.scheduler"
        world.tracker.know(name, is: "default", in: World.netns)
        world.listen(1, wants: true)
        world.set("default", "other", name)
        world.listen(2, wants: true)
        var found = world.takeFindings()
        #expect(found.map(\.listener) == [1])
        #expect(found.map(\.kind) == [.settingNeedsRestart])
        #expect(found[0].message.contains("go by default"))
        // Back again: now the second one is behind.
        world.set("other", "default", name)
        found = world.takeFindings()
        #expect(found.map(\.listener) == [1, 2])
        #expect(found.map(\.state) == [.closed, .open])
    }

    @Test func aPoolKeepsItsPathManager() throws {
        var world = World()
        let name = "net.mptcp.pm_type"
        world.tracker.know(name, is: "0", in: World.netns)
        let pool = try world.sockets(3, 5)
        world.set("0", "1", name)
        let fresh = try world.sockets(1, 5)[0]
        var found = world.takeFindings()
        #expect(found.map(\.kind) == [.settingNeedsRestart])
        #expect(found[0].message.contains("has 3 MPTCP sockets"))
        world.connect(pool[0], 5)
        world.connect(fresh, 5)
        found = world.takeFindings()
        #expect(found.map(\.state) == [.repeated])
        #expect(found[0].conn != 0)
        for msk in pool { world.end(msk) }
        found = world.takeFindings()
        #expect(found.map(\.state) == [.closed])
    }

    // MARK: what is not known

    /// Whether the kernel took a write is not known: nothing is claimed until the next tells.
    @Test func aWriteThatMayHaveBeenRefused() {
        var world = World()
        world.listen(1, wants: true)
        func write(_ old: String, _ new: String, _ accepted: Bool?) {
            world.tracker.take(
                SettingChange(
                    time: world.pass(), netns: World.netns, name: World.enabled, old: old, new: new,
                    source: .bpf, accepted: accepted))
        }
        write("1", "0", nil)
        #expect(world.findings.isEmpty)
        world.isOn = false
        world.connect(0x77, 6)
        #expect(world.findings.isEmpty)
        // It was taken.
        write("0", "0", true)
        world.connect(0x78, 6)
        #expect(world.findings.map(\.kind) == [.socketOutlivesToggle])
    }

    @Test func theBeginningIsNotForgotten() {
        var history = SettingHistory()
        history.know(World.enabled, is: "1", in: 7, since: 0)
        for number in 1...UInt64(200) {
            history.add(
                SettingHistory.Change(
                    earliest: number * 10, time: number * 10, old: "\(number % 2)",
                    new: "\((number + 1) % 2)", number: number), of: World.enabled, in: 7)
        }
        #expect(history.firstValue(World.enabled, in: 7) == "1")
        #expect(history.value(World.enabled, in: 7) == "1")
        #expect(history.value(World.enabled, in: 7, at: 5) == nil)
        #expect(history.value(World.enabled, in: 7, at: 1_995) == "0")
    }

    @Test func aNumberOfAProcessThatIsGone() {
        var world = World()
        world.toggle()
        _ = world.socket(1)
        #expect(world.tracker.refusedProcesses == [1])
        world.tracker.forget(process: 1)
        world.refused = []
        world.listen(1, wants: false)
        world.toggle()
        #expect(world.findings.isEmpty)
    }

    /// Many are counted; the first are named.
    @Test func aLargePool() throws {
        var world = World()
        _ = try world.sockets(5_000, 5)
        world.toggle()
        let record = try #require(
            world.tracker.records.compactMap { if case .sysctl(let it) = $0 { it } else { nil } }.last)
        #expect(record.affected.sockets.count == 5_000)
        #expect(record.affected.sockets.ids == Array(1...256))
    }

    // MARK: where writes are not seen

    /// It is on again, which the next look will show: what is made meanwhile is not old.
    @Test func whatShowsThatItIsOnAgainIsNotOld() throws {
        var world = World(seesWrites: false)
        let earliest = world.pass()
        world.set("1", "0", source: .poll, earliest: earliest)
        // World knows better.
        let listener = world.listen(1, wants: true)
        world.accept(listener)
        let known = try world.sockets(1, 5)[0]
        world.connect(known, 5)
        world.connect(0x77, 6)
        #expect(world.findings.isEmpty)
    }

    @Test func whatIsOlderIsOldAllTheSame() throws {
        var world = World(seesWrites: false)
        let listener = world.listen(1, wants: true)
        let known = try world.sockets(1, 5)[0]
        let earliest = world.pass()
        world.set("1", "0", source: .poll, earliest: earliest)
        world.accept(listener)
        world.connect(known, 5)
        #expect(
            world.findings.map(\.kind) == [
                .listenerOutlivesDisable, .listenerOutlivesDisable, .socketOutlivesToggle,
            ])
    }

    /// The out-of-tree stack: a plain listener there is plain because the switch was off.
    @Test func aPlainListenerOfTheOtherStack() {
        var tracker = Tracker()
        let name = "net.mptcp.mptcp_enabled"
        tracker.know(name, is: "0", in: 1)
        func listening(_ socket: UInt64, at time: UInt64) -> Observation {
            var o = Observation(time: time, step: .listening, hook: .listenStart, side: .server)
            o.netns = 7
            o.socket = socket
            o.facts = .plainSocket
            o.local = Endpoint(Address(v4: 0), 80)
            return o
        }
        tracker.take(listening(0x10, at: 5))
        tracker.take(
            SettingChange(
                time: 10, netns: 1, name: name, old: "0", new: "1", source: .poll, accepted: true,
                earliest: 8))
        tracker.take(listening(0x20, at: 20))
        let found = tracker.records.compactMap { record -> AnomalyRecord? in
            if case .anomaly(let it) = record { it } else { nil }
        }
        #expect(found.map(\.kind) == [.listenerPredatesEnable])
        #expect(found.map(\.listener) == [1])
        #expect(found.map(\.severity) == [.warning])
    }

    // MARK: all together

    /// Whatever happens, in whatever order: what is open is what is true.
    @Test(arguments: 0..<40)
    func anyCourse(_ seed: UInt64) throws {
        var dice = Dice(seed)
        var world = World()
        var records: [AnomalyRecord] = []
        /// Listeners of which a connection was the proof, since the switch was turned.
        var proven: Set<UInt64> = []
        /// Sockets of processes that connected with the old value, and are open.
        var old: [UInt32: Set<UInt64>] = [:]
        var pool: [(msk: UInt64, pid: UInt32, madeAt: Int)] = []
        var connected: [(msk: UInt64, pid: UInt32)] = []
        var turns = 0
        for _ in 0..<400 {
            switch Int.random(in: 0..<12, using: &dice) {
            case 0, 1:
                world.toggle()
                turns += 1
                proven.removeAll()
                if world.isOn { old.removeAll() }
            case 2, 3: world.listen(UInt32.random(in: 1...6, using: &dice), wants: .random(using: &dice))
            case 4:
                if let listener = world.servers.keys.sorted().randomElement(using: &dice) {
                    world.close(listener)
                    proven.remove(listener)
                }
            case 5, 6, 7:
                if let listener = world.servers.keys.sorted().randomElement(using: &dice) {
                    world.accept(listener)
                    proven.insert(listener)
                }
            case 8, 9:
                let pid = UInt32.random(in: 11...14, using: &dice)
                if let msk = world.socket(pid) { pool.append((msk, pid, turns)) }
            case 10:
                guard let place = pool.indices.randomElement(using: &dice) else { break }
                let socket = pool.remove(at: place)
                world.connect(socket.msk, socket.pid)
                connected.append((socket.msk, socket.pid))
                if !world.isOn {
                    // Its finding is about all that were made as early.
                    if old[socket.pid] == nil {
                        old[socket.pid] = Set(pool.filter { $0.pid == socket.pid }.map(\.msk))
                    }
                    old[socket.pid]?.insert(socket.msk)
                }
            default:
                guard let place = connected.indices.randomElement(using: &dice) else { break }
                let socket = connected.remove(at: place)
                world.end(socket.msk)
                old[socket.pid]?.remove(socket.msk)
                if old[socket.pid]?.isEmpty == true { old[socket.pid] = nil }
            }
            let found = world.takeFindings()
            records += found
            let open = World.open(records)
            var expected: Set<String> = []
            for (pointer, server) in world.servers {
                if !world.isOn, server.isMptcp { expected.insert("outlives \(server.port)") }
                if world.isOn, !server.isMptcp,
                    server.wasRefused || !server.madeWhileOn && proven.contains(pointer)
                {
                    expected.insert("predates \(server.port)")
                }
            }
            for pid in old.keys { expected.insert("old \(pid)") }
            let seen = open.values.map { record -> String in
                switch record.kind {
                case .listenerOutlivesDisable: "outlives \(Self.port(record.message))"
                case .listenerPredatesEnable: "predates \(Self.port(record.message))"
                case .socketOutlivesToggle: "old \(Self.pid(record.message))"
                default: "\(record.kind)"
                }
            }
            try #require(Set(seen) == expected)
            try #require(seen.count == expected.count)
        }
        #expect(!records.isEmpty)
    }

    private static func port(_ message: String) -> String { word(after: "port ", in: message) }
    private static func pid(_ message: String) -> String { word(after: "(pid ", in: message) }

    private static func word(after prefix: String, in message: String) -> String {
        guard let range = message.firstRange(of: prefix) else { return "?" }
        return String(message[range.upperBound...].prefix { $0.isNumber })
    }
}

/// The path manager's limits.
@Suite struct LimitTests {
    private static let few = "add_addr_accepted 0 subflows 2"
    private static let many = "add_addr_accepted 2 subflows 4"

    private func change(_ world: inout World, _ old: String, _ new: String, since earliest: UInt64) {
        world.tracker.take(
            limits: SettingChange(
                time: world.pass(), netns: World.netns, name: "limits", old: old, new: new, source: .poll,
                accepted: true, earliest: earliest))
    }

    private func addresses(_ world: World) -> [AddressRecord] {
        world.tracker.records.compactMap { if case .address(let it) = $0 { it } else { nil } }
    }

    @Test func whatWasMadeBeforeKeepsThem() throws {
        var world = World()
        world.tracker.know("limits", is: Self.few, in: World.netns)
        let open = try world.sockets(1, 5)[0]
        world.connect(open, 5)
        let waiting = try world.sockets(1, 6)[0]
        let earliest = world.pass()
        // It may have been made before or after.
        let between = try world.sockets(1, 7)[0]
        change(&world, Self.few, Self.many, since: earliest)
        let record = try #require(addresses(world).last)
        #expect(record.change == .limits && record.old == Self.few && record.new == Self.many)
        #expect(record.source == .poll && record.sampledAt == .socket)
        #expect(record.affected?.connections == [1] && record.affected?.sockets == [2])
        var found = world.takeFindings()
        #expect(found.map(\.kind) == [.settingNeedsRestart])
        #expect(found[0].sysctl == nil)
        #expect(found[0].message.contains("1 connection and 1 socket made before keep \(Self.few)"))
        #expect(found[0].advice.contains("p5 (pid 5), p6 (pid 6)"))
        world.end(between)
        world.end(open)
        #expect(world.takeFindings().isEmpty)
        world.end(waiting)
        found = world.takeFindings()
        #expect(found.map(\.state) == [.closed])
    }

    @Test func itIsOverWhenTheyAreBack() throws {
        var world = World()
        world.tracker.know("limits", is: Self.few, in: World.netns)
        let open = try world.sockets(1, 5)[0]
        world.connect(open, 5)
        var earliest = world.pass()
        change(&world, Self.few, Self.many, since: earliest)
        let later = try world.sockets(1, 6)[0]
        world.connect(later, 6)
        earliest = world.pass()
        change(&world, Self.many, Self.few, since: earliest)
        // Now it is the other one that is behind.
        let found = world.takeFindings()
        #expect(found.map(\.state) == [.open, .closed, .open])
        #expect(found[2].message.contains("1 connection made before keeps \(Self.many)"))
        #expect(found[2].advice.contains("p6 (pid 6)"))
    }

    /// What is older than the trace goes by what it was then, however often it changes.
    @Test func thereAndBack() throws {
        var tracker = Tracker()
        tracker.know("limits", is: Self.few, in: World.netns)
        var snapshot = Snapshot(time: 5)
        snapshot.connections = [
            SnapshotConnection(
                local: Endpoint(Address(v4: 1), 1), remote: Endpoint(Address(v4: 2), 2), netns: World.netns,
                token: 7, inode: 3, cookie: 9, subflows: 1, state: .mptcp, side: .client, owner: nil)
        ]
        tracker.begin(snapshot, born: [])
        var world = World()
        world.tracker = tracker
        for _ in 0..<3 {
            var earliest = world.pass()
            change(&world, Self.few, Self.many, since: earliest)
            #expect(world.takeFindings().map(\.state) == [.open])
            earliest = world.pass()
            change(&world, Self.many, Self.few, since: earliest)
            #expect(addresses(world).last?.affected?.connections == [])
            #expect(world.takeFindings().map(\.state) == [.closed])
        }
    }

    @Test func endpointsLeaveNobodyBehind() throws {
        var world = World()
        world.tracker.take(
            endpoint: Endpoint(Address(v4: 0x0a00_0001), 0), id: 3, .endpointAdded, in: 7, at: 5)
        let record = try #require(addresses(world).first)
        #expect(record.conn == 0 && record.netns == 7 && record.id == 3 && record.sampledAt == .use)
        #expect(world.findings.isEmpty)
    }
}
