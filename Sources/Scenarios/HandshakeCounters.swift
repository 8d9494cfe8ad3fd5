// SPDX-License-Identifier: Apache-2.0

/// The kernel's own counts of MP_CAPABLE handshakes in one namespace (`MPTcpExt` of
/// /proc/net/netstat; `nstat` shows the same).
public struct HandshakeCounters: Sendable, Hashable {
    /// MPCapableSYNTX: connect() calls that asked for MPTCP.
    public var synSent: UInt64
    /// MPCapableSYNRX: SYNs with MP_CAPABLE that reached an MPTCP listener.
    public var synReceived: UInt64
    /// MPCapableSYNACKRX: SYN-ACKs with MP_CAPABLE.
    public var synackReceived: UInt64
    /// MPCapableACKRX: third ACKs with MP_CAPABLE.
    public var ackReceived: UInt64
    /// MPCapableFallbackACK: third ACKs without, after a SYN with.
    public var fallbackAck: UInt64
    /// MPCapableFallbackSYNACK: SYN-ACKs without, after a SYN with.
    public var fallbackSynack: UInt64

    public init(
        synSent: UInt64 = 0, synReceived: UInt64 = 0, synackReceived: UInt64 = 0, ackReceived: UInt64 = 0,
        fallbackAck: UInt64 = 0, fallbackSynack: UInt64 = 0
    ) {
        self.synSent = synSent
        self.synReceived = synReceived
        self.synackReceived = synackReceived
        self.ackReceived = ackReceived
        self.fallbackAck = fallbackAck
        self.fallbackSynack = fallbackSynack
    }

    /// What was counted between two readings.
    public static func - (later: Self, earlier: Self) -> Self {
        Self(
            synSent: later.synSent &- earlier.synSent,
            synReceived: later.synReceived &- earlier.synReceived,
            synackReceived: later.synackReceived &- earlier.synackReceived,
            ackReceived: later.ackReceived &- earlier.ackReceived,
            fallbackAck: later.fallbackAck &- earlier.fallbackAck,
            fallbackSynack: later.fallbackSynack &- earlier.fallbackSynack)
    }

    /// Those of the calling thread's namespace. A kernel without MPTCP counts nothing.
    static func ofThisThread() throws(ScenarioError) -> HandshakeCounters {
        let values = parse(try SmallFile.read("/proc/thread-self/net/netstat"))
        return HandshakeCounters(
            synSent: values["MPCapableSYNTX"] ?? 0, synReceived: values["MPCapableSYNRX"] ?? 0,
            synackReceived: values["MPCapableSYNACKRX"] ?? 0, ackReceived: values["MPCapableACKRX"] ?? 0,
            fallbackAck: values["MPCapableFallbackACK"] ?? 0,
            fallbackSynack: values["MPCapableFallbackSYNACK"] ?? 0)
    }

    /// A line of names, then a line of values, both beginning with the group's name.
    private static func parse(_ text: String) -> [Substring: UInt64] {
        let lines = text.split(separator: "\n").filter { $0.hasPrefix("MPTcpExt:") }
        guard lines.count == 2 else { return [:] }
        let names = lines[0].split(separator: " ").dropFirst()
        let values = lines[1].split(separator: " ").dropFirst().map { UInt64($0) ?? 0 }
        return Dictionary(zip(names, values)) { first, _ in first }
    }
}

extension HandshakeCounters: CustomStringConvertible {
    public var description: String {
        "SYNTX \(synSent) SYNRX \(synReceived) SYNACKRX \(synackReceived) ACKRX \(ackReceived)"
            + " FallbackACK \(fallbackAck) FallbackSYNACK \(fallbackSynack)"
    }
}

/// How many TCP and MPTCP sockets a namespace still has, TIME_WAIT not counted.
enum OpenSockets {
    static func ofThisThread() throws(ScenarioError) -> Int {
        let net = "/proc/thread-self/net"
        let ipv4 = inUse(try SmallFile.read("\(net)/sockstat"), "TCP:")
        let ipv6 = (try? SmallFile.read("\(net)/sockstat6")).map { inUse($0, "TCP6:") } ?? 0
        var mptcp = 0
        for line in try SmallFile.read("\(net)/protocols").split(separator: "\n") {
            // Name, size, sockets, …
            let words = line.split(separator: " ", maxSplits: 3)
            if words.count > 2, words[0] == "MPTCP" || words[0] == "MPTCPv6" { mptcp += Int(words[2]) ?? 0 }
        }
        return ipv4 + ipv6 + mptcp
    }

    /// Of "TCP: inuse 3 orphan 0 …".
    private static func inUse(_ text: String, _ group: String) -> Int {
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(group) }) else { return 0 }
        let words = line.split(separator: " ")
        return words.count > 2 ? Int(words[2]) ?? 0 : 0
    }
}
