// SPDX-License-Identifier: Apache-2.0

/// Which records a person asked for, as far as the kernel could not decide it: whose socket it
/// is, how it ended, and a client's own port.
///
/// Restricts connections only; listeners, losses and anomalies pass. Steps of a handshake that
/// is not decided yet wait (bounded) until it is.
public struct Selection {
    /// Inodes of the network namespaces wanted, listeners included; nil: all.
    public var namespaces: Set<UInt32>?
    public var pid: UInt32?
    public var comm: Comm?
    /// Whether an owner in this cgroup (by id) is wanted; nil: all are.
    public var cgroup: ((UInt64) -> Bool)?
    public var outcomes: Set<Outcome> = []
    public var side: Side?
    public var family: UInt8 = 0
    public var port: UInt16 = 0
    public var localPort: UInt16 = 0
    public var remotePort: UInt16 = 0
    public var address: Address?
    public var prefixLength = 128

    private var known: [UInt64: Fate] = [:]
    /// Connections that wait with their steps, oldest first from `firstWaiting`; some are decided by now.
    private var waiting: [UInt64] = []
    private var firstWaiting = 0
    /// How many steps wait, all in all.
    private(set) var waitingSteps = 0
    /// Steps that had to make room and are not told yet.
    private var dropped: UInt64 = 0
    /// How many connections may wait with their steps, and with how many.
    private static let waitingLimit = 16_384
    static let waitingStepLimit = 65_536
    /// How many fates are kept: more than the tracker follows connections.
    private static let knownLimit = 262_144
    private static let stepLimit = 64

    private enum Fate {
        case wanted, unwanted
        case waiting([Record])

        var isWanted: Bool {
            if case .wanted = self { true } else { false }
        }
    }

    public init() {}

    /// Whether anything is restricted at all.
    public var isActive: Bool {
        namespaces != nil || pid != nil || comm != nil || cgroup != nil || !outcomes.isEmpty || side != nil
            || family != 0
            || port != 0 || localPort != 0 || remotePort != 0 || address != nil
    }

    /// Whether the kernel leaves connections out by their ends, so that their joins come alone.
    private var restrictsInKernel: Bool {
        side != nil || family != 0 || port != 0 || localPort != 0 || remotePort != 0 || address != nil
    }

    /// Appends `record`, and whatever waited for it, to `out` if it is wanted.
    public mutating func pass(_ record: Record, to out: inout ContiguousArray<Record>) {
        switch record {
        case .listener(let listener):
            if namespaces?.contains(listener.netns) ?? true { out.append(record) }
        case .sysctl(let sysctl):
            if namespaces?.contains(sysctl.change.netns) ?? true { out.append(record) }
        case .lost:
            out.append(record)
        case .anomaly:
            out.append(record)
        case .step(let step):
            if let namespaces, !namespaces.contains(step.observation.netns) { return }
            // A socket that was refused never becomes a connection.
            if step.conn == 0 || step.observation.step == .socketRefused {
                // A listener's; or of a subflow whose connection is not known.
                let o = step.observation
                if o.step == .listening
                    || !restrictsInKernel && wants(o.netns, step.side, step.owner, o.local, o.remote)
                {
                    out.append(record)
                }
                return
            }
            switch known[step.conn] {
            case .wanted?: out.append(record)
            case .unwanted?: break
            case .waiting(var steps)?:
                if steps.count >= Self.stepLimit {
                    dropped += 1
                    return
                }
                known[step.conn] = nil
                steps.append(record)
                known[step.conn] = .waiting(steps)
                waitingSteps += 1
            case nil:
                if step.from == .closed { return }
                // Its earlier steps had to make room.
                if step.from != .none {
                    dropped += 1
                    return
                }
                makeRoom()
                waiting.append(step.conn)
                known[step.conn] = .waiting([record])
                waitingSteps += 1
            }
        case .handshake(let handshake):
            let wanted =
                (outcomes.isEmpty || outcomes.contains(handshake.outcome))
                && wants(handshake.netns, handshake.side, handshake.owner, handshake.local, handshake.remote)
            if case .waiting(let steps)? = known[handshake.conn] {
                waitingSteps -= steps.count
                if wanted { out.append(contentsOf: steps) }
            }
            if wanted { out.append(record) }
            let over =
                handshake.outcome != .mptcp && handshake.outcome != .fallback
                && handshake.outcome != .tcp
            known[handshake.conn] = nil
            if !over { decide(handshake.conn, wanted) }
        case .connection(let connection):
            let outcome: Outcome = connection.state == .mptcp ? .mptcp : .fallback
            let wanted =
                (outcomes.isEmpty || outcomes.contains(outcome))
                && (side == nil || connection.side == side)
                && wants(connection.netns, nil, connection.owner, connection.local, connection.remote)
            decide(connection.conn, wanted)
            if wanted { out.append(record) }
        case .close(let close):
            if known[close.conn]?.isWanted ?? false { out.append(record) }
            // The ends of its further subflows may come after its own.
            if !close.hasJoins { known[close.conn] = nil }
        case .join(let join):
            // The kernel left its connection out, unless there never was one.
            if join.conn == 0
                ? (!restrictsInKernel || join.reason == .mpJoinNoTokenFound)
                    && wants(join.netns, join.side, join.owner, join.local, join.remote)
                : known[join.conn]?.isWanted ?? false
            {
                out.append(record)
            }
        case .address(let address):
            if address.conn == 0 {
                if namespaces?.contains(address.netns) ?? true { out.append(record) }
            } else if case .wanted? = known[address.conn] {
                out.append(record)
            }
        case .fallback(let fallback):
            if case .wanted? = known[fallback.conn] { out.append(record) }
        }
    }

    /// Appends what is to be told of steps that had to make room; for the end of each look at what
    /// came, and at `time`.
    public mutating func tellLosses(at time: UInt64, to out: inout ContiguousArray<Record>) {
        guard dropped > 0 else { return }
        out.append(.lost(LostRecord(time: time, hook: .tracker, count: dropped, reason: .tableFull)))
        dropped = 0
    }

    private mutating func decide(_ conn: UInt64, _ wanted: Bool) {
        if known.count >= Self.knownLimit {
            // Connections are numbered as they come: the younger half stays.
            let ids = known.keys.sorted()
            for conn in ids.prefix(ids.count / 2) { forget(conn) }
        }
        known[conn] = wanted ? .wanted : .unwanted
    }

    /// The oldest that wait make room, and those whose end was never seen; steps that are dropped
    /// so are counted.
    private mutating func makeRoom() {
        while firstWaiting < waiting.count,
            waiting.count - firstWaiting >= Self.waitingLimit || waitingSteps >= Self.waitingStepLimit
        {
            let conn = waiting[firstWaiting]
            firstWaiting += 1
            if case .waiting? = known[conn] { forget(conn) }
        }
        if firstWaiting > Self.waitingLimit {
            waiting.removeFirst(firstWaiting)
            firstWaiting = 0
        }
    }

    private mutating func forget(_ conn: UInt64) {
        guard case .waiting(let steps)? = known.removeValue(forKey: conn) else { return }
        waitingSteps -= steps.count
        dropped += UInt64(steps.count)
    }

    private func wants(
        _ netns: UInt32, _ itsSide: Side?, _ owner: Owner?, _ local: Endpoint, _ remote: Endpoint
    ) -> Bool {
        if let namespaces, !namespaces.contains(netns) { return false }
        if let side, let itsSide, side != itsSide { return false }
        if let pid, owner?.pid != pid { return false }
        if let comm, owner?.comm != comm { return false }
        if let cgroup, !(owner.map { $0.cgroup != 0 && cgroup($0.cgroup) } ?? false) { return false }
        if family != 0, (family == 4) != remote.address.isV4 { return false }
        if port != 0, port != local.port, port != remote.port { return false }
        if localPort != 0, localPort != local.port { return false }
        if remotePort != 0, remotePort != remote.port { return false }
        if let address, !local.address.matches(address, bits: prefixLength),
            !remote.address.matches(address, bits: prefixLength)
        {
            return false
        }
        return true
    }
}
