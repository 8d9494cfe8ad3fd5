// SPDX-License-Identifier: Apache-2.0

import Handshake

/// An open connection with all that the kernel's socket tables tell of it.
public struct SurveyedConnection: Sendable {
    public enum Kind: Sendable { case mptcp, fallback, plain }

    public var kind: Kind
    public var local: Endpoint
    public var remote: Endpoint
    public var tcpState: SocketState
    /// Place of its listener in the survey's list; nil: none, not known, or several would fit.
    public var listener: Int?
    public var side: Side?
    public var inode: UInt32
    public var uid: UInt32
    public var owner: Owner?
    /// nil: plain TCP, or fallen back before it had a token.
    public var mptcp: MptcpInfo?
    /// Its subflows in the table of TCP, the first one first if it is there.
    public var subflows: [InetSocket]
    /// The first of `subflows` is the connection's first.
    public var hasFirst: Bool
}

/// Who listens and who is connected in one network namespace.
public struct SocketSurvey: Sendable {
    public var netns: UInt32
    /// Without owners' cgroups if these could not be found.
    public var listeners: [SnapshotListener] = []
    /// MPTCP, fallen back, and plain ones that an MPTCP listener took.
    public var connections: [SurveyedConnection] = []
    /// Other connections of TCP.
    public var others: [SurveyedConnection] = []
    /// The kernel told which TCP sockets are subflows, and of which connection.
    public var toldSubflows = true

    init(netns: UInt32) { self.netns = netns }
}

/// The survey of each of `namespaces`, with the holders of all sockets, and what could not be
/// read, one sentence each. What cannot be read is left out.
/// - Parameter ownersOfOthers: look for the holders of other TCP connections, too.
public func takeSurvey(
    of namespaces: [NetworkNamespace], ownersOfOthers: Bool
) -> (surveys: [SocketSurvey], problems: [String]) {
    var surveys: [SocketSurvey] = []
    var problems: [String] = []
    func note(_ problem: String) { if !problems.contains(problem) { problems.append(problem) } }
    for namespace in namespaces {
        do throws(KernelError) {
            var tables = try SocketTables(of: namespace)
            // TCP's table first: a connection that opens meanwhile is then without subflows, not a
            // subflow without its connection.
            let tcp = try tables.read(.tcp, in: SocketState.open + [.listening, .synSent, .synReceived])
            let mptcp = try tables.read(.mptcp, in: SocketState.open + [.listening])
            if mptcp == nil { note("the kernel does not list MPTCP sockets; try 'modprobe mptcp_diag'") }
            if tcp == nil { note("the kernel does not list TCP sockets; try 'modprobe tcp_diag'") }
            if tables.malformed > 0 {
                note("\(tables.malformed) answers of sock_diag in \(namespace.label) made no sense")
            }
            surveys.append(SocketSurvey(mptcp: mptcp ?? [], tcp: tcp ?? [], netns: namespace.inode))
        } catch {
            // A process's namespace can be gone by now, and its sockets with it.
            if error.code != .noSuchFileOrDirectory || namespace.name != nil { note(error.description) }
        }
    }
    var inodes: Set<UInt32> = []
    for survey in surveys {
        inodes.formUnion(survey.listeners.map(\.inode))
        inodes.formUnion(survey.connections.map(\.inode))
        if ownersOfOthers { inodes.formUnion(survey.others.map(\.inode)) }
    }
    let holders = SocketHolders.find(inodes)
    for place in surveys.indices { surveys[place].name(holders) }
    return (surveys, problems)
}

extension SocketSurvey {
    /// Joins the two tables of one namespace.
    init(mptcp: [InetSocket], tcp: [InetSocket], netns: UInt32) {
        self.init(netns: netns)
        var snapshot = Snapshot(time: 0)
        snapshot.add(
            mptcp: mptcp.filter { $0.state == .listening }, tcp: tcp.filter { $0.state == .listening },
            netns: netns)
        listeners = snapshot.listeners
        let sockets = mptcp.filter { $0.state == .listening } + tcp.filter { $0.state == .listening }
        let v6Only = Dictionary(
            sockets.map { ($0.local, $0.v6Only == true) }, uniquingKeysWith: { $0 || $1 })

        // Its subflows: by the token, which is one connection's in a namespace; by the inode, which
        // they borrow; by the addresses, which are those of the first.
        let open = tcp.filter { $0.state != .listening }
        toldSubflows = open.allSatisfy { $0.isSubflow != nil }
        let byToken = Dictionary(
            grouping: open.indices.filter { open[$0].subflow.map { $0.token != 0 } ?? false },
            by: { open[$0].subflow?.token ?? 0 })
        let byInode = Dictionary(
            grouping: open.indices.filter { open[$0].inode != 0 && open[$0].isSubflow != false },
            by: { open[$0].inode })
        let byEnds = Dictionary(
            grouping: open.indices.filter { open[$0].isSubflow != false },
            by: { [open[$0].local, open[$0].remote] })
        var taken: Set<Int> = []
        for socket in mptcp where SocketState.open.contains(socket.state) {
            guard let info = socket.mptcp else { continue }
            var places = info.token != 0 ? byToken[info.token] ?? [] : []
            if places.isEmpty, socket.inode != 0 { places = byInode[socket.inode] ?? [] }
            if places.isEmpty { places = byEnds[[socket.local, socket.remote]] ?? [] }
            places = places.filter { taken.insert($0).inserted }
            var subflows = places.map { open[$0] }
            let first = subflows.firstIndex {
                $0.local == socket.local && $0.remote == socket.remote
                    && $0.subflow?.flags.contains(.joined) != true
            }
            if let first { subflows.insert(subflows.remove(at: first), at: 0) }
            let place = listener(of: socket.local, v6Only)
            connections.append(
                SurveyedConnection(
                    kind: info.isFallback ? .fallback : .mptcp, local: socket.local,
                    remote: socket.remote, tcpState: socket.state, listener: place.certain,
                    side: Self.side(subflows) ?? (place.isServed ? .server : nil), inode: socket.inode,
                    uid: socket.uid, owner: nil, mptcp: info, subflows: subflows, hasFirst: first != nil))
        }
        for (place, socket) in open.enumerated()
        where SocketState.open.contains(socket.state) && !taken.contains(place) {
            if let info = socket.subflow, info.token == 0, info.flags.isDisjoint(with: .asksOrAgreed) {
                // It fell back before it asked for anything: the kernel lists MPTCP sockets by token.
                connections.append(
                    SurveyedConnection(
                        kind: .fallback, local: socket.local, remote: socket.remote, tcpState: socket.state,
                        listener: nil, side: .client, inode: socket.inode, uid: socket.uid, owner: nil,
                        mptcp: nil, subflows: [socket], hasFirst: true))
                continue
            }
            // Of a connection that came or went between the two tables, or one that is not accepted
            // and, without privileges, could be a subflow.
            if socket.isSubflow == true || socket.isSubflow == nil && socket.inode == 0 { continue }
            let place = listener(of: socket.local, v6Only)
            let connection = SurveyedConnection(
                kind: .plain, local: socket.local, remote: socket.remote, tcpState: socket.state,
                listener: place.certain, side: place.isServed ? .server : nil, inode: socket.inode,
                uid: socket.uid, owner: nil, mptcp: nil, subflows: [], hasFirst: false)
            if place.isMptcp { connections.append(connection) } else { others.append(connection) }
        }
    }

    /// Who listens for connections to `end`: those with its address before those with any.
    private func listener(
        of end: Endpoint, _ v6Only: [Endpoint: Bool]
    ) -> (certain: Int?, isServed: Bool, isMptcp: Bool) {
        let accepting = listeners.indices.filter {
            listeners[$0].local.accepts(end, v6Only: v6Only[listeners[$0].local] ?? false)
        }
        let exact = accepting.filter { listeners[$0].local.address == end.address }
        let best = exact.isEmpty ? accepting : exact
        return (
            best.count == 1 ? best.first : nil, !best.isEmpty,
            !best.isEmpty && best.allSatisfy { listeners[$0].transport == .mptcp }
        )
    }

    /// Who asked for MPTCP, as the first subflow has it.
    private static func side(_ subflows: [InetSocket]) -> Side? {
        guard let flags = subflows.first?.subflow?.flags, !flags.contains(.joined) else { return nil }
        if flags.contains(.requestsCapable) { return .client }
        return flags.contains(.capable) ? .server : nil
    }

    fileprivate mutating func name(_ holders: [UInt32: Owner]) {
        for place in listeners.indices { listeners[place].owner = holders[listeners[place].inode] }
        for place in connections.indices { connections[place].owner = holders[connections[place].inode] }
        for place in others.indices { others[place].owner = holders[others[place].inode] }
    }
}
