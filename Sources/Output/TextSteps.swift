// SPDX-License-Identifier: Apache-2.0

import Handshake

/// `--steps`: a ladder for each handshake and each further subflow.
extension TextWriter {
    mutating func collect(_ step: StepRecord) {
        guard steps, step.conn != 0 else { return }
        let key = Ladder.Key(conn: step.conn, subflow: step.subflow)
        if ladders[key] == nil, !Ladder.begins(with: step.observation.step) { return }
        ladders.update(key, default: Ladder()) { $0.add(step, limit: TextWriter.stepLimit) }
    }

    mutating func heading(_ row: Row, conn: UInt64, to text: inout ByteBuffer) {
        stamp(row.time)
        if conn != 0 {
            cell.append("conn ")
            cell.append(decimal: conn)
        } else {
            cell.append("unknown conn")
        }
        if let join = row.join {
            cell.append(" subflow ")
            if join.subflow != 0 { cell.append(decimal: join.subflow) } else { cell.append("?") }
        }
        cell.append("  ")
        if let side = row.side {
            cell.append(side.rawValue)
            cell.append(" ")
        }
        cell.append(text: row.local)
        cell.append(" ")
        cell.append(arrow(row.side, further: row.join != nil))
        cell.append(" ")
        cell.append(text: row.remote)
        cell.append(owner: row.owner, row.unit)
        cell.append("  ")
        cell.append(row.outcome)
        if let join = row.join {
            if join.localID != nil || join.remoteID != nil { cell.append("  ") }
            cell.append(ids: join, row.side)
            if join.backup == true { cell.append("  backup") }
        }
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
}
