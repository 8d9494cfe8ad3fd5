// SPDX-License-Identifier: Apache-2.0

import Handshake
import Kernel

/// Whether the processes that called listen() are still there: a daemon listens before it leaves its
/// parent. Of one that is gone, the socket is another's by now.
final class ListenerHolders {
    private struct Listener {
        var inode: UInt32
        var pid: UInt32
        /// ns; it is looked at often until then.
        var youngUntil: UInt64
    }

    /// By their ids.
    private var listeners: [UInt64: Listener] = [:]
    private var lastLook: UInt64 = 0
    private var lastYoungLook: UInt64 = 0
    /// ns between two looks at young ones: each handshake of theirs may ask.
    private static let youngPause: UInt64 = 2_000_000
    private static let youth: UInt64 = 3_000_000_000
    private static let pause: UInt64 = 1_000_000_000

    func take(_ record: ListenerRecord, inode: UInt32) {
        guard record.state == .open, let owner = record.owner, inode != 0 else {
            listeners[record.listener] = nil
            return
        }
        listeners[record.listener] = Listener(
            inode: inode, pid: owner.pid,
            youngUntil: record.origin == .seen ? record.time &+ Self.youth : 0)
    }

    /// Whether its process may be about to leave it to another.
    func isYoung(_ listener: UInt64, at now: UInt64) -> Bool {
        listeners[listener].map { now < $0.youngUntil } ?? false
    }

    /// New holders, by listener.
    /// - Parameter all: look at every one, however long it has been there.
    func look(at now: UInt64, all: Bool = false) -> [(listener: UInt64, owner: Owner)] {
        let all = all || now >= lastLook &+ Self.pause
        if !all, now < lastYoungLook &+ Self.youngPause { return [] }
        lastYoungLook = now
        if all { lastLook = now }
        let gone = listeners.filter {
            (all || now < $0.value.youngUntil) && !SocketHolders.isHeld(by: $0.value.pid)
        }
        if gone.isEmpty { return [] }
        let holders = SocketHolders.find(Set(gone.values.map(\.inode)))
        return gone.compactMap { id, listener in
            guard let owner = holders[listener.inode] else { return nil }
            listeners[id]?.pid = owner.pid
            return (id, owner)
        }
    }
}
