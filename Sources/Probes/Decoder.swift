// SPDX-License-Identifier: Apache-2.0

import CEvent
import Glibc
import Handshake

/// Turns the bytes of one event into an observation.
///
/// Bytes can come from a file, so nothing in them is trusted: size, version, kind and hook are
/// checked, everything else is a number that may be anything.
public enum Decoder {
    /// What is wrong with bytes that are no event.
    public enum Problem: Error, Equatable, Sendable {
        case size(Int)
        case version(UInt16)
        case kind(UInt8)
        case hook(UInt8)
    }

    static let plainSize = MemoryLayout<mps_event>.size
    static let ownedSize = MemoryLayout<mps_owned_event>.size

    /// - Parameter bytes: one `mps_event`, or one `mps_owned_event` when its flags say so.
    public static func decode(_ bytes: UnsafeRawBufferPointer) throws(Problem) -> Observation {
        guard bytes.count >= plainSize, let base = bytes.baseAddress else { throw .size(bytes.count) }
        let event = base.loadUnaligned(as: mps_event.self)
        guard event.version == UInt16(MPS_EVENT_VERSION) else { throw .version(event.version) }
        let owned = event.flags & UInt16(MPS_F_OWNER) != 0
        // The kernel rounds nothing up: the sizes are exact.
        guard bytes.count == (owned ? ownedSize : plainSize) else { throw .size(bytes.count) }
        guard let hook = hook(event.hook) else { throw .hook(event.hook) }
        guard let (step, side) = step(event) else { throw .kind(event.kind) }

        var o = Observation(time: event.time, step: step, hook: hook, side: side)
        o.cpu = event.cpu
        o.losses = event.losses
        o.socket = event.ssk
        o.msk = event.msk
        o.listener = event.listener
        o.cookie = event.cookie
        o.netns = event.netns
        o.local = Endpoint(address(base + offset.local), event.local_port)
        o.remote = Endpoint(address(base + offset.remote), event.remote_port)
        o.token = event.token
        o.error = event.error
        o.retransmits = event.retransmits
        o.facts = facts(event, step)
        if event.flags & UInt16(MPS_F_PACKET) != 0 {
            o.option = option(event.option)
            if o.option == .mpCapable, event.mptcp_version != 0xff {
                o.mptcpVersion = event.mptcp_version
                o.checksum = event.option_flags & 0x80 != 0
            }
            if o.option == .mpJoin, event.remote_id != 0xff {
                o.remoteID = event.remote_id
                o.backup = event.option_flags & 1 != 0
            }
        } else if event.kind == UInt8(MPS_MSK_ESTABLISHED.rawValue)
            || event.kind == UInt8(MPS_CHILD_ESTABLISHED.rawValue)
        {
            if event.flags & UInt16(MPS_F_MP_CAPABLE) != 0 {
                o.checksum = event.flags & UInt16(MPS_F_CHECKSUM) != 0
            }
        }
        if event.flags & UInt16(MPS_F_REMOTE_TOKEN | MPS_F_REQUEST_JOIN) != 0 {
            o.remoteToken = event.remote_token
        } else if event.flags & UInt16(MPS_F_MP_CAPABLE) != 0, event.remote_key != 0 {
            o.remoteToken = Probes.token(ofKey: event.remote_key)
        }
        if owned {
            let owner = (base + plainSize).loadUnaligned(as: mps_owner.self)
            o.inode = owner.inode
            let comm = base + plainSize + offset.comm
            o.owner = Owner(
                pid: owner.pid, tid: owner.tid, uid: owner.uid,
                comm: Comm(
                    first: UInt64(littleEndian: comm.loadUnaligned(as: UInt64.self)),
                    second: UInt64(littleEndian: (comm + 8).loadUnaligned(as: UInt64.self))),
                cgroup: owner.cgroup, source: step == .listening ? .listen : .connect)
        }
        // The path manager's own listener: whoever asked it to listen does not hold the socket.
        if event.flags & UInt16(MPS_F_PM_LISTENER) != 0 { o.owner = nil }
        return o
    }

    private static let offset = (
        local: MemoryLayout<mps_event>.offset(of: \.local) ?? 0,
        remote: MemoryLayout<mps_event>.offset(of: \.remote) ?? 0,
        comm: MemoryLayout<mps_owner>.offset(of: \.comm) ?? 0
    )

    private static func address(_ at: UnsafeRawPointer) -> Address {
        Address(
            high: UInt64(bigEndian: at.loadUnaligned(as: UInt64.self)),
            low: UInt64(bigEndian: (at + 8).loadUnaligned(as: UInt64.self)))
    }

    static func hook(_ raw: UInt8) -> Hook? {
        switch UInt32(raw) {
        case MPS_HOOK_SET_STATE.rawValue: .inetSockSetState
        case MPS_HOOK_SKB_EGRESS.rawValue: .skbEgress
        case MPS_HOOK_SKB_INGRESS.rawValue: .skbIngress
        case MPS_HOOK_RECEIVE_RESET.rawValue: .tcpReceiveReset
        case MPS_HOOK_SOCK_CREATE.rawValue: .sockCreate
        case MPS_HOOK_SOCK_RELEASE.rawValue: .sockRelease
        default: nil
        }
    }

    private static func option(_ raw: UInt8) -> PacketOption {
        switch Int32(raw) {
        case MPS_OPTION_MP_CAPABLE: .mpCapable
        case MPS_OPTION_MP_JOIN: .mpJoin
        case MPS_OPTION_DSS: .dss
        case MPS_OPTION_NONE: .absent
        case MPS_OPTION_UNKNOWN: .unknown
        default: .other
        }
    }

    /// The step that the event is, and whose. nil: no kind of this version.
    private static func step(_ event: mps_event) -> (Step, Side?)? {
        let join = event.option == UInt8(MPS_OPTION_MP_JOIN) && event.flags & UInt16(MPS_F_PACKET) != 0
        let requestsJoin = event.flags & UInt16(MPS_F_REQUEST_JOIN) != 0
        let joined = event.flags & UInt16(MPS_F_MP_JOIN) != 0
        switch UInt32(event.kind) {
        case MPS_SOCKET_CREATED.rawValue: return (.socketCreated, .client)
        case MPS_SOCKET_RELEASED.rawValue: return (.closed, nil)
        case MPS_LISTENER_OPENED.rawValue: return (.listening, .server)
        case MPS_LISTENER_CLOSED.rawValue: return (.closed, .server)
        case MPS_CONNECT.rawValue: return (requestsJoin ? .joinSynSent : .synSent, .client)
        case MPS_SYN_OUT.rawValue: return (join ? .joinSynSent : .synSent, .client)
        case MPS_SYN_IN.rawValue: return (join ? .joinSynReceived : .synReceived, .server)
        case MPS_SYNACK_OUT.rawValue: return (join ? .joinSynackSent : .synackSent, .server)
        case MPS_SYNACK_IN.rawValue: return (join ? .joinSynackReceived : .synackReceived, .client)
        case MPS_ACK_IN.rawValue: return (.ackReceived, .server)
        case MPS_SUBFLOW_ESTABLISHED.rawValue: return (.established, .client)
        case MPS_CHILD_ESTABLISHED.rawValue: return (joined ? .joinEstablished : .established, .server)
        case MPS_MSK_ESTABLISHED.rawValue:
            return (event.flags & UInt16(MPS_F_MP_CAPABLE) != 0 ? .mptcpEstablished : .fallback, .client)
        case MPS_MSK_ACCEPTED.rawValue: return (.mptcpEstablished, .server)
        case MPS_RESET_IN.rawValue: return (.reset, nil)
        case MPS_SUBFLOW_CLOSED.rawValue: return (.closed, nil)
        case MPS_MSK_CLOSED.rawValue: return (.closed, nil)
        default: return nil
        }
    }

    private static func facts(_ event: mps_event, _ step: Step) -> Facts {
        func has(_ flag: Int32) -> Bool { event.flags & UInt16(flag) != 0 }
        var facts: Facts = has(MPS_F_MPTCP) ? .mptcpSocket : .plainSocket
        if has(MPS_F_REQUEST_MPTCP) { facts.insert(.requestsMptcp) }
        if has(MPS_F_REQUEST_JOIN) { facts.insert(.requestsJoin) }
        if has(MPS_F_MP_CAPABLE) { facts.insert(.capable) }
        if has(MPS_F_MPC_DROP) { facts.insert(.droppedSyns) }
        if has(MPS_F_PACKET) {
            switch option(event.option) {
            case .mpCapable: facts.insert(.optionCapable)
            case .mpJoin: facts.insert(.optionJoin)
            case .unknown: break
            case .absent, .dss, .other: facts.insert(.optionAbsent)
            }
        }
        if event.kind == UInt8(MPS_MSK_CLOSED.rawValue) || event.kind == UInt8(MPS_SOCKET_RELEASED.rawValue) {
            facts.insert(.msk)
        }
        switch Int32(truncatingIfNeeded: event.error) {
        case 0: break
        case ECONNREFUSED: facts.insert(.refused)
        case ETIMEDOUT: facts.insert(.timedOut)
        case ECONNRESET, EPIPE: facts.insert(.connectionReset)
        default: facts.insert(.otherError)
        }
        return facts
    }
}
