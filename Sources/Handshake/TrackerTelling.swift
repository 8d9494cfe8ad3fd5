// SPDX-License-Identifier: Apache-2.0

// What was decided becomes records.
extension Tracker {
    mutating func decide(
        _ observation: Observation, _ index: Int32, _ outcome: Outcome, _ reason: Reason?
    ) {
        if connections[index].isJoin {
            decideJoin(observation, index, JoinOutcome(outcome), reason)
            return
        }
        if connections[index].decided { return }
        connections.markDecided(index)
        connections[index].hadMptcp = outcome == .mptcp
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
        if reason?.isKernels == true || outcome == .fallback { record.kernelReason = connection.kernelReason }
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
        switch (record.side, outcome) {
        case (.server, .mptcp): checkOutliving(accepted: index, at: observation.time)
        case (.server, .fallback) where reason == .listenerIsTcp:
            checkPredating(fallback: index, at: observation.time)
        case (.client, .mptcp), (.client, .fallback): checkClient(index, at: observation.time)
        default: break
        }
    }

    mutating func decideJoin(
        _ observation: Observation, _ index: Int32, _ outcome: JoinOutcome, _ reason: Reason?
    ) {
        if connections[index].decided { return }
        connections.markDecided(index)
        let join = connections[index]
        if outcome == .joined, let parent = connection(of: join) { connections[parent].subflows += 1 }
        var record = JoinRecord(
            time: observation.time, conn: join.id, subflow: join.subflow, side: join.side ?? .client,
            outcome: outcome, reason: reason, local: join.local, remote: join.remote, token: join.token)
        if reason?.isKernels == true { record.kernelReason = join.kernelReason }
        record.owner = join.owner
        record.netns = join.netns
        record.family = join.remote.address.isV4 ? 4 : 6
        record.localID = join.localID
        record.remoteID = join.remoteID
        record.backup = join.backup
        // When it was confirmed is not known if that shows at its end only.
        if outcome != .joined || observation.step != .closed {
            record.timings = Self.timings(join, until: observation.time)
        }
        records.append(.join(record))
    }

    mutating func fallBack(_ observation: Observation, _ index: Int32, _ reason: Reason?) {
        // What never was MPTCP, as far as is known, can't lose it.
        if connections[index].fellBack || !connections[index].hadMptcp { return }
        connections[index].fellBack = true
        let connection = connections[index]
        var record = FallbackRecord(time: observation.time, conn: connection.id, reason: reason)
        record.kernelReason = observation.kernelReason
        record.side = connection.side
        record.local = connection.local
        record.remote = connection.remote
        record.owner = connection.owner
        record.netns = connection.netns
        records.append(.fallback(record))
    }

    static func timings(_ connection: Connection, until end: UInt64) -> Timings {
        func between(_ from: UInt64, _ to: UInt64) -> UInt64? {
            from != 0 && to != 0 && to >= from ? to - from : nil
        }
        return Timings(
            synToSynack: between(connection.synTime, connection.synackTime),
            synackToEstablished: between(connection.synackTime, end),
            total: between(connection.synTime, end))
    }

    mutating func close(_ observation: Observation, _ index: Int32, _ from: SubflowState) {
        let connection = connections[index]
        if from == .plain, !options.allTcp { return }
        var record = CloseRecord(
            time: observation.time, conn: connection.id,
            duration: connection.synTime != 0 && observation.time >= connection.synTime
                ? observation.time - connection.synTime : nil,
            subflows: connection.fromSnapshot ? nil : connection.subflows)
        record.hasJoins = connection.lastSubflow > 0
        records.append(.close(record))
    }

    mutating func writeStep(
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
                    observation: told, conn: connection.id, subflow: connection.subflow,
                    listener: connection.listener,
                    side: connection.side, owner: connection.owner, from: from, to: to)))
    }

    mutating func writeDivergence(
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
                    evidence: [.step(connection.id)])))
    }
}
