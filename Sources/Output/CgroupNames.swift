// SPDX-License-Identifier: Apache-2.0

import Handshake

/// What a cgroup id stands for.
public struct CgroupName: Hashable, Sendable {
    /// Path below the cgroup file system, `/system.slice/nginx.service`.
    public var path: String
    /// What it says of its processes; nil: nothing.
    public var unit: Unit?
    /// Its process is that manager.
    public var manager: SystemdManager?

    public init(path: String, unit: Unit? = nil, manager: SystemdManager? = nil) {
        self.path = path
        self.unit = unit
        self.manager = manager
    }
}

/// A socket on which systemd called listen() for a unit of its own, or a connection to one.
public struct ManagedSocket: Hashable, Sendable {
    public var manager: SystemdManager
    public var local: Endpoint
    /// 0: unknown.
    public var netns: UInt32
    public var isListener: Bool

    public init(manager: SystemdManager, local: Endpoint, netns: UInt32, isListener: Bool) {
        self.manager = manager
        self.local = local
        self.netns = netns
        self.isListener = isListener
    }
}

/// What is asked about the owner of a socket: the socket's own end decides when systemd listens.
struct OwnedSocket {
    var owner: Owner
    var local: Endpoint
    var netns: UInt32
    var side: Side?
    var isListener = false
}

/// The members `cgroup` and `unit`, and what advice says of the unit: encoded once for each cgroup.
struct CgroupNames: ~Copyable {
    /// Of what is said of a unit: `,"unit":"…"`, and its part in advice about a restart and about a
    /// process. All 0: there is none.
    private struct Lengths {
        var unit = 0
        var restart = 0
        var mention = 0
    }

    /// Where the text of a cgroup begins: `,"cgroup":"…"`, then that of its unit.
    private struct Place {
        var start = 0
        var path = 0
        var lengths = Lengths()
        var manager: SystemdManager?
    }

    private let names: (UInt64) -> CgroupName?
    private let sockets: (ManagedSocket) -> Unit?
    private var text = ByteBuffer(capacity: 4096)
    private var places: [UInt64: Place] = [:]
    private var managed: [ManagedSocket: Place] = [:]
    private var lastID: UInt64 = 0
    private var last = Place()
    /// Where the unit stands: in `last`, or in the place of a socket unit.
    private var unit = Place()

    init(
        _ names: @escaping (UInt64) -> CgroupName?, sockets: @escaping (ManagedSocket) -> Unit? = { _ in nil }
    ) {
        self.names = names
        self.sockets = sockets
    }

    /// Looks for what is known of the owner of `socket`: the following calls write that.
    @inline(__always)
    mutating func find(_ socket: OwnedSocket?) {
        let id = socket?.owner.cgroup ?? 0
        if id != lastID {
            makeRoom()
            find(id)
        }
        unit = last
        if let manager = last.manager, let socket { find(socket, of: manager) }
    }

    /// Writes the cgroup's path (if `withPath`) and its unit.
    @inline(__always)
    borrowing func write(withPath: Bool, to line: inout ByteBuffer) {
        if withPath { line.append(text, from: last.start, count: last.path) }
        line.append(text, from: unit.start &+ unit.path, count: unit.lengths.unit)
    }

    /// There is a unit.
    @inline(__always)
    var hasUnit: Bool { unit.lengths.unit > 0 }

    /// Writes what advice says in `place`.
    borrowing func writeAdvice(_ place: UnitPlace, to line: inout ByteBuffer) {
        let start = unit.start + unit.path + unit.lengths.unit
        switch place {
        case .nowhere: break
        case .restart: line.append(text, from: start, count: unit.lengths.restart)
        case .process: line.append(text, from: start + unit.lengths.restart, count: unit.lengths.mention)
        }
    }

    @inline(never)
    private mutating func find(_ id: UInt64) {
        lastID = id
        last = Place()
        if id == 0 { return }
        if let known = places[id] {
            last = known
            return
        }
        last.start = text.count
        if let name = names(id) {
            text.append(",\"cgroup\":\"")
            text.append(json: name.path)
            text.append("\"")
            last.path = text.count - last.start
            if let found = name.unit { last.lengths = encode(found) }
            last.manager = name.manager
        }
        // What is not found once (a cgroup already gone) is not looked for again.
        places[id] = last
    }

    @inline(never)
    private mutating func find(_ socket: OwnedSocket, of manager: SystemdManager) {
        // What systemd itself connects to is no unit's.
        if socket.side == .client { return }
        let question = ManagedSocket(
            manager: manager, local: socket.local, netns: socket.netns, isListener: socket.isListener)
        if let known = managed[question] {
            unit = known
            return
        }
        if makeRoom() { find(socket.owner.cgroup) }
        unit = Place(start: text.count)
        // What is not found is looked for again: units come while a trace runs.
        guard let found = sockets(question) else { return }
        unit.lengths = encode(found)
        managed[question] = unit
    }

    private mutating func encode(_ found: Unit) -> Lengths {
        var lengths = Lengths()
        var start = text.count
        text.append(",\"unit\":\"")
        text.append(json: found.name)
        text.append("\"")
        lengths.unit = text.count - start
        start = text.count
        text.append(json: found.restart)
        lengths.restart = text.count - start
        start = text.count
        text.append(json: found.mention)
        lengths.mention = text.count - start
        return lengths
    }

    /// Ids are never used twice, so that a machine that makes many cgroups fills the tables.
    /// - Returns: true: all was forgotten.
    @discardableResult
    private mutating func makeRoom() -> Bool {
        guard places.count + managed.count >= 4096 || text.count > 1 << 20 else { return false }
        places.removeAll(keepingCapacity: true)
        managed.removeAll(keepingCapacity: true)
        text.clear()
        return true
    }
}
