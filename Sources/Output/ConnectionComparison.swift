// SPDX-License-Identifier: Apache-2.0

import Handshake

/// An open connection in one of the kernel's socket tables.
public struct KernelConnection: Sendable, Hashable {
    /// The socket's; 0: none was given.
    public var cookie: UInt64
    /// 0: none was told.
    public var token: UInt32
    public var local: Endpoint
    public var remote: Endpoint
    /// nil: it stands in the table of TCP alone.
    public var state: ConnectionState?

    public init(
        cookie: UInt64, token: UInt32, local: Endpoint, remote: Endpoint, state: ConnectionState?
    ) {
        self.cookie = cookie
        self.token = token
        self.local = local
        self.remote = remote
        self.state = state
    }
}

/// The socket tables of one namespace, read before and after the programs were switched off.
public struct ConnectionReadings: Sendable {
    public var netns: UInt32
    /// For people: its name, if it has one.
    public var name: String?
    public var before: [KernelConnection] = []
    public var after: [KernelConnection] = []
    /// See `CounterReadings`.
    public var isUncertain = false

    public init(netns: UInt32, name: String? = nil) {
        self.netns = netns
        self.name = name
    }
}

extension VerifyResult {
    /// Holds the connections that the mirror has open against the kernel's tables, both ways.
    ///
    /// - Parameters:
    ///   - before: what was open when the tables were read first.
    ///   - after: what was open when the programs were switched off.
    ///   - isTraced: whether the trace followed a connection with these ends; without any filter
    ///     of ends: all.
    ///   - bothWays: look for connections that the trace does not have.
    public mutating func compare(
        open before: [OpenConnection], _ after: [OpenConnection], with all: [ConnectionReadings],
        bothWays: Bool = true, isTraced: (_ local: Endpoint, _ remote: Endpoint) -> Bool = { _, _ in true }
    ) {
        let known = Set(before.map(\.conn))
        let open = Dictionary(grouping: after) { $0.netns }
        for readings in all {
            var found: [VerifyDifference] = []
            var equal: [Bool] = []
            let first = TableIndex(readings.before)
            let second = TableIndex(readings.after)
            let its = (open[readings.netns] ?? []).filter { isTraced($0.local, $0.remote) }
            for connection in its {
                let rows = [first.row(of: connection), second.row(of: connection)].compactMap { $0 }
                // It began after the first look, and may have ended before the second.
                if rows.isEmpty, !known.contains(connection.conn) { continue }
                let states = rows.map(\.state)
                if connection.token == 0
                    ? !states.isEmpty : states.contains(where: { $0 == connection.state })
                {
                    equal.append(rows.count == 2 && states.first == states.last)
                } else {
                    found.append(
                        .connection(
                            ConnectionDifference(
                                readings, connection, kernel: states.last ?? nil)))
                }
            }
            if bothWays {
                let index = OpenIndex(its)
                // Open all the while.
                let stayed = Set(readings.before.map(\.identity))
                for row in readings.after
                where row.state != nil && stayed.contains(row.identity) && isTraced(row.local, row.remote)
                    && !index.contains(row)
                {
                    found.append(.connection(ConnectionDifference(readings, row)))
                }
            }
            if readings.isUncertain, !found.isEmpty {
                skipUncertain(readings.netns)
                continue
            }
            for exactly in equal { noteEqual(exactly: exactly) }
            for difference in found { note(difference) }
        }
    }
}

extension KernelConnection {
    /// Tells the same socket in two readings.
    fileprivate struct Identity: Hashable {
        var cookie: UInt64
        var token: UInt32
        var ends: Ends
    }

    fileprivate var identity: Identity { Identity(cookie: cookie, token: token, ends: Ends(local, remote)) }
}

private struct Ends: Hashable {
    var local: Endpoint
    var remote: Endpoint

    init(_ local: Endpoint, _ remote: Endpoint) {
        self.local = local
        self.remote = remote
    }
}

/// Finds a row of the kernel's tables.
private struct TableIndex {
    private var byToken: [UInt32: KernelConnection] = [:]
    private var byEnds: [Ends: KernelConnection] = [:]
    /// Of the table of TCP.
    private var plain: [Ends: KernelConnection] = [:]

    init(_ rows: [KernelConnection]) {
        for row in rows {
            if row.state == nil {
                plain[Ends(row.local, row.remote)] = row
                continue
            }
            if row.token != 0 { byToken[row.token] = row }
            byEnds[Ends(row.local, row.remote)] = row
        }
    }

    func row(of connection: OpenConnection) -> KernelConnection? {
        let ends = Ends(connection.local, connection.remote)
        if connection.token == 0 { return plain[ends] ?? byEnds[ends] }
        if let row = byToken[connection.token] { return row }
        // A token is not always told; another one is another connection's.
        return byEnds[ends].flatMap { $0.token == 0 ? $0 : nil }
    }
}

/// Finds what the mirror has.
private struct OpenIndex {
    private var tokens: Set<UInt32> = []
    private var ends: [Ends: UInt32] = [:]

    init(_ connections: [OpenConnection]) {
        for connection in connections {
            if connection.token != 0 { tokens.insert(connection.token) }
            ends[Ends(connection.local, connection.remote)] = connection.token
        }
    }

    func contains(_ row: KernelConnection) -> Bool {
        if row.token != 0, tokens.contains(row.token) { return true }
        guard let token = ends[Ends(row.local, row.remote)] else { return false }
        return token == 0 || row.token == 0
    }
}
