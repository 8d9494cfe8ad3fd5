// SPDX-License-Identifier: Apache-2.0

import Handshake
import Kernel
import Output

/// `--verify`: the kernel's own books around a trace, and everything that the mirror found.
///
/// Counters are read on both sides of the moment at which tracing is switched on, and of that at
/// which it is switched off: what moves in between is counted by the kernel and may not have been
/// seen, or the other way round. Socket tables are read around the end.
final class Verification {
    private enum Moment: Int, CaseIterable { case beforeStart, afterStart, beforeEnd, afterEnd }

    /// One namespace.
    private struct Entry {
        let namespace: NetworkNamespace
        let cookie: UInt64?
        /// By `Moment`.
        var counters = [[String: UInt64]?](repeating: nil, count: Moment.allCases.count)
        var halfOpen: Set<HalfOpen> = []
        var unacceptedAtStart: UInt64 = 0
        var unacceptedAtEnd: UInt64 = 0
        var before: [KernelConnection]?
        var after: [KernelConnection]?
        /// ns, CLOCK_MONOTONIC, of one that was found later: it is at least as old.
        var notMadeAfter: UInt64?
        /// Another namespace has its inode number now.
        var isReplaced = false
        /// What differs proves nothing.
        var isUncertain = false
    }

    private let options: LiveOptions
    /// The only ones to look at; nil: all.
    private let only: [NetworkNamespace]?
    private var entries: [UInt32: Entry] = [:]
    /// Could not be read, by inode.
    private var unread: Set<UInt32> = []
    private var tablesUnread: Set<UInt32> = []
    /// When the namespaces were last listed, ns, CLOCK_MONOTONIC.
    private var listed: UInt64 = 0
    private var books = RecordBooks()
    private var openBefore: [OpenConnection] = []
    private var openAfter: [OpenConnection] = []

    /// Reads the books for the first time: to be made just before tracing is switched on.
    init(_ options: LiveOptions, only: [NetworkNamespace]?) {
        self.options = options
        self.only = only
        _ = read(.beforeStart)
    }

    /// Tracing is switched on.
    func began() { _ = read(.afterStart) }

    /// The connections that nobody had accepted, or nobody holds any more, as the trace began.
    func note(_ snapshot: Snapshot) {
        for connection in snapshot.connections where connection.inode == 0 {
            entries[connection.netns]?.unacceptedAtStart += 1
        }
    }

    /// Counts what the mirror found.
    func take(_ records: ContiguousArray<Record>) {
        for record in records { books.take(record) }
    }

    /// Tracing is about to be switched off.
    /// - Parameters:
    ///   - open: what the mirror has open now.
    ///   - meanwhile: called now and then, for events go on.
    func ends(_ open: [OpenConnection], meanwhile: () throws -> Void) throws {
        openBefore = open
        let plain = Self.namespacesOfPlain(open)
        for namespace in read(.beforeEnd) {
            try meanwhile()
            entries[namespace.inode]?.before = connections(in: namespace, withTcp: plain)?.rows
        }
    }

    /// It is switched off, and every event was taken.
    func ended(_ open: [OpenConnection]) {
        openAfter = open
        let plain = Self.namespacesOfPlain(open)
        // The tables first: what is accepted later than that may be counted.
        for namespace in list() {
            guard entries[namespace.inode] != nil, let found = connections(in: namespace, withTcp: plain)
            else { continue }
            entries[namespace.inode]?.after = found.rows
            entries[namespace.inode]?.unacceptedAtEnd = found.unaccepted
        }
        _ = read(.afterEnd)
    }

    /// What the comparison says.
    /// - Parameter lost: how much the trace lost.
    func result(lost: UInt64) -> VerifyResult {
        var result = VerifyResult()
        result.lost = lost
        let counted = books.namespaces
        var gone = only == nil ? counted.subtracting(entries.keys).subtracting(unread) : []
        var counters: [CounterReadings] = []
        var tables: [ConnectionReadings] = []
        for (inode, entry) in entries.sorted(by: { $0.key < $1.key }) where !unread.contains(inode) {
            guard !entry.isReplaced, let first = entry.counters[0], let second = entry.counters[1],
                let third = entry.counters[2], let fourth = entry.counters[3]
            else {
                gone.insert(inode)
                continue
            }
            var readings = CounterReadings(netns: inode, name: entry.namespace.name)
            readings.beforeStart = first
            readings.afterStart = second
            readings.beforeEnd = third
            readings.afterEnd = fourth
            readings.halfOpenClients = UInt64(entry.halfOpen.count { $0.side == .client })
            readings.halfOpenServers = UInt64(entry.halfOpen.count { $0.side == .server })
            readings.unacceptedAtStart = entry.unacceptedAtStart
            readings.unacceptedAtEnd = entry.unacceptedAtEnd
            readings.isUncertain = entry.isUncertain
            // What happened before it was there happened in another with its number.
            if let made = entry.notMadeAfter, books.firstTime(in: inode) ?? .max < made {
                readings.isUncertain = true
            }
            if books.isFull, !counted.contains(inode) { readings.isUncertain = true }
            counters.append(readings)
            guard let before = entry.before, let after = entry.after else { continue }
            var table = ConnectionReadings(netns: inode, name: entry.namespace.name)
            table.before = before
            table.after = after
            table.isUncertain = readings.isUncertain
            tables.append(table)
        }
        if options.filtersEnds {
            result.skip(.countersFiltered, UInt64(VerifyResult.counterCount))
        } else {
            result.compare(books, with: counters, steps: options.steps)
        }
        compareConnections(with: tables, &result)
        result.skip(.namespacesGone, UInt64(gone.count))
        result.skip(.namespacesUnread, UInt64(unread.count))
        result.skip(.tablesUnread, UInt64(tablesUnread.subtracting(unread).subtracting(gone).count))
        return result
    }

    private func compareConnections(with tables: [ConnectionReadings], _ result: inout VerifyResult) {
        // Of a connection that a table shows alone, it is not known which side this end is.
        let wanted = options.side
        func traced(_ open: [OpenConnection]) -> [OpenConnection] {
            wanted == nil ? open : open.filter { $0.side == wanted }
        }
        result.compare(
            open: traced(openBefore), traced(openAfter), with: tables, bothWays: wanted == nil,
            isTraced: options.wantsEnds)
    }

    // MARK: reading

    private func list() -> [NetworkNamespace] {
        if let only { return only }
        return (try? NetworkNamespaces.all()) ?? []
    }

    /// Reads the counters of every namespace there is.
    /// - Returns: those that could be read.
    private func read(_ moment: Moment) -> [NetworkNamespace] {
        let previous = listed
        listed = KernelClock.monotonic()
        var readable: [NetworkNamespace] = []
        for namespace in list() {
            let found: NamespaceBooks
            do throws(KernelError) {
                found = try namespace.books()
            } catch {
                // One that ended meanwhile is missing from the last reading, which tells it.
                if !error.saysGone { unread.insert(namespace.inode) }
                continue
            }
            note(found, of: namespace, moment, since: previous)
            readable.append(namespace)
            if moment == .beforeStart || moment == .afterStart { noteHalfOpen(in: namespace) }
        }
        return readable
    }

    private func note(
        _ found: NamespaceBooks, of namespace: NetworkNamespace, _ moment: Moment, since previous: UInt64
    ) {
        var entry = entries[namespace.inode] ?? Entry(namespace: namespace, cookie: found.cookie)
        if entries[namespace.inode] == nil {
            // It was made since, so it began with nothing counted.
            let nothing = found.counters.mapValues { _ in 0 as UInt64 }
            for earlier in Moment.allCases where earlier.rawValue < moment.rawValue {
                entry.counters[earlier.rawValue] = nothing
            }
            if moment != .beforeStart {
                let offset = KernelClock.realtimeOffset()
                let made = (try? namespace.notMadeAfter()).map { UInt64(clamping: $0 - offset) }
                entry.notMadeAfter = made
                // Or it was there already, and nothing led to it.
                entry.isUncertain = made.map { $0 < previous } ?? true
                entry.before = moment == .afterEnd ? [] : nil
            }
        } else if entry.cookie != found.cookie {
            entry.isReplaced = true
        }
        // Without it nothing tells one namespace from the next of its number.
        if found.cookie == nil { entry.isUncertain = true }
        entry.counters[moment.rawValue] = found.counters
        entries[namespace.inode] = entry
    }

    private func noteHalfOpen(in namespace: NetworkNamespace) {
        do throws(KernelError) {
            entries[namespace.inode]?.halfOpen.formUnion(try readHalfOpen(in: namespace))
        } catch {
            entries[namespace.inode]?.isUncertain = true
        }
    }

    /// Namespaces in which the trace has connections that stand in no table of MPTCP.
    private static func namespacesOfPlain(_ open: [OpenConnection]) -> Set<UInt32> {
        Set(open.filter { $0.token == 0 }.map(\.netns))
    }

    /// What is open in `namespace`, and how many of it nobody has accepted; nil: the tables can't be read.
    private func connections(
        in namespace: NetworkNamespace, withTcp: Set<UInt32>
    ) -> (rows: [KernelConnection], unaccepted: UInt64)? {
        do throws(KernelError) {
            var tables = try SocketTables(of: namespace)
            guard let mptcp = try tables.read(.mptcp, in: SocketState.open) else {
                tablesUnread.insert(namespace.inode)
                return nil
            }
            var rows = mptcp.map(KernelConnection.init)
            if withTcp.contains(namespace.inode) {
                rows += (try tables.read(.tcp, in: SocketState.open) ?? []).map(KernelConnection.init)
            }
            return (rows, UInt64(mptcp.count { $0.inode == 0 }))
        } catch {
            tablesUnread.insert(namespace.inode)
            return nil
        }
    }
}

extension KernelConnection {
    fileprivate init(_ socket: InetSocket) {
        self.init(
            cookie: socket.cookie, token: socket.mptcp?.token ?? 0, local: socket.local,
            remote: socket.remote, state: socket.mptcp.map { $0.isFallback ? .fallback : .mptcp })
    }
}

extension KernelError {
    /// Nothing leads to the namespace any more.
    fileprivate var saysGone: Bool {
        code == nil || code == .noSuchFileOrDirectory || code == .noSuchProcess || code == .invalidArgument
    }
}

extension LiveOptions {
    /// The kernel leaves connections out by their ends.
    var filtersEnds: Bool {
        port != nil || localPort != nil || remotePort != nil || addr != nil || ipv4 || ipv6 || side != nil
    }

    /// Whether the filters of ends let a connection pass.
    func wantsEnds(_ local: Endpoint, _ remote: Endpoint) -> Bool {
        if ipv4 || ipv6, ipv4 != remote.address.isV4 { return false }
        if let port, port != local.port, port != remote.port { return false }
        if let localPort, localPort != local.port { return false }
        if let remotePort, remotePort != remote.port { return false }
        guard let addr else { return true }
        return local.address.matches(addr.address, bits: addr.prefixLength)
            || remote.address.matches(addr.address, bits: addr.prefixLength)
    }
}
