// SPDX-License-Identifier: Apache-2.0

/// How one hook fared.
public struct HookStatus: Sendable, Hashable {
    /// `fentry`, `fexit`, `kprobe`, `kretprobe`, `raw_tracepoint`, `tracepoint` or `cgroup`.
    public enum Attach: String, Sendable, CaseIterable {
        case fentry, fexit, kprobe, kretprobe, tracepoint, cgroup
        case rawTracepoint = "raw_tracepoint"
    }

    public enum Status: String, Sendable, CaseIterable {
        case attached, missing, refused
        case notNeeded = "not_needed"
    }

    public var name: String
    /// nil: no way to attach was found.
    public var attach: Attach?
    public var status: Status
    /// Why it is not attached, as the kernel put it.
    public var error: String?

    public init(name: String, attach: Attach?, status: Status, error: String? = nil) {
        self.name = name
        self.attach = attach
        self.status = status
        self.error = error
    }
}

/// First line of a file: what made it, on what. What is nil is not written.
public struct MetaRecord: Sendable {
    /// Which MPTCP the kernel has.
    public enum Stack: String, Sendable, CaseIterable {
        case mainline
        case outOfTree = "multipath-tcp.org"
        case none
    }

    public enum Transport: String, Sendable, CaseIterable { case ringbuf, perfbuf }

    /// ns, CLOCK_MONOTONIC.
    public var time: UInt64
    /// `mpscope 0.1.0`
    public var tool: String
    public var host: String?
    public var bootID: String?
    public var kernel: String?
    public var arch: String?
    public var stack: Stack?
    public var backend: String?
    public var transport: Transport?
    public var hooks: [HookStatus]

    public init(
        time: UInt64, tool: String, host: String? = nil, bootID: String? = nil, kernel: String? = nil,
        arch: String? = nil, stack: Stack? = nil, backend: String? = nil, transport: Transport? = nil,
        hooks: [HookStatus] = []
    ) {
        self.time = time
        self.tool = tool
        self.host = host
        self.bootID = bootID
        self.kernel = kernel
        self.arch = arch
        self.stack = stack
        self.backend = backend
        self.transport = transport
        self.hooks = hooks
    }
}

/// A word of a list and how often it came up.
public struct WordCount: Sendable, Hashable {
    public var word: String
    public var count: UInt64

    public init(_ word: String, _ count: UInt64) {
        self.word = word
        self.count = count
    }
}

/// How long handshakes took, in µs.
public struct Latency: Sendable, Hashable {
    public var p50: UInt64
    public var p90: UInt64
    public var p99: UInt64
    public var max: UInt64

    public init(p50: UInt64, p90: UInt64, p99: UInt64, max: UInt64) {
        self.p50 = p50
        self.p90 = p90
        self.p99 = p99
        self.max = max
    }
}

/// Last line of a file. Counts of 0 are left out of the lists.
public struct SummaryRecord: Sendable {
    /// ns, CLOCK_MONOTONIC.
    public var time: UInt64
    /// What the hooks had to tell, and how much of it arrived.
    public var events: UInt64
    public var delivered: UInt64
    public var lostTotal: UInt64
    public var handshakes: [WordCount]
    public var joins: [WordCount]
    public var reasons: [WordCount]
    public var anomalies: [WordCount]
    /// nil: no handshake was timed.
    public var latency: Latency?
    /// nil: not asked for.
    public var verify: VerifyResult?

    public init(
        time: UInt64, events: UInt64, delivered: UInt64, lostTotal: UInt64,
        handshakes: [WordCount] = [], joins: [WordCount] = [], reasons: [WordCount] = [],
        anomalies: [WordCount] = [], latency: Latency? = nil, verify: VerifyResult? = nil
    ) {
        self.time = time
        self.events = events
        self.delivered = delivered
        self.lostTotal = lostTotal
        self.handshakes = handshakes
        self.joins = joins
        self.reasons = reasons
        self.anomalies = anomalies
        self.latency = latency
        self.verify = verify
    }
}
