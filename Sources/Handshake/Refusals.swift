// SPDX-License-Identifier: Apache-2.0

/// Processes that were refused an MPTCP socket because MPTCP was off, and have not got one since: a TCP
/// listener of such a one is what it does instead.
struct Refusals {
    private struct Process: Hashable {
        var netns: UInt32
        var pid: UInt32
    }

    /// By its `conn`, under which its step is written.
    private var all: [Process: UInt64] = [:]
    private static let limit = 4096

    var isEmpty: Bool { all.isEmpty }
    var pids: Set<UInt32> { Set(all.keys.map(\.pid)) }

    mutating func add(_ observation: Observation, conn: UInt64) {
        guard let owner = observation.owner else { return }
        // Any: who is forgotten is not called refused.
        if all.count >= Self.limit, let some = all.keys.first { all[some] = nil }
        all[Process(netns: observation.netns, pid: owner.pid)] = conn
    }

    /// It has got one.
    mutating func remove(_ observation: Observation) {
        guard let owner = observation.owner, !all.isEmpty else { return }
        all[Process(netns: observation.netns, pid: owner.pid)] = nil
    }

    /// It is gone: its number may be another's.
    mutating func remove(pid: UInt32) { all = all.filter { $0.key.pid != pid } }

    /// 0: it was not refused.
    func of(_ owner: Owner?, in netns: UInt32) -> UInt64 {
        owner.flatMap { all[Process(netns: netns, pid: $0.pid)] } ?? 0
    }
}

extension Tracker {
    /// Processes that were refused an MPTCP socket.
    public var refusedProcesses: Set<UInt32> { refusals.isEmpty ? [] : refusals.pids }

    /// A process is gone.
    public mutating func forget(process pid: UInt32) { refusals.remove(pid: pid) }
}
