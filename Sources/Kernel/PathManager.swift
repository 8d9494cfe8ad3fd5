// SPDX-License-Identifier: Apache-2.0

import CLibmnl
import Glibc
import Handshake
import Synchronization
import SystemPackage

/// How much the in-kernel path manager does for each connection (`ip mptcp limits`).
public struct PathManagerLimits: Hashable, Sendable {
    /// Further subflows that a connection may have.
    public var subflows: UInt32
    /// Addresses announced by the peer (ADD_ADDR) that it connects to.
    public var addAddrAccepted: UInt32

    public init(subflows: UInt32, addAddrAccepted: UInt32) {
        self.subflows = subflows
        self.addAddrAccepted = addAddrAccepted
    }
}

/// An address that the path manager may use (`ip mptcp endpoint`).
public struct PathManagerEndpoint: Hashable, Sendable {
    /// Port 0: none was given.
    public var address: Endpoint
    /// From 1.
    public var id: UInt8
    /// MPTCP_PM_ADDR_FLAG_* (linux/mptcp.h): 1 signal, 2 subflow, 4 backup, 8 fullmesh, 16 implicit.
    public var flags: UInt32
    /// Index of the interface it is bound to; 0: none.
    public var interface: Int32

    public init(address: Endpoint, id: UInt8, flags: UInt32, interface: Int32) {
        self.address = address
        self.id = id
        self.flags = flags
        self.interface = interface
    }
}

/// Limits and endpoints of the in-kernel path manager in a network namespace.
public struct PathManagerState: Hashable, Sendable {
    public var limits: PathManagerLimits
    /// By their ids.
    public var endpoints: [PathManagerEndpoint]

    public init(limits: PathManagerLimits, endpoints: [PathManagerEndpoint]) {
        self.limits = limits
        self.endpoints = endpoints
    }

    /// Asks the kernel, by generic netlink (family `mptcp_pm`): limits, then endpoints. Endpoints that
    /// make no sense are left out.
    ///
    /// - Returns: nil when the kernel has no such family, as without CONFIG_MPTCP.
    /// - Throws: `KernelError` when the namespace cannot be entered, without CAP_NET_ADMIN there, and
    ///   when the answer makes no sense.
    public static func read(in namespace: NetworkNamespace) throws(KernelError) -> PathManagerState? {
        if PathManagerFamily.known.withLock({ $0 == .absent }) { return nil }
        var channel = try PathManagerChannel(in: namespace)
        return try channel.state()
    }
}

/// The number of the family, which is the same in all namespaces.
enum PathManagerFamily: Equatable {
    case notAsked
    /// It is no module's: what is not there will not come.
    case absent
    case id(UInt16)

    static let known = Mutex(PathManagerFamily.notAsked)
}

/// One generic netlink socket, and questions to the path manager through it.
private struct PathManagerChannel: ~Copyable {
    private let socket: NetlinkSocket
    private let namespace: String
    private var sequence: UInt32 = 0
    private var buffer = [UInt8](repeating: 0, count: NetlinkSocket.bufferSize)

    /// How often a list that changed while it was read is read again.
    private static let attempts = 8

    init(in namespace: NetworkNamespace) throws(KernelError) {
        self.namespace = namespace.label
        socket = try NetlinkSocket(NETLINK_GENERIC, in: namespace)
    }

    mutating func state() throws(KernelError) -> PathManagerState? {
        for _ in 0..<2 {
            guard let family = try family() else { return nil }
            var limits: PathManagerLimits?
            let answer = try ask(family, UInt8(MPTCP_PM_CMD_GET_LIMITS)) { datagram, payload in
                limits = PathManagerLimits(datagram, payload: payload)
            }
            if answer == .unknown {
                PathManagerFamily.known.withLock { $0 = .notAsked }
                continue
            }
            guard let limits else { throw failure(cause: "its limits made no sense") }
            return PathManagerState(limits: limits, endpoints: try endpoints(of: family))
        }
        throw failure(cause: "its family is known and not there")
    }

    private mutating func endpoints(of family: UInt16) throws(KernelError) -> [PathManagerEndpoint] {
        for _ in 0..<Self.attempts {
            var found: [PathManagerEndpoint] = []
            let answer = try ask(family, UInt8(MPTCP_PM_CMD_GET_ADDR), all: true) { datagram, payload in
                if let one = PathManagerEndpoint(datagram, payload: payload) { found.append(one) }
            }
            switch answer {
            case .complete: return found.sorted { $0.id < $1.id }
            case .interrupted: continue
            case .unknown: throw failure(.noSuchFileOrDirectory)
            }
        }
        throw failure(cause: "the endpoints changed during each of \(Self.attempts) attempts")
    }

    /// nil: the kernel does not have it.
    private mutating func family() throws(KernelError) -> UInt16? {
        switch PathManagerFamily.known.withLock({ $0 }) {
        case .id(let id): return id
        case .absent: return nil
        case .notAsked: break
        }
        var id: UInt16?
        let answer = try ask(
            UInt16(GENL_ID_CTRL), UInt8(CTRL_CMD_GETFAMILY), about: MPTCP_PM_NAME
        ) { datagram, payload in
            id = genericFamily(datagram, payload: payload)
        }
        if answer == .unknown {
            PathManagerFamily.known.withLock { $0 = .absent }
            return nil
        }
        guard let id else { throw failure(cause: "the number of its family made no sense") }
        PathManagerFamily.known.withLock { $0 = .id(id) }
        return id
    }

    private enum Answer {
        case complete
        /// What was listed changed meanwhile.
        case interrupted
        /// There is no such family.
        case unknown
    }

    /// Sends one command and hands over each message of the answer.
    /// - Parameters:
    ///   - all: everything that the command can list.
    ///   - name: the family that is asked for.
    private mutating func ask(
        _ family: UInt16, _ command: UInt8, all: Bool = false, about name: String? = nil,
        _ take: (RawSpan, Range<Int>) -> Void
    ) throws(KernelError) -> Answer {
        sequence &+= 1
        try send(family, command, all: all, about: name)
        let (end, broken) = socket.receiveAnswer(to: sequence, into: &buffer) { type, datagram, payload in
            if type == Int32(family) { take(datagram, payload) }
        }
        if broken > 0 { throw failure(cause: "the kernel's answer made no sense") }
        switch end {
        case .complete: return .complete
        case .interrupted: return .interrupted
        case .refused(.noSuchFileOrDirectory): return .unknown
        case .refused(let code), .failed(let code): throw failure(code)
        }
    }

    private func send(
        _ family: UInt16, _ command: UInt8, all: Bool, about name: String?
    ) throws(KernelError) {
        let sent = withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) { buffer -> Int? in
            guard let header = mnl_nlmsg_put_header(buffer.baseAddress) else { return nil }
            header.pointee.nlmsg_type = family
            header.pointee.nlmsg_flags = UInt16(all ? NLM_F_REQUEST | NLM_F_DUMP : NLM_F_REQUEST)
            header.pointee.nlmsg_seq = sequence
            var request = genlmsghdr(cmd: command, version: UInt8(MPTCP_PM_VER), reserved: 0)
            let size = MemoryLayout<genlmsghdr>.size
            mnl_nlmsg_put_extra_header(header, size)?.copyMemory(from: &request, byteCount: size)
            if let name { mnl_attr_put_strz(header, UInt16(CTRL_ATTR_FAMILY_NAME), name) }
            return socket.send(header)
        }
        guard let sent, sent > 0 else { throw failure(.current) }
    }

    private func failure(_ code: Errno? = nil, cause: String? = nil) -> KernelError {
        KernelError("ask the path manager of", namespace, code: code, cause: cause)
    }
}

// MARK: answers

/// The attributes behind the head (struct genlmsghdr, 4 bytes) of a message.
private func attributes(of payload: Range<Int>) -> NetlinkAttributeCursor {
    NetlinkAttributeCursor(min(payload.lowerBound + 4, payload.upperBound)..<payload.upperBound)
}

/// The number of the family that the controller was asked for; nil when that is not told.
func genericFamily(_ datagram: RawSpan, payload: Range<Int>) -> UInt16? {
    var members = attributes(of: payload)
    while let (type, value) = members.next(in: datagram) {
        if Int(type) == Int(CTRL_ATTR_FAMILY_ID), value.count >= 2 {
            return datagram.integer(at: value.lowerBound)
        }
    }
    return nil
}

extension PathManagerLimits {
    /// Reads the answer to MPTCP_PM_CMD_GET_LIMITS; nil when one of the two is missing.
    init?(_ datagram: RawSpan, payload: Range<Int>) {
        var subflows: UInt32?
        var accepted: UInt32?
        var members = attributes(of: payload)
        while let (type, value) = members.next(in: datagram) {
            let number = value.count >= 4 ? datagram.integer(UInt32.self, at: value.lowerBound) : nil
            switch Int(type) {
            case Int(MPTCP_PM_ATTR_SUBFLOWS): subflows = number
            case Int(MPTCP_PM_ATTR_RCV_ADD_ADDRS): accepted = number
            default: break
            }
        }
        guard let subflows, let accepted else { return nil }
        self.init(subflows: subflows, addAddrAccepted: accepted)
    }
}

extension PathManagerEndpoint {
    /// Reads one message of the answer to MPTCP_PM_CMD_GET_ADDR; nil when it has no address of IPv4
    /// or IPv6, or no id.
    init?(_ datagram: RawSpan, payload: Range<Int>) {
        var members = attributes(of: payload)
        while let (type, value) = members.next(in: datagram) {
            if Int(type) == Int(MPTCP_PM_ATTR_ADDR) {
                self.init(datagram, members: value)
                return
            }
        }
        return nil
    }

    private init?(_ datagram: RawSpan, members range: Range<Int>) {
        var address: Address?
        var id: UInt8?
        var (port, flags, interface): (UInt16, UInt32, Int32) = (0, 0, 0)
        var members = NetlinkAttributeCursor(range)
        while let (type, value) = members.next(in: datagram) {
            let start = value.lowerBound
            switch Int(type) {
            case Int(MPTCP_PM_ADDR_ATTR_ADDR4) where value.count >= 4:
                let v4 = datagram.integer(UInt32.self, at: start)
                address = v4.map { Address(v4: UInt32(bigEndian: $0)) }
            case Int(MPTCP_PM_ADDR_ATTR_ADDR6) where value.count >= 16:
                if let high = datagram.integer(UInt64.self, at: start),
                    let low = datagram.integer(UInt64.self, at: start + 8)
                {
                    address = Address(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low))
                }
            case Int(MPTCP_PM_ADDR_ATTR_ID) where value.count >= 1: id = datagram.integer(at: start)
            // In the machine's byte order, unlike the address.
            case Int(MPTCP_PM_ADDR_ATTR_PORT) where value.count >= 2: port = datagram.integer(at: start) ?? 0
            case Int(MPTCP_PM_ADDR_ATTR_FLAGS) where value.count >= 4:
                flags = datagram.integer(at: start) ?? 0
            case Int(MPTCP_PM_ADDR_ATTR_IF_IDX) where value.count >= 4:
                interface = datagram.integer(at: start) ?? 0
            default: break
            }
        }
        guard let address, let id else { return nil }
        self.init(address: Endpoint(address, port), id: id, flags: flags, interface: interface)
    }
}
