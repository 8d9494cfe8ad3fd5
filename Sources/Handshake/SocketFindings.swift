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
            kind: .socketOutlivesToggle, setting: name, netns: connection.netns, subject: .process(pid),
            madeUnder: madeUnder)
        let change = history.lastChange(name, in: cause.netns)
        var members: Set<UInt64> = [connection.id]
        connections[index].isMember = true
        if findings[cause] != nil {
            findings.add(member: connection.id, to: cause)
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
            members: members
        ) { words(Self.words(connection.owner)) }
    }

    /// Sockets that have not connected, and were made under another value than the setting has now
    /// (`setting_needs_restart`): one finding for each process.
    mutating func checkSockets(_ change: SettingChange) {
        struct Pool: Hashable {
            var pid: UInt32
            var made: String
        }
        var pools: [Pool: (members: Set<UInt64>, owner: Owner?, netns: UInt32)] = [:]
        for place in connections.slots.indices {
            let connection = connections.slots[place]
            guard connection.isWaiting, isOf(connection.netns, change),
                let made = madeUnder(change, by: connection), made != change.new
            else { continue }
            let pool = Pool(pid: connection.owner?.pid ?? 0, made: made)
            pools[pool, default: ([], connection.owner, connection.netns)].members.insert(connection.id)
            connections[Int32(place)].isMember = true
        }
        for (pool, found) in pools.sorted(by: { ($0.key.pid, $0.key.made) < ($1.key.pid, $1.key.made) }) {
            let cause = Cause(
                kind: .settingNeedsRestart, setting: change.name, netns: found.netns,
                subject: .process(pool.pid), madeUnder: pool.made)
            if findings[cause] != nil {
                for member in found.members { findings.add(member: member, to: cause) }
                continue
            }
            let who = Self.words(found.owner)
            let count = found.members.count
            report(
                cause, .warning, at: change.time, evidence: lastChange(change.name, found.netns),
                members: found.members
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
        struct Group {
            var members: Set<UInt64> = []
            var connections = 0
            var sockets = 0
            var owners: [Owner] = []
        }
        var groups: [String: Group] = [:]
        for place in connections.slots.indices where connections.slots[place].netns == change.netns {
            let connection = connections.slots[place]
            guard let kind = kind(of: connection), let made = madeUnder(change, by: connection),
                made != change.new
            else { continue }
            var group = groups.removeValue(forKey: made) ?? Group()
            if kind == .sockets { group.sockets += 1 } else { group.connections += 1 }
            group.members.insert(connection.id)
            if let owner = connection.owner, group.owners.count < 100,
                !group.owners.contains(where: { $0.pid == owner.pid })
            {
                group.owners.append(owner)
            }
            groups[made] = group
            connections[Int32(place)].isMember = true
        }
        for (made, group) in groups.sorted(by: { $0.key < $1.key }) {
            let cause = Cause(
                kind: .settingNeedsRestart, setting: change.name, netns: change.netns, subject: .namespace,
                madeUnder: made)
            if findings[cause] != nil {
                for member in group.members { findings.add(member: member, to: cause) }
                continue
            }
            report(
                cause, .warning, at: change.time, evidence: lastChange(change.name, change.netns),
                members: group.members
            ) {
                let what = [(group.connections, "connection"), (group.sockets, "socket")]
                    .filter { $0.0 > 0 }
                    .map { "\($0.0) \($0.1)\($0.0 == 1 ? "" : "s")" }.joined(separator: " and ")
                var who = group.owners.prefix(3).map { Self.words($0) }.joined(separator: ", ")
                if group.owners.count > 3 { who += " and \(group.owners.count - 3) more" }
                return (
                    "The path manager's limits are \(change.new) now, but \(what) made before "
                        + "\(group.members.count == 1 ? "keeps" : "keep") \(made).",
                    "Let \(who.isEmpty ? "their processes" : who) connect anew: a connection keeps the limits "
                        + "that it was made with."
                )
            }
        }
    }
}
