// SPDX-License-Identifier: Apache-2.0

import Handshake

/// One subflow of an open connection.
public struct StatusSubflow: Sendable {
    /// Its number; 0: the connection's first.
    public var number: UInt32
    public var local: Endpoint
    public var remote: Endpoint
    /// `established`, `fin_wait_1`…
    public var tcpState: String
    /// What follows is told to CAP_NET_ADMIN only; nil, 0: not told.
    public var localID: UInt8?
    public var remoteID: UInt8?
    public var backup: Bool?
    /// The letters that ss prints.
    public var flags: String?
    public var token: UInt32 = 0
    public var remoteToken: UInt32 = 0

    public init(number: UInt32, local: Endpoint, remote: Endpoint, tcpState: String) {
        self.number = number
        self.local = local
        self.remote = remote
        self.tcpState = tcpState
    }
}

/// An open connection.
public struct StatusConnection: Sendable {
    public enum State: String, Sendable, CaseIterable {
        case mptcp, fallback
        /// TCP, and never anything else.
        case plain
    }

    public var conn: UInt64
    /// 0: none, or not known.
    public var listener: UInt64 = 0
    public var side: Side?
    public var local: Endpoint
    public var remote: Endpoint
    public var state: State
    /// `established`, `fin_wait_1`…
    public var tcpState: String
    public var owner: Owner?
    /// Of the socket; nil: not told.
    public var uid: UInt32?
    public var netns: UInt32
    /// 0: none.
    public var token: UInt32 = 0
    /// The peer's key is known; nil: plain TCP.
    public var hasRemoteKey: Bool?
    public var checksum: Bool?
    /// What net.mptcp.enabled was when the socket (of a server: its listener) was made; nil: not known.
    public var enabledAtCreation: Bool?
    /// How many the kernel says there are; 0: plain TCP.
    public var subflows: UInt32 = 0
    /// Those that could be found.
    public var list: [StatusSubflow] = []

    public init(
        conn: UInt64, local: Endpoint, remote: Endpoint, state: State, tcpState: String, netns: UInt32
    ) {
        self.conn = conn
        self.local = local
        self.remote = remote
        self.state = state
        self.tcpState = tcpState
        self.netns = netns
    }
}

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
    /// All of net.mptcp, by name.
    public var settings: [Setting] = []
    /// Settings that are not as the kernel makes them.
    public var changed: [Setting] = []
    public var listeners: [ListenerRecord] = []
    public var connections: [StatusConnection] = []
    /// Plain TCP connections that are not among `connections`.
    public var otherTcp = 0

    public init(inode: UInt32, name: String?, isOwn: Bool, enabled: Bool?) {
        self.inode = inode
        self.name = name
        self.isOwn = isOwn
        self.enabled = enabled
    }

    /// net.mptcp.checksum_enabled; nil: not told.
    var checksumEnabled: Bool? {
        settings.first { $0.name == "net.mptcp.checksum_enabled" }.map { $0.value != "0" }
    }

    /// Nothing is open there.
    public var isEmpty: Bool { listeners.isEmpty && connections.isEmpty && otherTcp == 0 }
}

/// Something that could not be seen.
public struct StatusHidden: Sendable {
    public enum Kind: String, Sendable, CaseIterable {
        /// Processes of others' sockets.
        case owners
        /// Network namespaces that are known and may not be entered.
        case namespaces
        /// Network namespaces that are not even known.
        case unknownNamespaces = "unknown_namespaces"
        /// Which TCP sockets are subflows of which connection, and their ids.
        case subflows
        /// Anything else.
        case failure
    }

    public var kind: Kind
    /// nil: not known.
    public var count: UInt64?
    /// A sentence for people.
    public var message: String

    public init(_ kind: Kind, count: UInt64? = nil, message: String) {
        self.kind = kind
        self.count = count
        self.message = message
    }
}
