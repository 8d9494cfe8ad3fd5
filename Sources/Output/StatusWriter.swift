// SPDX-License-Identifier: Apache-2.0

import Handshake

/// What is open in one network namespace, and how MPTCP is set there.
public struct StatusNamespace: Sendable {
    /// A setting by its whole name.
    public struct Setting: Hashable, Sendable {
        public var name: String
        public var value: String

        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    public var inode: UInt32
    /// The name that `ip netns` gave it.
    public var name: String?
    /// The program itself is in it.
    public var isOwn: Bool
    /// net.mptcp.enabled; nil: not told, or no MPTCP in this kernel.
    public var enabled: Bool?
    /// Settings that are not as the kernel makes them.
    public var changed: [Setting] = []
    public var listeners: [ListenerRecord] = []
    public var connections: [ConnectionRecord] = []

    public init(inode: UInt32, name: String?, isOwn: Bool, enabled: Bool?) {
        self.inode = inode
        self.name = name
        self.isOwn = isOwn
        self.enabled = enabled
    }

    /// Nothing is open there.
    public var isEmpty: Bool { listeners.isEmpty && connections.isEmpty }
}

/// Turns what is open into text for people: a table for each network namespace that has anything,
/// one sentence for all others. Everything from outside is made safe for a terminal.
public struct StatusWriter: ~Copyable {
    private let width: Int
    private let colour: Bool
    private let names: (UInt64) -> CgroupName?
    private var cell = ByteBuffer(capacity: 512)
    /// How many names of empty namespaces are told.
    private static let nameLimit = 12

    /// - Parameters:
    ///   - width: columns of the terminal; 0: no limit.
    ///   - colour: whether colours are understood and wanted.
    ///   - names: what a cgroup id stands for.
    public init(width: Int, colour: Bool, names: @escaping (UInt64) -> CgroupName? = { _ in nil }) {
        self.width = width <= 0 ? 0 : max(width, 20)
        self.colour = colour
        self.names = names
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
                cell.append("no listener, no MPTCP connection")
                paragraph(.plain, to: &text)
            } else {
                table(namespace, layout, to: &text)
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
        for (_, listener) in listeners {
            row(
                Row(
                    what: "listener", local: listener.local, remote: nil, side: nil,
                    state: listener.transport.rawValue,
                    style: listener.transport == .mptcp ? .green : .plain, owner: listener.owner),
                layout, to: &text)
        }
        let connections = namespace.connections.enumerated().sorted { one, other in
            (one.element.local.port, one.offset) < (other.element.local.port, other.offset)
        }
        for (_, connection) in connections {
            row(
                Row(
                    what: "connection", local: connection.local, remote: connection.remote,
                    side: connection.side, state: connection.state.rawValue,
                    style: connection.state == .mptcp ? .green : .yellow, token: connection.token,
                    subflows: connection.subflows, owner: connection.owner),
                layout, to: &text)
        }
    }

    private struct Row {
        var what: StaticString
        var local: Endpoint
        /// nil: a listener.
        var remote: Endpoint?
        var side: Side?
        var state: String
        var style: Style
        /// 0: none.
        var token: UInt32 = 0
        /// 0: not told.
        var subflows: UInt32 = 0
        var owner: Owner?
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
        if layout.token > 0 {
            cell.clear()
            if row.token != 0 { cell.append(token: row.token) } else { cell.append("-") }
            put(layout.token, to: &line)
        }
        if layout.subflows > 0 {
            cell.clear()
            if row.subflows != 0 { cell.append(decimal: row.subflows) } else { cell.append("-") }
            put(layout.subflows, aligned: .right, to: &line)
        }
        if layout.process > 0 {
            setProcess(row.owner)
            put(layout.process, padded: false, to: &line)
        }
        text.append(line)
        text.append("\n")
    }

    /// Makes the cell `nginx (812) nginx.service`.
    private mutating func setProcess(_ owner: Owner?) {
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
        if owner.cgroup != 0, let unit = names(owner.cgroup)?.unit {
            cell.append(" ")
            cell.append(text: unit.name)
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
        var (local, remote, process) = (0, 0, 0)
        for namespace in namespaces {
            for listener in namespace.listeners {
                local = max(local, columns(of: listener.local))
                setProcess(listener.owner)
                process = max(process, cell.columnCount)
            }
            for connection in namespace.connections {
                local = max(local, columns(of: connection.local))
                remote = max(remote, columns(of: connection.remote))
                setProcess(connection.owner)
                process = max(process, cell.columnCount)
            }
        }
        return StatusLayout(width: width, local: local, remote: remote, process: process)
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
