// SPDX-License-Identifier: Apache-2.0

import Handshake
import Kernel

/// Whether the processes that the mirror names are still there. A daemon listens before it leaves its
/// parent: then the socket is another's. One that was refused a socket and is gone leaves its number to
/// another.
final class ListenerHolders {
    private var lastLook: UInt64 = 0
    private var lastYoungLook: UInt64 = 0
    /// Listeners of which nobody was found who holds them, and when.
    private var nobodys: [UInt64: UInt64] = [:]
    /// ns; for so long after listen() it is looked at often: at most every `youngPause`, as each of its
    /// handshakes may ask; then every `pause`. When a setting is written, all are, every `soonPause`.
    private static let youth: UInt64 = 3_000_000_000
    private static let youngPause: UInt64 = 2_000_000
    private static let soonPause: UInt64 = 100_000_000
    private static let pause: UInt64 = 1_000_000_000
    /// ns until somebody is looked for again.
    private static let patience: UInt64 = 5_000_000_000

    /// Whether this listener's process may be about to leave it to another.
    func isYoung(_ listener: UInt64, in tracker: borrowing Tracker, at now: UInt64) -> Bool {
        tracker.listener(listener).map { $0.opened != 0 && now < $0.opened &+ Self.youth } ?? false
    }

    /// Tells the mirror who holds what by now.
    /// - Parameter soon: whoever is to be named is about to be.
    func look(for tracker: inout Tracker, at now: UInt64, soon: Bool = false) {
        let all = now >= lastLook &+ (soon ? Self.soonPause : Self.pause)
        let hasYoung = now < tracker.lastListenerOpened &+ Self.youth
        guard all || hasYoung && now >= lastYoungLook &+ Self.youngPause else { return }
        lastYoungLook = now
        if all { lastLook = now }
        var gone: [UInt64: UInt32] = [:]
        for listener in tracker.knownListeners where all || now < listener.opened &+ Self.youth {
            if let pid = listener.pid, listener.inode != 0, !SocketHolders.isHeld(by: pid),
                nobodys[listener.id].map({ now >= $0 &+ Self.patience }) ?? true
            {
                gone[listener.id] = listener.inode
            }
        }
        if all {
            for pid in tracker.refusedProcesses where !SocketHolders.isHeld(by: pid) {
                tracker.forget(process: pid)
            }
            nobodys = nobodys.filter { tracker.listener($0.key) != nil }
        }
        if gone.isEmpty { return }
        let holders = SocketHolders.find(Set(gone.values))
        for (id, inode) in gone {
            if let owner = holders[inode] { tracker.rehome(id, to: owner) } else { nobodys[id] = now }
        }
    }
}
