// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake
import StackPrograms

// The cells of the facts' order table, cut where a packet goes from one end to the other.
extension Stack {
    package static let clientV4 = Endpoint(Address(v4: 0x0a00_0001), 40_001)
    package static let serverV4 = Endpoint(Address(v4: 0x0a00_0002), 443)
    package static let clientV6 = Endpoint(Address(high: 0x2001_0db8_0000_0000, low: 1), 40_001)
    package static let serverV6 = Endpoint(Address(high: 0x2001_0db8_0000_0000, low: 2), 443)
    /// Of a join.
    package static let clientOther = Endpoint(Address(v4: 0x0a00_0101), 40_777)
    /// Another listener of the server.
    package static let serverOther = Endpoint(Address(v4: 0x0a00_0102), 8443)
    package static let loopback = Endpoint(Address(v4: 0x7f00_0001), 443)

    // MARK: sockets

    /// socket(); the switch is on unless it is said to be off.
    func socket(
        _ machine: StackMachine, inode: UInt32, enabled: Bool = true, at place: StackSocket? = nil
    ) -> StackSocket {
        process(machine)
        let socket = StackSocket(machine, at: place?.at)
        socket.fields.inode = inode
        if enabled { mptcpEnableSock(socket) }
        return socket
    }

    func listener(_ local: Endpoint, enabled: Bool = true, inode: UInt32 = 9_001) -> StackSocket {
        let socket = socket(server, inode: inode, enabled: enabled)
        socket.local = local
        socket.fields.ipv6 = !local.address.isV4
        inetCskListenStart(socket)
        return socket
    }

    func syn(_ socket: StackSocket, _ option: StackPacket.Option) -> StackPacket {
        StackPacket(.syn, option, from: socket.local, to: socket.remote)
    }

    func synack(to socket: StackSocket, _ option: StackPacket.Option) -> StackPacket {
        StackPacket(.synack, option, from: socket.remote, to: socket.local)
    }

    func ack(_ socket: StackSocket, _ option: StackPacket.Option) -> StackPacket {
        StackPacket(.ack, option, from: socket.local, to: socket.remote)
    }

    // MARK: client

    /// connect() of an application.
    /// - Parameter asks: the stack sets request_mptcp; not on loopback, nor with the switch off.
    func connects(_ socket: StackSocket, _ local: Endpoint, to remote: Endpoint, asks: Bool = true) {
        process(socket.machine)
        socket.remote = remote
        socket.local = local
        tcpSetState(socket, .synSent)
        tcpConnect(socket) {
            guard asks else { return }
            socket.fields.request_mptcp = true
            socket.fields.loc_token = token()
            mptcpSynOptions(socket)
        }
    }

    /// The SYN again.
    func synAgain(_ socket: StackSocket, seconds: UInt64, asks: Bool = true) {
        pass(microseconds: seconds * 1_000_000)
        softirq(socket.machine)
        socket.fields.total_retrans += 1
        if asks { mptcpSynOptions(socket) } else { socket.fields.request_mptcp = false }
    }

    /// The SYN-ACK comes, with MP_CAPABLE. Returns the master.
    func agrees(_ socket: StackSocket, peer: UInt32) -> StackSocket {
        softirq(socket.machine)
        var master = socket
        mptcpRcvSynsentStateProcess(socket, synack(to: socket, .capable)) {
            master = mptcpCreateMasterSk(
                socket, token: socket.fields.loc_token, peer: peer, serverSide: false)
            return (0, master)
        }
        tcpFinishConnect(master)
        tcpSetState(socket, .established)
        mptcpUpdateMetasocket(socket)
        return master
    }

    /// The SYN-ACK comes without it, to a SYN that asked. What the socket had made for MPTCP stays.
    func fallsBack(_ socket: StackSocket) {
        softirq(socket.machine)
        mptcpRcvSynsentStateProcess(socket, synack(to: socket, .none)) {
            socket.fields.request_mptcp = false
            return (0, socket)
        }
        tcpFinishConnect(socket)
    }

    /// The SYN-ACK comes to a SYN that did not ask.
    func establishes(_ socket: StackSocket) {
        softirq(socket.machine)
        tcpFinishConnect(socket)
    }

    /// It ends before it is established; `error` 0: its process closes it.
    func gives(up socket: StackSocket, _ error: Int32) {
        if error == 0 { process(socket.machine) } else { softirq(socket.machine) }
        socket.fields.err = error
        tcpSetState(socket, .close)
    }

    // MARK: server

    /// A SYN reaches a listener, and is answered with MP_CAPABLE if it asks.
    @discardableResult func answers(
        _ listener: StackSocket, _ syn: StackPacket, _ from: StackSocket, asks: Bool = true,
        interrupting: StackProcess? = nil
    ) -> StackRequest {
        softirq(listener.machine, interrupting: interrupting)
        let isMptcp = listener.fields.sock_mptcp
        if isMptcp { mptcpConnRequest(listener, syn) }
        tcpConnRequest(listener, syn)
        let request = request(listener, from, token: isMptcp && asks ? token() : 0)
        if request.isMptcp {
            mptcpReqskInit(request)
            mptcpSynackOptions(request)
        }
        return request
    }

    private func request(_ listener: StackSocket, _ from: StackSocket, token: UInt32) -> StackRequest {
        StackRequest(
            at: requestFields(listener, from) { $0.loc_token = token }, listener: listener,
            local: from.remote, remote: from.local, token: token, isJoin: false, remoteID: 0,
            isMptcp: token != 0)
    }

    private func requestFields(
        _ listener: StackSocket, _ from: StackSocket, _ change: (inout stack_request) -> Void
    ) -> UnsafeMutableRawPointer? {
        var fields = stack_request()
        withUnsafeMutableBytes(of: &fields.local) { $0.copyBytes(from: from.remote.address.bytes) }
        withUnsafeMutableBytes(of: &fields.remote) { $0.copyBytes(from: from.local.address.bytes) }
        fields.ipv6 = !from.remote.address.isV4
        fields.num = from.remote.port
        fields.dport = from.local.port
        fields.net = listener.machine.net
        fields.listener = listener.at
        change(&fields)
        return stack_request_new(&fields)
    }

    /// A child of its listener, or of its connection's meta socket.
    private func child(_ request: StackRequest, of socket: StackSocket, at place: StackSocket?) -> StackSocket
    {
        let child = StackSocket(socket.machine, at: place?.at)
        var fields = socket.fields
        fields.state = TCPState.synReceived.rawValue
        fields.inode = 0
        fields.cookie = 0
        child.fields = fields
        child.remote = request.remote
        child.local = request.local
        return child
    }

    /// The third ACK comes. Returns the child, which is the meta socket if it is MPTCP, and the master.
    @discardableResult func accepts(
        _ request: StackRequest, _ ack: StackPacket, peer: UInt32 = 0, at place: StackSocket? = nil
    ) -> (child: StackSocket, master: StackSocket) {
        softirq(request.listener.machine)
        tcpCheckReq(request.listener, ack, request)
        let child = child(request, of: request.listener, at: place)
        var master = child
        mptcpCheckReqMaster(request.listener, child) {
            guard request.isMptcp else { return 1 }
            master = mptcpCreateMasterSk(child, token: request.token, peer: peer, serverSide: true)
            return 0
        }
        served(child, master)
        return (child, master)
    }

    /// The same by TCP Fast Open: the child is there with the SYN, and what is called for it is another
    /// function, which is not hooked.
    @discardableResult func acceptsFastOpen(
        _ request: StackRequest, _ ack: StackPacket, peer: UInt32 = 0
    ) -> (child: StackSocket, master: StackSocket) {
        let child = child(request, of: request.listener, at: nil)
        let master =
            request.isMptcp
            ? mptcpCreateMasterSk(child, token: request.token, peer: peer, serverSide: true) : child
        softirq(request.listener.machine)
        tcpCheckReq(master, ack, request)
        served(child, master)
        return (child, master)
    }

    private func served(_ child: StackSocket, _ master: StackSocket) {
        tcpSetState(master, .established)
        guard master !== child else { return }
        tcpSetState(child, .established)
        mptcpUpdateMetasocket(child)
    }

    /// A RST comes in the third ACK's place.
    func resets(_ request: StackRequest, at socket: StackSocket) {
        softirq(socket.machine)
        tcpCheckReq(
            socket, StackPacket(.rst, .none, from: request.remote, to: request.local), request)
    }

    // MARK: joins

    /// The path manager adds a subflow to a client's connection.
    func joins(
        _ meta: StackSocket, _ local: Endpoint, id: UInt8, to remote: Endpoint? = nil
    ) -> StackSocket {
        kworker(meta.machine)
        let socket = StackSocket(meta.machine)
        socket.fields.kern_sock = true
        mptcpEnableSock(socket)
        guard let connection = meta.connection else { return socket }
        mptcpAddSock(connection, socket, isSlave: true, ids: (id, 0))
        socket.remote = remote ?? meta.remote
        socket.local = local
        tcpSetState(socket, .synSent)
        tcpConnect(socket) { mptcpSynOptions(socket) }
        return socket
    }

    /// The SYN with MP_JOIN reaches the server, and is answered.
    func answersJoin(_ listener: StackSocket, _ meta: StackSocket, _ from: StackSocket) -> StackRequest {
        softirq(listener.machine)
        let token = meta.connection?.fields.loc_token ?? 0
        let syn = syn(from, .join(token: token, id: from.fields.loc_id))
        mptcpConnRequest(listener, syn)
        tcpConnRequest(meta, syn)
        let request = StackRequest(
            at: requestFields(meta, from) {
                $0.is_sub = true
                $0.rem_id = from.fields.loc_id
            }, listener: meta, local: from.remote, remote: from.local, token: 0, isJoin: true,
            remoteID: from.fields.loc_id, isMptcp: true)
        mptcpJoinReqskInit(request)
        mptcpSynackOptions(request)
        return request
    }

    /// The SYN-ACK with MP_JOIN comes, and is right.
    func joinAnswered(_ socket: StackSocket) {
        softirq(socket.machine)
        mptcpRcvSynsentStateProcess(socket, synack(to: socket, .joinAnswer(id: 0))) {
            socket.fields.pre_established = true
            return (0, socket)
        }
        tcpFinishConnect(socket)
    }

    /// It comes without the option, or with one that is wrong.
    func joinAnsweredWrongly(_ socket: StackSocket, _ option: StackPacket.Option) {
        softirq(socket.machine)
        mptcpRcvSynsentStateProcess(socket, synack(to: socket, option)) {
            mptcpSubForceClose(socket)
            return (1, socket)
        }
    }

    /// The third ACK of a join comes. Returns the subflow; nil: it is refused.
    func acceptsJoin(_ request: StackRequest, _ meta: StackSocket, _ ack: StackPacket, isRight: Bool)
        -> StackSocket?
    {
        softirq(meta.machine)
        tcpCheckReq(meta, ack, request)
        let child = child(request, of: meta, at: nil)
        mptcpCheckReqChild(meta, child, ack) {
            guard isRight, let connection = meta.connection else {
                tcpSetState(child, .close)
                return meta
            }
            mptcpAddSock(connection, child, isSlave: true, ids: (0, request.remoteID))
            return child
        }
        guard isRight else { return nil }
        tcpSetState(child, .established)
        child.fields.fully_established = true
        return child
    }

    /// The fourth ACK.
    func confirms(_ socket: StackSocket) {
        softirq(socket.machine)
        socket.fields.pre_established = false
        socket.fields.fully_established = true
        mptcpHandleAckInInfinite(socket)
    }

    // MARK: what follows

    /// Data with its DSS goes and comes.
    func data(_ master: StackSocket) {
        softirq(master.machine)
        mptcpHandleAckInInfinite(master)
    }

    /// Data comes without: there is no mapping from here on.
    func dataWithoutDSS(_ master: StackSocket) {
        softirq(master.machine)
        mptcpHandleAckInInfinite(master)
        master.connection?.fields.infinite_mapping_rcv = true
        master.connection?.fields.infinite_mapping_snd = true
        softirq(master.machine)
        mptcpHandleAckInInfinite(master)
    }

    /// The subflows close, then the meta socket.
    func closes(_ meta: StackSocket, _ subflows: [StackSocket]) {
        pass(microseconds: 3000)
        softirq(meta.machine)
        for subflow in subflows where subflow.fields.state != TCPState.close.rawValue {
            tcpSetState(subflow, .close)
        }
        process(meta.machine)
        // Its port is given back already.
        meta.fields.num = 0
        tcpSetState(meta, .close)
    }

    /// A socket that is plain TCP.
    func closes(_ socket: StackSocket) {
        pass(microseconds: 3000)
        softirq(socket.machine)
        tcpSetState(socket, .close)
    }
}
