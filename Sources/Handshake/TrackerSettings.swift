// SPDX-License-Identifier: Apache-2.0

// Settings change: what is open and goes by the old value.
extension Tracker {
    /// What a setting is, of which no change was seen yet.
    /// - Parameter since: ns, CLOCK_MONOTONIC; from when on it is known to be that. 0: always.
    public mutating func know(_ name: String, is value: String, in netns: UInt32, since: UInt64 = 0) {
        history.know(name, is: value, in: netns, since: since)
    }

    /// A namespace is gone: its number may be another's.
    public mutating func forget(netns: UInt32, at time: UInt64) {
        history.forget(netns)
        closeFindings(at: time, because: "The network namespace is gone.") { cause, _ in
            cause.netns == netns && netns != 0
        }
    }

    /// Takes a change of a setting, in its place among the observations.
    public mutating func take(_ change: SettingChange) {
        lastChangeNumber += 1
        if let old = change.old { history.reveal(change.name, is: old, in: change.netns) }
        let isNew = change.accepted == true && change.old != change.new
        if isNew || change.accepted == nil {
            history.add(
                SettingHistory.Change(
                    earliest: min(change.earliest, change.time), time: change.time, old: change.old,
                    new: isNew ? change.new : nil, number: lastChangeNumber), of: change.name,
                in: change.netns)
        }
        let setting = Setting.named(change.name)
        var record = SysctlRecord(
            change: change, sampledAt: setting?.sampledAt, number: lastChangeNumber)
        // What was refused, or is the same value, leaves nobody behind; what is not known is not claimed.
        if isNew, let setting { record.affected = affected(by: setting, change) }
        records.append(.sysctl(record))
        guard isNew, let setting else { return }
        // Those that the setting has come back to.
        let everywhere = !setting.isPerNamespace
        closeFindings(
            at: change.time, because: "\(change.name) is \(change.new) now.",
            evidence: [.change(record.number)]
        ) { cause, _ in
            cause.setting == change.name && (everywhere || cause.netns == change.netns)
                && (cause.madeUnder.map { $0 == change.new } ?? Self.isOver(cause.kind, by: change.new))
        }
        if Setting.switches.contains(change.name) {
            for id in listeners.ids(where: { isOf($0.netns, change) }) {
                guard let listener = listeners[id] else { continue }
                checkOutliving(listener, at: change.time)
                checkPredating(listener, at: change.time)
            }
        } else if setting.sampledAt == .socket {
            if setting.leavesBehind.contains(.listeners) { checkListeners(change) }
            if setting.leavesBehind.contains(.sockets) { checkSockets(change) }
        }
    }

    /// Whether the switch's new value ends such a finding.
    private static func isOver(_ kind: AnomalyKind, by value: String) -> Bool {
        switch kind {
        case .listenerOutlivesDisable, .socketOutlivesToggle: value != "0"
        case .listenerPredatesEnable: value == "0"
        case .settingNeedsRestart, .optionStripped, .mirrorDivergence: false
        }
    }

    /// The path manager's limits are others: `name` is `limits`.
    public mutating func take(limits change: SettingChange) {
        lastChangeNumber += 1
        let number = lastChangeNumber
        history.add(
            SettingHistory.Change(
                earliest: min(change.earliest, change.time), time: change.time, old: change.old,
                new: change.new,
                number: number), of: change.name, in: change.netns)
        var record = AddressRecord(time: change.time, conn: 0, netns: change.netns, change: .limits)
        record.old = change.old
        record.new = change.new
        record.source = change.source
        record.sampledAt = Setting.limits.sampledAt
        record.affected = affected(by: Setting.limits, change)
        record.number = number
        records.append(.address(record))
        closeFindings(
            at: change.time, because: "The limits are \(change.new) now.", evidence: [.change(number)]
        ) { cause, _ in
            cause.setting == change.name && cause.netns == change.netns && cause.madeUnder == change.new
        }
        checkLimits(change)
    }

    /// An endpoint of the path manager came or went.
    public mutating func take(
        endpoint: Endpoint, id: UInt8, _ change: AddressChange, in netns: UInt32, at time: UInt64
    ) {
        var record = AddressRecord(
            time: time, conn: 0, netns: netns, change: change, address: endpoint, id: id)
        record.source = .poll
        record.sampledAt = Setting.endpoints.sampledAt
        record.affected = Affected()
        records.append(.address(record))
    }

    private func affected(by setting: Setting, _ change: SettingChange) -> Affected {
        var affected = Affected()
        let left = setting.leavesBehind
        let isSwitch = Setting.switches.contains(change.name)
        // To those that have MPTCP, its being switched on is no news; to those that were refused it, it is.
        let isSwitchedOn = isSwitch && change.new != "0"
        if left.contains(.listeners) {
            for id in listeners.ids(where: { isOf($0.netns, change) }) {
                guard let listener = listeners[id] else { continue }
                let isBehind =
                    if isSwitchedOn {
                        listener.transport == .tcp
                            && (listener.refusal != 0
                                || listener.isPlainBySwitch && listener.enabledAtCreation == false)
                    } else if isSwitch {
                        listener.transport == .mptcp
                    } else {
                        listener.transport != .tcp
                            && madeUnder(change, by: listener).map { $0 != change.new } ?? false
                    }
                if isBehind { affected.listeners.append(id) }
            }
        }
        if isSwitchedOn { return affected }
        for connection in connections.slots where isOf(connection.netns, change) {
            switch kind(of: connection) {
            case .sockets? where left.contains(.sockets):
                if isSwitch || madeUnder(change, by: connection).map({ $0 != change.new }) ?? false {
                    affected.sockets.append(connection.id)
                }
            case .connections? where left.contains(.connections):
                // Of those that ask in their handshake the value is not known: they are older, in any case.
                if setting.sampledAt == .socket, !isSwitch,
                    madeUnder(change, by: connection).map({ $0 == change.new }) ?? false
                {
                    continue
                }
                affected.connections.append(connection.id)
            default: break
            }
        }
        return affected
    }

    /// As what a connection can be left behind: an MPTCP connection that is open, or a socket that has not
    /// connected; nil: neither.
    func kind(of connection: Connection) -> LeftBehind? {
        if connection.serial == 0 || connection.isJoin { return nil }
        if connection.isWaiting || connection.state == .created { return .sockets }
        switch connection.state {
        case .mptcpEstablished, .subflowClosed:
            return connection.decided && connection.hadMptcp && !connection.fellBack ? .connections : nil
        default: return nil
        }
    }
}

extension Listeners {
    /// The ids of those that fit, lowest first.
    func ids(where fits: (Listener) -> Bool) -> [UInt64] { everyone.filter(fits).map(\.id).sorted() }
}
