// SPDX-License-Identifier: Apache-2.0

// One observation takes one row of the table; what the connection learns from it.
extension Tracker {
    mutating func apply(_ observation: Observation, to index: Int32) {
        learn(observation, index)
        let from = connections[index].state
        var verdict = Verdict.nothing
        let to: SubflowState
        var diverged = false
        let facts = observation.facts.union(connections[index].facts)
        if let number = table.row(from: from, on: observation.step, facts) {
            let row = table.rows[number]
            to = row.to ?? from
            verdict = row.verdict
        } else {
            (to, verdict) = Self.whatItMeans(observation, from)
            diverged = !mayHaveHoles(index)
        }
        if verdict.decides, observation.isNoVerdict, mayHaveHoles(index) {
            // How it ended, or why it never got further, may have been in what was lost.
            verdict = .decide(.aborted, .notFollowed)
        }
        if options.allTcp, verdict == .decide(.fallback, nil), observation.facts.contains(.plainSocket) {
            // Plain TCP is told as well: without its SYN nobody knows whether MPTCP was asked for.
            verdict = .decide(.aborted, .notFollowed)
        }
        connections[index].state = to
        if options.steps || diverged { writeStep(observation, index, from, to) }
        if diverged { writeDivergence(observation, index, from) }
        switch verdict {
        case .nothing: break
        case .decide(let outcome, let reason): decide(observation, index, outcome, reason)
        case .join(let outcome, let reason): decideJoin(observation, index, outcome, reason)
        case .fallBack(let reason): fallBack(observation, index, reason)
        case .close: close(observation, index, from)
        }
        if to == .closed, connections[index].isJoin {
            connections.remove(index)
            return
        }
        // A socket that never connected, or a connection that is over on both levels.
        if to == .closed, connections[index].decided || from == .created || from == .none {
            let connection = connections[index]
            // What was refused was never there.
            if from == .none || connection.msk == 0 || observation.facts.contains(.msk) || verdict == .close {
                connections.remove(index)
            }
        }
    }

    /// Outside the table, the kernel is still right: what its own state says is taken over.
    static func whatItMeans(
        _ observation: Observation, _ from: SubflowState
    ) -> (SubflowState, Verdict) {
        let undecided =
            from != .mptcpEstablished && from != .fallback && from != .plain
            && from != .subflowClosed && from != .closed
        switch observation.step {
        case .joinEstablished:
            return (.joined, from == .joined ? .nothing : .join(.joined, nil))
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
    mutating func learn(_ observation: Observation, _ index: Int32) {
        connections[index].facts.formUnion(observation.facts.intersection(.lasting))
        if let reason = observation.kernelReason { connections[index].kernelReason = reason }
        if connections[index].isJoin {
            if let id = observation.localID { connections[index].localID = id }
            if let id = observation.remoteID { connections[index].remoteID = id }
            if let backup = observation.backup {
                connections[index].backup = backup || connections[index].backup ?? false
            }
        } else if observation.msk != 0 {
            connections.setMsk(index, observation.msk)
        }
        switch observation.step {
        case .socketCreated: refusals.remove(observation)
        case .socketRefused: refusals.add(observation, conn: connections[index].id)
        default: break
        }
        switch observation.step {
        case .synSent, .joinSynSent:
            if connections[index].synTime == 0 { connections[index].synTime = observation.time }
            if !observation.hook.showsSynOut { connections[index].remote = observation.remote }
        case .synReceived, .joinSynReceived:
            let isPacket = observation.hook.showsSynIn
            if connections[index].synTime == 0 {
                connections[index].synTime = observation.time
            } else if isPacket, connections[index].synRetransmits < 255 {
                connections[index].synRetransmits += 1
            }
            if isPacket { connections[index].retransmitsKnown = true }
            // 1 s, 2 s, 4 s … for each time that a SYN-ACK may be sent (tcp_reqsk_timer_handler).
            if isPacket || observation.hook == .checkReq {
                connections[index].patience =
                    ((2 as UInt64) << min(UInt64(observation.retransmits), 6) - 1) * 1_000_000_000
            }
        case .synackSent, .synackReceived, .joinSynackSent, .joinSynackReceived:
            if connections[index].synackTime == 0 { connections[index].synackTime = observation.time }
        default: break
        }
        if connections[index].side == .client, observation.hook.showsSocket,
            observation.step != .synSent, observation.step != .joinSynSent
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
        if observation.token != 0 {
            if connections[index].isJoin {
                connections[index].token = observation.token
            } else {
                connections.setToken(index, observation.token)
            }
        }
        if observation.remoteToken != 0 { connections[index].remoteToken = observation.remoteToken }
        if observation.error != 0 { connections[index].error = observation.error }
        if let version = observation.mptcpVersion { connections[index].mptcpVersion = version }
        if let checksum = observation.checksum { connections[index].checksum = checksum }
        if let owner = observation.owner { connections[index].owner = owner }
        if observation.listener != 0, connections[index].listener == 0,
            observation.step == .synReceived || observation.step == .joinSynReceived
                || observation.hook.showsSocket,
            let listener = listeners.find(observation)
        {
            connections[index].listener = listener.id
            // A connection that had moved to another process takes its subflows along.
            if !connections[index].isJoin || connections[index].owner == nil {
                connections[index].owner = listener.owner
            }
        }
    }

    /// The MPTCP socket says at its end that it has fallen back: when that was not seen as it
    /// happened, it is told now.
    mutating func noteFallback(_ observation: Observation, _ index: Int32) {
        let connection = connections[index]
        guard !connection.fellBack, connection.hadMptcp, sameToken(index, observation) != nil else { return }
        var fallback = observation
        fallback.step = .fallback
        fallback.facts.subtract([.refused, .timedOut, .connectionReset, .otherError])
        apply(fallback, to: index)
    }

    /// ADD_ADDR and RM_ADDR: told, and no input of the machine.
    mutating func addressed(_ observation: Observation) {
        guard
            let found = connections.subflow(observation.socket)
                ?? connections.token(observation.netns, observation.token)
        else { return }
        let subflow = connections[found]
        guard subflow.netns == observation.netns, subflow.id != 0 else { return }
        let sent = observation.hook == .skbEgress
        let change: AddressChange
        switch observation.option {
        case .addAddr: change = sent ? .announced : .received
        // What we take back is our own endpoint's removal; the peer's is news.
        case .rmAddr where !sent: change = .removed
        default: return
        }
        records.append(
            .address(
                AddressRecord(
                    time: observation.time, conn: subflow.id, netns: observation.netns, change: change,
                    address: observation.remote.address == Address(high: 0, low: 0)
                        ? nil : observation.remote, id: observation.remoteID)))
    }
}

extension Observation {
    /// It comes after the kernel's own verdict, or tells nothing of it.
    var isNoVerdict: Bool {
        switch step {
        case .timer: true
        case .closed:
            // An error that ends what was established says nothing of the handshake.
            facts.isDisjoint(with: [.refused, .timedOut, .connectionReset, .otherError])
                || facts.contains(.wasEstablished) || facts.contains(.msk)
        case .fallback: hook.showsFallback
        default: false
        }
    }
}

extension Verdict {
    /// Whether it ends an attempt.
    var decides: Bool {
        switch self {
        case .decide, .join: true
        case .nothing, .fallBack, .close: false
        }
    }
}
