// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Handshakes that one end must see, all alike.
public struct ExpectedHandshake: Sendable, Hashable {
    public let outcome: Outcome
    public let reason: Reason?
    /// 4 or 6.
    public let family: UInt8
    public let count: Int

    public init(_ outcome: Outcome, _ reason: Reason? = nil, family: UInt8, count: Int = 1) {
        self.outcome = outcome
        self.reason = reason
        self.family = family
        self.count = count
    }
}

/// Attempts to join that one end must see, all alike.
public struct ExpectedJoin: Sendable, Hashable {
    public let outcome: JoinOutcome
    public let reason: Reason?
    /// 4 or 6.
    public let family: UInt8
    /// nil: whatever.
    public let backup: Bool?
    public let count: Int

    public init(
        _ outcome: JoinOutcome, _ reason: Reason? = nil, family: UInt8 = 4, backup: Bool? = nil,
        count: Int = 1
    ) {
        self.outcome = outcome
        self.reason = reason
        self.family = family
        self.backup = backup
        self.count = count
    }
}

/// Connections of one end that lose MPTCP after their handshake.
public struct ExpectedFallback: Sendable, Hashable {
    public let reason: Reason?
    public let count: Int

    public init(_ reason: Reason?, count: Int = 1) {
        self.reason = reason
        self.count = count
    }
}

/// Packets with ADD_ADDR (no echoes) or RM_ADDR at one end, repeats included.
public struct ExpectedAddress: Sendable, Hashable {
    public let change: AddressChange
    public let count: Int

    public init(_ change: AddressChange, count: Int = 1) {
        self.change = change
        self.count = count
    }
}

/// A finding (`anomaly`) at one end, as it is in the end.
public struct ExpectedFinding: Sendable, Hashable {
    public let kind: AnomalyKind
    /// The gravest.
    public let severity: Severity
    /// How often it was seen.
    public let count: Int
    /// Whether it ended.
    public let isClosed: Bool

    public init(_ kind: AnomalyKind, _ severity: Severity, count: Int = 1, isClosed: Bool = true) {
        self.kind = kind
        self.severity = severity
        self.count = count
        self.isClosed = isClosed
    }
}

/// What only functions show of one end.
public struct FunctionSight: Sendable, Hashable {
    /// Steps `socket_refused`, all with that errno (`mptcp_init_sock`).
    public var refusedSockets = 0
    public var error: Int32 = 0
    /// Joins that failed before their SYN (`__mptcp_subflow_connect`).
    public var joins: [ExpectedJoin] = []

    public init(refusedSockets: Int = 0, error: Int32 = 0, joins: [ExpectedJoin] = []) {
        self.refusedSockets = refusedSockets
        self.error = error
        self.joins = joins
    }
}

/// What must be seen at one end.
public struct Expectation: Sendable, Hashable {
    /// The `handshake` records of that end's namespace.
    public let handshakes: [ExpectedHandshake]
    /// Its `join` records.
    public let joins: [ExpectedJoin]
    /// Its `fallback` records.
    public let fallbacks: [ExpectedFallback]
    /// Its `address` records that are about packets.
    public let addresses: [ExpectedAddress]
    /// Its `anomaly` records.
    public let findings: [ExpectedFinding]
    /// What the kernel itself counts there, of `Counters.compared`.
    public let counters: Counters

    public init(
        _ handshakes: [ExpectedHandshake] = [], joins: [ExpectedJoin] = [],
        fallbacks: [ExpectedFallback] = [], addresses: [ExpectedAddress] = [],
        findings: [ExpectedFinding] = [], _ counters: Counters = Counters()
    ) {
        self.handshakes = handshakes
        self.joins = joins
        self.fallbacks = fallbacks
        self.addresses = addresses
        self.findings = findings
        self.counters = counters
    }
}
