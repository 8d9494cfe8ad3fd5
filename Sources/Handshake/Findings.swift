// SPDX-License-Identifier: Apache-2.0

/// What a finding is about. One finding for each cause, however many connections show it.
struct Cause: Hashable {
    enum Subject: Hashable {
        case listener(UInt64)
        /// Sockets of a process (thread group); 0: of nobody that is known.
        case process(UInt32)
        case namespace
    }

    var kind: AnomalyKind
    /// The whole name of the setting.
    var setting: String
    var netns: UInt32
    var subject: Subject
    /// With what the sockets were made that it is about: it is over once the setting has that again; nil: by
    /// what ends it otherwise.
    var madeUnder: String?
}

/// A finding that is open.
struct Finding {
    var id: UInt64
    /// How often it was seen.
    var count: UInt64 = 1
    var severity: Severity
    var message: String
    var advice: String
    /// ns.
    var lastWritten: UInt64
    /// Whether its count was written.
    var isTold = true
    /// Of the last that showed it, if that was not written.
    var conn: UInt64 = 0
    /// Sockets and connections (`conn`, marked `isMember`) it is about, and with whose last it ends; empty:
    /// it does not.
    var members: Set<UInt64> = []
}

/// The findings that are open.
struct Findings {
    private(set) var open: [Cause: Finding] = [:]
    /// Those whose count has grown and was not written.
    private(set) var untold: Set<Cause> = []
    private var memberships: [UInt64: Set<Cause>] = [:]
    /// How many there are about each.
    private var subjects: [Cause.Subject: Int] = [:]
    /// One is told at most so often, ns.
    static let pause: UInt64 = 1_000_000_000
    private static let limit = 16_384

    var isFull: Bool { open.count >= Self.limit }

    subscript(cause: Cause) -> Finding? { open[cause] }

    mutating func add(_ finding: Finding, _ cause: Cause) {
        open[cause] = finding
        subjects[cause.subject, default: 0] += 1
        for member in finding.members { memberships[member, default: []].insert(cause) }
    }

    /// One more that an open finding is about.
    mutating func add(member: UInt64, to cause: Cause) {
        if open[cause]?.members.insert(member).inserted == true {
            memberships[member, default: []].insert(cause)
        }
    }

    /// Changes an open finding, but not its members.
    mutating func update(_ cause: Cause, _ change: (inout Finding) -> Void) {
        guard let place = open.index(forKey: cause) else { return }
        change(&open.values[place])
        if open.values[place].isTold { untold.remove(cause) } else { untold.insert(cause) }
    }

    mutating func remove(_ cause: Cause) -> Finding? {
        untold.remove(cause)
        guard let finding = open.removeValue(forKey: cause) else { return nil }
        for member in finding.members { leave(member, cause) }
        subjects[cause.subject, default: 1] -= 1
        if subjects[cause.subject] == 0 { subjects[cause.subject] = nil }
        return finding
    }

    /// Whether there is one about it.
    func isAbout(_ subject: Cause.Subject) -> Bool { subjects[subject] != nil }

    /// Those that a socket is a member of, in no order.
    func causes(of conn: UInt64) -> Set<Cause> { memberships[conn] ?? [] }

    /// A socket is gone.
    /// - Returns: what has no member any more.
    mutating func lose(_ conn: UInt64) -> [Cause] {
        var over: [Cause] = []
        for cause in memberships.removeValue(forKey: conn) ?? [] {
            open[cause]?.members.remove(conn)
            if open[cause]?.members.isEmpty == true { over.append(cause) }
        }
        return over
    }

    private mutating func leave(_ member: UInt64, _ cause: Cause) {
        memberships[member]?.remove(cause)
        if memberships[member]?.isEmpty == true { memberships[member] = nil }
    }
}

extension Tracker {
    /// Something was found. A finding that is open grows, and is told at most once a second.
    /// - Parameters:
    ///   - conn: the connection that shows it; 0: none does.
    ///   - words: message and advice; only asked for when it is new or graver than before.
    mutating func report(
        _ cause: Cause, _ severity: Severity, at time: UInt64, conn: UInt64 = 0, evidence: [Evidence],
        members: Set<UInt64> = [], words: () -> (message: String, advice: String)
    ) {
        guard let before = findings[cause] else {
            if findings.isFull {
                evicted += 1
                return
            }
            lastAnomaly += 1
            let words = words()
            let finding = Finding(
                id: lastAnomaly, severity: severity, message: words.message, advice: words.advice,
                lastWritten: time, members: members)
            findings.add(finding, cause)
            write(finding, cause, .open, conn: conn, at: time, evidence)
            return
        }
        let isGraver = severity.isGraver(than: before.severity)
        let isDue = isGraver || time >= before.lastWritten &+ Findings.pause
        let words = isGraver ? words() : nil
        findings.update(cause) { finding in
            finding.count += 1
            finding.conn = conn
            finding.isTold = isDue
            if isDue { finding.lastWritten = time }
            if let words {
                finding.severity = severity
                (finding.message, finding.advice) = words
            }
        }
        if isDue, let finding = findings[cause] {
            write(finding, cause, .repeated, conn: conn, at: time, evidence)
        }
    }

    /// It is over: `because` is a sentence.
    mutating func close(_ cause: Cause, at time: UInt64, because: String, evidence: [Evidence] = []) {
        guard var finding = findings.remove(cause) else { return }
        finding.message = because
        finding.advice = ""
        write(finding, cause, .closed, conn: 0, at: time, evidence)
    }

    /// All that fit are over.
    mutating func closeFindings(
        at time: UInt64, because: String, evidence: [Evidence] = [], where fits: (Cause, Finding) -> Bool
    ) {
        let over = findings.open.filter { fits($0.key, $0.value) }.sorted { $0.value.id < $1.value.id }
        for (cause, _) in over { close(cause, at: time, because: because, evidence: evidence) }
    }

    /// What has grown since it was last told, once it is time.
    mutating func tellFindings(at time: UInt64, evenSoon: Bool = false) {
        if findings.untold.isEmpty { return }
        for cause in findings.untold {
            guard let before = findings[cause], evenSoon || time >= before.lastWritten &+ Findings.pause
            else { continue }
            findings.update(cause) { finding in
                finding.isTold = true
                finding.lastWritten = time
            }
            guard let finding = findings[cause] else { continue }
            write(finding, cause, .repeated, conn: finding.conn, at: time, [])
        }
    }

    /// Sockets and connections that went away end what was about them alone.
    mutating func partFromMembers(at time: UInt64) {
        for conn in connections.takeGoneMembers() {
            for cause in findings.lose(conn).sorted(by: { findings[$0]?.id ?? 0 < findings[$1]?.id ?? 0 }) {
                close(cause, at: time, because: "The last of them is closed.")
            }
        }
    }

    private mutating func write(
        _ finding: Finding, _ cause: Cause, _ state: AnomalyState, conn: UInt64, at time: UInt64,
        _ evidence: [Evidence]
    ) {
        var listener: UInt64 = 0
        if case .listener(let id) = cause.subject { listener = id }
        var record = AnomalyRecord(
            time: time, id: finding.id, kind: cause.kind, state: state, count: finding.count,
            severity: finding.severity, message: finding.message, advice: finding.advice, netns: cause.netns,
            listener: listener, conn: conn, evidence: evidence)
        record.sysctl = cause.setting.hasPrefix("net.") ? cause.setting : nil
        records.append(.anomaly(record))
    }

    /// Such as `nginx (pid 812)`.
    static func words(_ owner: Owner?) -> String {
        guard let owner else { return "the process that holds it" }
        let name = String(decoding: (0..<owner.comm.count).map { owner.comm[$0] }, as: UTF8.self)
        return "\(name) (pid \(owner.pid))"
    }
}

extension Severity {
    fileprivate func isGraver(than other: Severity) -> Bool {
        let order = Severity.allCases
        return order.firstIndex(of: self) ?? 0 > order.firstIndex(of: other) ?? 0
    }
}
