// SPDX-License-Identifier: Apache-2.0

import Handshake

/// What is told in a sentence of its own.
extension TextWriter {
    /// One line for all that was open when the trace began.
    mutating func tellOpening(to text: inout ByteBuffer) {
        guard opening != (0, 0, 0, 0) else { return }
        cell.clear()
        cell.append("open at the start: ")
        if opening.either > 0 {
            cell.append(count: opening.either, "listener")
            cell.append(" (MPTCP or not is unknown), ")
        } else {
            cell.append(count: opening.mptcp, "MPTCP listener")
            cell.append(", ")
            cell.append(count: opening.tcp, "TCP listener")
            cell.append(", ")
        }
        cell.append(count: opening.connections, "MPTCP connection")
        opening = (0, 0, 0, 0)
        paragraph(.dim, to: &text)
    }

    mutating func write(_ connection: ConnectionRecord, to text: inout ByteBuffer) {
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
        cell.append(
            owner: connection.owner,
            unit(
                of: connection.owner, local: connection.local, netns: connection.netns,
                side: connection.side))
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

    mutating func write(_ fallback: FallbackRecord, to text: inout ByteBuffer) {
        let before = known[fallback.conn]
        let facts = Known(
            side: fallback.side ?? before?.side, owner: fallback.owner ?? before?.owner,
            local: fallback.local != .unspecified ? fallback.local : before?.local ?? .unspecified,
            remote: fallback.remote != .unspecified ? fallback.remote : before?.remote ?? .unspecified,
            netns: fallback.netns != 0 ? fallback.netns : before?.netns ?? 0)
        stamp(fallback.time)
        cell.append("conn ")
        cell.append(decimal: fallback.conn)
        let unit = append(facts)
        cell.append("  lost MPTCP after the handshake, goes on as TCP")
        if let reason = fallback.reason {
            cell.append(": ")
            cell.append(reason.rawValue)
        }
        paragraph(.yellow, to: &text)
        explain(fallback.reason, unit, to: &text)
    }

    mutating func write(_ address: AddressRecord, to text: inout ByteBuffer) {
        stamp(address.time)
        if address.conn != 0 {
            cell.append("conn ")
            cell.append(decimal: address.conn)
            append(known[address.conn])
            cell.append("  ")
        } else if address.netns != 0 {
            cell.append("net:[")
            cell.append(decimal: address.netns)
            cell.append("]  ")
        }
        switch address.change {
        case .announced: cell.append("address announced")
        case .received: cell.append("address received")
        case .removed: cell.append("address removed by the peer")
        case .endpointAdded: cell.append("endpoint added")
        case .endpointRemoved: cell.append("endpoint removed")
        case .limits: cell.append("limits changed")
        }
        if let id = address.id {
            cell.append("  id ")
            cell.append(decimal: id)
        }
        if let given = address.address {
            cell.append("  ")
            if given.port != 0 { cell.append(endpoint: given) } else { cell.append(address: given.address) }
        }
        if let new = address.new {
            cell.append("  ")
            cell.append(text: address.old ?? "?")
            cell.append(" → ")
            cell.append(text: new)
        }
        if let affected = address.affected { append(affected) }
        paragraph(.dim, inItems: true, to: &text)
    }

    /// Adds the ends and the owner of a connection to the cell.
    @discardableResult
    private mutating func append(_ facts: Known?) -> Unit? {
        guard let facts else { return nil }
        if facts.local != .unspecified || facts.remote != .unspecified {
            cell.append("  ")
            cell.append(text: facts.local)
            cell.append(" ")
            cell.append(arrow(facts.side))
            cell.append(" ")
            cell.append(text: facts.remote)
        }
        let unit = unit(of: facts.owner, local: facts.local, netns: facts.netns, side: facts.side)
        cell.append(owner: facts.owner, unit)
        return unit
    }

    mutating func write(_ close: CloseRecord, to text: inout ByteBuffer) {
        let known = known.remove(close.conn)
        _ = ladders.remove(Ladder.Key(conn: close.conn, subflow: 0))
        guard steps else { return }
        stamp(close.time)
        cell.append("conn ")
        cell.append(decimal: close.conn)
        append(known)
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

    mutating func write(_ listener: ListenerRecord, to text: inout ByteBuffer) {
        // TCP listeners come and go with every service; they matter when a handshake meets one.
        guard steps || listener.transport != .tcp else { return }
        stamp(listener.time)
        cell.append("listener ")
        cell.append(decimal: listener.listener)
        switch listener.transport {
        case .mptcp: cell.append("  MPTCP ")
        case .tcp: cell.append("  TCP ")
        case nil: cell.append("  ")
        }
        cell.append(text: listener.local)
        cell.append(
            owner: listener.owner,
            unit(
                of: listener.owner, local: listener.local, netns: listener.netns, side: .server,
                isListener: true))
        switch (listener.state, listener.origin) {
        case (.open, .snapshot): cell.append("  was open")
        case (.open, .seen): cell.append("  opened")
        case (.closed, _): cell.append("  closed")
        }
        if steps, listener.state == .open, let enabled = listener.enabledAtCreation {
            cell.append(", MPTCP was switched ")
            cell.append(enabled ? "on" : "off")
        }
        paragraph(.dim, to: &text)
    }

    mutating func write(_ sysctl: SysctlRecord, to text: inout ByteBuffer) {
        let change = sysctl.change
        stamp(change.time)
        cell.append(text: change.name)
        cell.append("  ")
        cell.append(text: change.old ?? "?")
        cell.append(" → ")
        cell.append(text: change.new)
        if let owner = change.owner {
            cell.append("  ")
            cell.append(text: owner.comm)
            cell.append(" (")
            cell.append(decimal: UInt64(owner.pid))
            cell.append(")")
        } else {
            cell.append("  seen by looking")
        }
        if change.netns != 0 {
            cell.append("  net:[")
            cell.append(decimal: change.netns)
            cell.append("]")
        }
        if change.accepted == false {
            cell.append("  refused")
        } else if change.old == change.new {
            cell.append("  the same value")
        } else {
            append(sysctl.affected)
        }
        paragraph(.plain, to: &text)
    }

    private mutating func append(_ affected: Affected) {
        let left: [(StaticString, Affected.Some)] = [
            ("listener", affected.listeners), ("connection", affected.connections),
            ("socket", affected.sockets),
        ].filter { $0.1.count > 0 }
        for (place, part) in left.enumerated() {
            cell.append(place == 0 ? "  does not reach " : ", ")
            cell.append(count: UInt64(part.1.count), part.0)
        }
    }

    mutating func write(_ anomaly: AnomalyRecord, to text: inout ByteBuffer) {
        stamp(anomaly.time)
        cell.append(anomaly.severity.rawValue)
        cell.append("  ")
        cell.append(anomaly.kind.rawValue)
        switch anomaly.state {
        case .open: break
        case .repeated:
            cell.append(", seen ")
            cell.append(count: anomaly.count, "time")
        case .closed:
            cell.append(", over after being seen ")
            cell.append(count: anomaly.count, "time")
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

    mutating func write(_ lost: LostRecord, to text: inout ByteBuffer) {
        stamp(lost.time)
        cell.append(lost.reason == .late ? "late  " : "lost  ")
        cell.append(count: lost.count, "event")
        cell.append(" of ")
        cell.append(lost.hook.name)
        cell.append(": ")
        switch lost.reason {
        case .ringFull, .perfLost: cell.append("the event buffer had no room")
        case .recursion: cell.append("the kernel skipped a program that was already running on that CPU")
        case .tableFull: cell.append("a table was full")
        case .late: cell.append("what happened after that had been told already")
        case .malformed: cell.append("bytes that are no event of this version")
        }
        cell.append(" (")
        cell.append(lost.reason.rawValue)
        cell.append("); handshakes of this moment may be missing or incomplete")
        paragraph(.red, to: &text)
        if lost.reason == .ringFull || lost.reason == .perfLost, !explainedLoss {
            explainedLoss = true
            cell.clear()
            cell.append("  ↳ Use a larger --buffer-size, or restrict what is traced.")
            paragraph(.dim, to: &text)
        }
    }
}
