// SPDX-License-Identifier: Apache-2.0

// Whose observation it is: by the kernel's pointers, by addresses, by token.
extension Tracker {
    mutating func find(_ observation: Observation) -> Int32? {
        switch observation.step {
        case _ where observation.hook.onlyAdds:
            return added(observation)
        case .socketRefused:
            return add(observation)
        case .socketCreated:
            if let stale = connections.msk(observation.msk) { forget(stale) }
            return add(observation)
        case .joinSynSent where observation.hook == .subflowConnect:
            let parent =
                sameToken(connections.msk(observation.msk), observation)
                ?? connections.token(observation.netns, observation.token)
            return parent.flatMap { addJoin(observation, $0) }
        case .joinSynSent:
            return observation.hook.showsSynOut
                ? sameEnds(connections.subflow(observation.socket), observation) : joining(observation)
        case .joinSynReceived:
            return stillHalfOpen(observation) ?? joinReceived(observation)
        case .joinSynackSent:
            return connections.halfOpen(observation)
        case .joinSynackReceived:
            return sameEnds(connections.subflow(observation.socket), observation)
        case .joinEstablished:
            if observation.side == .client {
                return sameEnds(connections.subflow(observation.socket), observation)
            }
            return joinAccepted(observation)
        case .synSent:
            return observation.hook.showsSynOut
                ? sameEnds(connections.subflow(observation.socket), observation) : connecting(observation)
        case .synReceived:
            // A half-open handshake of the same addresses that was answered is this SYN again.
            return stillHalfOpen(observation) ?? addHalfOpen(observation)
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
        case .fallback where observation.hook.showsFallback:
            let found =
                sameToken(connections.msk(observation.msk), observation)
                ?? connections.token(observation.netns, observation.token)
            // Made and nothing more: a filter left the rest of it out.
            return found.flatMap { connections[$0].state == .created ? nil : $0 }
        case .mptcpEstablished, .fallback:
            let known = sameToken(connections.msk(observation.msk), observation)
            return (observation.hook.verdictNamesEnds ? sameEnds(known, observation) : known)
                ?? add(observation)
        case .closed where observation.hook == .sockRelease:
            guard let index = connections.msk(observation.msk), connections[index].state == .created
            else { return nil }
            return index
        case .closed where observation.facts.contains(.msk):
            // Connections of one listener may share its cookie: the token comes first.
            return connections.msk(observation.msk)
                ?? connections.token(observation.netns, observation.token)
                ?? sameToken(connections.cookie(observation.cookie), observation)
        case .reset where observation.socket == 0:
            return connections.halfOpen(observation)
        case .closed, .reset:
            return sameEnds(connections.subflow(observation.socket), observation)
        default:
            return nil
        }
    }

    /// What a function adds to: a subflow that is known, or a half-open handshake.
    func added(_ observation: Observation) -> Int32? {
        let subflow = sameEnds(connections.subflow(observation.socket), observation)
        switch observation.step {
        case .mptcpEstablished:
            // The path manager may be told before the socket's own change of state.
            return subflow.flatMap {
                connections[$0].decided || connections[$0].state == .accepted ? $0 : nil
            }
        case .ackReceived: return connections.halfOpen(observation)
        case .fallback where observation.side == .server: return connections.halfOpen(observation)
        default: return subflow
        }
    }

    /// The half-open handshake of these ends; one whose listener closed goes now.
    mutating func stillHalfOpen(_ observation: Observation) -> Int32? {
        guard let index = connections.halfOpen(observation) else { return nil }
        guard let time = closing[connections[index].listener] else { return index }
        letGo(index, time)
        return nil
    }

    /// A pointer may be a new socket's: the peer's address and the namespace must be the same too.
    func sameEnds(_ index: Int32?, _ observation: Observation) -> Int32? {
        guard let index else { return nil }
        let connection = connections[index]
        guard connection.netns == observation.netns, connection.remote == observation.remote,
            connection.local.port == 0 || observation.local.port == 0
                || connection.local.port == observation.local.port
        else { return nil }
        return index
    }

    /// The MPTCP socket's pointer may be another's by now: its token is not.
    func sameToken(_ index: Int32?, _ observation: Observation) -> Int32? {
        guard let index else { return nil }
        let known = connections[index].token
        return known == 0 || observation.token == 0 || known == observation.token ? index : nil
    }

    /// connect(): always the beginning of a connection, whoever had the pointers before.
    mutating func connecting(_ observation: Observation) -> Int32? {
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
                connections[known].oldValues = oldValues(observation, created: connections[known].created)
                return known
            }
            forget(known)
        }
        let index = add(observation)
        if let index {
            connections.setSubflow(index, observation.socket)
            connections[index].oldValues = oldValues(observation, created: observation.created)
        }
        return index
    }

    // MARK: additional subflows

    /// A subflow of ours asks to join: the connection is known by its MPTCP socket or its token.
    mutating func joining(_ observation: Observation) -> Int32? {
        if let stale = connections.subflow(observation.socket) {
            if connections[stale].decided, !connections[stale].isJoin {
                connections.setSubflow(stale, 0)
            } else {
                forget(stale)
            }
        }
        let parent =
            sameToken(connections.msk(observation.msk), observation)
            ?? connections.token(observation.netns, observation.token)
        guard let index = addJoin(observation, parent) else { return nil }
        connections.setSubflow(index, observation.socket)
        return index
    }

    /// The peer asks to join: the connection is the one whose token the SYN names.
    mutating func joinReceived(_ observation: Observation) -> Int32? {
        guard let index = addJoin(observation, connections.token(observation.netns, observation.token))
        else { return nil }
        connections.setHalfOpen(index)
        return index
    }

    mutating func joinAccepted(_ observation: Observation) -> Int32? {
        let parent =
            sameToken(connections.msk(observation.msk), observation)
            ?? connections.token(observation.netns, observation.token)
        guard let index = connections.halfOpen(observation) ?? addJoin(observation, parent)
        else { return nil }
        if let stale = connections.subflow(observation.socket), stale != index,
            !connections[stale].decided || connections[stale].isJoin
        {
            forget(stale)
        }
        connections.setSubflow(index, observation.socket)
        return index
    }

    mutating func addJoin(_ observation: Observation, _ parent: Int32?) -> Int32? {
        let serial = parent.map { connections[$0].serial }
        if connections.isFull { evictOldest() }
        var join = Connection()
        join.isJoin = true
        join.side = observation.side
        join.netns = observation.netns
        join.local = observation.local
        join.remote = observation.remote
        join.lossesBefore = losses
        join.born = observation.time
        // The eviction may have taken the connection itself.
        if let parent, let serial, connections[parent].serial == serial {
            connections[parent].lastSubflow += 1
            join.id = connections[parent].id
            join.subflow = connections[parent].lastSubflow
            join.parent = parent
            join.parentSerial = serial
            join.owner = connections[parent].owner
            join.listener = connections[parent].listener
        }
        return connections.add(join)
    }

    /// The place of a join's connection; nil: it is not known, or over.
    func connection(of join: Connection) -> Int32? {
        join.parent >= 0 && connections[join.parent].serial == join.parentSerial ? join.parent : nil
    }

    /// Its end was not seen: it was lost (and counted there), or began with the trace half over.
    mutating func forget(_ index: Int32) {
        connections.remove(index)
    }

    mutating func accepted(_ observation: Observation) -> Int32? {
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

    mutating func addHalfOpen(_ observation: Observation) -> Int32? {
        guard let index = add(observation) else { return nil }
        connections.setHalfOpen(index)
        return index
    }

    mutating func add(_ observation: Observation) -> Int32? {
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
        connection.created = observation.step == .socketCreated ? observation.time : observation.created
        // The out-of-tree stack does not tell the end of those that never connect: they go by time.
        connection.isWaiting = observation.step == .socketCreated && observation.hook != .enableSock
        return connections.add(connection)
    }

    /// Makes room: half-open handshakes of servers first, as a flood fills the table with those.
    /// What stays has no gap: an event of what went finds nothing, or begins anew.
    mutating func evictOldest() {
        for kind in Connection.Kind.allCases {
            let index = connections.oldest(kind)
            if index < 0 { continue }
            connections.remove(index)
            break
        }
        evicted += 1
    }
}
