// SPDX-License-Identifier: Apache-2.0

// Clients' sockets that were made before a change and connect after it, and what is open that a change
// does not reach.
extension Tracker {
    /// What a client's socket goes by though a setting has another value.
    struct OldValues: OptionSet {
        let rawValue: UInt8
        /// MPTCP, which is switched off.
        static let enabled = OldValues(rawValue: 1)
        /// The checksums that it was made with: its SYN asks for the new value.
        static let checksum = OldValues(rawValue: 2)
    }

    private static let checksumName = "net.mptcp.checksum_enabled"

    /// connect() of an MPTCP socket that was made then; 0: not known.
    func oldValues(_ observation: Observation, created: UInt64) -> OldValues {
        guard observation.step == .synSent, observation.facts.contains(.mptcpSocket) else { return [] }
        var old: OldValues = []
        // Only a socket that is older has it.
        if let name = switchOff(in: observation.netns),
            mayOutlive(name, in: observation.netns, created: created, opened: observation.time)
        {
            old.insert(.enabled)
        }
        if observation.facts.contains(.requestsMptcp),
            let made = observation.socketChecksum.map({ $0 ? "1" : "0" }),
            let now = history.value(Self.checksumName, in: observation.netns), now != made,
            created != 0
                ? history.value(Self.checksumName, in: observation.netns, at: created) ?? made == made
                : options.seesWrites
        {
            old.insert(.checksum)
        }
        return old
    }

    /// A client's handshake is over, as MPTCP or TCP.
    mutating func checkClient(_ index: Int32, at time: UInt64) {
        let connection = connections[index]
        if !connection.oldValues.isEmpty { checkOldValues(index, at: time) }
        guard connection.isMember else { return }
        let causes = findings.causes(of: connection.id).filter { $0.kind == .settingNeedsRestart }
        for cause in causes.sorted(by: { findings[$0]?.id ?? 0 < findings[$1]?.id ?? 0 }) {
            guard let finding = findings[cause], case .process = cause.subject else { continue }
            report(
                cause, finding.severity, at: time, conn: connection.id, evidence: [.connection(connection.id)]
            ) { (finding.message, finding.advice) }
        }
    }

    private mutating func checkOldValues(_ index: Int32, at time: UInt64) {
        let connection = connections[index]
        let port = connection.remote.port
        if connection.oldValues.contains(.enabled), let name = history.switchName(in: connection.netns) {
            reportOld(name, index, madeUnder: nil, at: time) { who in
                (
                    "\(name) was 0 when \(who) connected to port \(port), but its socket was made before, and is "
                        + "MPTCP.",
                    "Restart \(who), or let it close the sockets that it made in advance: a socket keeps the "
                        + "value that it was made with."
                )
            }
        }
        if connection.oldValues.contains(.checksum) {
            let name = Self.checksumName
            let now = history.value(name, in: connection.netns) ?? "another"
            let made = now == "0" ? "1" : "0"
            reportOld(name, index, madeUnder: made, at: time) { who in
                (
                    "\(name) is \(now), but the socket with which \(who) connected to port \(port) was made while it "
                        + "was \(made): socket and SYN disagree about checksums.",
                    "Restart \(who), or let it close the sockets that it made in advance."
                )
            }
        }
    }

    private mutating func reportOld(
        _ name: String, _ index: Int32, madeUnder: String?, at time: UInt64,
        words: (_ who: String) -> (message: String, advice: String)
    ) {
        let connection = connections[index]
        let pid = connection.owner?.pid ?? 0
        let cause = Cause(
            kind: .socketOutlivesToggle, setting: name, netns: connection.netns, subject: .process(pid))
        let change = history.lastChange(name, in: cause.netns)
        var members: Set<UInt64> = [connection.id]
        connections[index].isMember = true
        if var finding = findings[cause] {
            finding.members.insert(connection.id)
            findings[cause] = finding
        } else if let change {
            // Those of the same process that were made as early, and have not connected.
            for place in connections.slots.indices {
                let other = connections.slots[place]
                guard other.isWaiting, other.netns == cause.netns, other.created < change.earliest,
                    other.owner?.pid ?? 0 == pid
                else { continue }
                connections[Int32(place)].isMember = true
                members.insert(other.id)
            }
        }
        report(
            cause, .warning, at: time, conn: connection.id,
            evidence: (change.map { [.change($0.number)] } ?? []) + [.connection(connection.id)],
            madeUnder: madeUnder, members: members
        ) { words(Self.words(connection.owner)) }
    }

    /// Sockets that have not connected, and were made under another value than the setting has now
    /// (`setting_needs_restart`): one finding for each process.
    mutating func checkSockets(_ change: SettingChange) {
        var pools: [UInt32: (members: Set<UInt64>, made: String, owner: Owner?, netns: UInt32)] = [:]
        for place in connections.slots.indices {
            let connection = connections.slots[place]
            guard connection.isWaiting, isOf(connection.netns, change) else { continue }
            guard let made = madeUnder(change, at: connection.created), made != change.new else { continue }
            let pid = connection.owner?.pid ?? 0
            pools[pid, default: ([], made, connection.owner, connection.netns)].members.insert(connection.id)
            connections[Int32(place)].isMember = true
        }
        for (pid, pool) in pools.sorted(by: { $0.key < $1.key }) {
            let cause = Cause(
                kind: .settingNeedsRestart, setting: change.name, netns: pool.netns, subject: .process(pid))
            if var finding = findings[cause] {
                finding.members.formUnion(pool.members)
                findings[cause] = finding
                continue
            }
            let who = Self.words(pool.owner)
            let count = pool.members.count
            report(
                cause, .warning, at: change.time, evidence: lastChange(change.name, pool.netns),
                madeUnder: pool.made, members: pool.members
            ) {
                (
                    "\(change.name) is \(change.new), but \(who) has \(count) MPTCP "
                        + "\(count == 1 ? "socket" : "sockets") that it made before and has not connected: "
                        + "\(count == 1 ? "it goes" : "they go") by \(pool.made).",
                    "Restart \(who), or let it close the sockets that it made in advance."
                )
            }
        }
    }

    /// Open connections, and sockets that have not connected, that keep other limits than there are now
    /// (`setting_needs_restart`): one finding for a namespace.
    mutating func checkLimits(_ change: SettingChange) {
        var members: Set<UInt64> = []
        var counts = (connections: 0, sockets: 0)
        var owners: [Owner] = []
        for place in connections.slots.indices where connections.slots[place].netns == change.netns {
            let connection = connections.slots[place]
            guard let kind = kind(of: connection) else { continue }
            // A server's is made in its handshake.
            let created =
                connection.created != 0 || connection.fromSnapshot ? connection.created : connection.born
            guard isBehind(change, made: created) else { continue }
            if kind == .sockets { counts.sockets += 1 } else { counts.connections += 1 }
            members.insert(connection.id)
            connections[Int32(place)].isMember = true
            if let owner = connection.owner, !owners.contains(where: { $0.pid == owner.pid }) {
                owners.append(owner)
            }
        }
        if members.isEmpty { return }
        let cause = Cause(
            kind: .settingNeedsRestart, setting: change.name, netns: change.netns, subject: .namespace)
        if var finding = findings[cause] {
            finding.members.formUnion(members)
            findings[cause] = finding
            return
        }
        report(
            cause, .warning, at: change.time, evidence: lastChange(change.name, change.netns),
            madeUnder: change.old, members: members
        ) {
            let what = [(counts.connections, "connection"), (counts.sockets, "socket")].filter { $0.0 > 0 }
                .map { "\($0.0) \($0.1)\($0.0 == 1 ? "" : "s")" }.joined(separator: " and ")
            var who = owners.prefix(3).map { Self.words($0) }.joined(separator: ", ")
            if owners.count > 3 { who += " and \(owners.count - 3) more" }
            return (
                "The path manager's limits are \(change.new) now, but \(what) made before keep "
                    + "\(change.old ?? "others").",
                "Let \(who.isEmpty ? "their processes" : who) connect anew: a connection keeps the limits that "
                    + "it was made with."
            )
        }
    }
}
