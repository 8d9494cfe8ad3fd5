// SPDX-License-Identifier: Apache-2.0

// Listeners that go by an old value of a setting.
extension Tracker {
    // MARK: MPTCP was switched off

    /// Whether MPTCP is known to be switched off there, and by which setting.
    func switchOff(in netns: UInt32) -> String? {
        guard let name = history.switchName(in: netns), history.value(name, in: netns) == "0" else {
            return nil
        }
        return name
    }

    /// Whether an MPTCP socket may be older than the switch's being off. One that was made later shows that
    /// it is on again, which nobody saw.
    /// - Parameter opened: when it is first known to have been there; 0: before the trace.
    func mayOutlive(_ name: String, in netns: UInt32, created: UInt64, opened: UInt64) -> Bool {
        if created != 0 { return history.value(name, in: netns, at: created) != "0" }
        if options.seesWrites || opened == 0 { return true }
        return history.lastChange(name, in: netns).map { opened <= $0.earliest } ?? false
    }

    /// The switch is off there, and this listener takes MPTCP (`listener_outlives_disable`).
    mutating func checkOutliving(_ listener: Listener, at time: UInt64) {
        guard listener.transport == .mptcp, let name = switchOff(in: listener.netns),
            mayOutlive(name, in: listener.netns, created: listener.created, opened: listener.opened)
        else { return }
        let cause = Cause(
            kind: .listenerOutlivesDisable, setting: name, netns: listener.netns,
            subject: .listener(listener.id))
        if findings[cause] != nil { return }
        let who = Self.words(listener.owner)
        report(
            cause, .warning, at: time, evidence: [.listener(listener.id)] + lastChange(name, listener.netns)
        ) {
            (
                "\(name) is 0, but the listener on port \(listener.local.port) of \(who) was made before: "
                    + "it goes on taking MPTCP until it is closed.",
                "Restart \(who): a socket keeps the value that it was made with."
            )
        }
    }

    /// A connection was taken as MPTCP: where the switch is off, that proves an older listener, also one
    /// whose listen() was never seen.
    mutating func checkOutliving(accepted index: Int32, at time: UInt64) {
        let connection = connections[index]
        guard connection.side == .server, let name = switchOff(in: connection.netns) else { return }
        let listener = listeners[connection.listener]
        guard
            mayOutlive(
                name, in: connection.netns, created: listener?.created ?? 0, opened: listener?.opened ?? time)
        else { return }
        let cause = Cause(
            kind: .listenerOutlivesDisable, setting: name, netns: connection.netns,
            subject: connection.listener == 0 ? .namespace : .listener(connection.listener))
        report(cause, .error, at: time, conn: connection.id, evidence: [.connection(connection.id)]) {
            let who = Self.words(connection.owner)
            return (
                "\(name) is 0, but a connection to port \(connection.local.port) of \(who) was taken as MPTCP: "
                    + "its listener was made before, and goes on until it is closed.",
                "Restart \(who): a socket keeps the value that it was made with."
            )
        }
    }

    // MARK: MPTCP was switched on

    /// The switch is on there, and this listener is plain TCP because it was off
    /// (`listener_predates_enable`). Only what is proven without a connection.
    mutating func checkPredating(_ listener: Listener, at time: UInt64) {
        guard let (name, value, number, _) = switchedOn(in: listener.netns), listener.transport == .tcp,
            listener.refusal != 0 || listener.isPlainBySwitch && listener.enabledAtCreation == false
        else { return }
        let cause = Cause(
            kind: .listenerPredatesEnable, setting: name, netns: listener.netns,
            subject: .listener(listener.id))
        if findings[cause] != nil { return }
        let who = Self.words(listener.owner)
        let wasRefused = listener.refusal != 0
        report(
            cause, .warning, at: time,
            evidence: [.refusal(listener.refusal), .listener(listener.id), .change(number)]
        ) {
            (
                wasRefused
                    ? "\(name) is \(value), but \(who) was refused an MPTCP socket while it was 0 and then "
                        + "listened on port \(listener.local.port) with TCP: its clients fall back until it restarts."
                    : "\(name) is \(value), but the listener on port \(listener.local.port) of \(who) was made "
                        + "while it was 0: its clients fall back until it restarts.",
                "Restart \(who): it will get an MPTCP socket now."
            )
        }
    }

    /// A SYN with MP_CAPABLE reached a TCP listener, and the connection is TCP.
    mutating func checkPredating(fallback index: Int32, at time: UInt64) {
        let connection = connections[index]
        guard let listener = listeners[connection.listener], listener.transport == .tcp,
            let (name, value, number, turned) = switchedOn(in: listener.netns),
            let claim = claim(listener, name, turned)
        else { return }
        let cause = Cause(
            kind: .listenerPredatesEnable, setting: name, netns: listener.netns,
            subject: .listener(listener.id))
        report(
            cause, claim, at: time, conn: connection.id,
            evidence: [.listener(listener.id), .change(number), .connection(connection.id)]
        ) {
            let who = Self.words(listener.owner)
            let port = listener.local.port
            switch claim {
            case .error:
                return (
                    "\(name) is \(value), but the listener on port \(port) of \(who) is plain TCP, because "
                        + "MPTCP was off when it was made: MPTCP clients fall back, until it restarts.",
                    "Restart \(who): it will get an MPTCP socket now."
                )
            case .warning:
                return (
                    "\(name) is \(value), but the listener on port \(port) of \(who) is older than that, and "
                        + "plain TCP: MPTCP clients fall back.",
                    "Restart \(who), if it is meant to speak MPTCP: a socket keeps what it was made as."
                )
            case .info:
                return (
                    "An MPTCP client of port \(port) of \(who) fell back: its listener is plain TCP, and whether it "
                        + "was made before \(name) became \(value), or only speaks TCP, is not known.",
                    "Restart \(who), if it is meant to speak MPTCP."
                )
            }
        }
    }

    /// The switch there, if it is known to have been turned on.
    private func switchedOn(in netns: UInt32) -> (name: String, value: String, number: UInt64, time: UInt64)?
    {
        guard let name = history.switchName(in: netns), let change = history.lastChange(name, in: netns),
            let value = change.new, value != "0"
        else { return nil }
        return (name, value, change.number, change.time)
    }

    /// How sure it is that this TCP listener is none of MPTCP because MPTCP was off; nil: it is not.
    private func claim(_ listener: Listener, _ name: String, _ turned: UInt64) -> Severity? {
        if listener.refusal != 0 { return .error }
        switch listener.enabledAtCreation {
        case true?: return nil
        case false?: return listener.isPlainBySwitch ? .error : .warning
        case nil: break
        }
        if listener.origin == .snapshot {
            return history.firstValue(name, in: listener.netns) == "0" ? .warning : .info
        }
        if listener.opened > turned { return nil }
        switch history.value(name, in: listener.netns, at: listener.opened) {
        case "0"?: return .warning
        case nil: return .info
        case _?: return nil
        }
    }

    // MARK: other settings

    /// Listeners made under another value of a setting than it has now (`setting_needs_restart`).
    mutating func checkListeners(_ change: SettingChange) {
        for id in listeners.ids(where: { $0.transport == .mptcp && isOf($0.netns, change) }) {
            guard let listener = listeners[id] else { continue }
            guard let made = madeUnder(change, by: listener), made != change.new else { continue }
            let cause = Cause(
                kind: .settingNeedsRestart, setting: change.name, netns: listener.netns,
                subject: .listener(id), madeUnder: made)
            if findings[cause] != nil { continue }
            let who = Self.words(listener.owner)
            report(
                cause, .warning, at: change.time,
                evidence: [.listener(id)] + lastChange(change.name, listener.netns)
            ) {
                (
                    "\(change.name) is \(change.new), but the listener on port \(listener.local.port) of \(who) "
                        + "was made before: its connections go by \(made).",
                    "Restart \(who): a listener keeps the value that it was made with."
                )
            }
        }
    }

    /// Whether a change concerns that namespace.
    func isOf(_ netns: UInt32, _ change: SettingChange) -> Bool {
        netns == change.netns || Setting.named(change.name)?.isPerNamespace == false
    }

    /// What a setting was when a socket was made; nil: not known.
    /// - Parameters:
    ///   - created: ns; 0: not known.
    ///   - isOld: it is older than the trace.
    ///   - known: ns; it was there by then.
    func madeUnder(
        _ change: SettingChange, created: UInt64, isOld: Bool, known: UInt64
    ) -> String? {
        if created != 0 { return history.value(change.name, in: change.netns, at: created) }
        if isOld { return history.firstValue(change.name, in: change.netns) }
        return known <= change.earliest && history.hasChangedOnce(change.name, in: change.netns)
            ? change.old : nil
    }

    func madeUnder(_ change: SettingChange, by listener: Listener) -> String? {
        madeUnder(
            change, created: listener.created, isOld: listener.origin == .snapshot, known: listener.opened)
    }

    /// Of an MPTCP connection, or of a socket that has not connected. A server's is made in its handshake.
    func madeUnder(_ change: SettingChange, by connection: Connection) -> String? {
        madeUnder(
            change,
            created: connection.created == 0 && connection.side == .server && !connection.fromSnapshot
                ? connection.born : connection.created,
            isOld: connection.fromSnapshot, known: connection.born)
    }

    /// The last change of a setting, as evidence.
    func lastChange(_ name: String, _ netns: UInt32) -> [Evidence] {
        history.lastChange(name, in: netns).map { [.change($0.number)] } ?? []
    }
}
