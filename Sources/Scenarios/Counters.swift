// SPDX-License-Identifier: Apache-2.0

/// What the kernel counts about MPTCP in one namespace (`MPTcpExt` of /proc/net/netstat; `nstat`
/// shows the same), by the kernel's names without the group's. What is not named is 0.
public struct Counters: Sendable, Hashable {
    /// Those that are not 0.
    public private(set) var values: [String: UInt64] = [:]

    /// Those that a scenario must name where they are not 0: of handshakes, of joins, of
    /// fallbacks, of addresses and of endings.
    public static let compared: Set<String> = [
        "MPCapableSYNTX", "MPCapableSYNRX", "MPCapableSYNACKRX", "MPCapableACKRX",
        "MPCapableFallbackACK", "MPCapableFallbackSYNACK", "MPCapableSYNTXDrop",
        "MPCapableSYNTXDisabled", "MPCapableEndpAttempt", "MPFallbackTokenInit", "MPCapableDataFallback",
        "Blackhole",
        "MPJoinSynTx", "MPJoinSynRx", "MPJoinSynAckRx", "MPJoinAckRx", "MPJoinRejected",
        "MPJoinNoTokenFound", "MPJoinSynAckHMacFailure", "MPJoinAckHMacFailure",
        "MPJoinSynBackupRx", "MPJoinSynAckBackupRx",
        "DssFallback", "DSSCorruptionFallback", "MD5SigFallback", "InfiniteMapRx", "InfiniteMapTx",
        "FallbackFailed", "DataCsumErr", "MPFailTx", "MPFailRx",
        "AddAddr", "AddAddrTx", "RmAddr", "MPFastcloseTx", "MPFastcloseRx", "MPRstTx", "MPRstRx",
    ]

    /// Those that MP_CAPABLE handshakes are counted by.
    public static let handshakes: Set<String> = [
        "MPCapableSYNTX", "MPCapableSYNRX", "MPCapableSYNACKRX", "MPCapableACKRX",
        "MPCapableFallbackACK", "MPCapableFallbackSYNACK",
    ]

    /// None.
    public init() {}

    public init(_ values: [String: UInt64]) { self.values = values.filter { $0.value != 0 } }

    /// Of MP_CAPABLE handshakes alone.
    public init(
        synSent: UInt64 = 0, synReceived: UInt64 = 0, synackReceived: UInt64 = 0, ackReceived: UInt64 = 0,
        fallbackAck: UInt64 = 0, fallbackSynack: UInt64 = 0
    ) {
        self.init([
            "MPCapableSYNTX": synSent, "MPCapableSYNRX": synReceived,
            "MPCapableSYNACKRX": synackReceived, "MPCapableACKRX": ackReceived,
            "MPCapableFallbackACK": fallbackAck, "MPCapableFallbackSYNACK": fallbackSynack,
        ])
    }

    public subscript(name: String) -> UInt64 {
        get { values[name] ?? 0 }
        set { values[name] = newValue == 0 ? nil : newValue }
    }

    /// Those of these names.
    public func only(_ names: Set<String>) -> Counters { Counters(values.filter { names.contains($0.key) }) }

    /// What was counted between two readings.
    public static func - (later: Self, earlier: Self) -> Self {
        var difference = later
        for (name, value) in earlier.values { difference[name] = later[name] &- value }
        return difference
    }

    /// Those of the calling thread's namespace. A kernel without MPTCP counts nothing.
    static func ofThisThread() throws(ScenarioError) -> Counters { Counters(try allOfThisThread()) }

    /// With those that are 0: what this kernel can count.
    static func allOfThisThread() throws(ScenarioError) -> [String: UInt64] {
        // A line of names, then a line of values, both beginning with the group's name.
        let text = try SmallFile.read("/proc/thread-self/net/netstat")
        let lines = text.split(separator: "\n").filter { $0.hasPrefix("MPTcpExt:") }
        guard lines.count == 2 else { return [:] }
        let names = lines[0].split(separator: " ").dropFirst().map(String.init)
        let values = lines[1].split(separator: " ").dropFirst().map { UInt64($0) ?? 0 }
        return Dictionary(zip(names, values)) { first, _ in first }
    }
}

extension Counters {
    /// MPCapableSYNTX: connect() calls that asked for MPTCP.
    public var synSent: UInt64 {
        get { self["MPCapableSYNTX"] }
        set { self["MPCapableSYNTX"] = newValue }
    }
    /// MPCapableSYNRX: SYNs with MP_CAPABLE that reached an MPTCP listener.
    public var synReceived: UInt64 {
        get { self["MPCapableSYNRX"] }
        set { self["MPCapableSYNRX"] = newValue }
    }
    /// MPCapableSYNACKRX: SYN-ACKs with MP_CAPABLE.
    public var synackReceived: UInt64 {
        get { self["MPCapableSYNACKRX"] }
        set { self["MPCapableSYNACKRX"] = newValue }
    }
    /// MPCapableACKRX: third ACKs with MP_CAPABLE.
    public var ackReceived: UInt64 {
        get { self["MPCapableACKRX"] }
        set { self["MPCapableACKRX"] = newValue }
    }
    /// MPCapableFallbackACK: third ACKs without, after a SYN with.
    public var fallbackAck: UInt64 {
        get { self["MPCapableFallbackACK"] }
        set { self["MPCapableFallbackACK"] = newValue }
    }
    /// MPCapableFallbackSYNACK: SYN-ACKs without, after a SYN with.
    public var fallbackSynack: UInt64 {
        get { self["MPCapableFallbackSYNACK"] }
        set { self["MPCapableFallbackSYNACK"] = newValue }
    }
}

extension Counters: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (String, UInt64)...) {
        self.init(Dictionary(elements) { first, _ in first })
    }
}

extension Counters: CustomStringConvertible {
    /// As `nstat` has them: a name and a value each.
    public var description: String {
        values.isEmpty
            ? "none"
            : values.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: " ")
    }
}
