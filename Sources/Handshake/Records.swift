// SPDX-License-Identifier: Apache-2.0

/// What the tracker found: one value for one line of output. Plain data, no text; the writer
/// numbers the lines (`seq`) and turns ids, addresses and names into words.
public enum Record: Sendable {
    case step(StepRecord)
    case handshake(HandshakeRecord)
    case join(JoinRecord)
    case fallback(FallbackRecord)
    case address(AddressRecord)
    case connection(ConnectionRecord)
    case close(CloseRecord)
    case listener(ListenerRecord)
    case sysctl(SysctlRecord)
    case anomaly(AnomalyRecord)
    case lost(LostRecord)
}

/// One observation, as the state machine took it.
public struct StepRecord: Sendable {
    public var observation: Observation
    /// 0: none yet.
    public var conn: UInt64
    public var subflow: UInt32
    /// Id of the listener, 0: unknown or none.
    public var listener: UInt64
    public var side: Side?
    public var owner: Owner?
    public var from: SubflowState
    public var to: SubflowState

    public init(
        observation: Observation, conn: UInt64, subflow: UInt32, listener: UInt64, side: Side?,
        owner: Owner?, from: SubflowState, to: SubflowState
    ) {
        self.observation = observation
        self.conn = conn
        self.subflow = subflow
        self.listener = listener
        self.side = side
        self.owner = owner
        self.from = from
        self.to = to
    }
}

/// Time between the steps of a handshake, in ns; nil where a step was not seen.
public struct Timings: Equatable, Sendable {
    public var synToSynack: UInt64?
    public var synackToEstablished: UInt64?
    public var total: UInt64?

    public init(synToSynack: UInt64? = nil, synackToEstablished: UInt64? = nil, total: UInt64? = nil) {
        self.synToSynack = synToSynack
        self.synackToEstablished = synackToEstablished
        self.total = total
    }
}

/// A counter of the kernel's, under the name that `nstat` prints (without `MPTcpExt`).
public enum KernelReason: String, Sendable, CaseIterable {
    case synTxDisabled = "MPCapableSYNTXDisabled"
    case md5SigFallback = "MD5SigFallback"
    case tokenFallbackInit = "MPFallbackTokenInit"
    case joinNoTokenFound = "MPJoinNoTokenFound"
    case joinRejected = "MPJoinRejected"
    case joinAckHMacFailure = "MPJoinAckHMacFailure"
    case joinSynAckHMacFailure = "MPJoinSynAckHMacFailure"
    case mismatchPortSynRx = "MismatchPortSynRx"
    case mismatchPortAckRx = "MismatchPortAckRx"
    case dssFallback = "DssFallback"
    case fallbackSynack = "MPCapableFallbackSYNACK"
    case synTxDrop = "MPCapableSYNTXDrop"
    case dataFallback = "MPCapableDataFallback"
    case dssCorruption = "DSSCorruptionFallback"
    case simultConnect = "SimultConnectFallback"
    case infiniteMapTx = "InfiniteMapTx"
}

public struct HandshakeRecord: Sendable {
    /// ns, CLOCK_MONOTONIC, of the step that decided.
    public var time: UInt64
    public var conn: UInt64
    public var side: Side
    public var outcome: Outcome
    public var reason: Reason?
    /// The counter that the kernel raised for it; nil: it did not tell.
    public var kernelReason: KernelReason?
    /// errno of a connect that failed, 0: none.
    public var error: UInt32 = 0
    public var local: Endpoint
    public var remote: Endpoint
    /// 4 or 6: of the packets, not of the socket.
    public var family: UInt8
    public var owner: Owner?
    /// 0: unknown.
    public var netns: UInt32
    /// Server only; 0: unknown.
    public var listener: UInt64 = 0
    /// 0: none.
    public var token: UInt32 = 0
    public var remoteToken: UInt32 = 0
    /// nil: not known.
    public var mptcpVersion: UInt8?
    public var checksum: Bool?
    public var timings = Timings()
    public var synRetransmits: UInt8?

    public init(
        time: UInt64, conn: UInt64, side: Side, outcome: Outcome, reason: Reason? = nil,
        local: Endpoint, remote: Endpoint, family: UInt8, owner: Owner? = nil, netns: UInt32
    ) {
        self.time = time
        self.conn = conn
        self.side = side
        self.outcome = outcome
        self.reason = reason
        self.local = local
        self.remote = remote
        self.family = family
        self.owner = owner
        self.netns = netns
    }
}

public enum JoinOutcome: String, Sendable, CaseIterable {
    case joined
    /// An end said no to a well-formed attempt.
    case rejected
    /// It broke: an option was missing, or a RST came for another reason.
    case reset
    case timeout, aborted

    /// What the outcome of a handshake is for a join.
    init(_ outcome: Outcome) {
        switch outcome {
        case .mptcp: self = .joined
        case .refused: self = .rejected
        case .reset, .fallback, .tcp: self = .reset
        case .timeout: self = .timeout
        case .aborted: self = .aborted
        }
    }
}

public struct JoinRecord: Sendable {
    public var time: UInt64
    /// 0: none is known by the token that was asked for; then `subflow` means nothing.
    public var conn: UInt64
    public var subflow: UInt32
    public var side: Side
    public var outcome: JoinOutcome
    public var reason: Reason?
    public var kernelReason: KernelReason?
    /// The connection's owner.
    public var owner: Owner?
    /// 0: unknown.
    public var netns: UInt32 = 0
    /// 4 or 6.
    public var family: UInt8 = 0
    public var local: Endpoint
    public var remote: Endpoint
    public var localID: UInt8?
    public var remoteID: UInt8?
    public var backup: Bool?
    /// The token of the connection at this end; 0: none.
    public var token: UInt32
    public var timings = Timings()

    public init(
        time: UInt64, conn: UInt64, subflow: UInt32, side: Side, outcome: JoinOutcome,
        reason: Reason? = nil, local: Endpoint, remote: Endpoint, token: UInt32
    ) {
        self.time = time
        self.conn = conn
        self.subflow = subflow
        self.side = side
        self.outcome = outcome
        self.reason = reason
        self.local = local
        self.remote = remote
        self.token = token
    }
}

/// A connection that lost MPTCP after its handshake.
public struct FallbackRecord: Sendable {
    public var time: UInt64
    public var conn: UInt64
    /// nil: the kernel fell back and did not let see why.
    public var reason: Reason?
    public var kernelReason: KernelReason?
    /// The connection's, for people: side, ends, owner and namespace (0: unknown).
    public var side: Side?
    public var local = Endpoint.unspecified
    public var remote = Endpoint.unspecified
    public var owner: Owner?
    public var netns: UInt32 = 0

    public init(time: UInt64, conn: UInt64, reason: Reason?) {
        self.time = time
        self.conn = conn
        self.reason = reason
    }
}

public enum AddressChange: String, Sendable, CaseIterable {
    /// This end sent an ADD_ADDR.
    case announced
    /// The peer's ADD_ADDR came.
    case received
    /// The peer's RM_ADDR came.
    case removed
    case endpointAdded = "endpoint_added"
    case endpointRemoved = "endpoint_removed"
    case limits
}

/// ADD_ADDR, RM_ADDR (RFC 8684, section 3.4), or a change of endpoints or limits.
public struct AddressRecord: Sendable {
    public var time: UInt64
    /// 0: none; then it is about the namespace.
    public var conn: UInt64
    /// 0: unknown.
    public var netns: UInt32
    public var change: AddressChange
    /// nil: none was given (RM_ADDR names ids only); port 0: none.
    public var address: Endpoint?
    public var id: UInt8?
    /// Of limits: what they were and are, as `ip mptcp limits` prints them.
    public var old: String?
    public var new: String?
    /// Of endpoints and limits: how the change became known, when the kernel looks at them, and what does not
    /// follow it; nil: it is about a packet.
    public var source: ChangeSource?
    public var sampledAt: SampledAt?
    public var affected: Affected?
    /// Under which evidence names it (`Evidence.change`); not written. 0: it does not.
    public var number: UInt64 = 0

    public init(
        time: UInt64, conn: UInt64, netns: UInt32, change: AddressChange, address: Endpoint? = nil,
        id: UInt8? = nil
    ) {
        self.time = time
        self.conn = conn
        self.netns = netns
        self.change = change
        self.address = address
        self.id = id
    }
}

public enum ConnectionState: String, Sendable, CaseIterable { case mptcp, fallback }

/// An MPTCP connection that was open when the trace began.
public struct ConnectionRecord: Sendable {
    public var time: UInt64
    public var conn: UInt64
    public var side: Side?
    public var local: Endpoint
    public var remote: Endpoint
    public var token: UInt32
    public var owner: Owner?
    public var netns: UInt32
    public var subflows: UInt32
    public var state: ConnectionState

    public init(
        time: UInt64, conn: UInt64, side: Side?, local: Endpoint, remote: Endpoint, token: UInt32,
        owner: Owner?, netns: UInt32, subflows: UInt32, state: ConnectionState
    ) {
        self.time = time
        self.conn = conn
        self.side = side
        self.local = local
        self.remote = remote
        self.token = token
        self.owner = owner
        self.netns = netns
        self.subflows = subflows
        self.state = state
    }
}

public struct CloseRecord: Sendable {
    public var time: UInt64
    public var conn: UInt64
    /// ns from the first SYN; nil when that was not seen.
    public var duration: UInt64?
    /// How many it ever had; nil when the trace began later than the connection.
    public var subflows: UInt32?
    /// More of its subflows may be heard of yet; not written.
    public var hasJoins = false

    public init(time: UInt64, conn: UInt64, duration: UInt64?, subflows: UInt32?) {
        self.time = time
        self.conn = conn
        self.duration = duration
        self.subflows = subflows
    }
}

public enum ListenerState: String, Sendable, CaseIterable { case open, closed }
public enum ListenerOrigin: String, Sendable, CaseIterable { case seen, snapshot }

public struct ListenerRecord: Sendable {
    public var time: UInt64
    public var listener: UInt64
    public var state: ListenerState
    /// nil: unknown.
    public var transport: TransportProtocol?
    public var local: Endpoint
    public var owner: Owner?
    public var netns: UInt32
    /// What net.mptcp.enabled was when the socket was made; nil: unknown.
    public var enabledAtCreation: Bool?
    public var origin: ListenerOrigin

    public init(
        time: UInt64, listener: UInt64, state: ListenerState, transport: TransportProtocol?,
        local: Endpoint, owner: Owner?, netns: UInt32, enabledAtCreation: Bool?, origin: ListenerOrigin
    ) {
        self.time = time
        self.listener = listener
        self.state = state
        self.transport = transport
        self.local = local
        self.owner = owner
        self.netns = netns
        self.enabledAtCreation = enabledAtCreation
        self.origin = origin
    }
}

public enum AnomalyKind: String, Sendable, CaseIterable {
    case listenerOutlivesDisable = "listener_outlives_disable"
    case listenerPredatesEnable = "listener_predates_enable"
    case socketOutlivesToggle = "socket_outlives_toggle"
    case settingNeedsRestart = "setting_needs_restart"
    case optionStripped = "option_stripped"
    case mirrorDivergence = "mirror_divergence"
}

public enum AnomalyState: String, Sendable, CaseIterable { case open, repeated, closed }
public enum Severity: String, Sendable, CaseIterable { case info, warning, error }

/// A record that shows what a finding says.
public enum Evidence: Hashable, Sendable {
    /// The record of a listener that opened, by its id; 0: none.
    case listener(UInt64)
    /// Of a change of a setting, by its number.
    case change(UInt64)
    /// What was told of a connection last.
    case connection(UInt64)
    /// The step `socket_refused`, by its `conn`; 0: none.
    case refusal(UInt64)
    /// A connection's step, if it was told last of all.
    case step(UInt64)
}

public struct AnomalyRecord: Sendable {
    public var time: UInt64
    public var id: UInt64
    public var kind: AnomalyKind
    public var state: AnomalyState
    public var count: UInt64
    public var severity: Severity
    public var message: String
    public var advice: String
    public var netns: UInt32
    public var listener: UInt64
    public var conn: UInt64
    /// Of these, such as are written have a number in the file.
    public var evidence: [Evidence]
    /// The whole name of the setting that it is about; nil: of none.
    public var sysctl: String?

    public init(
        time: UInt64, id: UInt64, kind: AnomalyKind, state: AnomalyState, count: UInt64,
        severity: Severity, message: String, advice: String, netns: UInt32, listener: UInt64,
        conn: UInt64, evidence: [Evidence]
    ) {
        self.time = time
        self.id = id
        self.kind = kind
        self.state = state
        self.count = count
        self.severity = severity
        self.message = message
        self.advice = advice
        self.netns = netns
        self.listener = listener
        self.conn = conn
        self.evidence = evidence
    }
}

/// Why something was not seen.
public enum LossReason: String, Sendable, CaseIterable {
    /// The event buffer had no room.
    case ringFull = "ring_full"
    /// The same of a kernel that has no BPF ring buffer.
    case perfLost = "perf_lost"
    /// The kernel skipped a program that was already running on that CPU.
    case recursion
    /// A table of mpscope's, in the kernel or here, was full.
    case tableFull = "table_full"
    /// An event came when what happened later had been told already: it is not lost.
    case late
    /// Bytes that are no event of this version.
    case malformed
}

public struct LostRecord: Sendable {
    public var time: UInt64
    public var hook: Hook
    public var count: UInt64
    public var reason: LossReason

    public init(time: UInt64, hook: Hook, count: UInt64, reason: LossReason) {
        self.time = time
        self.hook = hook
        self.count = count
        self.reason = reason
    }
}
