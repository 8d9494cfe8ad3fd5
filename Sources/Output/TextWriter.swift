// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Turns records into text for people: a table of handshakes (TextTable.swift), their ladders
/// (TextSteps.swift), sentences for the rest (TextSentences.swift).
///
/// Everything that comes from outside is made safe for a terminal first, and no line is wider
/// than asked for.
public struct TextWriter: ~Copyable {
    /// How many steps of a handshake, and how many handshakes and connections, are kept.
    static let stepLimit = 64
    static let connLimit = 4096

    /// What a later record of the same connection needs.
    struct Known {
        var side: Side?
        var owner: Owner?
        var local: Endpoint
        var remote: Endpoint
        var netns: UInt32
    }

    let width: Int
    let colour: Bool
    let steps: Bool
    let layout: Layout
    let realtimeOffset: UInt64
    let names: (UInt64) -> CgroupName?
    let sockets: (ManagedSocket) -> Unit?
    var clock: LocalTime
    var cell = ByteBuffer(capacity: 512)

    var wroteHeader = false
    /// The last line written is an empty one.
    var endsBlank = false
    /// Reasons whose advice was told, by unit where it names one.
    var explained = BoundedTable<Explained, Bool>(limit: connLimit)
    var explainedLoss = false
    var known = BoundedTable<UInt64, Known>(limit: connLimit)
    var ladders = BoundedTable<Ladder.Key, Ladder>(limit: connLimit)
    /// What was open when the trace began, until it is told.
    var opening = (mptcp: UInt64(0), tcp: UInt64(0), either: UInt64(0), connections: UInt64(0))

    /// - Parameters:
    ///   - width: columns of the terminal; 0: no limit.
    ///   - colour: whether colours are understood and wanted.
    ///   - steps: draw the ladder of each handshake instead of the table.
    ///   - realtimeOffset: ns to add to CLOCK_MONOTONIC for CLOCK_REALTIME.
    ///   - utcOffset: seconds east of UTC; nil: as the system is set.
    ///   - names: what a cgroup id stands for.
    ///   - sockets: which unit systemd listens for.
    public init(
        width: Int, colour: Bool, steps: Bool = false, realtimeOffset: Int64, utcOffset: Int? = nil,
        names: @escaping (UInt64) -> CgroupName? = { _ in nil },
        sockets: @escaping (ManagedSocket) -> Unit? = { _ in nil }
    ) {
        self.width = width <= 0 ? 1_000_000 : max(width, 20)
        layout = Layout(width: width <= 0 ? 0 : max(width, 20))
        self.colour = colour
        self.steps = steps
        self.realtimeOffset = UInt64(bitPattern: realtimeOffset)
        clock = LocalTime(fixed: utcOffset)
        self.names = names
        self.sockets = sockets
    }

    /// Appends what `record` is worth telling, which may be nothing.
    public mutating func write(_ record: Record, to text: inout ByteBuffer) {
        switch record {
        case .listener(let listener) where listener.origin == .snapshot && listener.state == .open && !steps:
            switch listener.transport {
            case .mptcp: opening.mptcp += 1
            case .tcp: opening.tcp += 1
            case nil: opening.either += 1
            }
            return
        case .connection(let connection):
            remember(
                connection.conn,
                Known(
                    side: connection.side, owner: connection.owner, local: connection.local,
                    remote: connection.remote, netns: connection.netns))
            if !steps {
                opening.connections += 1
                return
            }
        case .step(let step):
            collect(step)
            return
        default: break
        }
        tellOpening(to: &text)
        switch record {
        case .handshake(let handshake): write(handshake, to: &text)
        case .join(let join): write(join, to: &text)
        case .fallback(let fallback): write(fallback, to: &text)
        case .connection(let connection): write(connection, to: &text)
        case .close(let close): write(close, to: &text)
        case .listener(let listener): write(listener, to: &text)
        case .sysctl(let sysctl): write(sysctl, to: &text)
        case .anomaly(let anomaly): write(anomaly, to: &text)
        case .lost(let lost): write(lost, to: &text)
        case .address(let address): write(address, to: &text)
        case .step: break
        }
    }

    /// Appends what traces, on what; and which hooks are not there.
    public mutating func write(_ meta: MetaRecord, to text: inout ByteBuffer) {
        cell.clear()
        cell.append(text: meta.tool)
        cell.append(label: ", kernel ", meta.kernel)
        cell.append(label: ", MPTCP ", meta.stack?.rawValue)
        cell.append(label: ", by ", meta.backend)
        cell.append(label: " over ", meta.transport?.rawValue)
        paragraph(.dim, to: &text)
        // What is missing for the same reason is one line.
        var told: Set<String> = []
        for hook in meta.hooks where hook.status == .missing || hook.status == .refused {
            let error = hook.error ?? ""
            guard told.insert(error).inserted else { continue }
            let alike = meta.hooks.filter {
                ($0.status == .missing || $0.status == .refused) && ($0.error ?? "") == error
            }
            cell.clear()
            if alike.count == 1 {
                cell.append("hook ")
                cell.append(text: hook.name)
                cell.append(hook.status == .missing ? " is not there" : " was refused")
            } else {
                cell.append("\(alike.count) hooks were refused (mpscope doctor lists them)")
            }
            cell.append(label: ": ", hook.error)
            paragraph(.yellow, to: &text)
        }
    }

    /// Appends the end of a trace: what was seen, how fast, and what was not.
    public mutating func write(_ summary: SummaryRecord, to text: inout ByteBuffer) {
        tellOpening(to: &text)
        if !endsBlank { text.append("\n") }
        list("handshakes", summary.handshakes, always: true, to: &text)
        list("joins", summary.joins, to: &text)
        list("reasons", summary.reasons, to: &text)
        list("anomalies", summary.anomalies, to: &text)
        if let latency = summary.latency {
            cell.clear()
            cell.append("latency     p50 ")
            cell.append(span: latency.p50 &* 1000)
            cell.append("  p90 ")
            cell.append(span: latency.p90 &* 1000)
            cell.append("  p99 ")
            cell.append(span: latency.p99 &* 1000)
            cell.append("  max ")
            cell.append(span: latency.max &* 1000)
            paragraph(indent: 12, inItems: true, to: &text)
        }
        if let verify = summary.verify { write(verify, to: &text) }
        cell.clear()
        cell.append("lost        ")
        cell.append(decimal: summary.lostTotal)
        cell.append(" of ")
        cell.append(decimal: summary.events)
        cell.append(summary.events == 1 ? " event" : " events")
        paragraph(summary.lostTotal == 0 ? .plain : .red, indent: 12, inItems: true, to: &text)
    }

    private mutating func list(
        _ title: StaticString, _ counts: [WordCount], always: Bool = false, to text: inout ByteBuffer
    ) {
        guard always || !counts.isEmpty else { return }
        cell.clear()
        cell.append(title)
        cell.append(UInt8(ascii: " "), times: 12 - title.utf8CodeUnitCount)
        if counts.isEmpty { cell.append("none") }
        for (place, item) in counts.enumerated() {
            if place > 0 { cell.append("  ") }
            cell.append(text: item.word)
            cell.append(" ")
            cell.append(decimal: item.count)
        }
        paragraph(indent: 12, inItems: true, to: &text)
    }

    // MARK: small parts

    mutating func remember(_ conn: UInt64, _ facts: Known) {
        known.update(conn, default: facts) { $0 = facts }
    }

    /// Begins the cell of a sentence with its time.
    mutating func stamp(_ time: UInt64) {
        cell.clear()
        clock.append(time &+ realtimeOffset, milliseconds: width >= 52, to: &cell)
        cell.append("  ")
    }

    func style(_ wanted: Style) -> Style { colour ? wanted : .plain }

    func style(of outcome: Outcome) -> Style {
        switch outcome {
        case .mptcp: .green
        case .fallback: .yellow
        case .tcp: .plain
        case .refused, .reset, .timeout, .aborted: .red
        }
    }

    /// Dashed for a further subflow.
    func arrow(_ side: Side?, further: Bool = false) -> StaticString {
        switch side {
        case .client?: further ? "⇢" : "→"
        case .server?: further ? "⇠" : "←"
        case nil: "–"
        }
    }

    /// What the owner of a socket runs in.
    func unit(
        of owner: Owner?, local: Endpoint, netns: UInt32, side: Side?, isListener: Bool = false
    ) -> Unit? {
        guard let owner, owner.cgroup != 0, let name = names(owner.cgroup) else { return nil }
        guard let manager = name.manager, side != .client else { return name.unit }
        return sockets(
            ManagedSocket(manager: manager, local: local, netns: netns, isListener: isListener))
    }

    func put(
        _ wide: Int, cut: Cut = .end, aligned: Alignment = .left, padded: Bool = true,
        _ wanted: Style = .plain, to text: inout ByteBuffer
    ) {
        // Without a limit nothing is shortened, even if a column has to give way.
        let wide = width >= 1_000_000 ? max(wide, cell.columnCount) : wide
        text.append(cell: cell, in: wide, cut: cut, aligned: aligned, padded: padded, style: style(wanted))
    }

    mutating func paragraph(
        _ wanted: Style = .plain, indent: Int = 4, inItems: Bool = false, to text: inout ByteBuffer
    ) {
        endsBlank = false
        text.append(paragraph: cell, wide: width, indent: indent, inItems: inItems, style: style(wanted))
    }
}

extension ByteBuffer {
    /// An address, `-` if there is none.
    mutating func append(text endpoint: Endpoint) {
        if endpoint == .unspecified { append("-") } else { append(endpoint: endpoint) }
    }

    /// `  nginx (812) nginx.service`, nothing if there is none.
    mutating func append(owner: Owner?, _ unit: Unit? = nil) {
        guard let owner else { return }
        append("  ")
        append(text: owner.comm)
        append(" (")
        append(decimal: owner.pid)
        append(")")
        if let unit {
            append(" ")
            append(unit: unit.name)
        }
    }

    /// `1 listener`, `2 listeners`.
    mutating func append(count: UInt64, _ noun: StaticString) {
        append(decimal: count)
        append(" ")
        append(noun)
        if count != 1 { append("s") }
    }

    mutating func append(label: StaticString, _ value: String?) {
        guard let value else { return }
        append(label)
        append(text: value)
    }
}
