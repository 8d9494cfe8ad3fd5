// SPDX-License-Identifier: Apache-2.0

import CLibmnl
import Glibc
import Handshake

/// The states of TCP and MPTCP sockets (include/net/tcp_states.h).
public enum SocketState: UInt8, Sendable, CaseIterable {
    case established = 1
    case synSent, synReceived, finWait1, finWait2, timeWait, closed, closeWait, lastAck, listening
    case closing, newSynReceived

    /// The word in records: `fin_wait_1`.
    public var name: String {
        switch self {
        case .established: "established"
        case .synSent: "syn_sent"
        case .synReceived, .newSynReceived: "syn_received"
        case .finWait1: "fin_wait_1"
        case .finWait2: "fin_wait_2"
        case .timeWait: "time_wait"
        case .closed: "closed"
        case .closeWait: "close_wait"
        case .lastAck: "last_ack"
        case .listening: "listening"
        case .closing: "closing"
        }
    }

    /// The states in which an MPTCP connection is there for its owner or its peer.
    public static let open: [SocketState] = [
        .established, .finWait1, .finWait2, .closeWait, .lastAck, .closing,
    ]
}

/// What the kernel tells of a subflow (net/mptcp/diag.c). To CAP_NET_ADMIN only.
public struct SubflowInfo: Hashable, Sendable {
    /// MPTCP_SUBFLOW_FLAG_*.
    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// The peer agreed to MPTCP.
        public static let capable = Flags(rawValue: 1 << 0)
        /// This end asked for MPTCP: it called connect().
        public static let requestsCapable = Flags(rawValue: 1 << 1)
        /// It joined a connection.
        public static let joined = Flags(rawValue: 1 << 2)
        /// This end asked for that.
        public static let requestsJoin = Flags(rawValue: 1 << 3)
        /// A backup path by the peer's wish.
        public static let backupByPeer = Flags(rawValue: 1 << 4)
        /// A backup path by this end's wish.
        public static let backupByUs = Flags(rawValue: 1 << 5)
        public static let fullyEstablished = Flags(rawValue: 1 << 6)
        public static let connected = Flags(rawValue: 1 << 7)
        public static let mapValid = Flags(rawValue: 1 << 8)
        /// One end asked for MPTCP or to join, or the other agreed.
        static let asksOrAgreed: Flags = [.capable, .requestsCapable, .joined, .requestsJoin]

        /// A letter for each, as ss prints them.
        public var letters: String {
            let letters: [(Flags, Character)] = [
                (.capable, "M"), (.requestsCapable, "m"), (.joined, "J"), (.requestsJoin, "j"),
                (.backupByPeer, "B"), (.backupByUs, "b"), (.fullyEstablished, "e"), (.connected, "c"),
                (.mapValid, "v"),
            ]
            return String(letters.filter { contains($0.0) }.map(\.1))
        }
    }

    public var flags: Flags
    /// This end's token, that of the connection; 0: none.
    public var token: UInt32
    /// The peer's; 0: the kernel does not keep it for the first subflow.
    public var remoteToken: UInt32
    public var localID: UInt8?
    public var remoteID: UInt8?
}

/// What the kernel tells of an MPTCP socket (struct mptcp_info, linux/mptcp.h).
public struct MptcpInfo: Hashable, Sendable {
    /// Subflows that are there now, the first one included. Kernels before 6.6 count only the
    /// additional ones: there the first is taken to be there still.
    public var subflows: UInt32
    /// MPTCP_INFO_FLAG_*.
    public var flags: UInt32
    /// This end's token; 0: none.
    public var token: UInt32
    /// DSS checksums are in use.
    public var checksum: Bool

    /// The connection goes on as plain TCP.
    public var isFallback: Bool { flags & 1 != 0 }
    /// The peer's key is known.
    public var hasRemoteKey: Bool { flags & 2 != 0 }
}

/// One socket of a sock_diag dump (struct inet_diag_msg and its attributes, linux/inet_diag.h).
public struct InetSocket: Hashable, Sendable {
    /// The table it stands in: TCP's, where the subflows of MPTCP stand as well, or MPTCP's.
    public var table: TransportProtocol
    public var state: SocketState
    public var local: Endpoint
    /// Unspecified for a listener.
    public var remote: Endpoint
    /// Of the socket's file; 0: it has none (not accepted yet, or orphaned).
    public var inode: UInt32
    public var uid: UInt32
    /// The socket cookie, as BPF sees it; 0: none was given.
    public var cookie: UInt64
    /// Whether an IPv6 listener takes no IPv4; nil: not told.
    public var v6Only: Bool?
    /// It is a subflow of an MPTCP socket. Told to CAP_NET_ADMIN only; nil: not told.
    public var isSubflow: Bool?
    /// nil: no subflow, or not told.
    public var subflow: SubflowInfo?
    /// cgroup v2 id; nil: not told.
    public var cgroup: UInt64?
    /// nil in the table of TCP.
    public var mptcp: MptcpInfo?
}

extension InetSocket {
    private static let headLength = MemoryLayout<inet_diag_msg>.size

    /// Reads the socket in `payload` of a SOCK_DIAG_BY_FAMILY message; nil when it is no socket of
    /// IPv4 or IPv6 in a known state, is cut short, or is MPTCP and lacks struct mptcp_info.
    init?(_ datagram: RawSpan, payload: Range<Int>, table: TransportProtocol) {
        let start = payload.lowerBound
        guard payload.count >= Self.headLength, payload.upperBound <= datagram.byteCount,
            let family = datagram.integer(UInt8.self, at: start),
            let rawState = datagram.integer(UInt8.self, at: start + 1),
            let state = SocketState(rawValue: rawState),
            let local = Self.endpoint(datagram, family: family, port: start + 4, address: start + 8),
            let remote = Self.endpoint(datagram, family: family, port: start + 6, address: start + 24),
            let cookieLow = datagram.integer(UInt32.self, at: start + 44),
            let cookieHigh = datagram.integer(UInt32.self, at: start + 48),
            let uid = datagram.integer(UInt32.self, at: start + 64),
            let inode = datagram.integer(UInt32.self, at: start + 68)
        else { return nil }
        self.table = table
        self.state = state
        self.local = local
        self.remote = remote
        self.inode = inode
        self.uid = uid
        let cookie = UInt64(cookieHigh) << 32 | UInt64(cookieLow)
        // INET_DIAG_NOCOOKIE
        self.cookie = cookie == .max ? 0 : cookie

        var attributes = NetlinkAttributeCursor(start + Self.headLength..<payload.upperBound)
        var toldEverything = false
        while let (type, value) = attributes.next(in: datagram) {
            switch Int(type) {
            case Int(INET_DIAG_INFO) where table == .mptcp:
                mptcp = MptcpInfo(datagram, value)
            case Int(INET_DIAG_ULP_INFO) where table == .tcp:
                isSubflow = Self.ulpName(datagram, value) == Array("mptcp".utf8)
                if isSubflow == true { subflow = SubflowInfo(datagram, value) }
            case Int(INET_DIAG_SKV6ONLY):
                v6Only = value.isEmpty ? nil : datagram.integer(UInt8.self, at: value.lowerBound) != 0
            case Int(INET_DIAG_CGROUP_ID) where value.count >= 8:
                cgroup = datagram.integer(UInt64.self, at: value.lowerBound)
            case Int(INET_DIAG_MARK):
                // Sent with CAP_NET_ADMIN only, as is the name of an upper layer.
                toldEverything = true
            case Int(INET_DIAG_PROTOCOL):
                // Only raw sockets carry it.
                return nil
            default:
                break
            }
        }
        if table == .mptcp, mptcp == nil { return nil }
        if table == .tcp, toldEverything, isSubflow == nil { isSubflow = false }
    }

    private static func endpoint(
        _ datagram: RawSpan, family: UInt8, port: Int, address: Int
    ) -> Endpoint? {
        guard let port = datagram.integer(UInt16.self, at: port).map(UInt16.init(bigEndian:)) else {
            return nil
        }
        switch Int32(family) {
        case AF_INET:
            guard let v4 = datagram.integer(UInt32.self, at: address) else { return nil }
            return Endpoint(Address(v4: UInt32(bigEndian: v4)), port)
        case AF_INET6:
            guard let high = datagram.integer(UInt64.self, at: address),
                let low = datagram.integer(UInt64.self, at: address + 8)
            else { return nil }
            return Endpoint(Address(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low)), port)
        default:
            return nil
        }
    }

    private static func ulpName(_ datagram: RawSpan, _ range: Range<Int>) -> [UInt8] {
        var attributes = NetlinkAttributeCursor(range)
        while let (type, value) = attributes.next(in: datagram) {
            if Int(type) == Int(INET_ULP_INFO_NAME) {
                return Array(datagram.bytes(value).prefix { $0 != 0 })
            }
        }
        return []
    }
}

extension SubflowInfo {
    /// Reads what stands beside the name of the upper layer; nil: nothing does, as of a listener.
    init?(_ datagram: RawSpan, _ range: Range<Int>) {
        var attributes = NetlinkAttributeCursor(range)
        while let (type, value) = attributes.next(in: datagram) {
            if Int(type) == Int(INET_ULP_INFO_MPTCP) {
                self.init(members: datagram, value)
                return
            }
        }
        return nil
    }

    private init?(members datagram: RawSpan, _ range: Range<Int>) {
        var flags: UInt32?
        (token, remoteToken) = (0, 0)
        var attributes = NetlinkAttributeCursor(range)
        while let (type, value) = attributes.next(in: datagram) {
            let number = value.count >= 4 ? datagram.integer(UInt32.self, at: value.lowerBound) : nil
            let id = value.isEmpty ? nil : datagram.integer(UInt8.self, at: value.lowerBound)
            switch Int(type) {
            case Int(MPTCP_SUBFLOW_ATTR_TOKEN_LOC): token = number ?? 0
            case Int(MPTCP_SUBFLOW_ATTR_TOKEN_REM): remoteToken = number ?? 0
            case Int(MPTCP_SUBFLOW_ATTR_FLAGS): flags = number
            case Int(MPTCP_SUBFLOW_ATTR_ID_LOC): localID = id
            case Int(MPTCP_SUBFLOW_ATTR_ID_REM): remoteID = id
            default: break
            }
        }
        guard let flags else { return nil }
        self.flags = Flags(rawValue: flags)
    }
}

extension MptcpInfo {
    /// Reads struct mptcp_info as far as this kernel fills it; nil before its token.
    init?(_ datagram: RawSpan, _ range: Range<Int>) {
        let start = range.lowerBound
        guard range.count >= 16, range.upperBound <= datagram.byteCount,
            let additional = datagram.integer(UInt8.self, at: start),
            let flags = datagram.integer(UInt32.self, at: start + 8),
            let token = datagram.integer(UInt32.self, at: start + 12)
        else { return nil }
        self.flags = flags
        self.token = token
        // mptcpi_subflows_total, since 6.6.
        let total = range.count > 80 ? datagram.integer(UInt8.self, at: start + 80) : nil
        subflows = total.map(UInt32.init) ?? UInt32(additional) + 1
        checksum = range.count > 42 && datagram.integer(UInt8.self, at: start + 42) == 1
    }
}
