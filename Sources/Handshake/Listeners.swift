// SPDX-License-Identifier: Apache-2.0

/// A listening socket.
struct Listener {
    var id: UInt64
    /// nil: unknown.
    var transport: TransportProtocol?
    var local: Endpoint
    var netns: UInt32
    var owner: Owner?
    var inode: UInt32
    /// The kernel's pointer; 0 until an event named it.
    var pointer: UInt64
    var cookie: UInt64
    var enabledAtCreation: Bool?
    var origin: ListenerOrigin
    /// ns, CLOCK_MONOTONIC, when its socket was made, and when it began to listen; 0: not known.
    var created: UInt64 = 0
    var opened: UInt64 = 0
    /// A process that was refused MPTCP opened it: the `conn` of that; 0: none did.
    var refusal: UInt64 = 0
    /// Where every socket is MPTCP while the switch is on (out-of-tree stack): it is plain for that reason.
    var isPlainBySwitch = false
}

/// The listeners known, found by the kernel's pointer (those seen to open) or by their socket
/// cookie (those of the snapshot, until an event gives their pointer too).
struct Listeners {
    private var all: [UInt64: Listener] = [:]
    private var byPointer = PointerTable()
    private var byCookie = PointerTable()
    let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    var isFull: Bool { all.count >= capacity }

    subscript(id: UInt64) -> Listener? { all[id] }

    var everyone: some Collection<Listener> { all.values }

    func at(pointer: UInt64) -> Listener? {
        guard let id = byPointer[pointer] else { return nil }
        return all[UInt64(id)]
    }

    /// The listener that an event names by pointer; or, when it comes from the snapshot, by cookie.
    ///
    /// An event from before the snapshot gave the socket its cookie has none: then the only
    /// listener of the snapshot to which the kernel could have handed a packet for that address
    /// is meant, if there is just one.
    mutating func find(_ observation: Observation) -> Listener? {
        let pointer = observation.listener
        if let known = at(pointer: pointer) {
            return known.netns == observation.netns ? known : nil
        }
        var id = byCookie[observation.cookie].map { UInt64($0) }
        if observation.cookie == 0 { id = onlyCandidate(observation) }
        guard let id, var listener = all[id], listener.netns == observation.netns else { return nil }
        if listener.pointer == 0, pointer != 0 {
            listener.pointer = pointer
            all[id] = listener
            byPointer[pointer] = Int32(truncatingIfNeeded: id)
        }
        return listener
    }

    private func onlyCandidate(_ observation: Observation) -> UInt64? {
        // Of an established child the flags are its own, not its listener's.
        let transport: TransportProtocol? =
            observation.step == .established ? nil : observation.facts.contains(.mptcpSocket) ? .mptcp : .tcp
        var only: UInt64?
        for (id, listener) in all
        where listener.origin == .snapshot && listener.pointer == 0 && listener.netns == observation.netns
            && (transport == nil || listener.transport == nil || listener.transport == transport)
            && listener.local.port == observation.local.port
            && (listener.local.address.isUnspecified || listener.local.address == observation.local.address)
        {
            if only != nil { return nil }
            only = id
        }
        return only
    }

    mutating func add(_ listener: Listener) {
        all[listener.id] = listener
        byPointer[listener.pointer] = Int32(truncatingIfNeeded: listener.id)
        byCookie[listener.cookie] = Int32(truncatingIfNeeded: listener.id)
    }

    mutating func rehome(_ id: UInt64, _ owner: Owner) { all[id]?.owner = owner }

    mutating func remove(_ id: UInt64) {
        guard let listener = all.removeValue(forKey: id) else { return }
        byPointer[listener.pointer] = nil
        byCookie[listener.cookie] = nil
    }
}
