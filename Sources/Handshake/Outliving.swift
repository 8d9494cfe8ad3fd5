// SPDX-License-Identifier: Apache-2.0

/// Listeners that take MPTCP though it is switched off: they were made before
/// (`listener_outlives_disable`). One finding for each, however many connections show it.
struct Outliving {
    struct Finding {
        var id: UInt64
        var netns: UInt32
        /// 0: not known which.
        var listener: UInt64
        /// How often it was seen: the listener itself, and each connection that it took.
        var count: UInt64 = 1
        /// It has taken MPTCP since.
        var isProven = false
        var lastWritten: UInt64
        var message: String
        var advice: String
        /// The name of the setting.
        var setting: String
    }

    /// Namespaces in which the switch is known to be off, and the switch's name.
    private(set) var off: [UInt32: String] = [:]
    /// The out-of-tree stack's switch is one for all; nil: it is on, or not known.
    private(set) var offEverywhere: String?
    /// By listener; of one that is not known by its namespace.
    var findings: [UInt64: Finding] = [:]

    static let switches: Set<String> = ["net.mptcp.enabled", "net.mptcp.mptcp_enabled"]

    /// The name of the switch that is off there; nil: none is known to be.
    func switchOff(in netns: UInt32) -> String? { offEverywhere ?? off[netns] }

    mutating func know(_ name: String, is value: String, in netns: UInt32) {
        guard Self.switches.contains(name) else { return }
        let isOff = value == "0"
        if Setting.named(name)?.isPerNamespace == false {
            offEverywhere = isOff ? name : nil
        } else {
            off[netns] = isOff ? name : nil
        }
    }

    /// Under which a finding is kept.
    static func key(_ listener: UInt64, _ netns: UInt32) -> UInt64 {
        listener != 0 ? listener : UInt64(netns) | 1 << 63
    }
}

extension Tracker {
    private static let pause: UInt64 = 1_000_000_000

    /// What a setting is as the trace begins. To be told before `begin`.
    public mutating func know(_ name: String, is value: String, in netns: UInt32) {
        outliving.know(name, is: value, in: netns)
    }

    /// The switch is off there, and this listener takes MPTCP.
    /// - Parameter skipping: how many records were written since the one that shows it.
    mutating func outlives(_ listener: Listener, at time: UInt64, skipping: Int = 0) {
        guard listener.transport == .mptcp, let name = outliving.switchOff(in: listener.netns),
            outliving.findings[listener.id] == nil
        else { return }
        let who = Self.words(listener.owner)
        write(
            found(listener.id, listener.netns, name, at: time) {
                $0.message =
                    "\(name) is 0, but the listener on port \(listener.local.port) of \(who) was made before: "
                    + "it goes on taking MPTCP until it is closed."
                $0.advice = "Restart \(who): a socket keeps the value that it was made with."
            }, .open, .warning, conn: 0, at: time, evidence: 1, skipping: skipping)
    }

    /// A connection was taken as MPTCP: where the switch is off, that proves an older listener.
    mutating func outlives(connection index: Int32, at time: UInt64) {
        let connection = connections[index]
        guard connection.side == .server, let name = outliving.switchOff(in: connection.netns) else { return }
        let key = Outliving.key(connection.listener, connection.netns)
        guard var finding = outliving.findings[key] else {
            let who = Self.words(connection.owner)
            var finding = found(connection.listener, connection.netns, name, at: time) {
                $0.message =
                    "\(name) is 0, but a connection to port \(connection.local.port) of \(who) was taken as "
                    + "MPTCP: its listener was made before, and goes on until it is closed."
                $0.advice = "Restart \(who): a socket keeps the value that it was made with."
            }
            finding.isProven = true
            outliving.findings[key] = finding
            write(finding, .open, .error, conn: connection.id, at: time, evidence: 1)
            return
        }
        finding.count += 1
        let isDue = !finding.isProven || time >= finding.lastWritten &+ Self.pause
        finding.isProven = true
        if isDue { finding.lastWritten = time }
        outliving.findings[key] = finding
        if isDue { write(finding, .repeated, .error, conn: connection.id, at: time, evidence: 1) }
    }

    /// The listener is closed, or the switch is on again.
    mutating func outlivesNoMore(_ key: UInt64, at time: UInt64) {
        guard let finding = outliving.findings.removeValue(forKey: key) else { return }
        write(finding, .closed, finding.isProven ? .error : .warning, conn: 0, at: time, evidence: 0)
    }

    /// The switch was turned.
    mutating func switched(_ change: SettingChange) {
        guard Outliving.switches.contains(change.name), change.accepted != false, change.old != change.new
        else { return }
        outliving.know(change.name, is: change.new, in: change.netns)
        if change.new == "0" {
            let before = records.count
            for id in listeners.ids(where: { outliving.switchOff(in: $0.netns) != nil }) {
                guard let listener = listeners[id] else { continue }
                outlives(listener, at: change.time, skipping: records.count - before)
            }
        } else {
            let over = outliving.findings.filter { outliving.switchOff(in: $0.value.netns) == nil }
            for key in over.keys.sorted() { outlivesNoMore(key, at: change.time) }
        }
    }

    private mutating func found(
        _ listener: UInt64, _ netns: UInt32, _ setting: String, at time: UInt64,
        _ say: (inout Outliving.Finding) -> Void
    ) -> Outliving.Finding {
        lastAnomaly += 1
        var finding = Outliving.Finding(
            id: lastAnomaly, netns: netns, listener: listener, lastWritten: time, message: "", advice: "",
            setting: setting)
        say(&finding)
        outliving.findings[Outliving.key(listener, netns)] = finding
        return finding
    }

    private mutating func write(
        _ finding: Outliving.Finding, _ state: AnomalyState, _ severity: Severity, conn: UInt64,
        at time: UInt64, evidence: Int, skipping: Int = 0
    ) {
        var record = AnomalyRecord(
            time: time, id: finding.id, kind: .listenerOutlivesDisable, state: state, count: finding.count,
            severity: severity, message: finding.message, advice: finding.advice, netns: finding.netns,
            listener: finding.listener, conn: conn, evidencePreceding: evidence)
        record.evidenceSkipped = skipping
        record.sysctl = finding.setting
        records.append(.anomaly(record))
    }

    /// Such as `nginx (pid 812)`.
    private static func words(_ owner: Owner?) -> String {
        guard let owner else { return "the process that holds it" }
        let name = String(decoding: (0..<owner.comm.count).map { owner.comm[$0] }, as: UTF8.self)
        return "\(name) (pid \(owner.pid))"
    }
}
