// SPDX-License-Identifier: Apache-2.0

/// The mirror: takes observations in the order in which the kernel made them, keeps every
/// connection's state, and finds records. Pure: no I/O and no clock; time comes in with the
/// observations and with `advance(to:)`.
///
/// Records are appended to `records`; whoever drives the tracker takes them from there.
public struct Tracker {
    public struct Options: Sendable {
        /// Write a `step` for every input.
        public var steps = false
        /// Write plain TCP as well.
        public var allTcp = false
        /// How many connections are kept; beyond, the oldest make room and are counted.
        public var capacity = 131_072
        /// How many listeners are kept.
        public var listenerCapacity = 16_384
        /// ns after which the kernel gives up a half-open handshake of a server, where its
        /// namespace's tcp_synack_retries is not known; 5 means 63 s.
        public var serverPatience: UInt64 = 63_000_000_000
        /// ns after which a client's handshake whose end was not seen is let go;
        /// tcp_syn_retries = 6 means 127 s.
        public var clientPatience: UInt64 = 300_000_000_000
        /// Every write to a setting is seen; else it is looked at now and then, and may have been another
        /// value meanwhile.
        public var seesWrites = true
        /// Of the hash by which half-open handshakes are found.
        public var seed: UInt64 = 0x6d70_7363_6f70_6521

        public init() {}
    }

    /// What was found and not yet taken.
    public var records: ContiguousArray<Record> = []
    /// Handshakes and connections that had to make room.
    public internal(set) var evicted: UInt64 = 0

    let table: TransitionTable
    let options: Options
    var connections: Connections
    var listeners: Listeners
    /// Listeners that closed, and when, whose half-open handshakes are to follow.
    var closing: [UInt64: UInt64] = [:]
    var lastConnection: UInt64 = 0
    var lastListener: UInt64 = 0
    /// ns, CLOCK_MONOTONIC, of the last listen() that was seen; 0: there was none.
    public internal(set) var lastListenerOpened: UInt64 = 0
    var lastAnomaly: UInt64 = 0
    /// Rises with every gap.
    var losses: UInt64 = 0
    /// When the last loss was told that no event tells: what began earlier may have holes.
    var lossTold: UInt64 = 0
    var lossesSeen: UInt32 = 0
    var evictedReported: UInt64 = 0
    var divergences: [UInt32: Divergence] = [:]
    var history = SettingHistory()
    /// Of changes of settings.
    var lastChangeNumber: UInt64 = 0
    var refusals = Refusals()
    var findings = Findings()

    struct Divergence {
        var id: UInt64
        var count: UInt64
        var lastWritten: UInt64
    }

    public init(_ options: Options = Options(), table: TransitionTable = TransitionTable()) {
        self.options = options
        self.table = table
        connections = Connections(capacity: max(1, options.capacity), seed: options.seed)
        listeners = Listeners(capacity: max(1, options.listenerCapacity))
    }

    /// How many connections are being followed.
    public var connectionCount: Int { connections.count }

    // MARK: the opening snapshot

    /// Takes the socket tables as they were when the trace began. `born`: the observations made
    /// between attaching and the end of the snapshot, which are *not* taken here but must be
    /// fed next. What they saw begin is left out of the snapshot, so nothing is told twice.
    public mutating func begin(_ snapshot: Snapshot, born: some Sequence<Observation>) {
        var inodes: Set<UInt64> = []
        // A token is not always told (sock_diag leaves it out of a closing socket's).
        var tokens: Set<UInt64> = []
        var ends: Set<Ends> = []
        for observation in born {
            let netns = UInt64(observation.netns) << 32
            switch observation.step {
            case .listening: inodes.insert(netns | UInt64(observation.inode))
            case .synSent, .synReceived, .established, .mptcpEstablished, .fallback:
                if observation.token != 0 { tokens.insert(netns | UInt64(observation.token)) }
                ends.insert(
                    Ends(netns: observation.netns, local: observation.local, remote: observation.remote))
            default: break
            }
        }
        for found in snapshot.listeners
        where !inodes.contains(UInt64(found.netns) << 32 | UInt64(found.inode)) && !listeners.isFull {
            lastListener += 1
            let listener = Listener(
                id: lastListener, transport: found.transport, local: found.local, netns: found.netns,
                owner: found.owner, inode: found.inode, pointer: 0, cookie: found.cookie,
                enabledAtCreation: nil, origin: .snapshot)
            listeners.add(listener)
            write(listener, .open, snapshot.time)
            checkOutliving(listener, at: snapshot.time)
        }
        for found in snapshot.connections
        where !tokens.contains(UInt64(found.netns) << 32 | UInt64(found.token)) && !connections.isFull
            && !ends.contains(Ends(netns: found.netns, local: found.local, remote: found.remote))
        {
            lastConnection += 1
            var connection = Connection()
            connection.id = lastConnection
            connection.state = found.state == .mptcp ? .mptcpEstablished : .fallback
            connection.side = found.side
            connection.local = found.local
            connection.remote = found.remote
            connection.netns = found.netns
            connection.owner = found.owner
            connection.subflows = found.subflows
            connection.decided = true
            connection.hadMptcp = found.state == .mptcp
            connection.fromSnapshot = true
            let index = connections.add(connection)
            if found.token != 0 { connections.setToken(index, found.token) }
            if found.cookie != 0 { connections.setCookie(index, found.cookie) }
            records.append(
                .connection(
                    ConnectionRecord(
                        time: snapshot.time, conn: connection.id, side: found.side, local: found.local,
                        remote: found.remote, token: found.token, owner: found.owner,
                        netns: found.netns, subflows: found.subflows, state: found.state)))
        }
    }

    private struct Ends: Hashable {
        var netns: UInt32
        var local: Endpoint
        var remote: Endpoint
    }

    // MARK: the stream

    /// Events were lost before the next observation: what follows may have holes, and is not
    /// held against the kernel.
    public mutating func noteLoss(_ lost: LostRecord) {
        losses += lost.count
        lossTold = max(lossTold, lost.time)
        records.append(.lost(lost))
    }

    /// Whether something of it may have been lost since it began.
    func mayHaveHoles(_ index: Int32) -> Bool {
        connections[index].lossesBefore != losses || connections[index].born < lossTold
    }

    /// Takes one observation.
    public mutating func take(_ observation: Observation) {
        // The kernel lost something just before it. What is told of the loss may come earlier or
        // later; here it is known exactly which handshakes may have holes.
        if observation.losses != lossesSeen {
            lossesSeen = observation.losses
            losses &+= 1
        }
        switch observation.step {
        case .listening:
            listenerOpened(observation)
        case .closed where observation.listener != 0 && observation.listener == observation.socket:
            listenerClosed(observation)
        case .addressed:
            addressed(observation)
        case .mptcpEstablished where observation.facts.contains(.fellBack) && !observation.hook.onlyAdds:
            // A packet that came between the SYN-ACK and its verdict took it back already.
            if let index = find(observation) {
                apply(observation, to: index)
                noteFallback(observation, index)
            }
        case .closed where observation.facts.contains([.msk, .fellBack]):
            if let index = find(observation) {
                noteFallback(observation, index)
                apply(observation, to: index)
            }
        default:
            if let index = find(observation) { apply(observation, to: index) }
        }
        if connections.hasGoneMembers { partFromMembers(at: observation.time) }
    }

    /// Time passes: handshakes that the kernel lets go without a word are decided.
    /// - Parameters:
    ///   - time: ns, CLOCK_MONOTONIC.
    ///   - limit: how many are decided in this call; after a flood there may be very many.
    /// - Returns: whether these were all.
    @discardableResult
    public mutating func advance(to time: UInt64, atMost limit: Int = .max) -> Bool {
        func before(_ patience: UInt64) -> UInt64 { time < patience ? 0 : time - patience }
        var left = limit
        guard letGo(&left) else { return false }
        expireHalfOpen(time, [], &left)
        expire(.connecting, before: before(options.clientPatience), time, [], &left)
        if connections.hasGoneMembers { partFromMembers(at: time) }
        tellFindings(at: time)
        reportEvictions(time)
        return left > 0
    }

    /// The trace ends: what is undecided stays so. In pieces like `advance(to:atMost:)`.
    @discardableResult
    public mutating func finish(at time: UInt64, atMost limit: Int = .max) -> Bool {
        var left = limit
        guard letGo(&left) else { return false }
        expireHalfOpen(time, .traceEnd, &left)
        expire(.connecting, before: .max, time, .traceEnd, &left)
        tellFindings(at: time, evenSoon: true)
        reportEvictions(time)
        return left > 0
    }

    /// Decides half-open handshakes that the kernel has let go, the oldest first; at the end of the
    /// trace, all of them. Its timers may be an eighth late (their wheel is coarse).
    private mutating func expireHalfOpen(_ time: UInt64, _ facts: Facts, _ left: inout Int) {
        while left > 0 {
            let index = connections.oldest(.halfOpen)
            if index < 0 { return }
            let patience = patience(index)
            if !facts.contains(.traceEnd), time < connections[index].born &+ patience &+ patience / 8 {
                return
            }
            // It may have been gone before the trace ended.
            decideByTime(index, time, isOver(index, time) ? [] : facts)
            left -= 1
        }
    }

    private func patience(_ index: Int32) -> UInt64 {
        connections[index].patience ?? options.serverPatience
    }

    /// Whether the kernel has let a half-open handshake go by then.
    func isOver(_ index: Int32, _ time: UInt64) -> Bool {
        time >= connections[index].born &+ patience(index)
    }

    /// Decides handshakes of one kind that are older than `limit`, the oldest first.
    private mutating func expire(
        _ kind: Connection.Kind, before limit: UInt64, _ time: UInt64, _ facts: Facts, _ left: inout Int
    ) {
        while left > 0 {
            let index = connections.oldest(kind)
            if index < 0 || connections[index].born >= limit { return }
            left -= 1
            decideByTime(index, time, facts)
        }
    }

    mutating func decideByTime(_ index: Int32, _ time: UInt64, _ facts: Facts) {
        let connection = connections[index]
        // A socket made long ago that never connected: nothing to decide.
        if connection.state != .created, connection.state != .none {
            var observation = Observation(time: time, step: .timer, hook: .clock, side: connection.side)
            observation.netns = connection.netns
            observation.facts = facts
            apply(observation, to: index)
        }
        if connections[index].serial == connection.serial { connections.remove(index) }
    }

    private mutating func reportEvictions(_ time: UInt64) {
        guard evicted > evictedReported else { return }
        records.append(
            .lost(
                LostRecord(time: time, hook: .tracker, count: evicted - evictedReported, reason: .tableFull)))
        evictedReported = evicted
    }
}
