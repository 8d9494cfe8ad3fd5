// SPDX-License-Identifier: Apache-2.0

import Handshake

/// The socket tables of several namespaces, and what could not be read of them.
public struct OpeningSnapshot: Sendable {
    public var snapshot: Snapshot
    /// One sentence for each thing that is missing, for people.
    public var problems: [String]

    public init(snapshot: Snapshot, problems: [String]) {
        self.snapshot = snapshot
        self.problems = problems
    }
}

/// Who listens (TCP and MPTCP) and which MPTCP connections are open in `namespaces`, with their
/// holders. What cannot be read is named in the problems, the rest is there all the same.
///
/// On the out-of-tree stack every socket is a TCP socket: which listeners take MPTCP is not told, and its
/// connections stand in a table of its own.
public func takeSnapshot(
    of namespaces: [NetworkNamespace], stack: MptcpStack = .mainline
) -> OpeningSnapshot {
    var result = OpeningSnapshot(snapshot: Snapshot(time: KernelClock.monotonic()), problems: [])
    for namespace in namespaces {
        do throws(KernelError) {
            var tables = try SocketTables(of: namespace)
            let mptcp =
                stack == .outOfTree ? [] : try tables.read(.mptcp, in: SocketState.open + [.listening])
            let tcp = try tables.read(.tcp, in: [.listening])
            if mptcp == nil {
                result.note("the kernel does not list MPTCP sockets; try 'modprobe mptcp_diag'")
            }
            if tcp == nil {
                result.note("the kernel does not list TCP sockets; try 'modprobe tcp_diag'")
            }
            if tables.malformed > 0 {
                result.note("\(tables.malformed) answers of sock_diag in \(namespace.label) made no sense")
            }
            if stack == .outOfTree {
                result.snapshot.add(listeners: tcp ?? [], netns: namespace.inode)
                result.snapshot.connections += try MultipathTable.read(in: namespace)
            } else {
                result.snapshot.add(mptcp: mptcp ?? [], tcp: tcp ?? [], netns: namespace.inode)
            }
        } catch {
            // A process's namespace can be gone by now, and its sockets with it.
            if error.code != .noSuchFileOrDirectory || namespace.name != nil {
                result.note(error.description)
            }
        }
    }
    result.snapshot.nameHolders()
    return result
}

/// Makes the kernel give every listener its cookie (sock_diag does when it is asked for them), so
/// that events which begin after this name listeners as a later snapshot does.
public func nameListeners(of namespaces: [NetworkNamespace]) {
    for namespace in namespaces {
        // What fails here fails in the snapshot again, and is told there.
        guard var tables = try? SocketTables(of: namespace) else { continue }
        _ = try? tables.read(.mptcp, in: [.listening])
        _ = try? tables.read(.tcp, in: [.listening])
    }
}

extension OpeningSnapshot {
    /// What is the same for every namespace is said once.
    fileprivate mutating func note(_ problem: String) {
        if !problems.contains(problem) { problems.append(problem) }
    }
}

extension Snapshot {
    /// Adds listeners of one namespace of which is not known whether they take MPTCP.
    mutating func add(listeners tcp: [InetSocket], netns: UInt32) {
        listeners += tcp.map { socket in
            SnapshotListener(
                transport: nil, local: socket.local, netns: netns, inode: socket.inode,
                cookie: socket.cookie, mskCookie: 0, owner: nil)
        }
    }

    /// Adds the sockets of one namespace: `mptcp` listeners and open connections, `tcp` listeners.
    mutating func add(mptcp: [InetSocket], tcp: [InetSocket], netns: UInt32) {
        let mptcpListeners = mptcp.filter { $0.state == .listening }
        let found = Self.pair(mptcpListeners, with: tcp.filter { $0.state == .listening })
        listeners += found.map { listener in
            SnapshotListener(
                transport: listener.transport, local: listener.socket.local, netns: netns,
                inode: listener.socket.inode, cookie: listener.cookie, mskCookie: listener.mskCookie,
                owner: nil)
        }
        let listenersByPort = Dictionary(grouping: mptcpListeners, by: \.local.port)
        for socket in mptcp where SocketState.open.contains(socket.state) {
            let served = listenersByPort[socket.local.port]?.contains { $0.accepts(socket.local) } ?? false
            guard let info = socket.mptcp else { continue }
            connections.append(
                SnapshotConnection(
                    local: socket.local, remote: socket.remote, netns: netns, token: info.token,
                    inode: socket.inode, cookie: socket.cookie, subflows: info.subflows,
                    state: info.isFallback ? .fallback : .mptcp,
                    side: served ? .server : nil, owner: nil))
        }
    }

    /// One listening socket of an application: seen as a TCP socket, an MPTCP socket, or both.
    struct Listener {
        var transport: TransportProtocol
        var socket: InetSocket
        var cookie: UInt64
        var mskCookie: UInt64
    }

    /// An MPTCP listener stands in both tables: as itself and as its first subflow. The two share
    /// address, port and (as the subflow borrows its owner's) inode. Those whose inode is not told
    /// are matched in order, as both tables list them in the same. What has no counterpart, being
    /// opened or closed between the two readings, is kept with the cookie that is known.
    static func pair(_ msks: [InetSocket], with tcp: [InetSocket]) -> [Listener] {
        var subflow: [Int: InetSocket] = [:]
        var taken: Set<Int> = []
        let places = Dictionary(grouping: tcp.indices) { tcp[$0].local }
        // Those that are certain first: a shared inode. Then those told apart by nothing.
        for certain in [true, false] {
            for (place, msk) in msks.enumerated() where subflow[place] == nil {
                let match = places[msk.local]?.first { candidate in
                    if taken.contains(candidate) { return false }
                    let other = tcp[candidate]
                    if certain { return msk.inode != 0 && other.inode == msk.inode }
                    return other.isSubflow == true && (msk.inode == 0 || other.inode == 0)
                }
                guard let match else { continue }
                subflow[place] = tcp[match]
                taken.insert(match)
            }
        }
        let mptcp = msks.enumerated().map { place, msk in
            Listener(
                transport: .mptcp, socket: msk, cookie: subflow[place]?.cookie ?? 0, mskCookie: msk.cookie)
        }
        let rest = tcp.indices.filter { !taken.contains($0) }.map { place in
            Listener(
                transport: tcp[place].isSubflow == true ? .mptcp : .tcp, socket: tcp[place],
                cookie: tcp[place].cookie, mskCookie: 0)
        }
        return mptcp + rest
    }

    /// Fills in the owners, by one look through /proc.
    mutating func nameHolders() {
        let holders = SocketHolders.find(Set(listeners.map(\.inode) + connections.map(\.inode)))
        for place in listeners.indices { listeners[place].owner = holders[listeners[place].inode] }
        for place in connections.indices { connections[place].owner = holders[connections[place].inode] }
    }
}

extension InetSocket {
    /// Whether this listener takes connections to `end`.
    func accepts(_ end: Endpoint) -> Bool { local.accepts(end, v6Only: v6Only == true) }
}

extension Endpoint {
    /// Whether a listener there takes connections to `end`.
    func accepts(_ end: Endpoint, v6Only: Bool) -> Bool {
        guard end.port == port else { return false }
        if address == end.address { return true }
        guard address.isUnspecified else { return false }
        // 0.0.0.0 takes IPv4, :: both unless it was told not to.
        return address.isV4 ? end.address.isV4 : !(end.address.isV4 && v6Only)
    }
}
