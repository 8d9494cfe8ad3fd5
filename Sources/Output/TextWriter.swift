// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Turns records into text for people: a table of handshakes, sentences for the rest.
///
/// Everything that comes from outside is made safe for a terminal first, and no line is wider
/// than asked for.
public struct TextWriter: ~Copyable {
    /// How many steps of a handshake, and how many handshakes and connections, are kept.
    private static let stepLimit = 64
    private static let connLimit = 4096

    /// What a later record of the same connection needs.
    private struct Known {
        var side: Side?
        var owner: Owner?
        var local: Endpoint
        var remote: Endpoint
    }

    private let width: Int
    private let colour: Bool
    private let steps: Bool
    private let layout: Layout
    private let realtimeOffset: UInt64
    private var clock: LocalTime
    private var cell = ByteBuffer(capacity: 512)

    private var wroteHeader = false
    /// The last line written is an empty one.
    private var endsBlank = false
    private var explained = [Bool](repeating: false, count: 256)
    private var explainedLoss = false
    private var known = BoundedTable<UInt64, Known>(limit: connLimit)
    private var ladders = BoundedTable<Ladder.Key, Ladder>(limit: connLimit)
    /// What was open when the trace began, until it is told.
    private var opening = (mptcp: UInt64(0), tcp: UInt64(0), connections: UInt64(0))

    /// - Parameters:
    ///   - width: columns of the terminal; 0: no limit.
    ///   - colour: whether colours are understood and wanted.
    ///   - steps: draw the ladder of each handshake instead of the table.
    ///   - realtimeOffset: ns to add to CLOCK_MONOTONIC for CLOCK_REALTIME.
    ///   - utcOffset: seconds east of UTC; nil: as the system is set.
    public init(
        width: Int, colour: Bool, steps: Bool = false, realtimeOffset: Int64, utcOffset: Int? = nil
    ) {
        self.width = width <= 0 ? 1_000_000 : max(width, 20)
        layout = Layout(width: width <= 0 ? 0 : max(width, 20))
        self.colour = colour
        self.steps = steps
        self.realtimeOffset = UInt64(bitPattern: realtimeOffset)
        clock = LocalTime(fixed: utcOffset)
    }

    /// Appends what `record` is worth telling, which may be nothing.
    public mutating func write(_ record: Record, to text: inout ByteBuffer) {
        switch record {
        case .listener(let listener) where listener.origin == .snapshot && listener.state == .open && !steps:
            if listener.transport == .mptcp { opening.mptcp += 1 } else { opening.tcp += 1 }
            return
        case .connection(let connection):
            remember(
                connection.conn,
                Known(
                    side: connection.side, owner: connection.owner, local: connection.local,
                    remote: connection.remote))
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
        case .anomaly(let anomaly): write(anomaly, to: &text)
        case .lost(let lost): write(lost, to: &text)
        case .step, .address: break
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
        for hook in meta.hooks where hook.status == .missing || hook.status == .refused {
            cell.clear()
            cell.append("hook ")
            cell.append(text: hook.name)
            cell.append(hook.status == .missing ? " is not there" : " was refused")
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
        if let verify = summary.verify {
            cell.clear()
            cell.append("verify      ")
            cell.append(decimal: verify.checked)
            cell.append(" checked  ")
            cell.append(decimal: verify.equal)
            cell.append(" equal  ")
            cell.append(decimal: verify.differences)
            cell.append(verify.differences == 1 ? " difference" : " differences")
            paragraph(verify.differences == 0 ? .plain : .red, indent: 12, inItems: true, to: &text)
        }
        cell.clear()
        cell.append("lost        ")
        cell.append(decimal: summary.lostTotal)
        cell.append(" of ")
        cell.append(decimal: summary.events)
        cell.append(summary.events == 1 ? " event" : " events")
        paragraph(summary.lostTotal == 0 ? .plain : .red, indent: 12, inItems: true, to: &text)
    }

    // MARK: the table

    private struct Row {
        var time: UInt64
        var side: Side?
        var owner: Owner?
        var local: Endpoint
        var remote: Endpoint
        var outcome: String
        var style: Style
        var latency: UInt64?
        var reason: Reason?
        var error: UInt32 = 0
    }

    private mutating func write(_ handshake: HandshakeRecord, to text: inout ByteBuffer) {
        remember(
            handshake.conn,
            Known(
                side: handshake.side, owner: handshake.owner, local: handshake.local,
                remote: handshake.remote))
        let row = Row(
            time: handshake.time, side: handshake.side, owner: handshake.owner, local: handshake.local,
            remote: handshake.remote, outcome: handshake.outcome.rawValue,
            style: style(of: handshake.outcome), latency: handshake.timings.total,
            reason: handshake.reason, error: handshake.error)
        show(row, conn: handshake.conn, subflow: 0, to: &text)
    }

    private mutating func write(_ join: JoinRecord, to text: inout ByteBuffer) {
        let row = Row(
            time: join.time, side: join.side, owner: known[join.conn]?.owner, local: join.local,
            remote: join.remote, outcome: join.outcome.rawValue,
            style: join.outcome == .joined ? .green : .red, latency: join.timings.total,
            reason: join.reason)
        show(row, conn: join.conn, subflow: join.subflow, to: &text)
    }

    private mutating func write(_ fallback: FallbackRecord, to text: inout ByteBuffer) {
        let known = known[fallback.conn]
        let row = Row(
            time: fallback.time, side: known?.side, owner: known?.owner,
            local: known?.local ?? .unspecified, remote: known?.remote ?? .unspecified,
            outcome: Outcome.fallback.rawValue, style: .yellow, latency: nil, reason: fallback.reason)
        show(row, conn: fallback.conn, subflow: 0, to: &text)
    }

    private mutating func show(_ row: Row, conn: UInt64, subflow: UInt32, to text: inout ByteBuffer) {
        if steps {
            heading(row, conn: conn, subflow: subflow, to: &text)
            if let ladder = ladders.remove(Ladder.Key(conn: conn, subflow: subflow)) {
                ladder.draw(width: width, to: &text)
            }
            explain(row.reason, to: &text)
            text.append("\n")
            endsBlank = true
        } else {
            if !wroteHeader { header(to: &text) }
            line(row, to: &text)
            endsBlank = false
            explain(row.reason, to: &text)
        }
    }

    private mutating func header(to text: inout ByteBuffer) {
        wroteHeader = true
        var line = ByteBuffer(capacity: 256)
        func put(_ word: StaticString, _ wide: Int, _ aligned: Alignment = .left, to line: inout ByteBuffer) {
            guard wide > 0 else { return }
            var cell = ByteBuffer(capacity: 64)
            cell.append(word)
            if !line.isEmpty { line.append(" ") }
            line.append(cell: cell, in: wide, aligned: aligned)
        }
        put("TIME", layout.time, to: &line)
        put("PID", layout.pid, .right, to: &line)
        put("COMM", layout.comm, to: &line)
        if layout.side == 6 { put("SIDE", 6, to: &line) }
        put(layout.local < 15 ? "LOCAL" : "LOCAL ADDRESS", layout.local, to: &line)
        if layout.side == 1 { put(" ", 1, to: &line) }
        put(layout.remote < 15 ? "REMOTE" : "REMOTE ADDRESS", layout.remote, to: &line)
        put("OUTCOME", layout.outcome, to: &line)
        put("LATENCY", layout.latency, .right, to: &line)
        if layout.latency == 0 {
            put("LATENCY/REASON", layout.reason, to: &line)
        } else {
            put("REASON", layout.reason, to: &line)
        }
        let end = line.withBytes { bytes in (bytes.lastIndex { $0 != UInt8(ascii: " ") } ?? -1) + 1 }
        line.truncate(to: end)
        text.append(cell: line, in: width, padded: false, style: style(.bold))
        text.append("\n")
    }

    private mutating func line(_ row: Row, to text: inout ByteBuffer) {
        cell.clear()
        clock.append(row.time &+ realtimeOffset, milliseconds: layout.time == 12, to: &cell)
        if layout.time > 0 {
            put(layout.time, to: &text)
            text.append(" ")
        }
        if layout.pid > 0 {
            cell.clear()
            if let owner = row.owner { cell.append(decimal: owner.pid) } else { cell.append("-") }
            put(layout.pid, aligned: .right, to: &text)
            text.append(" ")
        }
        if layout.comm > 0 {
            cell.clear()
            if let owner = row.owner { cell.append(text: owner.comm) }
            if cell.isEmpty { cell.append("-") }
            put(layout.comm, to: &text)
            text.append(" ")
        }
        if layout.side == 6 {
            cell.clear()
            cell.append(row.side?.rawValue ?? "-")
            put(6, to: &text)
            text.append(" ")
        }
        if layout.local > 0 {
            cell.clear()
            if layout.local < 15, row.local != .unspecified {
                cell.append(":")
                cell.append(decimal: row.local.port)
                put(layout.local, aligned: .right, to: &text)
            } else {
                cell.append(text: row.local)
                put(layout.local, cut: .middle, to: &text)
            }
            text.append(" ")
        }
        if layout.side == 1 {
            cell.clear()
            cell.append(arrow(row.side))
            put(1, to: &text)
            text.append(" ")
        }
        cell.clear()
        cell.append(text: row.remote)
        put(layout.remote, cut: .middle, to: &text)
        text.append(" ")
        cell.clear()
        cell.append(row.outcome)
        let hasLast = layout.reason > 0 && (row.reason != nil || row.latency != nil)
        put(layout.outcome, padded: hasLast, row.style, to: &text)
        if hasLast { last(row, to: &text) }
        text.append("\n")
    }

    /// The columns after the outcome.
    private mutating func last(_ row: Row, to text: inout ByteBuffer) {
        if layout.latency > 0 {
            text.append(" ")
            cell.clear()
            if let latency = row.latency { cell.append(span: latency) }
            put(layout.latency, aligned: .right, to: &text)
        } else if row.reason == nil, let latency = row.latency {
            text.append(" ")
            cell.clear()
            cell.append(span: latency)
            put(layout.reason, padded: false, to: &text)
        }
        if let reason = row.reason {
            text.append(" ")
            cell.clear()
            cell.append(reason.rawValue)
            if reason == .connectFailed, row.error != 0 {
                let name = errorName(row.error)
                // The error says more than the word, which its advice shows once.
                if width < 1_000_000, cell.count + 1 + name.utf8.count > layout.reason { cell.clear() }
                if !cell.isEmpty { cell.append(" ") }
                cell.append(name)
            }
            put(width >= 1_000_000 ? width : layout.reason, padded: false, to: &text)
        }
    }

    /// Says what to do about `reason`, once in a run.
    private mutating func explain(_ reason: Reason?, to text: inout ByteBuffer) {
        guard let reason, !explained[ordinal(reason)] else { return }
        explained[ordinal(reason)] = true
        cell.clear()
        cell.append("  ↳ ")
        cell.append(reason.rawValue)
        cell.append(": ")
        cell.append(text: reason.advice)
        paragraph(.dim, to: &text)
    }

    // MARK: the ladder

    private mutating func collect(_ step: StepRecord) {
        guard steps, step.conn != 0 else { return }
        let key = Ladder.Key(conn: step.conn, subflow: step.subflow)
        if ladders[key] == nil, !Ladder.begins(with: step.observation.step) { return }
        ladders.update(key, default: Ladder()) { $0.add(step, limit: TextWriter.stepLimit) }
    }

    private mutating func heading(
        _ row: Row, conn: UInt64, subflow: UInt32, to text: inout ByteBuffer
    ) {
        stamp(row.time)
        cell.append("conn ")
        cell.append(decimal: conn)
        if subflow != 0 {
            cell.append(" subflow ")
            cell.append(decimal: subflow)
        }
        cell.append("  ")
        if let side = row.side {
            cell.append(side.rawValue)
            cell.append(" ")
        }
        cell.append(text: row.local)
        cell.append(" ")
        cell.append(arrow(row.side))
        cell.append(" ")
        cell.append(text: row.remote)
        cell.append(owner: row.owner)
        cell.append("  ")
        cell.append(row.outcome)
        if let latency = row.latency {
            cell.append("  ")
            cell.append(span: latency)
        }
        if let reason = row.reason {
            cell.append("  ")
            cell.append(reason.rawValue)
            if reason == .connectFailed, row.error != 0 {
                cell.append(" ")
                cell.append(errorName(row.error))
            }
        }
        paragraph(row.style, to: &text)
    }

    // MARK: sentences

    /// One line for all that was open when the trace began.
    private mutating func tellOpening(to text: inout ByteBuffer) {
        guard opening != (0, 0, 0) else { return }
        cell.clear()
        cell.append("open at the start: ")
        cell.append(count: opening.mptcp, "MPTCP listener")
        cell.append(", ")
        cell.append(count: opening.tcp, "TCP listener")
        cell.append(", ")
        cell.append(count: opening.connections, "MPTCP connection")
        opening = (0, 0, 0)
        paragraph(.dim, to: &text)
    }

    private mutating func write(_ connection: ConnectionRecord, to text: inout ByteBuffer) {
        stamp(connection.time)
        cell.append("open ")
        cell.append(connection.state == .mptcp ? "MPTCP connection, conn " : "fallen back connection, conn ")
        cell.append(decimal: connection.conn)
        cell.append("  ")
        cell.append(text: connection.local)
        cell.append(" ")
        cell.append(arrow(connection.side))
        cell.append(" ")
        cell.append(text: connection.remote)
        cell.append(owner: connection.owner)
        if connection.subflows > 0 {
            cell.append("  ")
            cell.append(count: UInt64(connection.subflows), "subflow")
        }
        if connection.token != 0 {
            cell.append("  token ")
            cell.append(token: connection.token)
        }
        paragraph(.dim, to: &text)
    }

    private mutating func write(_ close: CloseRecord, to text: inout ByteBuffer) {
        let known = known.remove(close.conn)
        _ = ladders.remove(Ladder.Key(conn: close.conn, subflow: 0))
        guard steps else { return }
        stamp(close.time)
        cell.append("conn ")
        cell.append(decimal: close.conn)
        if let known {
            cell.append("  ")
            cell.append(text: known.local)
            cell.append(" ")
            cell.append(arrow(known.side))
            cell.append(" ")
            cell.append(text: known.remote)
            cell.append(owner: known.owner)
        }
        cell.append("  closed")
        if let duration = close.duration {
            cell.append(" after ")
            cell.append(span: duration)
        }
        if let subflows = close.subflows, subflows != 1 {
            cell.append(", ")
            cell.append(count: UInt64(subflows), "subflow")
        }
        paragraph(.dim, to: &text)
    }

    private mutating func write(_ listener: ListenerRecord, to text: inout ByteBuffer) {
        // TCP listeners come and go with every service; they matter when a handshake meets one.
        guard steps || listener.transport == .mptcp else { return }
        stamp(listener.time)
        cell.append("listener ")
        cell.append(decimal: listener.listener)
        cell.append(listener.transport == .mptcp ? "  MPTCP " : "  TCP ")
        cell.append(text: listener.local)
        cell.append(owner: listener.owner)
        switch (listener.state, listener.origin) {
        case (.open, .snapshot): cell.append("  was open")
        case (.open, .seen): cell.append("  opened")
        case (.closed, _): cell.append("  closed")
        }
        if steps, listener.state == .open, let enabled = listener.enabledAtCreation {
            cell.append(", net.mptcp.enabled was ")
            cell.append(enabled ? "1" : "0")
        }
        paragraph(.dim, to: &text)
    }

    private mutating func write(_ anomaly: AnomalyRecord, to text: inout ByteBuffer) {
        stamp(anomaly.time)
        cell.append(anomaly.severity.rawValue)
        cell.append("  ")
        cell.append(anomaly.kind.rawValue)
        switch anomaly.state {
        case .open: break
        case .repeated:
            cell.append(", seen ")
            cell.append(count: anomaly.count, "time")
        case .closed: cell.append(", over")
        }
        cell.append(": ")
        cell.append(text: anomaly.message)
        let style: Style =
            switch anomaly.severity {
            case .info: .plain
            case .warning: .yellow
            case .error: .red
            }
        paragraph(anomaly.state == .closed ? .dim : style, to: &text)
        if anomaly.state == .open, !anomaly.advice.isEmpty {
            cell.clear()
            cell.append("  ↳ ")
            cell.append(text: anomaly.advice)
            paragraph(.dim, to: &text)
        }
    }

    private mutating func write(_ lost: LostRecord, to text: inout ByteBuffer) {
        stamp(lost.time)
        cell.append("lost  ")
        cell.append(count: lost.count, "event")
        cell.append(" of ")
        cell.append(lost.hook.name)
        cell.append(": ")
        switch lost.reason {
        case .ringFull: cell.append("the event buffer had no room")
        case .recursion: cell.append("the kernel skipped a program that was already running on that CPU")
        case .tableFull: cell.append("a table was full")
        case .malformed: cell.append("bytes that are no event of this version")
        }
        cell.append(" (")
        cell.append(lost.reason.rawValue)
        cell.append("); handshakes of this moment may be missing or incomplete")
        paragraph(.red, to: &text)
        if lost.reason == .ringFull, !explainedLoss {
            explainedLoss = true
            cell.clear()
            cell.append("  ↳ Use a larger --buffer-size, or restrict what is traced.")
            paragraph(.dim, to: &text)
        }
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

    private mutating func remember(_ conn: UInt64, _ facts: Known) {
        known.update(conn, default: facts) { $0 = facts }
    }

    /// Begins the cell of a sentence with its time.
    private mutating func stamp(_ time: UInt64) {
        cell.clear()
        clock.append(time &+ realtimeOffset, milliseconds: width >= 52, to: &cell)
        cell.append("  ")
    }

    private func style(_ wanted: Style) -> Style { colour ? wanted : .plain }

    private func style(of outcome: Outcome) -> Style {
        switch outcome {
        case .mptcp: .green
        case .fallback: .yellow
        case .tcp: .plain
        case .refused, .reset, .timeout, .aborted: .red
        }
    }

    private func arrow(_ side: Side?) -> StaticString {
        switch side {
        case .client?: "→"
        case .server?: "←"
        case nil: "–"
        }
    }

    private func put(
        _ wide: Int, cut: Cut = .end, aligned: Alignment = .left, padded: Bool = true,
        _ wanted: Style = .plain, to text: inout ByteBuffer
    ) {
        // Without a limit nothing is shortened, even if a column has to give way.
        let wide = width >= 1_000_000 ? max(wide, cell.columnCount) : wide
        text.append(cell: cell, in: wide, cut: cut, aligned: aligned, padded: padded, style: style(wanted))
    }

    private mutating func paragraph(
        _ wanted: Style = .plain, indent: Int = 4, inItems: Bool = false, to text: inout ByteBuffer
    ) {
        endsBlank = false
        text.append(paragraph: cell, wide: width, indent: indent, inItems: inItems, style: style(wanted))
    }
}

extension ByteBuffer {
    /// An address, `-` if there is none.
    fileprivate mutating func append(text endpoint: Endpoint) {
        if endpoint == .unspecified { append("-") } else { append(endpoint: endpoint) }
    }

    /// `  nginx (812)`, nothing if there is none.
    fileprivate mutating func append(owner: Owner?) {
        guard let owner else { return }
        append("  ")
        append(text: owner.comm)
        append(" (")
        append(decimal: owner.pid)
        append(")")
    }

    /// `1 listener`, `2 listeners`.
    fileprivate mutating func append(count: UInt64, _ noun: StaticString) {
        append(decimal: count)
        append(" ")
        append(noun)
        if count != 1 { append("s") }
    }

    fileprivate mutating func append(label: StaticString, _ value: String?) {
        guard let value else { return }
        append(label)
        append(text: value)
    }
}
