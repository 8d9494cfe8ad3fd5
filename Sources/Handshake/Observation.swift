// SPDX-License-Identifier: Apache-2.0

/// Where in the kernel something was observed.
public enum Hook: UInt8, Sendable, CaseIterable {
    case inetSockSetState, skbEgress, skbIngress, tcpReceiveReset, sockCreate, sockRelease
    case tcpSendReset, dataAvailable
    case tcpConnect, initSock, checkReq, finishConnect, mptcpFinishConnect, synRecvSock, cloneInit, mskState
    case tryFallback, dropCtx, subflowConnect, finishJoin, resetReason, detectBlackhole, activeDisable
    case mptcpEvent
    // of the out-of-tree stack
    case enableSock, listenStart, synOptions, connRequest, tcpConnRequest, reqskInit, joinReqskInit
    case synackOptions, synsentProcess, tcpFinishConnect, tcpCheckReq, checkReqMaster, checkReqChild
    case updateMetasocket, tcpSetState, ackInInfinite, forceClose
    /// Tells of settings, not of sockets.
    case sysctl
    /// The end of a system call.
    case socketExit
    /// Not a program: the socket tables, read by sock_diag.
    case snapshot
    /// Not a program: time that passed, the end of the trace.
    case clock
    /// Not a program: the tracker's own tables.
    case tracker

    public var name: String {
        switch self {
        case .inetSockSetState: "inet_sock_set_state"
        case .skbEgress: "cgroup_skb/egress"
        case .skbIngress: "cgroup_skb/ingress"
        case .tcpReceiveReset: "tcp_receive_reset"
        case .sockCreate: "cgroup/sock_create"
        case .sockRelease: "cgroup/sock_release"
        case .tcpSendReset: "tcp_send_reset"
        case .dataAvailable: "subflow_check_data_avail"
        case .tcpConnect: "tcp_connect"
        case .initSock: "mptcp_init_sock"
        case .checkReq: "subflow_check_req"
        case .finishConnect: "subflow_finish_connect"
        case .mptcpFinishConnect: "mptcp_finish_connect"
        case .synRecvSock: "subflow_syn_recv_sock"
        case .cloneInit: "mptcp_sk_clone_init"
        case .mskState: "mptcp_set_state"
        case .tryFallback: "__mptcp_try_fallback"
        case .dropCtx: "mptcp_subflow_drop_ctx"
        case .subflowConnect: "__mptcp_subflow_connect"
        case .finishJoin: "mptcp_finish_join"
        case .resetReason: "subflow_add_reset_reason"
        case .detectBlackhole: "mptcp_active_detect_blackhole"
        case .activeDisable: "mptcp_active_disable"
        case .mptcpEvent: "mptcp_event"
        case .enableSock: "mptcp_enable_sock"
        case .listenStart: "inet_csk_listen_start"
        case .synOptions: "mptcp_syn_options"
        case .connRequest: "mptcp_conn_request"
        case .tcpConnRequest: "tcp_conn_request"
        case .reqskInit: "mptcp_reqsk_init"
        case .joinReqskInit: "mptcp_join_reqsk_init"
        case .synackOptions: "mptcp_synack_options"
        case .synsentProcess: "mptcp_rcv_synsent_state_process"
        case .tcpFinishConnect: "tcp_finish_connect"
        case .tcpCheckReq: "tcp_check_req"
        case .checkReqMaster: "mptcp_check_req_master"
        case .checkReqChild: "mptcp_check_req_child"
        case .updateMetasocket: "mptcp_update_metasocket"
        case .tcpSetState: "tcp_set_state"
        case .ackInInfinite: "mptcp_handle_ack_in_infinite"
        case .forceClose: "mptcp_sub_force_close"
        case .sysctl: "cgroup/sysctl"
        case .socketExit: "sys_exit_socket"
        case .snapshot: "sock_diag"
        case .clock: "clock"
        case .tracker: "tracker"
        }
    }
}

extension Hook {
    /// A function of the kernel, hooked by its name.
    public var isFunction: Bool {
        switch self {
        case .tcpConnect, .initSock, .checkReq, .finishConnect, .mptcpFinishConnect, .synRecvSock, .cloneInit,
            .mskState, .tryFallback, .dropCtx, .subflowConnect, .finishJoin, .resetReason, .detectBlackhole,
            .activeDisable, .mptcpEvent, .enableSock, .listenStart, .synOptions, .connRequest,
            .tcpConnRequest,
            .reqskInit, .joinReqskInit, .synackOptions, .synsentProcess, .tcpFinishConnect, .tcpCheckReq,
            .checkReqMaster, .checkReqChild, .updateMetasocket, .tcpSetState, .ackInInfinite, .forceClose:
            true
        case .inetSockSetState, .skbEgress, .skbIngress, .tcpReceiveReset, .tcpSendReset, .dataAvailable,
            .sockCreate, .sockRelease, .sysctl, .socketExit, .snapshot, .clock, .tracker:
            false
        }
    }

    /// It tells more of what other hooks show as well, and never begins a connection.
    var onlyAdds: Bool {
        switch self {
        case .finishConnect, .mptcpFinishConnect, .synRecvSock, .dropCtx, .finishJoin, .detectBlackhole,
            .activeDisable, .mptcpEvent:
            true
        default: false
        }
    }

    /// It tells the state of a socket, not of a packet.
    var showsSocket: Bool {
        switch self {
        case .inetSockSetState, .mskState, .cloneInit: true
        case .updateMetasocket, .tcpFinishConnect, .tcpSetState: true
        default: false
        }
    }

    /// A client's verdict comes with the ends of its first subflow: they are the socket's own.
    var verdictNamesEnds: Bool { self == .updateMetasocket || self == .tcpFinishConnect }

    /// A SYN as it leaves, and again: never the beginning of a connection.
    var showsSynOut: Bool { self == .skbEgress || self == .synOptions }

    /// A SYN as it comes, each time.
    var showsSynIn: Bool { self == .skbIngress || self == .connRequest || self == .tcpConnRequest }

    /// It tells of MPTCP's end after a handshake.
    var showsFallback: Bool { self == .dataAvailable || self == .tryFallback || self == .ackInInfinite }
}

/// What is true of an observation, as bits that a row of the transition table can ask for.
public struct Facts: OptionSet, Hashable, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The socket (of a packet to a listener: the listener) is MPTCP.
    public static let mptcpSocket = Facts(rawValue: 1 << 0)
    /// The socket is, or has become, plain TCP.
    public static let plainSocket = Facts(rawValue: 1 << 1)
    /// The socket asks for MP_CAPABLE (`request_mptcp`).
    public static let requestsMptcp = Facts(rawValue: 1 << 2)
    /// The socket asks for MP_JOIN (`request_join`).
    public static let requestsJoin = Facts(rawValue: 1 << 3)
    /// The packet carried MP_CAPABLE.
    public static let optionCapable = Facts(rawValue: 1 << 4)
    /// The packet carried MP_JOIN.
    public static let optionJoin = Facts(rawValue: 1 << 5)
    /// The packet carried no MPTCP option, or none of use here.
    public static let optionAbsent = Facts(rawValue: 1 << 6)
    /// `mp_capable`: the peer agreed.
    public static let capable = Facts(rawValue: 1 << 7)
    /// SYNs with MP_CAPABLE went unanswered (`mpc_drop`).
    public static let droppedSyns = Facts(rawValue: 1 << 8)
    /// ECONNREFUSED.
    public static let refused = Facts(rawValue: 1 << 9)
    /// ETIMEDOUT.
    public static let timedOut = Facts(rawValue: 1 << 10)
    /// ECONNRESET, EPIPE or another error a RST leaves.
    public static let connectionReset = Facts(rawValue: 1 << 11)
    /// Some other errno.
    public static let otherError = Facts(rawValue: 1 << 12)
    /// The socket concerned is the msk, not a subflow.
    public static let msk = Facts(rawValue: 1 << 13)
    /// The trace is ending.
    public static let traceEnd = Facts(rawValue: 1 << 14)
    /// The RST is this end's own.
    public static let sentByUs = Facts(rawValue: 1 << 15)
    /// The RST came for a half-open handshake, of which there is no socket yet.
    public static let halfOpen = Facts(rawValue: 1 << 16)
    /// The MPTCP socket has fallen back.
    public static let fellBack = Facts(rawValue: 1 << 17)
    /// The handshake was confirmed by a packet with MPTCP's options (`msk->fully_established`).
    public static let fullyEstablished = Facts(rawValue: 1 << 18)
    /// Data came without a DSS, or with one that does not fit.
    public static let noMapping = Facts(rawValue: 1 << 19)
    /// Data came with a wrong DSS checksum.
    public static let badChecksum = Facts(rawValue: 1 << 20)
    /// The RST carried MP_TCPRST with reason 1, an MPTCP-specific error.
    public static let rstMptcp = Facts(rawValue: 1 << 21)
    /// 2, lack of resources.
    public static let rstResources = Facts(rawValue: 1 << 22)
    /// 3, administratively prohibited.
    public static let rstProhibited = Facts(rawValue: 1 << 23)
    /// 6, middlebox interference.
    public static let rstMiddlebox = Facts(rawValue: 1 << 24)
    /// The kernel counted MPJoinNoTokenFound.
    public static let noToken = Facts(rawValue: 1 << 25)
    /// MPJoinRejected.
    public static let joinRejected = Facts(rawValue: 1 << 26)
    /// MPJoinAckHMacFailure.
    public static let ackHMac = Facts(rawValue: 1 << 27)
    /// MPJoinSynAckHMacFailure.
    public static let synackHMac = Facts(rawValue: 1 << 28)
    /// MismatchPortSynRx or MismatchPortAckRx.
    public static let mismatchPort = Facts(rawValue: 1 << 29)
    /// MPCapableSYNTXDisabled: the blackhole state holds.
    public static let blackhole = Facts(rawValue: 1 << 30)
    /// MD5SigFallback.
    public static let md5 = Facts(rawValue: 1 << 31)
    /// The listener of a half-open handshake is gone.
    public static let listenerGone = Facts(rawValue: 1 << 33)
    /// MPFallbackTokenInit: the kernel found no free token.
    public static let tokensGone = Facts(rawValue: 1 << 35)
    /// The subflow that is gone had been established as TCP.
    public static let wasEstablished = Facts(rawValue: 1 << 34)
    /// The peer's MP_FAIL had come.
    public static let mpFail = Facts(rawValue: 1 << 32)
    /// DSSCorruptionFallback.
    public static let dssCorruption = Facts(rawValue: 1 << 36)
    /// No SYN was made.
    public static let neverSent = Facts(rawValue: 1 << 37)
    /// The kernel does not tell why it sends this RST.
    public static let unexplained = Facts(rawValue: 1 << 39)
    /// The kernel takes the packet as if it had not come.
    public static let discarded = Facts(rawValue: 1 << 40)
    /// The connection goes on without DSS, in one direction or both (infinite mapping).
    public static let infiniteMapping = Facts(rawValue: 1 << 41)
    /// The kernel takes no notice of the packet's options, unless it is of a join.
    public static let optionsIgnored = Facts(rawValue: 1 << 42)
    /// The kernel begins to keep connections of this namespace from asking (`mptcp_active_disable`).
    public static let beginsBlackhole = Facts(rawValue: 1 << 38)

    /// Those that still hold for what comes later on the same subflow.
    package static let lasting: Facts = [
        .blackhole, .md5, .tokensGone, .rstMptcp, .rstResources, .rstProhibited, .rstMiddlebox, .synackHMac,
    ]
}

/// One input of the state machine. Live, replay and tests feed the same values; the tracker
/// knows nothing but these.
public struct Observation: Sendable {
    /// ns, CLOCK_MONOTONIC.
    public var time: UInt64
    public var step: Step
    public var hook: Hook
    public var side: Side?
    public var cpu: UInt16 = 0
    /// The kernel's pointer to the subflow or listener, 0: not known (packets to a listener).
    public var socket: UInt64 = 0
    /// The kernel's pointer to the MPTCP socket, 0: none.
    public var msk: UInt64 = 0
    /// The kernel's pointer to the listener, 0: unknown.
    public var listener: UInt64 = 0
    /// Socket cookie, see `mps_event.cookie`; 0: never made.
    public var cookie: UInt64 = 0
    /// Inode of the application's socket, 0: unknown.
    public var inode: UInt32 = 0
    public var local = Endpoint.unspecified
    public var remote = Endpoint.unspecified
    public var netns: UInt32 = 0
    public var facts: Facts = []
    public var option: PacketOption = .unknown
    /// MPTCP version in the packet's option; nil: none seen.
    public var mptcpVersion: UInt8?
    /// The A bit of MP_CAPABLE, or what the socket decided; nil: not known.
    public var checksum: Bool?
    public var token: UInt32 = 0
    public var remoteToken: UInt32 = 0
    public var error: UInt32 = 0
    public var retransmits: UInt8 = 0
    /// The counter that the kernel raised for it; nil: none that is known.
    public var kernelReason: KernelReason?
    /// Of MP_TCPRST (RFC 8684, section 3.6); nil: the RST carried none.
    public var resetReason: UInt8?
    public var localID: UInt8?
    public var remoteID: UInt8?
    public var backup: Bool?
    public var owner: Owner?
    /// ns, CLOCK_MONOTONIC, when the application's socket was made; 0: not known.
    public var created: UInt64 = 0
    /// connect(): whether the msk was made to use checksums; nil: not known.
    public var socketChecksum: Bool?
    /// How many events the kernel had lost when this one was made; a rise means a gap before it.
    public var losses: UInt32 = 0

    public init(time: UInt64, step: Step, hook: Hook, side: Side? = nil) {
        self.time = time
        self.step = step
        self.hook = hook
        self.side = side
    }

    /// 4 or 6, of the packets: a v4-mapped peer is IPv4. 0: unknown.
    public var family: UInt8 {
        if remote.address.isUnspecified && local.address.isUnspecified { return 0 }
        return remote.address.isV4 || (remote.address.isUnspecified && local.address.isV4) ? 4 : 6
    }
}

/// A listener found by the opening snapshot.
public struct SnapshotListener: Sendable {
    /// nil: unknown, as on the out-of-tree stack, where both are TCP sockets.
    public var transport: TransportProtocol?
    public var local: Endpoint
    public var netns: UInt32
    public var inode: UInt32
    /// Cookies by which events may name it: the TCP socket's (for MPTCP its first subflow's) and the msk's; 0: unknown.
    public var cookie: UInt64
    public var mskCookie: UInt64
    public var owner: Owner?

    public init(
        transport: TransportProtocol?, local: Endpoint, netns: UInt32, inode: UInt32, cookie: UInt64,
        mskCookie: UInt64, owner: Owner?
    ) {
        self.transport = transport
        self.local = local
        self.netns = netns
        self.inode = inode
        self.cookie = cookie
        self.mskCookie = mskCookie
        self.owner = owner
    }
}

/// An MPTCP connection found by the opening snapshot.
public struct SnapshotConnection: Sendable {
    public var local: Endpoint
    public var remote: Endpoint
    public var netns: UInt32
    public var token: UInt32
    public var inode: UInt32
    /// The msk's cookie.
    public var cookie: UInt64
    public var subflows: UInt32
    public var state: ConnectionState
    public var side: Side?
    public var owner: Owner?

    public init(
        local: Endpoint, remote: Endpoint, netns: UInt32, token: UInt32, inode: UInt32, cookie: UInt64,
        subflows: UInt32, state: ConnectionState, side: Side?, owner: Owner?
    ) {
        self.local = local
        self.remote = remote
        self.netns = netns
        self.token = token
        self.inode = inode
        self.cookie = cookie
        self.subflows = subflows
        self.state = state
        self.side = side
        self.owner = owner
    }
}

/// The socket tables of every namespace that could be found, at one moment.
public struct Snapshot: Sendable {
    /// ns, CLOCK_MONOTONIC, when the first table was asked for.
    public var time: UInt64
    public var listeners: [SnapshotListener]
    public var connections: [SnapshotConnection]

    public init(time: UInt64, listeners: [SnapshotListener] = [], connections: [SnapshotConnection] = []) {
        self.time = time
        self.listeners = listeners
        self.connections = connections
    }
}
