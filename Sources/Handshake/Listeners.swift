// SPDX-License-Identifier: Apache-2.0

/// A listening socket.
struct Listener {
    var id: UInt64
    var transport: TransportProtocol
    var local: Endpoint
    var netns: UInt32
    var owner: Owner?
    var inode: UInt32
    /// The kernel's pointer; 0 until an event named it.
    var pointer: UInt64
    var cookie: UInt64
    var enabledAtCreation: Bool?
    var origin: ListenerOrigin
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

    func at(pointer: UInt64) -> Listener? {
        guard let id = byPointer[pointer] else { return nil }
        return all[UInt64(id)]
    }

    /// The listener that an event names by pointer, or by cookie when it comes from the snapshot.
    mutating func find(pointer: UInt64, cookie: UInt64, netns: UInt32) -> Listener? {
        if let known = at(pointer: pointer) { return known.netns == netns ? known : nil }
        guard let id = byCookie[cookie], var listener = all[UInt64(id)], listener.netns == netns else {
            return nil
        }
        if listener.pointer == 0, pointer != 0 {
            listener.pointer = pointer
            all[UInt64(id)] = listener
            byPointer[pointer] = id
        }
        return listener
    }

    mutating func add(_ listener: Listener) {
        all[listener.id] = listener
        byPointer[listener.pointer] = Int32(truncatingIfNeeded: listener.id)
        byCookie[listener.cookie] = Int32(truncatingIfNeeded: listener.id)
    }

    mutating func remove(_ id: UInt64) {
        guard let listener = all.removeValue(forKey: id) else { return }
        byPointer[listener.pointer] = nil
        byCookie[listener.cookie] = nil
    }
}
