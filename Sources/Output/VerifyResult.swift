// SPDX-License-Identifier: Apache-2.0

import Handshake

/// One of the kernel's counters that says something else than the records.
public struct CounterDifference: Sendable, Hashable {
    public var netns: UInt32
    /// For people: the namespace's name, if it has one.
    public var name: String?
    /// Without `MPTcpExt`.
    public var counter: String
    /// By how much it rose: of what is possible, what is nearest to `seen`.
    public var kernel: Int64
    /// How many the records say.
    public var seen: Int64
    /// By how much the two differ when everything is taken off that may have another cause; at least 1.
    public var unexplained: UInt64

    public init(
        netns: UInt32, name: String? = nil, counter: String, kernel: Int64, seen: Int64, unexplained: UInt64
    ) {
        self.netns = netns
        self.name = name
        self.counter = counter
        self.kernel = kernel
        self.seen = seen
        self.unexplained = unexplained
    }
}

/// A connection that is open in one way for the kernel and in another, or not at all, for the trace.
public struct ConnectionDifference: Sendable, Hashable {
    public var netns: UInt32
    /// For people: the namespace's name, if it has one.
    public var name: String?
    /// 0: the trace has none.
    public var conn: UInt64
    /// 0: not known.
    public var token: UInt32
    public var local: Endpoint
    public var remote: Endpoint
    /// nil: no open connection.
    public var kernel: ConnectionState?
    public var seen: ConnectionState?

    public init(
        netns: UInt32, name: String? = nil, conn: UInt64, token: UInt32, local: Endpoint, remote: Endpoint,
        kernel: ConnectionState?, seen: ConnectionState?
    ) {
        self.netns = netns
        self.name = name
        self.conn = conn
        self.token = token
        self.local = local
        self.remote = remote
        self.kernel = kernel
        self.seen = seen
    }

    init(_ readings: ConnectionReadings, _ open: OpenConnection, kernel: ConnectionState?) {
        self.init(
            netns: readings.netns, name: readings.name, conn: open.conn, token: open.token,
            local: open.local, remote: open.remote, kernel: kernel, seen: open.state)
    }

    init(_ readings: ConnectionReadings, _ row: KernelConnection) {
        self.init(
            netns: readings.netns, name: readings.name, conn: 0, token: row.token, local: row.local,
            remote: row.remote, kernel: row.state, seen: nil)
    }
}

public enum VerifyDifference: Sendable, Hashable {
    case counter(CounterDifference)
    case connection(ConnectionDifference)
}

/// What could not be checked, and why.
public enum VerifySkip: String, Sendable, CaseIterable {
    /// Counters of steps, which are only written with `--steps`.
    case countersNeedSteps = "counters_need_steps"
    /// A filter of ends hides what they count.
    case countersFiltered = "counters_filtered"
    /// This kernel does not have them.
    case countersMissing = "counters_missing"
    /// Namespaces that ended before the trace.
    case namespacesGone = "namespaces_gone"
    /// Namespaces that could not be entered or read.
    case namespacesUnread = "namespaces_unread"
    /// Namespaces whose socket tables could not be read.
    case tablesUnread = "tables_unread"
    /// Namespaces in which something differs that may have been another's of the same number.
    case namespacesUncertain = "namespaces_uncertain"

    /// For people.
    var text: StaticString {
        switch self {
        case .countersNeedSteps: "counters that need --steps"
        case .countersFiltered: "counters, as a filter hides what they count"
        case .countersMissing: "counters that this kernel does not have"
        case .namespacesGone: "namespaces that ended before the trace"
        case .namespacesUnread: "namespaces that could not be read"
        case .tablesUnread: "namespaces of which the socket tables could not be read"
        case .namespacesUncertain: "namespaces whose number may have been another's"
        }
    }
}

/// What was seen, held against the kernel's own counters and socket tables.
public struct VerifyResult: Sendable, Hashable {
    /// How many differences are kept.
    static let limit = 1000

    /// How many comparisons there were.
    public private(set) var checked: UInt64 = 0
    /// How many of them showed no difference.
    public private(set) var equal: UInt64 = 0
    /// How many of `equal` are not the same number or state, but as near as can be told.
    public private(set) var withinBounds: UInt64 = 0
    /// The first of them; there are `checked` less `equal`.
    public private(set) var differences: [VerifyDifference] = []
    public private(set) var skipped: [VerifySkip: UInt64] = [:]
    private var uncertain: Set<UInt32> = []
    /// How much the trace lost: then a difference may come from that.
    public var lost: UInt64 = 0

    public init() {}

    /// How many comparisons showed a difference.
    public var differing: UInt64 { checked - equal }

    public mutating func noteEqual(exactly: Bool) {
        checked += 1
        equal += 1
        if !exactly { withinBounds += 1 }
    }

    public mutating func note(_ difference: VerifyDifference) {
        checked += 1
        if differences.count < Self.limit { differences.append(difference) }
    }

    public mutating func skip(_ what: VerifySkip, _ count: UInt64) {
        if count > 0 { skipped[what, default: 0] += count }
    }

    /// Once for each namespace.
    mutating func skipUncertain(_ netns: UInt32) {
        if uncertain.insert(netns).inserted { skip(.namespacesUncertain, 1) }
    }

    /// Left out when it is 0.
    var skippedCounts: [WordCount] {
        VerifySkip.allCases.compactMap { what in skipped[what].map { WordCount(what.rawValue, $0) } }
    }

    /// Every counter that a trace can be held against.
    public static var counterCount: Int { KernelCounter.all.count { $0.isVerified } }
}
