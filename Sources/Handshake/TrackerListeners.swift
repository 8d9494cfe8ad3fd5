// SPDX-License-Identifier: Apache-2.0

/// A listening socket, for who looks after its owner.
public struct KnownListener: Sendable {
    public var id: UInt64
    /// Of its socket; 0: not known.
    public var inode: UInt32
    public var owner: Owner?
    /// ns, CLOCK_MONOTONIC, of its listen(); 0: before the trace.
    public var opened: UInt64

    public var pid: UInt32? { owner?.pid }

    init(_ listener: Listener) {
        id = listener.id
        inode = listener.inode
        owner = listener.owner
        opened = listener.opened
    }
}

// Listening sockets, as they open and close.
extension Tracker {
    mutating func listenerOpened(_ observation: Observation) {
        if let stale = listeners.at(pointer: observation.socket) {
            // Its end was not seen (events were lost): the kernel gave its place to another.
            write(stale, .closed, observation.time)
            listeners.remove(stale.id)
            closeFindings(of: stale.id, at: observation.time)
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
        var listener = Listener(
            id: lastListener, transport: mptcp ? .mptcp : .tcp, local: observation.local,
            netns: observation.netns, owner: observation.owner, inode: observation.inode,
            pointer: observation.socket, cookie: observation.cookie,
            // An MPTCP socket can only be made while the switch is on (mptcp_init_sock).
            enabledAtCreation: mptcp ? true : nil, origin: .seen)
        listener.created = observation.created
        listener.opened = observation.time
        lastListenerOpened = observation.time
        if !mptcp, let name = history.switchName(in: observation.netns) {
            listener.isPlainBySwitch = observation.hook == .listenStart
            // There, nobody tells when a plain one was made; it was not while the switch was on.
            let made = listener.isPlainBySwitch ? observation.time : observation.created
            let value = history.value(name, in: observation.netns, at: made)
            listener.enabledAtCreation = value.map { $0 != "0" }
            // What was made while it was on is plain for another reason.
            if (value ?? history.value(name, in: observation.netns, at: observation.time)) ?? "0" == "0" {
                listener.refusal = refusals.of(observation.owner, in: observation.netns)
            }
        }
        listeners.add(listener)
        if options.steps {
            records.append(
                .step(
                    StepRecord(
                        observation: observation, conn: 0, subflow: 0, listener: listener.id,
                        side: .server, owner: observation.owner, from: .none, to: .none)))
        }
        write(listener, .open, observation.time)
        checkOutliving(listener, at: observation.time)
        checkPredating(listener, at: observation.time)
    }

    mutating func listenerClosed(_ observation: Observation) {
        guard let listener = listeners.find(observation) else { return }
        closing[listener.id] = observation.time
        listeners.remove(listener.id)
        write(listener, .closed, observation.time)
        closeFindings(of: listener.id, at: observation.time)
    }

    private mutating func closeFindings(of listener: UInt64, at time: UInt64) {
        guard findings.isAbout(.listener(listener)) else { return }
        closeFindings(at: time, because: "The listener is closed.") { cause, _ in
            cause.subject == .listener(listener)
        }
    }

    /// Whoever opened it is gone; this one has it now.
    public mutating func rehome(_ listener: UInt64, to owner: Owner) {
        let before = listeners[listener]?.owner
        listeners.rehome(listener, owner)
        for place in connections.slots.indices
        where connections.slots[place].listener == listener && connections.slots[place].owner == before {
            connections[Int32(place)].owner = owner
        }
    }

    /// The listeners that are open, in no order.
    public var knownListeners: some Sequence<KnownListener> {
        listeners.everyone.lazy.map { KnownListener($0) }
    }

    public func listener(_ id: UInt64) -> KnownListener? { listeners[id].map { KnownListener($0) } }

    /// The half-open handshakes of listeners that closed go with them, without a word from the kernel.
    /// - Returns: whether these were all.
    mutating func letGo(_ left: inout Int) -> Bool {
        if closing.isEmpty { return true }
        var index = connections.oldest(.halfOpen)
        while index >= 0 {
            let next = connections[index].next
            if let time = closing[connections[index].listener] {
                if left == 0 { return false }
                left -= 1
                letGo(index, time)
            }
            index = next
        }
        closing.removeAll(keepingCapacity: true)
        return true
    }

    mutating func letGo(_ index: Int32, _ time: UInt64) {
        if isOver(index, time) {
            decideByTime(index, time, [])
            return
        }
        let serial = connections[index].serial
        var gone = Observation(time: time, step: .closed, hook: .tracker)
        gone.side = .server
        gone.netns = connections[index].netns
        gone.facts = [.listenerGone]
        apply(gone, to: index)
        if connections[index].serial == serial { connections.remove(index) }
    }

    mutating func write(_ listener: Listener, _ state: ListenerState, _ time: UInt64) {
        records.append(
            .listener(
                ListenerRecord(
                    time: time, listener: listener.id, state: state, transport: listener.transport,
                    local: listener.local, owner: listener.owner, netns: listener.netns,
                    enabledAtCreation: listener.enabledAtCreation, origin: listener.origin)))
    }
}
