// SPDX-License-Identifier: Apache-2.0

/// An IP address as 16 bytes in network order; IPv4 is kept v4-mapped, so that one comparison
/// serves both families and a v4-mapped peer of an IPv6 socket *is* its IPv4 address.
public struct Address: Hashable, Sendable {
    /// The first eight bytes, most significant first.
    public var high: UInt64
    /// The last eight bytes, most significant first.
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// `v4`: the address as a number, 10.0.0.1 being 0x0a000001.
    public init(v4: UInt32) {
        self.init(high: 0, low: 0xffff_0000_0000 | UInt64(v4))
    }

    public static let unspecified = Address(high: 0, low: 0)

    /// `::` or `0.0.0.0`.
    public var isUnspecified: Bool { high == 0 && (low == 0 || low == 0xffff_0000_0000) }

    public var isV4: Bool { high == 0 && low >> 32 == 0xffff }

    /// Whether the first `bits` of the 128 equal those of `other`.
    public func matches(_ other: Address, bits: Int) -> Bool {
        if bits <= 0 { return true }
        if bits < 64 { return (high ^ other.high) >> UInt64(64 - bits) == 0 }
        if high != other.high { return false }
        return bits >= 128 || bits == 64 || (low ^ other.low) >> UInt64(128 - bits) == 0
    }
}

public struct Endpoint: Hashable, Sendable {
    public var address: Address
    public var port: UInt16

    public init(_ address: Address, _ port: UInt16) {
        self.address = address
        self.port = port
    }

    public static let unspecified = Endpoint(.unspecified, 0)
}

/// A task's name as the kernel keeps it: up to 16 bytes, any bytes, not always terminated.
public struct Comm: Hashable, Sendable {
    /// Bytes 0 to 7 and 8 to 15, the first byte in the least significant place.
    public var first: UInt64
    public var second: UInt64

    public init(first: UInt64, second: UInt64) {
        self.first = first
        self.second = second
    }

    /// The first 16 bytes of `name`.
    public init(_ name: some Sequence<UInt8>) {
        self.init(first: 0, second: 0)
        for (place, byte) in name.prefix(16).enumerated() {
            if place < 8 {
                first |= UInt64(byte) << UInt64(place * 8)
            } else {
                second |= UInt64(byte) << UInt64((place - 8) * 8)
            }
        }
    }

    /// The byte at `place` (0 to 15); 0 ends the name.
    public subscript(place: Int) -> UInt8 {
        UInt8(
            truncatingIfNeeded: (place < 8 ? first >> UInt64(place * 8) : second >> UInt64((place - 8) * 8)))
    }

    /// How many bytes come before the first 0.
    public var count: Int {
        var n = 0
        while n < 16, self[n] != 0 { n += 1 }
        return n
    }
}

/// The process that owns a socket, as known when it did what it is named for.
public struct Owner: Hashable, Sendable {
    public var pid: UInt32
    public var tid: UInt32
    public var uid: UInt32
    public var comm: Comm
    /// cgroup v2 id (its inode number in cgroupfs), 0 when unknown.
    public var cgroup: UInt64
    /// Which act names the owner.
    public var source: OwnerSource

    public init(pid: UInt32, tid: UInt32, uid: UInt32, comm: Comm, cgroup: UInt64, source: OwnerSource) {
        self.pid = pid
        self.tid = tid
        self.uid = uid
        self.comm = comm
        self.cgroup = cgroup
        self.source = source
    }
}

/// How the owner is known: who called connect(), who called listen(), or whoever holds a descriptor.
public enum OwnerSource: String, Sendable, CaseIterable { case connect, listen, holder }

public enum Side: String, Sendable, CaseIterable { case client, server }

public enum TransportProtocol: String, Sendable { case mptcp, tcp }

/// The MPTCP option a packet carried (RFC 8684, section 3).
public enum PacketOption: UInt8, Sendable {
    /// The packet was not looked at.
    case unknown
    /// Looked at: no option of kind 30.
    case absent
    case mpCapable
    case mpJoin
    case dss
    case addAddr
    case rmAddr
    /// Some other MPTCP subtype.
    case other

    /// The word in records; nil when unknown.
    public var name: String? {
        switch self {
        case .unknown: nil
        case .absent: "none"
        case .mpCapable: "MP_CAPABLE"
        case .mpJoin: "MP_JOIN"
        case .dss: "DSS"
        case .addAddr: "ADD_ADDR"
        case .rmAddr: "RM_ADDR"
        case .other: "other"
        }
    }
}

/// What was observed, in the contract's words.
public enum Step: UInt8, Sendable, CaseIterable {
    case socketCreated, socketRefused, listening
    case synSent, synReceived, synackSent, synackReceived, ackReceived
    /// TCP's ESTABLISHED.
    case established
    /// The connection is usable as MPTCP.
    case mptcpEstablished
    case joinSynSent, joinSynReceived, joinSynackSent, joinSynackReceived, joinEstablished
    case fallback, reset, closed
    /// ADD_ADDR or RM_ADDR: no input of the machine, never written as a step.
    case addressed
    /// Time decided something.
    case timer

    public var name: String {
        switch self {
        case .socketCreated: "socket_created"
        case .socketRefused: "socket_refused"
        case .listening: "listening"
        case .synSent: "syn_sent"
        case .synReceived: "syn_received"
        case .synackSent: "synack_sent"
        case .synackReceived: "synack_received"
        case .ackReceived: "ack_received"
        case .established: "established"
        case .mptcpEstablished: "mptcp_established"
        case .joinSynSent: "join_syn_sent"
        case .joinSynReceived: "join_syn_received"
        case .joinSynackSent: "join_synack_sent"
        case .joinSynackReceived: "join_synack_received"
        case .joinEstablished: "join_established"
        case .fallback: "fallback"
        case .reset: "reset"
        case .closed: "closed"
        case .addressed: "addressed"
        case .timer: "timer"
        }
    }
}

/// How an attempt to connect ended.
public enum Outcome: String, Sendable, CaseIterable {
    /// Both ends speak MPTCP.
    case mptcp
    /// TCP works, MPTCP does not.
    case fallback
    case refused, reset, timeout
    /// The process gave up, or the trace ended.
    case aborted
    /// Plain TCP that nobody asked to be MPTCP (`--all-tcp`).
    case tcp
}
