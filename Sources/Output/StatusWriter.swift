// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Turns what is open into text for people: a table for each network namespace that has anything,
/// one sentence for all others. Everything from outside is made safe for a terminal.
public struct StatusWriter: ~Copyable {
    private let width: Int
    private let colour: Bool
    private let names: (UInt64) -> CgroupName?
    private let sockets: (ManagedSocket) -> Unit?
    private var cell = ByteBuffer(capacity: 512)
    /// How many names of empty namespaces are told.
    private static let nameLimit = 12

    /// - Parameters:
    ///   - width: columns of the terminal; 0: no limit.
    ///   - colour: whether colours are understood and wanted.
    ///   - names: what a cgroup id stands for.
    ///   - sockets: which unit systemd listens for.
    public init(
        width: Int, colour: Bool, names: @escaping (UInt64) -> CgroupName? = { _ in nil },
        sockets: @escaping (ManagedSocket) -> Unit? = { _ in nil }
    ) {
        self.width = width <= 0 ? 0 : max(width, 20)
        self.colour = colour
        self.names = names
        self.sockets = sockets
    }

    /// Appends all of `namespaces`, in their order.
    /// - Parameter evenEmpty: those where nothing is open get a block of their own too.
    public mutating func write(
        _ namespaces: [StatusNamespace], evenEmpty: Bool = false, to text: inout ByteBuffer
    ) {
        let layout = layout(for: namespaces)
        var wroteBlock = false
        for namespace in namespaces where evenEmpty || !namespace.isEmpty {
            if wroteBlock { text.append("\n") }
            wroteBlock = true
            heading(namespace, to: &text)
            if namespace.isEmpty {
                cell.clear()
                cell.append("no listener, no connection")
                paragraph(.plain, to: &text)
            } else {
                if !namespace.listeners.isEmpty || !namespace.connections.isEmpty {
                    table(namespace, layout, to: &text)
                }
                tell(others: namespace.otherTcp, to: &text)
                tellOutliving(namespace, to: &text)
            }
        }
        let rest = namespaces.filter { !evenEmpty && $0.isEmpty }
        if rest.isEmpty { return }
        if wroteBlock { text.append("\n") }
        tell(rest, others: wroteBlock, to: &text)
    }

    /// Appends a sentence about what could not be seen.
    public mutating func write(note: String, to text: inout ByteBuffer) {
        cell.clear()
        cell.append(text: note)
        paragraph(.yellow, to: &text)
    }

    // MARK: the parts of a block

    private mutating func heading(_ namespace: StatusNamespace, to text: inout ByteBuffer) {
        cell.clear()
        cell.append("network namespace ")
        cell.append(label: namespace)
        if namespace.isOwn { cell.append(", this one") }
        cell.append(": ")
        switch namespace.enabled {
        case true?: cell.append("net.mptcp.enabled = 1")
        case false?: cell.append("net.mptcp.enabled = 0")
        case nil: cell.append("no net.mptcp.enabled")
        }
        for setting in namespace.changed {
            cell.append(", ")
            cell.append(text: setting.name)
            cell.append(" = ")
            cell.append(text: setting.value)
        }
        paragraph(.bold, to: &text)
    }

    private mutating func table(
        _ namespace: StatusNamespace, _ layout: StatusLayout, to text: inout ByteBuffer
    ) {
        header(layout, to: &text)
        // MPTCP's before TCP's, each by port; then as the kernel lists them.
        let listeners = namespace.listeners.enumerated().sorted { one, other in
            let (a, b) = (one.element, other.element)
            if a.transport != b.transport { return a.transport == .mptcp }
            return (a.local.port, one.offset) < (b.local.port, other.offset)
        }
        for (_, listener) in listeners { row(row(of: listener, in: namespace), layout, to: &text) }
        let connections = namespace.connections.enumerated().sorted { one, other in
            (one.element.local.port, one.offset) < (other.element.local.port, other.offset)
        }
        for (_, connection) in connections {
            row(row(of: connection, in: namespace), layout, to: &text)
            // One that is the connection itself would say nothing more.
            if connection.list.count == 1, connection.list.first?.number == 0 { continue }
            for subflow in connection.list { row(row(of: subflow), layout, to: &text) }
        }
    }

    private func row(of listener: ListenerRecord, in namespace: StatusNamespace) -> Row {
        Row(
            what: "listener", local: listener.local, remote: nil, side: nil,
            state: listener.transport?.rawValue ?? "", style: listener.transport == .mptcp ? .green : .plain,
            made: Made(listener.enabledAtCreation, now: namespace.enabled), owner: listener.owner,
            unit: unit(of: listener.owner, listener.local, listener.netns, .server, isListener: true))
    }

    private func row(of connection: StatusConnection, in namespace: StatusNamespace) -> Row {
        let style: Style =
            switch connection.state {
            case .mptcp: .green
            case .fallback: .yellow
            case .plain: .plain
            }
        return Row(
            what: "connection", local: connection.local, remote: connection.remote,
            side: connection.side, state: connection.state.rawValue, style: style,
            made: Made(connection, in: namespace), token: connection.token, subflows: connection.subflows,
            owner: connection.owner,
            unit: unit(of: connection.owner, connection.local, connection.netns, connection.side))
    }

    private func row(of subflow: StatusSubflow) -> Row {
        Row(
            what: "· subflow", local: subflow.local, remote: subflow.remote, side: nil,
            state: subflow.backup == true ? "backup" : "subflow", style: .dim, subflow: subflow)
    }

    /// What the owner of a socket runs in.
    private func unit(
        of owner: Owner?, _ local: Endpoint, _ netns: UInt32, _ side: Side?, isListener: Bool = false
    ) -> Unit? {
        guard let owner, owner.cgroup != 0, let name = names(owner.cgroup) else { return nil }
        guard let manager = name.manager, side != .client else { return name.unit }
        return sockets(
            ManagedSocket(manager: manager, local: local, netns: netns, isListener: isListener))
    }

    private mutating func tell(others count: Int, to text: inout ByteBuffer) {
        if count == 0 { return }
        cell.clear()
        cell.append("and ")
        cell.append(decimal: UInt64(count))
        cell.append(count == 1 ? " other TCP connection" : " other TCP connections")
        cell.append(" (--all-tcp)")
        paragraph(.dim, to: &text)
    }

    private mutating func tellOutliving(_ namespace: StatusNamespace, to text: inout ByteBuffer) {
        let outliving = StatusOutliving(in: namespace) {
            holder($0.owner, unit(of: $0.owner, $0.local, $0.netns, .server, isListener: true))
        } connection: {
            holder($0.owner, unit(of: $0.owner, $0.local, $0.netns, $0.side))
        }
        for sentence in outliving.sentences {
            cell.clear()
            cell.append(sentence)
            paragraph(.yellow, to: &text)
        }
    }

    /// `nginx (pid 812)`; of what systemd holds the socket unit.
    private func holder(_ owner: Owner?, _ unit: Unit?) -> String? {
        guard let owner else { return nil }
        var name = ByteBuffer(capacity: 64)
        if let unit, unit.kind == .socket {
            name.append(unit: unit.name)
        } else if owner.cgroup != 0, names(owner.cgroup)?.manager != nil {
            // To restart systemd would be no help.
            return nil
        } else {
            name.append(text: owner.comm)
            name.append(" (pid ")
            name.append(decimal: owner.pid)
            name.append(")")
        }
        return String(decoding: name.bytes(), as: UTF8.self)
    }

    /// What a socket was made with, beside what a new one would be.
    private struct Made {
        /// net.mptcp.enabled; nil: not known.
        var enabled: Bool?
        /// What it is now, if another.
        var enabledNow: Bool?
        /// Whether an MPTCP connection has checksums, if net.mptcp.checksum_enabled says otherwise.
        var checksum: Bool?

        init(_ enabled: Bool?, now: Bool?) {
            self.enabled = enabled
            if let enabled, let now, enabled != now { enabledNow = now }
        }

        init(_ connection: StatusConnection, in namespace: StatusNamespace) {
            self.init(connection.enabledAtCreation, now: namespace.enabled)
            if connection.state == .mptcp, let checksum = connection.checksum,
                let now = namespace.checksumEnabled, checksum != now
            {
                self.checksum = checksum
            }
        }

        var isOld: Bool { enabledNow != nil || checksum != nil }
    }

    private struct Row {
        var what: StaticString
        var local: Endpoint
        /// nil: a listener.
        var remote: Endpoint?
        var side: Side?
        var state: String
        var style: Style
        /// nil: a subflow.
        var made: Made?
        /// 0: none.
        var token: UInt32 = 0
        /// 0: not told.
        var subflows: UInt32 = 0
        var owner: Owner?
        var unit: Unit?
        var subflow: StatusSubflow?
    }

    private func header(_ layout: StatusLayout, to text: inout ByteBuffer) {
        var line = ByteBuffer(capacity: 256)
        func put(_ word: StaticString, _ wide: Int, to line: inout ByteBuffer) {
            guard wide > 0 else { return }
            var cell = ByteBuffer(capacity: 64)
            cell.append(word)
            if !line.isEmpty { line.append(" ") }
            line.append(cell: cell, in: wide)
        }
        put("WHAT", layout.what, to: &line)
        put("LOCAL", layout.local, to: &line)
        put(" ", layout.arrow, to: &line)
        put("REMOTE", layout.remote, to: &line)
        put("STATE", layout.state, to: &line)
        put(layout.madeIsShort ? "ENABLED" : "MADE WITH", layout.made, to: &line)
        put("TOKEN", layout.token, to: &line)
        put("SUBFLOWS", layout.subflows, to: &line)
        put("PROCESS", layout.process, to: &line)
        let end = line.withBytes { bytes in (bytes.lastIndex { $0 != UInt8(ascii: " ") } ?? -1) + 1 }
        line.truncate(to: end)
        text.append(
            cell: line, in: width == 0 ? line.columnCount : width, padded: false, style: style(.dim))
        text.append("\n")
    }

    private mutating func row(_ row: Row, _ layout: StatusLayout, to text: inout ByteBuffer) {
        var line = ByteBuffer(capacity: 256)
        if layout.what > 0 {
            cell.clear()
            cell.append(row.what)
            put(layout.what, to: &line)
        }
        cell.clear()
        cell.append(endpoint: row.local)
        put(layout.local, cut: .middle, to: &line)
        if layout.arrow > 0 {
            cell.clear()
            if row.remote != nil {
                switch row.side {
                case .client?: cell.append("→")
                case .server?: cell.append("←")
                case nil: cell.append("–")
                }
            }
            put(layout.arrow, to: &line)
        }
        cell.clear()
        if let remote = row.remote { cell.append(endpoint: remote) } else { cell.append("-") }
        put(layout.remote, cut: .middle, to: &line)
        cell.clear()
        cell.append(row.state)
        put(layout.state, padded: layout.token + layout.process > 0, row.style, to: &line)
        if layout.made > 0 {
            setMade(row.made, short: layout.madeIsShort, in: layout.made)
            put(layout.made, row.made?.isOld == true ? .yellow : .plain, to: &line)
        }
        if layout.token > 0 {
            cell.clear()
            if let subflow = row.subflow {
                if let local = subflow.localID, let remote = subflow.remoteID {
                    cell.append(decimal: local)
                    cell.append("→")
                    cell.append(decimal: remote)
                }
            } else if row.token != 0 {
                cell.append(token: row.token)
            } else {
                cell.append("-")
            }
            put(layout.token, to: &line)
        }
        if layout.subflows > 0 {
            cell.clear()
            if row.subflow != nil {
                cell.append(" ")
            } else if row.subflows != 0 {
                cell.append(decimal: row.subflows)
            } else {
                cell.append("-")
            }
            put(layout.subflows, aligned: .right, to: &line)
        }
        if layout.process > 0 {
            if row.subflow == nil { setProcess(row.owner, row.unit) } else { cell.clear() }
            put(layout.process, padded: false, to: &line)
        }
        while line.last == UInt8(ascii: " ") { line.truncate(to: line.count - 1) }
        text.append(line)
        text.append("\n")
    }

    /// Makes the cell `enabled=1, now 0; checksum=0, now 1`, in fewer columns the first half; short:
    /// `1, now 0`.
    private mutating func setMade(_ made: Made?, short: Bool = false, in wide: Int = .max) {
        cell.clear()
        guard let made else { return }
        guard let enabled = made.enabled else {
            cell.append("unknown")
            return
        }
        if !short { cell.append("enabled=") }
        cell.append(enabled ? "1" : "0")
        if let now = made.enabledNow { cell.append(now ? ", now 1" : ", now 0") }
        let end = cell.count
        if let checksum = made.checksum {
            cell.append(checksum ? "; checksum=1, now 0" : "; checksum=0, now 1")
            if cell.columnCount > wide { cell.truncate(to: end) }
        }
    }

    /// Makes the cell `nginx (812) nginx.service`.
    private mutating func setProcess(_ owner: Owner?, _ unit: Unit?) {
        cell.clear()
        guard let owner else {
            cell.append("-")
            return
        }
        cell.append(text: owner.comm)
        if !cell.isEmpty { cell.append(" ") }
        cell.append("(")
        cell.append(decimal: owner.pid)
        cell.append(")")
        if let unit {
            cell.append(" ")
            cell.append(unit: unit.name)
        }
    }

    // MARK: the rest

    /// One sentence for the namespaces where nothing is open.
    private mutating func tell(_ rest: [StatusNamespace], others: Bool, to text: inout ByteBuffer) {
        cell.clear()
        cell.append("nothing is open in ")
        cell.append(decimal: UInt64(rest.count))
        if others { cell.append(" more") }
        cell.append(rest.count == 1 ? " network namespace" : " network namespaces")
        let on = rest.count { $0.enabled == true }
        let off = rest.count { $0.enabled == false }
        if on + off > 0 {
            cell.append(" (MPTCP on in ")
            cell.append(decimal: UInt64(on))
            cell.append(", off in ")
            cell.append(decimal: UInt64(off))
            cell.append(")")
        }
        cell.append(": ")
        for (place, namespace) in rest.prefix(Self.nameLimit).enumerated() {
            if place > 0 { cell.append(", ") }
            cell.append(label: namespace, short: true)
        }
        if rest.count > Self.nameLimit {
            cell.append(" and ")
            cell.append(decimal: UInt64(rest.count - Self.nameLimit))
            cell.append(" more")
        }
        paragraph(.plain, to: &text)
    }

    /// The columns that fit everything, the same in all blocks.
    private mutating func layout(for namespaces: [StatusNamespace]) -> StatusLayout {
        var (local, remote, made, process) = (0, 0, 0, 0)
        for namespace in namespaces {
            for row in namespace.listeners.map({ row(of: $0, in: namespace) })
                + namespace.connections.map({ row(of: $0, in: namespace) })
            {
                local = max(local, columns(of: row.local))
                if let end = row.remote { remote = max(remote, columns(of: end)) }
                setMade(row.made)
                made = max(made, cell.columnCount)
                setProcess(row.owner, row.unit)
                process = max(process, cell.columnCount)
            }
            for subflow in namespace.connections.flatMap(\.list) {
                local = max(local, columns(of: subflow.local))
                remote = max(remote, columns(of: subflow.remote))
            }
        }
        return StatusLayout(width: width, local: local, remote: remote, made: made, process: process)
    }

    private mutating func columns(of endpoint: Endpoint) -> Int {
        cell.clear()
        cell.append(endpoint: endpoint)
        return cell.columnCount
    }

    private func style(_ wanted: Style) -> Style { colour ? wanted : .plain }

    private func put(
        _ wide: Int, cut: Cut = .end, aligned: Alignment = .left, padded: Bool = true,
        _ wanted: Style = .plain, to line: inout ByteBuffer
    ) {
        if !line.isEmpty { line.append(" ") }
        line.append(cell: cell, in: wide, cut: cut, aligned: aligned, padded: padded, style: style(wanted))
    }

    private func paragraph(_ wanted: Style, to text: inout ByteBuffer) {
        text.append(
            paragraph: cell, wide: width == 0 ? 1_000_000 : width, indent: 4, style: style(wanted))
    }
}

extension ByteBuffer {
    /// `blue (net:[4026532270])`; short: only the name, if it has one.
    fileprivate mutating func append(label namespace: StatusNamespace, short: Bool = false) {
        if let name = namespace.name {
            append(text: name)
            if short { return }
            append(" (")
        }
        append("net:[")
        append(decimal: namespace.inode)
        append("]")
        if namespace.name != nil { append(")") }
    }
}
