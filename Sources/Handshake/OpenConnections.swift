// SPDX-License-Identifier: Apache-2.0

/// A connection that the mirror holds for open.
public struct OpenConnection: Sendable, Hashable {
    public var conn: UInt64
    /// 0: unknown.
    public var netns: UInt32
    public var side: Side?
    /// The ends of its first subflow.
    public var local: Endpoint
    public var remote: Endpoint
    /// This end's; 0: none is known. A plain TCP socket at the end that fell back has none.
    public var token: UInt32
    public var state: ConnectionState

    public init(
        conn: UInt64, netns: UInt32, side: Side?, local: Endpoint, remote: Endpoint, token: UInt32,
        state: ConnectionState
    ) {
        self.conn = conn
        self.netns = netns
        self.side = side
        self.local = local
        self.remote = remote
        self.token = token
        self.state = state
    }
}

extension Tracker {
    /// The connections whose handshake is decided and whose end was not seen, in no order. Looks
    /// at every one that is followed; plain TCP (`allTcp`) is not among them.
    public func openConnections() -> [OpenConnection] {
        connections.slots.compactMap { connection in
            guard connection.serial != 0, !connection.isJoin, connection.decided else { return nil }
            switch connection.state {
            case .mptcpEstablished, .fallback, .subflowClosed: break
            default: return nil
            }
            return OpenConnection(
                conn: connection.id, netns: connection.netns, side: connection.side,
                local: connection.local, remote: connection.remote, token: connection.token,
                state: connection.hadMptcp && !connection.fellBack ? .mptcp : .fallback)
        }
    }
}
