// SPDX-License-Identifier: Apache-2.0

/// Processes that were refused an MPTCP socket because MPTCP was off, and have not got one since: a TCP
/// listener of such a one is what it does instead.
struct Refusals {
    struct Process: Hashable {
        var netns: UInt32
        var pid: UInt32
    }

    /// By its `conn`, under which its step is written.
    private var all = BoundedTable<Process, UInt64>(limit: 4096)

    mutating func add(_ observation: Observation, conn: UInt64) {
        guard let owner = observation.owner else { return }
        all.update(Process(netns: observation.netns, pid: owner.pid), default: 0) { $0 = conn }
    }

    /// It has got one.
    mutating func remove(_ observation: Observation) {
        guard let owner = observation.owner else { return }
        _ = all.remove(Process(netns: observation.netns, pid: owner.pid))
    }

    /// 0: it was not refused.
    func of(_ owner: Owner?, in netns: UInt32) -> UInt64 {
        owner.flatMap { all[Process(netns: netns, pid: $0.pid)] } ?? 0
    }
}
