// SPDX-License-Identifier: Apache-2.0

import Handshake

/// The table: a line for each handshake and each further subflow.
extension TextWriter {
    struct Row {
        var time: UInt64
        var side: Side?
        var owner: Owner?
        var unit: Unit?
        var local: Endpoint
        var remote: Endpoint
        var outcome: String
        var style: Style
        var latency: UInt64?
        var reason: Reason?
        var error: UInt32 = 0
        /// nil: the first subflow, the connection itself.
        var join: Join?
    }

    /// What is said of a further subflow.
    struct Join {
        /// 0: of a connection that is not known.
        var subflow: UInt32
        var localID: UInt8?
        var remoteID: UInt8?
        var backup: Bool?
    }

    /// Of what the advice was told.
    struct Explained: Hashable {
        var reason: Reason
        var unit: Unit?
    }

    mutating func write(_ handshake: HandshakeRecord, to text: inout ByteBuffer) {
        remember(
            handshake.conn,
            Known(
                side: handshake.side, owner: handshake.owner, local: handshake.local,
                remote: handshake.remote, netns: handshake.netns))
        let unit = unit(
            of: handshake.owner, local: handshake.local, netns: handshake.netns, side: handshake.side)
        let row = Row(
            time: handshake.time, side: handshake.side, owner: handshake.owner, unit: unit,
            local: handshake.local, remote: handshake.remote, outcome: handshake.outcome.rawValue,
            style: style(of: handshake.outcome), latency: handshake.timings.total,
            reason: handshake.reason, error: handshake.error)
        show(row, conn: handshake.conn, to: &text)
    }

    mutating func write(_ join: JoinRecord, to text: inout ByteBuffer) {
        let known = join.conn == 0 ? nil : known[join.conn]
        let owner = join.owner ?? known?.owner
        let netns = join.netns != 0 ? join.netns : known?.netns ?? 0
        let row = Row(
            time: join.time, side: join.side, owner: owner,
            unit: unit(of: owner, local: join.local, netns: netns, side: known?.side ?? join.side),
            local: join.local, remote: join.remote, outcome: join.outcome.rawValue,
            style: join.outcome == .joined ? .green : .red, latency: join.timings.total,
            reason: join.reason,
            join: Join(
                subflow: join.conn == 0 ? 0 : join.subflow, localID: join.localID,
                remoteID: join.remoteID, backup: join.backup))
        show(row, conn: join.conn, to: &text)
    }

    private mutating func show(_ row: Row, conn: UInt64, to text: inout ByteBuffer) {
        if steps {
            heading(row, conn: conn, to: &text)
            let key = Ladder.Key(conn: conn, subflow: row.join?.subflow ?? 0)
            // Of a join without a connection no steps are known: 0 is the first subflow.
            if row.join == nil || key.subflow != 0, let ladder = ladders.remove(key) {
                ladder.draw(width: width, to: &text)
            }
            explain(row.reason, row.unit, to: &text)
            text.append("\n")
            endsBlank = true
        } else {
            if !wroteHeader { header(to: &text) }
            line(row, to: &text)
            endsBlank = false
            explain(row.reason, row.unit, to: &text)
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
        put("UNIT", layout.unit, to: &line)
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
        if layout.unit > 0 {
            cell.clear()
            cell.append(unit: row.unit?.name ?? "-")
            put(layout.unit, cut: .middle, to: &text)
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
            cell.append(arrow(row.side, further: row.join != nil))
            put(1, to: &text)
            text.append(" ")
        }
        cell.clear()
        cell.append(text: row.remote)
        put(layout.remote, cut: .middle, to: &text)
        text.append(" ")
        cell.clear()
        cell.append(row.outcome)
        let hasLast =
            layout.reason > 0 && (row.reason != nil || row.latency != nil || row.join != nil)
        put(layout.outcome, padded: hasLast, row.style, to: &text)
        if hasLast { last(row, to: &text) }
        while text.last == UInt8(ascii: " ") { text.truncate(to: text.count - 1) }
        text.append("\n")
    }

    /// The columns after the outcome.
    private mutating func last(_ row: Row, to text: inout ByteBuffer) {
        if layout.latency > 0 {
            text.append(" ")
            cell.clear()
            if let latency = row.latency { cell.append(span: latency) }
            put(layout.latency, aligned: .right, to: &text)
        }
        let room = width >= 1_000_000 ? width : layout.reason
        text.append(" ")
        cell.clear()
        if layout.latency == 0, row.reason == nil, let latency = row.latency { cell.append(span: latency) }
        if let reason = row.reason {
            cell.append(reason.rawValue)
            if reason == .connectFailed, row.error != 0 {
                let name = errorName(row.error)
                // The error says more than the word, which its advice shows once.
                if cell.count + 1 + name.utf8.count > room { cell.clear() }
                if !cell.isEmpty { cell.append(" ") }
                cell.append(name)
            }
        }
        if let join = row.join { append(join, row.side, room) }
        put(room, padded: false, to: &text)
    }

    /// Adds to the cell what there is room for of a further subflow.
    private mutating func append(_ join: Join, _ side: Side?, _ room: Int) {
        var piece = ByteBuffer(capacity: 64)
        for place in 0..<3 {
            piece.clear()
            switch place {
            case 0:
                piece.append("subflow ")
                if join.subflow != 0 { piece.append(decimal: join.subflow) } else { piece.append("?") }
            case 1: piece.append(ids: join, side)
            case 2 where join.backup == true: piece.append("backup")
            default: break
            }
            if piece.isEmpty { continue }
            if cell.columnCount + piece.columnCount + (cell.isEmpty ? 0 : 1) > room { return }
            if !cell.isEmpty { cell.append(" ") }
            cell.append(piece)
        }
    }

    /// Says what to do about `reason`: once in a run, for each unit that the advice names.
    mutating func explain(_ reason: Reason?, _ unit: Unit?, to text: inout ByteBuffer) {
        guard let reason else { return }
        let key = Explained(reason: reason, unit: reason.unitPlace == .nowhere ? nil : unit)
        guard explained[key] == nil else { return }
        explained.update(key, default: true) { _ in }
        cell.clear()
        cell.append("  ↳ ")
        cell.append(reason.rawValue)
        cell.append(": ")
        cell.append(unit: reason.advice(for: unit))
        paragraph(.dim, to: &text)
    }
}

extension ByteBuffer {
    /// The ids of a subflow's addresses, `id 1→0`, as far as they are known.
    mutating func append(ids join: TextWriter.Join, _ side: Side?) {
        switch (join.localID, join.remoteID) {
        case (let local?, let remote?):
            append("id ")
            append(decimal: local)
            append(side == .server ? "←" : "→")
            append(decimal: remote)
        case (let local?, nil):
            append("local id ")
            append(decimal: local)
        case (nil, let remote?):
            append("remote id ")
            append(decimal: remote)
        case (nil, nil): break
        }
    }
}
