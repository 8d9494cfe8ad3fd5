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
        /// ns after which the kernel has given up a half-open handshake of a server:
        /// tcp_synack_retries = 5 means 63 s.
        public var serverPatience: UInt64 = 70_000_000_000
        /// ns after which a client's handshake whose end was not seen is let go;
        /// tcp_syn_retries = 6 means 127 s.
        public var clientPatience: UInt64 = 300_000_000_000
        /// Of the hash by which half-open handshakes are found.
        public var seed: UInt64 = 0x6d70_7363_6f70_6521

        public init() {}
    }

    /// What was found and not yet taken.
    public var records: ContiguousArray<Record> = []
    /// Handshakes and connections that had to make room.
    public private(set) var evicted: UInt64 = 0

    private let table: TransitionTable
    private let options: Options
    private var connections: Connections
    private var listeners: Listeners
    private var lastConnection: UInt64 = 0
    private var lastListener: UInt64 = 0
    private var lastAnomaly: UInt64 = 0
    /// Rises with every gap.
    private var losses: UInt64 = 0
    private var lossesSeen: UInt32 = 0
    private var evictedReported: UInt64 = 0
    private var divergences: [UInt32: Divergence] = [:]

    private struct Divergence {
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
            connection.token = found.token
            connection.owner = found.owner
            connection.subflows = found.subflows
            connection.decided = true
            connection.fromSnapshot = true
            let index = connections.add(connection)
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
        records.append(.lost(lost))
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
        case .joinSynSent:
            if let index = connections.msk(observation.msk) { connections[index].joinsTried = true }
        case .socketRefused, .joinSynReceived, .joinSynackSent, .joinSynackReceived:
            break
        case .joinEstablished:
            if let index = connections.msk(observation.msk) { connections[index].subflows += 1 }
        default:
            if let index = find(observation) { apply(observation, to: index) }
        }
    }

    /// Time passes: handshakes that the kernel lets go without a word are decided.
    /// - Parameter time: ns, CLOCK_MONOTONIC.
    public mutating func advance(to time: UInt64) {
        expire(.halfOpen, before: time < options.serverPatience ? 0 : time - options.serverPatience, time, [])
        expire(
            .connecting, before: time < options.clientPatience ? 0 : time - options.clientPatience, time, [])
        reportEvictions(time)
    }

    /// The trace ends: what is undecided stays so.
    public mutating func finish(at time: UInt64) {
        expire(.halfOpen, before: .max, time, .traceEnd)
        expire(.connecting, before: .max, time, .traceEnd)
        reportEvictions(time)
    }

    /// Decides every handshake of one kind that is older than `limit`.
    private mutating func expire(
        _ kind: Connection.Kind, before limit: UInt64, _ time: UInt64, _ facts: Facts
    ) {
        while true {
            let index = connections.oldest(kind)
            if index < 0 || connections[index].born >= limit { return }
            let connection = connections[index]
            // A socket made long ago that never connected: nothing to decide.
            if connection.state != .created, connection.state != .none {
                var observation = Observation(time: time, step: .timer, hook: .clock, side: connection.side)
                observation.netns = connection.netns
                observation.facts = facts
                apply(observation, to: index)
            }
            if connections[index].id == connection.id { connections.remove(index) }
        }
    }

    private mutating func reportEvictions(_ time: UInt64) {
        guard evicted > evictedReported else { return }
        records.append(
            .lost(
                LostRecord(time: time, hook: .tracker, count: evicted - evictedReported, reason: .tableFull)))
        evictedReported = evicted
    }

    // MARK: whose observation it is

    private mutating func find(_ observation: Observation) -> Int32? {
        switch observation.step {
        case .socketCreated:
            if let stale = connections.msk(observation.msk) { forget(stale) }
            return add(observation)
        case .synSent:
            return observation.hook == .skbEgress
                ? sameEnds(connections.subflow(observation.socket), observation) : connecting(observation)
        case .synReceived:
            // A half-open handshake of the same addresses that was answered is this SYN again.
            return connections.halfOpen(observation) ?? addHalfOpen(observation)
        case .synackSent, .ackReceived:
            return connections.halfOpen(observation)
        case .synackReceived:
            return sameEnds(connections.subflow(observation.socket), observation)
        case .established where observation.side == .server:
            return accepted(observation)
        case .mptcpEstablished where observation.side == .server:
            return accepted(observation)
        case .established:
            if let index = sameEnds(connections.subflow(observation.socket), observation) { return index }
            // Of a plain socket that began before the trace, nothing is told.
            return nil
        case .mptcpEstablished, .fallback:
            if let index = connections.msk(observation.msk) { return index }
            return add(observation)
        case .closed where observation.hook == .sockRelease:
            guard let index = connections.msk(observation.msk), connections[index].state == .created
            else { return nil }
            return index
        case .closed where observation.facts.contains(.msk):
            return connections.msk(observation.msk) ?? connections.cookie(observation.cookie)
        case .closed, .reset:
            return sameEnds(connections.subflow(observation.socket), observation)
        default:
            return nil
        }
    }

    /// A pointer may be a new socket's: the peer's address and the namespace must be the same too.
    private func sameEnds(_ index: Int32?, _ observation: Observation) -> Int32? {
        guard let index else { return nil }
        let connection = connections[index]
        guard connection.netns == observation.netns, connection.remote == observation.remote,
            connection.local.port == 0 || observation.local.port == 0
                || connection.local.port == observation.local.port
        else { return nil }
        return index
    }

    /// connect(): always the beginning of a connection, whoever had the pointers before.
    private mutating func connecting(_ observation: Observation) -> Int32? {
        if let stale = connections.subflow(observation.socket) {
            if connections[stale].decided {
                connections.setSubflow(stale, 0)
            } else {
                forget(stale)
            }
        }
        if let known = connections.msk(observation.msk) {
            if connections[known].state == .created {
                connections.setSubflow(known, observation.socket)
                connections.renew(known, at: observation.time)
                return known
            }
            forget(known)
        }
        let index = add(observation)
        if let index { connections.setSubflow(index, observation.socket) }
        return index
    }

    /// Its end was not seen: it was lost (and counted there), or began with the trace half over.
    private mutating func forget(_ index: Int32) {
        connections.remove(index)
    }

    private mutating func accepted(_ observation: Observation) -> Int32? {
        guard
            let index = connections.halfOpen(observation) ?? sameEnds(
                connections.subflow(observation.socket), observation) ?? add(observation)
        else { return nil }
        if let stale = connections.subflow(observation.socket), stale != index, !connections[stale].decided {
            forget(stale)
        }
        connections.setSubflow(index, observation.socket)
        return index
    }

    private mutating func addHalfOpen(_ observation: Observation) -> Int32? {
        guard let index = add(observation) else { return nil }
        connections.setHalfOpen(index)
        return index
    }

    private mutating func add(_ observation: Observation) -> Int32? {
        if connections.isFull { evictOldest() }
        lastConnection += 1
        var connection = Connection()
        connection.id = lastConnection
        connection.side = observation.side
        connection.netns = observation.netns
        connection.local = observation.local
        connection.remote = observation.remote
        connection.lossesBefore = losses
        connection.born = observation.time
        return connections.add(connection)
    }

    private mutating func evictOldest() {
        for kind in Connection.Kind.allCases {
            let index = connections.oldest(kind)
            if index < 0 { continue }
            connections.remove(index)
            break
        }
        evicted += 1
        losses += 1
    }

    // MARK: applying a row

    private mutating func apply(_ observation: Observation, to index: Int32) {
        learn(observation, index)
        let from = connections[index].state
        var verdict = Verdict.nothing
        let to: SubflowState
        var diverged = false
        if let number = table.row(from: from, on: observation.step, observation.facts) {
            let row = table.rows[number]
            to = row.to ?? from
            verdict = row.verdict
        } else {
            (to, verdict) = Self.whatItMeans(observation, from)
            diverged = connections[index].lossesBefore == losses
        }
        if connections[index].lossesBefore != losses,
            observation.step == .closed || observation.step == .timer,
            observation.facts.isDisjoint(with: [.refused, .timedOut, .connectionReset, .otherError]),
            case .decide = verdict
        {
            // Why it never got further may have been in what was lost.
            verdict = .decide(.aborted, .notFollowed)
        }
        connections[index].state = to
        if options.steps || diverged { writeStep(observation, index, from, to) }
        if diverged { writeDivergence(observation, index, from) }
        switch verdict {
        case .nothing: break
        case .decide(let outcome, let reason): decide(observation, index, outcome, reason)
        case .close: close(observation, index, from)
        }
        // A socket that never connected, or a connection that is over on both levels.
        if to == .closed, connections[index].decided || from == .created {
            let connection = connections[index]
            if connection.msk == 0 || observation.facts.contains(.msk) || verdict == .close {
                connections.remove(index)
            }
        }
    }

    /// Outside the table, the kernel is still right: what its own state says is taken over.
    private static func whatItMeans(
        _ observation: Observation, _ from: SubflowState
    ) -> (SubflowState, Verdict) {
        let undecided =
            from != .mptcpEstablished && from != .fallback && from != .plain
            && from != .subflowClosed && from != .closed
        switch observation.step {
        case .mptcpEstablished where observation.side == .client:
            return (.mptcpEstablished, undecided ? .decide(.mptcp, nil) : .nothing)
        case .fallback:
            return (.fallback, undecided ? .decide(.fallback, nil) : .nothing)
        case .established where observation.facts.contains(.capable):
            return (.mptcpEstablished, undecided ? .decide(.mptcp, nil) : .nothing)
        case .established where observation.side == .server && observation.facts.contains(.plainSocket):
            return (.fallback, undecided ? .decide(.fallback, nil) : .nothing)
        case .closed:
            return (.closed, undecided ? .decide(.aborted, .notFollowed) : .close)
        default:
            return (from, .nothing)
        }
    }

    /// Keeps what the observation tells of the connection.
    private mutating func learn(_ observation: Observation, _ index: Int32) {
        if observation.msk != 0 { connections.setMsk(index, observation.msk) }
        switch observation.step {
        case .synSent:
            if connections[index].synTime == 0 { connections[index].synTime = observation.time }
            if observation.hook != .skbEgress { connections[index].remote = observation.remote }
        case .synReceived:
            if connections[index].synTime == 0 {
                connections[index].synTime = observation.time
            } else if connections[index].synRetransmits < 255 {
                connections[index].synRetransmits += 1
            }
            connections[index].retransmitsKnown = true
        case .synackSent, .synackReceived:
            if connections[index].synackTime == 0 { connections[index].synackTime = observation.time }
        default: break
        }
        if connections[index].side == .client, observation.hook == .inetSockSetState,
            observation.step != .synSent
        {
            if !observation.facts.contains(.msk) || observation.step == .mptcpEstablished
                || observation.step == .fallback, !connections[index].decided
            {
                connections[index].synRetransmits = observation.retransmits
                connections[index].retransmitsKnown = true
            }
        }
        if observation.local.port != 0 { connections[index].local = observation.local }
        if connections[index].remote.port == 0 { connections[index].remote = observation.remote }
        if observation.token != 0 { connections[index].token = observation.token }
        if observation.remoteToken != 0 { connections[index].remoteToken = observation.remoteToken }
        if observation.error != 0 { connections[index].error = observation.error }
        if let version = observation.mptcpVersion { connections[index].mptcpVersion = version }
        if let checksum = observation.checksum { connections[index].checksum = checksum }
        if let owner = observation.owner { connections[index].owner = owner }
        if observation.listener != 0, connections[index].listener == 0,
            observation.step == .synReceived || observation.hook == .inetSockSetState,
            let listener = listeners.find(observation)
        {
            connections[index].listener = listener.id
            connections[index].owner = listener.owner
        }
    }

    // MARK: records

    private mutating func decide(
        _ observation: Observation, _ index: Int32, _ outcome: Outcome, _ reason: Reason?
    ) {
        if connections[index].decided { return }
        connections.markDecided(index)
        if outcome == .tcp, !options.allTcp { return }
        let connection = connections[index]
        var record = HandshakeRecord(
            time: observation.time, conn: connection.id, side: connection.side ?? .client,
            outcome: outcome, reason: reason, local: connection.local, remote: connection.remote,
            family: observation.family != 0
                ? observation.family
                : connection.remote.address.isV4 ? 4 : 6,
            owner: connection.owner, netns: connection.netns)
        record.error = connection.error
        record.listener = connection.listener
        record.token = connection.token
        record.remoteToken = connection.remoteToken
        // What was agreed; of an attempt that failed, only what was asked for is known.
        if outcome == .mptcp {
            record.mptcpVersion = connection.mptcpVersion
            record.checksum = connection.checksum
        }
        record.timings = Self.timings(connection, until: observation.time)
        record.synRetransmits = connection.retransmitsKnown ? connection.synRetransmits : nil
        records.append(.handshake(record))
    }

    private static func timings(_ connection: Connection, until end: UInt64) -> Timings {
        func between(_ from: UInt64, _ to: UInt64) -> UInt64? {
            from != 0 && to != 0 && to >= from ? to - from : nil
        }
        return Timings(
            synToSynack: between(connection.synTime, connection.synackTime),
            synackToEstablished: between(connection.synackTime, end),
            total: between(connection.synTime, end))
    }

    private mutating func close(_ observation: Observation, _ index: Int32, _ from: SubflowState) {
        let connection = connections[index]
        if from == .plain, !options.allTcp { return }
        records.append(
            .close(
                CloseRecord(
                    time: observation.time, conn: connection.id,
                    duration: connection.synTime != 0 && observation.time >= connection.synTime
                        ? observation.time - connection.synTime : nil,
                    subflows: connection.joinsTried ? nil : connection.subflows)))
    }

    private mutating func writeStep(
        _ observation: Observation, _ index: Int32, _ from: SubflowState, _ to: SubflowState
    ) {
        let connection = connections[index]
        var told = observation
        told.local = connection.local
        told.remote = connection.remote
        told.netns = connection.netns
        if told.token == 0 { told.token = connection.token }
        records.append(
            .step(
                StepRecord(
                    observation: told, conn: connection.id, subflow: 0, listener: connection.listener,
                    side: connection.side, owner: connection.owner, from: from, to: to)))
    }

    private mutating func writeDivergence(
        _ observation: Observation, _ index: Int32, _ from: SubflowState
    ) {
        let key = UInt32(from.rawValue) << 8 | UInt32(observation.step.rawValue)
        var divergence = divergences[key] ?? Divergence(id: 0, count: 0, lastWritten: 0)
        let first = divergence.id == 0
        if first {
            lastAnomaly += 1
            divergence.id = lastAnomaly
        }
        divergence.count += 1
        let due = first || observation.time >= divergence.lastWritten &+ 1_000_000_000
        if due { divergence.lastWritten = observation.time }
        divergences[key] = divergence
        guard due else { return }
        let connection = connections[index]
        records.append(
            .anomaly(
                AnomalyRecord(
                    time: observation.time, id: divergence.id, kind: .mirrorDivergence,
                    state: first ? .open : .repeated, count: divergence.count, severity: .warning,
                    message: "The kernel reported \(observation.step.name) for a subflow in state "
                        + "\(from.name), which the mirrored state machine does not allow.",
                    advice: "The outcome shown follows the kernel; please report this with the "
                        + "kernel's version and the step given as evidence.",
                    netns: connection.netns, listener: connection.listener, conn: connection.id,
                    evidencePreceding: 1)))
    }

    // MARK: listeners

    private mutating func listenerOpened(_ observation: Observation) {
        if let stale = listeners.at(pointer: observation.socket) {
            // Its end was not seen (events were lost): the kernel gave its place to another.
            write(stale, .closed, observation.time)
            listeners.remove(stale.id)
        }
        if listeners.isFull {
            evicted += 1
            return
        }
        // Its MPTCP socket was made for this, not to connect.
        if let made = connections.msk(observation.msk), connections[made].state == .created {
            connections.remove(made)
        }
        lastListener += 1
        let mptcp = observation.facts.contains(.mptcpSocket)
        let listener = Listener(
            id: lastListener, transport: mptcp ? .mptcp : .tcp, local: observation.local,
            netns: observation.netns, owner: observation.owner, inode: observation.inode,
            pointer: observation.socket, cookie: observation.cookie,
            // An MPTCP socket can only be made while the switch is on (mptcp_init_sock).
            enabledAtCreation: mptcp ? true : nil, origin: .seen)
        listeners.add(listener)
        if options.steps {
            records.append(
                .step(
                    StepRecord(
                        observation: observation, conn: 0, subflow: 0, listener: listener.id,
                        side: .server, owner: observation.owner, from: .none, to: .none)))
        }
        write(listener, .open, observation.time)
    }

    private mutating func listenerClosed(_ observation: Observation) {
        guard let listener = listeners.find(observation) else { return }
        listeners.remove(listener.id)
        write(listener, .closed, observation.time)
    }

    private mutating func write(_ listener: Listener, _ state: ListenerState, _ time: UInt64) {
        records.append(
            .listener(
                ListenerRecord(
                    time: time, listener: listener.id, state: state, transport: listener.transport,
                    local: listener.local, owner: listener.owner, netns: listener.netns,
                    enabledAtCreation: listener.enabledAtCreation, origin: listener.origin)))
    }
}
