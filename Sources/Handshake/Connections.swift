// SPDX-License-Identifier: Apache-2.0

/// One connection, as far as it is known, with its first subflow; or, when `isJoin`, an additional
/// subflow of one.
struct Connection {
    /// Of a join: its connection's; 0: not known.
    var id: UInt64 = 0
    /// Tells apart what had the same place in the store, one after the other; 0: the place is free.
    var serial: UInt64 = 0
    var isJoin = false
    /// Of a join: the place and serial of its connection; -1: not known.
    var parent: Int32 = -1
    var parentSerial: UInt64 = 0
    /// Its number within the connection.
    var subflow: UInt32 = 0
    /// The highest number given to a subflow of this connection.
    var lastSubflow: UInt32 = 0
    var localID: UInt8?
    var remoteID: UInt8?
    var backup: Bool?
    /// What was seen earlier and still holds (`Facts.lasting`).
    var facts: Facts = []
    var kernelReason: KernelReason?
    /// Its handshake ended as MPTCP.
    var hadMptcp = false
    /// It lost MPTCP after the handshake.
    var fellBack = false
    /// A socket was made, and has not begun to connect.
    var isWaiting = false
    /// ns, CLOCK_MONOTONIC, when its socket was made; 0: not known.
    var created: UInt64 = 0
    /// What it connected with though the settings say otherwise.
    var oldValues: Tracker.OldValues = []
    /// A finding ends with it.
    var isMember = false
    var state = SubflowState.none
    var side: Side?
    /// The kernel's pointers to its first subflow and its MPTCP socket; 0: none known.
    var ssk: UInt64 = 0
    var msk: UInt64 = 0
    /// The key under which a half-open handshake is found by its addresses; 0: not any more.
    var tupleKey: UInt64 = 0
    var cookie: UInt64 = 0
    var local = Endpoint.unspecified
    var remote = Endpoint.unspecified
    var netns: UInt32 = 0
    var listener: UInt64 = 0
    var owner: Owner?
    var token: UInt32 = 0
    var remoteToken: UInt32 = 0
    var mptcpVersion: UInt8?
    var checksum: Bool?
    /// ns; 0: not seen.
    var synTime: UInt64 = 0
    var synackTime: UInt64 = 0
    /// ns after `born` at which the kernel lets a half-open handshake go; nil: not known.
    var patience: UInt64?
    /// When it was first heard of, or began to connect; the order of its list.
    var born: UInt64 = 0
    var synRetransmits: UInt8 = 0
    var retransmitsKnown = false
    var error: UInt32 = 0
    var decided = false
    var fromSnapshot = false
    var subflows: UInt32 = 1
    /// How many losses had been reported when it began.
    var lossesBefore: UInt64 = 0

    // The list it is in, oldest first; -1 ends it.
    var previous: Int32 = -1
    var next: Int32 = -1

    /// Connections wait in lists, so that the oldest of each kind is at hand.
    enum Kind: Int, CaseIterable {
        /// Half-open at a server: a SYN flood fills this one.
        case halfOpen
        /// Sockets that were made and may connect at any time.
        case waiting
        /// Any other handshake that is not decided.
        case connecting
        case decided
    }

    var kind: Kind {
        decided ? .decided : side == .server ? .halfOpen : isWaiting ? .waiting : .connecting
    }
}

/// A bounded store of connections, each found by its subflow's or msk's pointer, its cookie or
/// its addresses. It is for the tracker to make room when it is full.
struct Connections {
    private(set) var slots: ContiguousArray<Connection> = []
    private var free: ContiguousArray<Int32> = []
    private var bySubflow = PointerTable()
    private var byMsk = PointerTable()
    private var byTuple = PointerTable()
    private var byCookie = PointerTable()
    private var byToken = PointerTable()
    private var lastSerial: UInt64 = 0
    /// Such as a finding was about, and are gone.
    private var goneMembers: [UInt64] = []
    private var lists = [List](repeating: List(), count: Connection.Kind.allCases.count)
    let capacity: Int
    private let seed: UInt64

    struct List {
        var first: Int32 = -1
        var last: Int32 = -1
    }

    /// - Parameter seed: makes what is found by address hard to steer for whoever sends the SYNs.
    init(capacity: Int, seed: UInt64) {
        self.capacity = capacity
        self.seed = seed
    }

    private(set) var count = 0

    /// -1: there is none.
    func oldest(_ kind: Connection.Kind) -> Int32 { lists[kind.rawValue].first }

    subscript(index: Int32) -> Connection {
        _read { yield slots[Int(index)] }
        _modify { yield &slots[Int(index)] }
    }

    // MARK: finding

    func subflow(_ pointer: UInt64) -> Int32? { bySubflow[pointer] }
    func msk(_ pointer: UInt64) -> Int32? { byMsk[pointer] }
    func cookie(_ cookie: UInt64) -> Int32? { byCookie[cookie] }

    /// The connection that has this token at this end.
    func token(_ netns: UInt32, _ token: UInt32) -> Int32? {
        token == 0 ? nil : byToken[UInt64(netns) << 32 | UInt64(token)]
    }

    func halfOpen(_ observation: Observation) -> Int32? {
        let key = tupleKey(observation.netns, observation.local, observation.remote)
        guard let index = byTuple[key] else { return nil }
        let connection = slots[Int(index)]
        guard connection.local == observation.local, connection.remote == observation.remote,
            connection.netns == observation.netns
        else { return nil }
        return index
    }

    private func tupleKey(_ netns: UInt32, _ local: Endpoint, _ remote: Endpoint) -> UInt64 {
        var hash = seed
        func mix(_ value: UInt64) {
            hash = (hash ^ value) &* 0xff51_afd7_ed55_8ccd
            hash ^= hash >> 32
        }
        mix(local.address.high)
        mix(local.address.low)
        mix(remote.address.high)
        mix(remote.address.low)
        mix(UInt64(local.port) << 48 | UInt64(remote.port) << 32 | UInt64(netns))
        return hash == 0 ? 1 : hash
    }

    // MARK: changing

    /// A new connection. The store must have room (see `isFull`).
    mutating func add(_ connection: Connection) -> Int32 {
        let index: Int32
        lastSerial += 1
        if let recycled = free.popLast() {
            index = recycled
            slots[Int(index)] = connection
        } else {
            index = Int32(slots.count)
            slots.append(connection)
        }
        slots[Int(index)].serial = lastSerial
        append(index)
        count += 1
        return index
    }

    var isFull: Bool { count >= capacity }

    /// The most memory, in bytes, that a store of this capacity ever needs: as an array or table
    /// doubles, the old one is there beside the new.
    static func worstCase(_ capacity: Int) -> Int {
        (capacity * (MemoryLayout<Connection>.stride + MemoryLayout<Int32>.stride)
            + 5 * PointerTable.worstCase(capacity)) * 3 / 2
    }

    mutating func setSubflow(_ index: Int32, _ pointer: UInt64) {
        if pointer == slots[Int(index)].ssk { return }
        if slots[Int(index)].ssk != 0 { bySubflow[slots[Int(index)].ssk] = nil }
        if let stale = bySubflow[pointer] { slots[Int(stale)].ssk = 0 }
        slots[Int(index)].ssk = pointer
        bySubflow[pointer] = index
    }

    mutating func setMsk(_ index: Int32, _ pointer: UInt64) {
        if pointer == slots[Int(index)].msk { return }
        if slots[Int(index)].msk != 0 { byMsk[slots[Int(index)].msk] = nil }
        if let stale = byMsk[pointer] { slots[Int(stale)].msk = 0 }
        slots[Int(index)].msk = pointer
        byMsk[pointer] = index
    }

    /// By which joins find it.
    mutating func setToken(_ index: Int32, _ token: UInt32) {
        let connection = slots[Int(index)]
        if token == connection.token { return }
        forgetToken(connection, index)
        slots[Int(index)].token = token
        byToken[UInt64(connection.netns) << 32 | UInt64(token)] = index
    }

    private mutating func forgetToken(_ connection: Connection, _ index: Int32) {
        let key = UInt64(connection.netns) << 32 | UInt64(connection.token)
        if connection.token != 0, byToken[key] == index { byToken[key] = nil }
    }

    mutating func setCookie(_ index: Int32, _ cookie: UInt64) {
        slots[Int(index)].cookie = cookie
        byCookie[cookie] = index
    }

    mutating func setHalfOpen(_ index: Int32) {
        let connection = slots[Int(index)]
        let key = tupleKey(connection.netns, connection.local, connection.remote)
        if let stale = byTuple[key] { slots[Int(stale)].tupleKey = 0 }
        slots[Int(index)].tupleKey = key
        byTuple[key] = index
    }

    mutating func clearHalfOpen(_ index: Int32) {
        let key = slots[Int(index)].tupleKey
        if key != 0 { byTuple[key] = nil }
        slots[Int(index)].tupleKey = 0
    }

    mutating func markDecided(_ index: Int32) {
        if slots[Int(index)].decided { return }
        unlink(index)
        slots[Int(index)].decided = true
        append(index)
        clearHalfOpen(index)
    }

    /// A socket that waited connects: it begins now.
    mutating func renew(_ index: Int32, at time: UInt64) {
        unlink(index)
        slots[Int(index)].isWaiting = false
        slots[Int(index)].born = time
        append(index)
    }

    var hasGoneMembers: Bool { !goneMembers.isEmpty }

    mutating func takeGoneMembers() -> [UInt64] {
        defer { goneMembers.removeAll(keepingCapacity: true) }
        return goneMembers
    }

    mutating func remove(_ index: Int32) {
        let connection = slots[Int(index)]
        if connection.ssk != 0 { bySubflow[connection.ssk] = nil }
        if connection.msk != 0 { byMsk[connection.msk] = nil }
        if connection.cookie != 0 { byCookie[connection.cookie] = nil }
        if !connection.isJoin { forgetToken(connection, index) }
        clearHalfOpen(index)
        unlink(index)
        if connection.isMember { goneMembers.append(connection.id) }
        slots[Int(index)].serial = 0
        slots[Int(index)].isWaiting = false
        free.append(index)
        count -= 1
    }

    private mutating func append(_ index: Int32) {
        let list = slots[Int(index)].kind.rawValue
        let last = lists[list].last
        slots[Int(index)].previous = last
        slots[Int(index)].next = -1
        if last >= 0 { slots[Int(last)].next = index }
        if lists[list].first < 0 { lists[list].first = index }
        lists[list].last = index
    }

    private mutating func unlink(_ index: Int32) {
        let connection = slots[Int(index)]
        let list = connection.kind.rawValue
        if connection.previous >= 0 { slots[Int(connection.previous)].next = connection.next }
        if connection.next >= 0 { slots[Int(connection.next)].previous = connection.previous }
        if lists[list].first == index { lists[list].first = connection.next }
        if lists[list].last == index { lists[list].last = connection.previous }
    }
}
