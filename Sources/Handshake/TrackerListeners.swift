// SPDX-License-Identifier: Apache-2.0

// Listening sockets, as they open and close.
extension Tracker {
    mutating func listenerOpened(_ observation: Observation) {
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

    mutating func listenerClosed(_ observation: Observation) {
        guard let listener = listeners.find(observation) else { return }
        // Its half-open handshakes go with it, without a word.
        for index in connections.halfOpen(at: listener.id) {
            if isOver(index, observation.time) {
                decideByTime(index, observation.time, [])
                continue
            }
            var gone = Observation(time: observation.time, step: .closed, hook: observation.hook)
            gone.side = .server
            gone.cpu = observation.cpu
            gone.netns = observation.netns
            gone.facts = [.listenerGone]
            let serial = connections[index].serial
            apply(gone, to: index)
            // Unless it is gone already: its place may not be given back twice.
            if connections[index].serial == serial { connections.remove(index) }
        }
        listeners.remove(listener.id)
        write(listener, .closed, observation.time)
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
