// SPDX-License-Identifier: Apache-2.0

import Handshake

/// The kernel's counters of one network namespace, by the names that nstat prints, around a
/// trace; and what was under way at its two ends.
public struct CounterReadings: Sendable {
    public var netns: UInt32
    /// For people: its name, if it has one.
    public var name: String?
    /// Before tracing was switched on, and after. Of a namespace made later: all 0.
    public var beforeStart: [String: UInt64] = [:]
    public var afterStart: [String: UInt64] = [:]
    /// Before it was switched off, and after.
    public var beforeEnd: [String: UInt64] = [:]
    public var afterEnd: [String: UInt64] = [:]
    /// Sockets that had sent a SYN and waited for its answer as the trace began.
    public var halfOpenClients: UInt64 = 0
    /// SYNs that had been answered and not been acknowledged as it began.
    public var halfOpenServers: UInt64 = 0
    /// MPTCP connections that nobody had accepted, as it began and as it ended.
    public var unacceptedAtStart: UInt64 = 0
    public var unacceptedAtEnd: UInt64 = 0
    /// Its inode number may have been another namespace's, or it may be older than it seems: what
    /// differs proves nothing.
    public var isUncertain = false

    public init(netns: UInt32, name: String? = nil) {
        self.netns = netns
        self.name = name
    }

    /// By how much a counter rose at least and at most while the programs were switched on; nil:
    /// this kernel does not have it.
    func rise(_ name: String) -> ClosedRange<Int64>? {
        guard let first = beforeStart[name], let second = afterStart[name], let third = beforeEnd[name],
            let fourth = afterEnd[name]
        else { return nil }
        let least = Int64(clamping: third) - Int64(clamping: second)
        let most = Int64(clamping: fourth) - Int64(clamping: first)
        // They only rise.
        return max(0, least)...max(0, least, most)
    }

    /// The most that it rose; 0 when the kernel does not have it.
    fileprivate func most(_ name: String) -> Int64 { rise(name)?.upperBound ?? 0 }

    /// How much it moved while the trace began and ended.
    fileprivate func moved(_ name: String) -> Int64 { rise(name).map { $0.upperBound - $0.lowerBound } ?? 0 }
}

extension KernelCounter {
    /// Whether it counts steps, which are only written with `--steps`.
    var needsSteps: Bool { counts.contains { $0.type == "step" } }

    /// Whether it is one of those that a trace is held against: handshakes, joins, fallbacks.
    /// Packets with ADD_ADDR and RM_ADDR are not, as kernels differ in what they count of them.
    var isVerified: Bool { counts.allSatisfy { $0.type != "address" } }

    /// Holds the counter against the records of its namespace.
    /// - Returns: nil when this kernel does not have it.
    func compare(_ book: RecordBooks.Book, _ readings: CounterReadings) -> CounterVerdict? {
        guard let rise = readings.rise("MPTcpExt" + name) else { return nil }
        var seen: Int64 = 0
        for term in counts {
            seen += Int64(term.sign) * book.count { $0.isCounted(by: term) }
        }
        let leeway = leeway(book, readings)
        let kernel = min(max(seen, rise.lowerBound), rise.upperBound)
        if kernel == seen {
            return rise.lowerBound == rise.upperBound ? .equal : .withinBounds
        }
        let explained = kernel > seen ? leeway.more : leeway.fewer
        let apart = abs(kernel - seen)
        if apart <= explained { return .withinBounds }
        return .differs(
            CounterDifference(
                netns: readings.netns, name: readings.name, counter: name, kernel: kernel, seen: seen,
                unexplained: UInt64(apart - explained)))
    }

    /// How many more and how many fewer the kernel may have counted than there are records,
    /// everything having been seen: what began before the trace, what was undecided at its end,
    /// and records that can't tell why.
    private func leeway(
        _ book: RecordBooks.Book, _ readings: CounterReadings
    ) -> (more: Int64, fewer: Int64) {
        func rose(_ names: String...) -> Int64 { names.reduce(0) { $0 + readings.most($1) } }
        func count(_ form: RecordKind.Form, _ side: Side?, _ matches: (RecordKind) -> Bool) -> Int64 {
            book.count { $0.form == form && (side == nil || $0.side == side) && matches($0) }
        }
        func unexplained(_ form: RecordKind.Form, _ side: Side?, _ outcomes: Set<Outcome>) -> Int64 {
            count(form, side) { $0.reason == nil && $0.outcome.map(outcomes.contains) ?? true }
        }
        let clients = Int64(clamping: readings.halfOpenClients)
        let servers = Int64(clamping: readings.halfOpenServers)
        let given: Set<Outcome> = [.refused, .reset, .aborted]
        switch name {
        case "MPCapableSYNTX":
            // connect() counts before it looks for a route: a socket that never connected may have tried.
            return (count(.step, nil) { $0.from == .created && $0.to == .closed }, 0)
        case "MPCapableSYNRX", "MPJoinSynRx":
            // Without a place to remember a SYN, the kernel doesn't look at it, or looks each time
            // it comes again. A SYN that comes again looks new when the first came before the trace.
            let refused = rose(
                "TcpExtListenOverflows", "TcpExtListenDrops", "TcpExtSyncookiesSent", "TcpExtTCPReqQFullDrop",
                "TcpExtTCPReqQFullDoCookies")
            let lapsed = book.count {
                $0.side == .server && ($0.outcome == .timeout || $0.joinOutcome == .timeout)
            }
            return (refused + lapsed, refused + servers)
        case "MPCapableSYNACKRX":
            return (
                count(.handshake, .client) {
                    $0.traits.contains(.answered) && ($0.outcome == .reset || $0.outcome == .aborted)
                }, 0
            )
        case "MPCapableACKRX":
            // accept() counts these, not the handshake.
            let under = servers + readings.moved("MPTcpExtMPCapableSYNRX")
            let fewer = book.lostListener ? Int64.max / 2 : Int64(clamping: readings.unacceptedAtEnd) + under
            return (Int64(clamping: readings.unacceptedAtStart) + under, fewer)
        case "MPCapableFallbackACK":
            return (
                unexplained(.handshake, .server, [.fallback]),
                rose("MPTcpExtMPFallbackTokenInit", "TcpExtSyncookiesRecv")
            )
        case "MPCapableFallbackSYNACK":
            return (unexplained(.handshake, .client, [.fallback]), 0)
        case "MPCapableSYNTXDrop":
            // It counts when the SYN is given up; how the attempt ends comes later.
            let ended = count(.handshake, .client) { kind in
                kind.traits.contains(.retransmitted) && kind.outcome.map(given.contains) ?? false
            }
            let unasked = count(.handshake, .client) {
                $0.reason == .noSynack && !$0.traits.contains(.hasToken)
            }
            return (clients + ended, clients + unasked)
        case "MPCapableSYNTXDisabled", "MD5SigFallback":
            // It counts in connect(); the record of an attempt that failed has another reason.
            let ended = count(.handshake, .client) { kind in
                if kind.traits.contains(.hasToken) { return false }
                return kind.outcome != .fallback || kind.reason == nil
                    || kind.reason == .mptcpDisabledAtConnect
            }
            return (clients + ended, 0)
        case "MPCapableEndpAttempt":
            return (servers, 0)
        case "MPJoinSynTx":
            let failed = rose("MPTcpExtMPJoinSynTxConnectErr")
            return (failed, failed)
        case "MPJoinSynAckRx", "MPJoinSynAckHMacFailure":
            let unknown = count(.join, .client) { kind in
                kind.traits.contains(.answered) && kind.reason != .mpJoinSynAckHMacFailure
                    && (kind.joinOutcome == .reset || kind.joinOutcome == .aborted)
            }
            return name == "MPJoinSynAckRx" ? (clients, unknown) : (clients + unknown, 0)
        case "MPJoinRejected", "MPJoinAckHMacFailure", "MPJoinNoTokenFound":
            let unknown = count(.join, .server) { $0.joinOutcome == .rejected && $0.reason == nil }
            return (servers + unknown, 0)
        case "MPCapableDataFallback":
            return (unexplained(.fallback, nil, []), 0)
        case "DssFallback":
            return (
                unexplained(.fallback, nil, [])
                    + count(.fallback, nil) { $0.reason == .dssFallback && $0.kernelReason == nil }, 0
            )
        case "InfiniteMapTx":
            // It counts when there is data to be sent after the MP_FAIL.
            return (unexplained(.fallback, nil, []), count(.fallback, nil) { $0.reason == .mpFailRx })
        default:
            return (0, 0)
        }
    }
}

enum CounterVerdict: Equatable {
    case equal, withinBounds
    case differs(CounterDifference)
}

extension VerifyResult {
    /// Holds the counters of each namespace against the records found in it.
    ///
    /// - Parameters:
    ///   - steps: the trace found steps as well.
    public mutating func compare(_ books: RecordBooks, with all: [CounterReadings], steps: Bool) {
        let counters = KernelCounter.all.filter(\.isVerified)
        let compared = counters.filter { steps || !$0.needsSteps }
        if compared.count < counters.count {
            skip(.countersNeedSteps, UInt64(counters.count - compared.count))
        }
        var missing: Set<String> = []
        for readings in all {
            let book = books.book(readings.netns)
            var verdicts: [CounterVerdict] = []
            for counter in compared {
                if let verdict = counter.compare(book, readings) {
                    verdicts.append(verdict)
                } else {
                    missing.insert(counter.name)
                }
            }
            if readings.isUncertain, verdicts.contains(where: \.isDifference) {
                skipUncertain(readings.netns)
                continue
            }
            for verdict in verdicts {
                switch verdict {
                case .equal: noteEqual(exactly: true)
                case .withinBounds: noteEqual(exactly: false)
                case .differs(let difference): note(.counter(difference))
                }
            }
        }
        skip(.countersMissing, UInt64(missing.count))
    }
}

extension CounterVerdict {
    fileprivate var isDifference: Bool { if case .differs = self { true } else { false } }
}
