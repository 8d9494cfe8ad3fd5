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
        o.error = UInt32(event.error)
        o.retransmits = event.retransmits
        o.facts = facts(event, step)
        if event.flags & UInt16(MPS_F_PACKET) != 0 {
            o.option = option(event.option)
            if o.option == .mpCapable, event.mptcp_version != 0xff {
                o.mptcpVersion = event.mptcp_version
                o.checksum = event.option_flags & 0x80 != 0
            }
            if o.option == .mpJoin, event.remote_id != 0xff {
                // A packet that leaves names our own address.
                if hook == .skbEgress { o.localID = event.remote_id } else { o.remoteID = event.remote_id }
                o.backup = event.option_flags & 1 != 0
            }
            // A function of the server knows its own id as well.
            if event.kind == UInt8(MPS_REQUEST.rawValue) || event.kind == UInt8(MPS_SYNACK_OUT.rawValue),
                o.option == .mpJoin, event.local_id != 0xff
            {
                o.localID = event.local_id
            }
            // Whom a MP_JOIN asks for: the receiver by its own token.
            if event.kind == UInt8(MPS_SYN_IN.rawValue) { o.token = event.remote_token }
            if event.kind == UInt8(MPS_SYN_OUT.rawValue) { o.remoteToken = event.remote_token }
            if event.kind == UInt8(MPS_ADDRESS.rawValue) { o.remoteID = event.remote_id }
        } else if event.kind == UInt8(MPS_MSK_ESTABLISHED.rawValue)
            || event.kind == UInt8(MPS_CHILD_ESTABLISHED.rawValue)
        {
            if event.flags & UInt16(MPS_F_MP_CAPABLE) != 0 {
                o.checksum = event.flags & UInt16(MPS_F_CHECKSUM) != 0
            }
        }
        if event.flags & UInt16(MPS_F_PACKET) == 0,
            event.flags & UInt16(MPS_F_REQUEST_JOIN | MPS_F_MP_JOIN) != 0
        {
            if event.local_id != 0xff { o.localID = event.local_id }
            // Of our own MP_JOIN, it is only a guess until the SYN-ACK names it.
            if event.remote_id != 0xff { o.remoteID = event.remote_id }
            if event.flags & UInt16(MPS_F_BACKUP) != 0 { o.backup = true }
        }
        if event.flags & UInt16(MPS_F_RESET_REASON) != 0, step == .reset {
            o.resetReason = event.reset_reason
        }
        // The out-of-tree stack's sockets have no such thing.
        if event.kind == UInt8(MPS_CONNECT.rawValue), event.msk != 0, event.msk != event.ssk {
            o.socketChecksum = event.flags & UInt16(MPS_F_CHECKSUM) != 0
        }
        o.kernelReason = kernelReason(event)
        if event.flags & UInt16(MPS_F_REMOTE_TOKEN | MPS_F_REQUEST_JOIN) != 0 {
            o.remoteToken = event.remote_token
        } else if event.flags & UInt16(MPS_F_MP_CAPABLE) != 0, event.remote_key != 0 {
            o.remoteToken = Probes.token(ofKey: event.remote_key)
        }
        if owned {
            let owner = (base + plainSize).loadUnaligned(as: mps_owner.self)
            o.inode = owner.inode
            o.created = owner.created
            o.owner = Self.owner(at: base + plainSize, source: step == .listening ? .listen : .connect)
        }
        // The path manager's own listener: whoever asked it to listen does not hold the socket.
        if event.flags & UInt16(MPS_F_PM_LISTENER) != 0 { o.owner = nil }
        return o
    }

    /// A write to a setting; nil: the event is something else.
    static func setting(_ bytes: UnsafeRawBufferPointer) throws(Problem) -> SettingChange? {
        guard bytes.count >= plainSize, let base = bytes.baseAddress else { throw .size(bytes.count) }
        let head = base.loadUnaligned(as: mps_event.self)
        guard head.version == UInt16(MPS_EVENT_VERSION), head.kind == UInt8(MPS_SETTING.rawValue) else {
            return nil
        }
        guard bytes.count == MemoryLayout<mps_setting_event>.size else { throw .size(bytes.count) }
        guard head.hook == UInt8(MPS_HOOK_SYSCTL.rawValue) else { throw .hook(head.hook) }
        func text(_ place: Int?) -> String {
            let field = bytes[(place ?? 0)..<(place ?? 0) + Int(MPS_SETTING_BYTES)]
            return String(decoding: field.prefix { $0 != 0 && $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        }
        let name = text(MemoryLayout<mps_setting_event>.offset(of: \.name))
        let old = text(MemoryLayout<mps_setting_event>.offset(of: \.old_value))
        return SettingChange(
            time: head.time, netns: head.netns, name: "net.mptcp.\(name)", old: old.isEmpty ? nil : old,
            new: text(MemoryLayout<mps_setting_event>.offset(of: \.new_value)), source: .bpf,
            owner: owner(at: base + plainSize, source: .connect))
    }

    private static func owner(at base: UnsafeRawPointer, source: OwnerSource) -> Owner {
        let owner = base.loadUnaligned(as: mps_owner.self)
        let comm = base + offset.comm
        return Owner(
            pid: owner.pid, tid: owner.tid, uid: owner.uid,
            comm: Comm(
                first: UInt64(littleEndian: comm.loadUnaligned(as: UInt64.self)),
                second: UInt64(littleEndian: (comm + 8).loadUnaligned(as: UInt64.self))),
            cgroup: owner.cgroup, source: source)
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
        case MPS_HOOK_SEND_RESET.rawValue: .tcpSendReset
        case MPS_HOOK_DATA_AVAIL.rawValue: .dataAvailable
        case MPS_HOOK_TCP_CONNECT.rawValue: .tcpConnect
        case MPS_HOOK_INIT_SOCK.rawValue: .initSock
        case MPS_HOOK_CHECK_REQ.rawValue: .checkReq
        case MPS_HOOK_FINISH_CONNECT.rawValue: .finishConnect
        case MPS_HOOK_MPTCP_FINISH_CONNECT.rawValue: .mptcpFinishConnect
        case MPS_HOOK_SYN_RECV_SOCK.rawValue: .synRecvSock
        case MPS_HOOK_CLONE_INIT.rawValue: .cloneInit
        case MPS_HOOK_MSK_STATE.rawValue: .mskState
        case MPS_HOOK_TRY_FALLBACK.rawValue: .tryFallback
        case MPS_HOOK_DROP_CTX.rawValue: .dropCtx
        case MPS_HOOK_SUBFLOW_CONNECT.rawValue: .subflowConnect
        case MPS_HOOK_FINISH_JOIN.rawValue: .finishJoin
        case MPS_HOOK_RESET_REASON.rawValue: .resetReason
        case MPS_HOOK_DETECT_BLACKHOLE.rawValue: .detectBlackhole
        case MPS_HOOK_ACTIVE_DISABLE.rawValue: .activeDisable
        case MPS_HOOK_MPTCP_EVENT.rawValue: .mptcpEvent
        case MPS_HOOK_ENABLE_SOCK.rawValue: .enableSock
        case MPS_HOOK_LISTEN_START.rawValue: .listenStart
        case MPS_HOOK_SYN_OPTIONS.rawValue: .synOptions
        case MPS_HOOK_CONN_REQUEST.rawValue: .connRequest
        case MPS_HOOK_TCP_CONN_REQUEST.rawValue: .tcpConnRequest
        case MPS_HOOK_REQSK_INIT.rawValue: .reqskInit
        case MPS_HOOK_JOIN_REQSK_INIT.rawValue: .joinReqskInit
        case MPS_HOOK_SYNACK_OPTIONS.rawValue: .synackOptions
        case MPS_HOOK_SYNSENT.rawValue: .synsentProcess
        case MPS_HOOK_TCP_FINISH_CONNECT.rawValue: .tcpFinishConnect
        case MPS_HOOK_TCP_CHECK_REQ.rawValue: .tcpCheckReq
        case MPS_HOOK_CHECK_REQ_MASTER.rawValue: .checkReqMaster
        case MPS_HOOK_CHECK_REQ_CHILD.rawValue: .checkReqChild
        case MPS_HOOK_UPDATE_METASOCKET.rawValue: .updateMetasocket
        case MPS_HOOK_TCP_SET_STATE.rawValue: .tcpSetState
        case MPS_HOOK_ACK_IN_INFINITE.rawValue: .ackInInfinite
        case MPS_HOOK_FORCE_CLOSE.rawValue: .forceClose
        case MPS_HOOK_SYSCTL.rawValue: .sysctl
        case MPS_HOOK_SOCKET_EXIT.rawValue: .socketExit
        default: nil
        }
    }

    private static func option(_ raw: UInt8) -> PacketOption {
        switch Int32(raw) {
        case MPS_OPTION_MP_CAPABLE: .mpCapable
        case MPS_OPTION_MP_JOIN: .mpJoin
        case MPS_OPTION_DSS: .dss
        case MPS_OPTION_ADD_ADDR: .addAddr
        case MPS_OPTION_RM_ADDR: .rmAddr
        case MPS_OPTION_NONE: .absent
        case MPS_OPTION_UNKNOWN: .unknown
        default: .other
        }
    }

    /// The counter that the kernel raised; nil: none that is known.
    private static func kernelReason(_ event: mps_event) -> KernelReason? {
        switch UInt32(event.mib) {
        case MPS_MIB_SYNTX_DISABLED.rawValue: .synTxDisabled
        case MPS_MIB_MD5SIG_FALLBACK.rawValue: .md5SigFallback
        case MPS_MIB_TOKEN_INIT.rawValue: .tokenFallbackInit
        case MPS_MIB_JOIN_NO_TOKEN.rawValue: .joinNoTokenFound
        case MPS_MIB_JOIN_REJECTED.rawValue: .joinRejected
        case MPS_MIB_JOIN_ACK_HMAC.rawValue: .joinAckHMacFailure
        case MPS_MIB_JOIN_SYNACK_HMAC.rawValue: .joinSynAckHMacFailure
        case MPS_MIB_MISMATCH_PORT_SYN.rawValue: .mismatchPortSynRx
        case MPS_MIB_MISMATCH_PORT_ACK.rawValue: .mismatchPortAckRx
        case MPS_MIB_FALLBACK_SYNACK.rawValue: .fallbackSynack
        case MPS_MIB_SYNTX_DROP.rawValue: .synTxDrop
        case MPS_MIB_DATA_FALLBACK.rawValue: .dataFallback
        case MPS_MIB_DSS_FALLBACK.rawValue: .dssFallback
        case MPS_MIB_DSS_CORRUPTION.rawValue: .dssCorruption
        case MPS_MIB_SIMULT_CONNECT.rawValue: .simultConnect
        case MPS_MIB_INFINITE_MAP_TX.rawValue: .infiniteMapTx
        case MPS_MIB_OTHER_FALLBACK.rawValue: nil
        // The one counter for data whose mapping was missing, wrong, or had a wrong checksum.
        case _ where event.kind == UInt8(MPS_FALLBACK.rawValue):
            switch Int32(event.option_flags) {
            case MPS_MAPPING_NODSS, MPS_MAPPING_INVALID, MPS_MAPPING_BAD_CSUM: .dssFallback
            default: nil
            }
        default: nil
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
        case MPS_SYNACK_DISCARDED.rawValue: return (join ? .joinSynackReceived : .synackReceived, .client)
        case MPS_FORCED_CLOSE.rawValue: return (.reset, nil)
        case MPS_ACK_IN.rawValue: return (.ackReceived, .server)
        case MPS_SUBFLOW_ESTABLISHED.rawValue: return (.established, .client)
        case MPS_CHILD_ESTABLISHED.rawValue: return (joined ? .joinEstablished : .established, .server)
        case MPS_MSK_ESTABLISHED.rawValue:
            return (event.flags & UInt16(MPS_F_MP_CAPABLE) != 0 ? .mptcpEstablished : .fallback, .client)
        case MPS_MSK_ACCEPTED.rawValue: return (.mptcpEstablished, .server)
        case MPS_RESET_IN.rawValue: return (.reset, nil)
        case MPS_SUBFLOW_CLOSED.rawValue: return (.closed, nil)
        case MPS_MSK_CLOSED.rawValue: return (.closed, nil)
        case MPS_JOIN_CONFIRMED.rawValue: return (.joinEstablished, .client)
        case MPS_RESET_OUT.rawValue: return (.reset, .server)
        case MPS_FALLBACK.rawValue: return (.fallback, nil)
        case MPS_ADDRESS.rawValue: return (.addressed, nil)
        case MPS_SOCKET_REFUSED.rawValue: return (.socketRefused, .client)
        case MPS_REQUEST.rawValue: return (join ? .joinSynReceived : .synReceived, .server)
        case MPS_SYNACK_TAKEN.rawValue: return (.synackReceived, .client)
        case MPS_CHILD_DROPPED.rawValue: return (.fallback, .server)
        case MPS_JOIN_FAILED.rawValue: return (.joinSynSent, .client)
        // The client's was told by its SYN-ACK, the server's by the third ACK.
        case MPS_JOIN_AUTHENTIC.rawValue:
            return requestsJoin ? (.joinSynackReceived, .client) : (.ackReceived, .server)
        case MPS_SYN_GIVES_UP.rawValue: return (.synSent, .client)
        case MPS_BLACKHOLE.rawValue: return (.fallback, .client)
        case MPS_PM_ESTABLISHED.rawValue:
            return (.mptcpEstablished, event.flags & UInt16(MPS_F_REQUEST_MPTCP) != 0 ? .client : .server)
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
            case .absent, .dss, .other, .addAddr, .rmAddr: facts.insert(.optionAbsent)
            }
        }
        if event.kind == UInt8(MPS_MSK_CLOSED.rawValue) || event.kind == UInt8(MPS_SOCKET_RELEASED.rawValue) {
            facts.insert(.msk)
        }
        if has(MPS_F_FALLBACK) { facts.insert(.fellBack) }
        if has(MPS_F_FULL) { facts.insert(.fullyEstablished) }
        if event.kind == UInt8(MPS_RESET_OUT.rawValue) {
            facts.insert(.sentByUs)
            if event.option_flags == UInt8(MPS_RESET_UNEXPLAINED), event.mib == 0 {
                facts.insert(.unexplained)
            }
        }
        if event.kind == UInt8(MPS_RESET_IN.rawValue), has(MPS_F_PACKET) { facts.insert(.halfOpen) }
        // TCP_SYN_SENT and TCP_SYN_RECV are 2 and 3.
        if event.kind == UInt8(MPS_SUBFLOW_CLOSED.rawValue), event.old_state != 2, event.old_state != 3 {
            facts.insert(.wasEstablished)
        }
        // On a socket that is reset by this end, the reason is this end's own.
        if has(MPS_F_RESET_REASON), step == .reset {
            switch event.reset_reason {
            case 1: facts.insert(.rstMptcp)
            case 2: facts.insert(.rstResources)
            case 3: facts.insert(.rstProhibited)
            case 6: facts.insert(.rstMiddlebox)
            default: break
            }
        }
        if event.kind == UInt8(MPS_FALLBACK.rawValue) || event.kind == UInt8(MPS_MSK_CLOSED.rawValue) {
            switch Int32(event.option_flags) {
            case MPS_MAPPING_MP_FAIL: facts.insert(.mpFail)
            case MPS_MAPPING_BAD_CSUM: facts.insert(.badChecksum)
            case MPS_MAPPING_NODSS, MPS_MAPPING_INVALID: facts.insert(.noMapping)
            case MPS_MAPPING_INFINITE: facts.insert(.infiniteMapping)
            default: break
            }
        }
        // What the function itself means, as an option that a packet would have shown.
        switch UInt32(event.kind) {
        case MPS_SYNACK_TAKEN.rawValue: facts.insert(.optionCapable)
        case MPS_JOIN_AUTHENTIC.rawValue: facts.insert(.optionJoin)
        case MPS_SYN_GIVES_UP.rawValue: facts.insert(.optionAbsent)
        case MPS_BLACKHOLE.rawValue: facts.insert(.beginsBlackhole)
        case MPS_JOIN_FAILED.rawValue: facts.insert(.neverSent)
        case MPS_SYNACK_DISCARDED.rawValue: facts.insert(.discarded)
        case MPS_FORCED_CLOSE.rawValue: facts.insert(.sentByUs)
        // tcp_check_req() is the out-of-tree stack's hook.
        case MPS_ACK_IN.rawValue where event.hook == UInt8(MPS_HOOK_TCP_CHECK_REQ.rawValue):
            facts.insert(.optionsIgnored)
        default: break
        }
        switch UInt32(event.mib) {
        case MPS_MIB_DSS_CORRUPTION.rawValue: facts.insert(.dssCorruption)
        case MPS_MIB_SYNTX_DISABLED.rawValue: facts.insert(.blackhole)
        case MPS_MIB_MD5SIG_FALLBACK.rawValue: facts.insert(.md5)
        case MPS_MIB_TOKEN_INIT.rawValue: facts.insert(.tokensGone)
        case MPS_MIB_JOIN_NO_TOKEN.rawValue: facts.insert(.noToken)
        case MPS_MIB_JOIN_REJECTED.rawValue: facts.insert(.joinRejected)
        // At a client it can only be the SYN-ACK's (so counted up to 6.18).
        case MPS_MIB_JOIN_ACK_HMAC.rawValue: facts.insert(has(MPS_F_REQUEST_JOIN) ? .synackHMac : .ackHMac)
        case MPS_MIB_JOIN_SYNACK_HMAC.rawValue: facts.insert(.synackHMac)
        case MPS_MIB_MISMATCH_PORT_SYN.rawValue, MPS_MIB_MISMATCH_PORT_ACK.rawValue:
            facts.insert(.mismatchPort)
        default: break
        }
        switch Int32(event.error) {
        case 0: break
        case ECONNREFUSED: facts.insert(.refused)
        case ETIMEDOUT: facts.insert(.timedOut)
        case ECONNRESET, EPIPE: facts.insert(.connectionReset)
        default: facts.insert(.otherError)
        }
        return facts
    }
}
