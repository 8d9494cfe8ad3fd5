// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake
import StackPrograms

/// Two machines with the out-of-tree stack, played by hand: its functions under their own names, each
/// as the facts have it (shared/docs/kernel-out-of-tree.md), with the real programs on them.
package final class Stack {
    package let client: StackMachine
    package let server: StackMachine
    var now = stack_moment()
    private var nextToken: UInt32 = 0x1000_0001

    /// 2025-11-22T15:40:00Z on the clock that goldens are written with.
    package static let start: UInt64 = 7_200_000_000_000

    init() {
        client = StackMachine(
            netns: 4_026_532_100, StackProcess(pid: 812, name: "curl", cpu: 0), softirqCPU: 1)
        server = StackMachine(
            netns: 4_026_532_200, StackProcess(pid: 611, name: "nginx", cpu: 2), softirqCPU: 3)
        now.time = Self.start
    }

    /// Plays `body` on fresh machines.
    /// - Returns: the events that the programs sent, in order.
    static func events(steps: Bool, allTcp: Bool, _ body: (Stack) -> Void) -> [[UInt8]] {
        var config = mps_config()
        config.steps = steps ? 1 : 0
        config.all_tcp = allTcp ? 1 : 0
        stack_begin(&config)
        defer { stack_end() }
        body(Stack())
        return (0..<stack_event_count()).map { number in
            var size = 0
            let event = stack_event(number, &size)
            return Array(UnsafeRawBufferPointer(start: event, count: size))
        }
    }

    func token() -> UInt32 {
        nextToken &+= 0x1111_1111
        return nextToken
    }

    // MARK: where it runs

    func pass(microseconds: UInt64) {
        now.time += microseconds * 1000
        stack_now(&now)
    }

    private func run(_ pid: UInt32, _ tid: UInt32, _ uid: UInt32, _ name: String, cpu: UInt32) {
        now.pid = pid
        now.tid = tid
        now.uid = uid
        now.cpu = cpu
        withUnsafeMutableBytes(of: &now.comm) { comm in
            for place in comm.indices { comm[place] = 0 }
            comm.copyBytes(from: name.utf8.prefix(comm.count))
        }
        pass(microseconds: 10)
    }

    /// The machine's process calls the kernel.
    func process(_ machine: StackMachine) {
        run(
            machine.process.pid, machine.process.pid, machine.process.uid, machine.process.name,
            cpu: machine.process.cpu)
    }

    /// A packet has come: nobody's process, but whichever was interrupted.
    func softirq(_ machine: StackMachine, interrupting: StackProcess? = nil) {
        pass(microseconds: 200)
        if let interrupting {
            run(
                interrupting.pid, interrupting.pid, interrupting.uid, interrupting.name,
                cpu: machine.softirqCPU)
        } else {
            run(0, 0, 0, "swapper/\(machine.softirqCPU)", cpu: machine.softirqCPU)
        }
    }

    /// The path manager's worker.
    func kworker(_ machine: StackMachine) {
        pass(microseconds: 500)
        run(77, 77, 0, "kworker/1:2", cpu: machine.softirqCPU)
    }

    private func step() { pass(microseconds: 1) }

    // MARK: functions of both ends

    func tcpSetState(_ socket: StackSocket, _ state: TCPState) {
        step()
        stack_tcp_set_state(socket.at, Int32(state.rawValue))
        socket.fields.state = state.rawValue
    }

    /// The connection becomes MPTCP: `meta` is what the application has, the master is new.
    func mptcpCreateMasterSk(_ meta: StackSocket, token: UInt32, peer: UInt32, serverSide: Bool)
        -> StackSocket
    {
        var fields = stack_mpcb()
        fields.loc_token = token
        fields.rem_token = peer
        fields.server_side = serverSide
        let connection = StackConnection(meta, fields)
        meta.connection = connection
        meta.fields.mpc = true
        meta.fields.request_mptcp = false
        meta.fields.meta_sk = meta.at
        meta.fields.mpcb = connection.at
        let master = StackSocket(meta.machine)
        var new = meta.fields
        new.inode = 0
        master.fields = new
        master.connection = connection
        mptcpAddSock(connection, master, isSlave: false, ids: (0, 0))
        return master
    }

    func mptcpAddSock(
        _ connection: StackConnection, _ socket: StackSocket, isSlave: Bool, ids: (UInt8, UInt8)
    ) {
        socket.connection = connection
        socket.fields.mpc = true
        socket.fields.meta_sk = connection.meta.at
        socket.fields.mpcb = connection.at
        socket.fields.has_mptcp = true
        socket.fields.slave_sk = isSlave
        socket.fields.loc_id = ids.0
        socket.fields.rem_id = ids.1
    }

    func mptcpUpdateMetasocket(_ meta: StackSocket) {
        step()
        stack_mptcp_update_metasocket(meta.at)
    }

    func mptcpHandleAckInInfinite(_ socket: StackSocket) {
        step()
        stack_mptcp_handle_ack_in_infinite(socket.at)
    }

    func mptcpSubForceClose(_ socket: StackSocket) {
        step()
        stack_mptcp_sub_force_close(socket.at)
        tcpSetState(socket, .close)
    }

    // MARK: functions of a client

    func mptcpEnableSock(_ socket: StackSocket) {
        step()
        stack_mptcp_enable_sock(socket.at)
        socket.fields.sock_mptcp = true
    }

    /// `inside`: what it calls.
    func tcpConnect(_ socket: StackSocket, _ inside: () -> Void) {
        step()
        let call = stack_tcp_connect(socket.at)
        inside()
        step()
        stack_tcp_connect_returns(call)
    }

    func mptcpSynOptions(_ socket: StackSocket) {
        step()
        stack_mptcp_syn_options(socket.at)
    }

    /// `inside`: what it calls; it returns a value, and what *skptr is then.
    func mptcpRcvSynsentStateProcess(
        _ socket: StackSocket, _ synack: StackPacket, _ inside: () -> (Int32, StackSocket)
    ) {
        step()
        let call = stack_synsent(socket.at, skb(synack))
        let (result, now) = inside()
        step()
        stack_synsent_returns(call, now.at, result)
    }

    func tcpFinishConnect(_ socket: StackSocket) {
        step()
        stack_tcp_finish_connect(socket.at)
        tcpSetState(socket, .established)
    }

    // MARK: functions of a server

    func inetCskListenStart(_ socket: StackSocket) {
        step()
        socket.fields.state = TCPState.listen.rawValue
        stack_inet_csk_listen_start(socket.at, 0)
    }

    func mptcpConnRequest(_ listener: StackSocket, _ syn: StackPacket) {
        step()
        stack_mptcp_conn_request(listener.at, skb(syn))
    }

    func tcpConnRequest(_ socket: StackSocket, _ syn: StackPacket) {
        step()
        stack_tcp_conn_request(socket.at, skb(syn))
    }

    /// Returns when the request has its fields.
    func mptcpReqskInit(_ request: StackRequest) {
        step()
        stack_mptcp_reqsk_init(request.at)
    }

    func mptcpJoinReqskInit(_ request: StackRequest) {
        step()
        stack_mptcp_join_reqsk_init(request.at)
    }

    func mptcpSynackOptions(_ request: StackRequest) {
        step()
        stack_mptcp_synack_options(request.at)
    }

    func tcpCheckReq(_ socket: StackSocket, _ packet: StackPacket, _ request: StackRequest) {
        step()
        stack_tcp_check_req(socket.at, skb(packet), request.at)
    }

    func mptcpCheckReqMaster(_ listener: StackSocket, _ child: StackSocket, _ inside: () -> Int32) {
        step()
        let call = stack_mptcp_check_req_master(listener.at, child.at)
        let result = inside()
        step()
        stack_mptcp_check_req_master_returns(call, result)
    }

    func mptcpCheckReqChild(
        _ meta: StackSocket, _ child: StackSocket, _ ack: StackPacket, _ inside: () -> StackSocket
    ) {
        step()
        let call = stack_mptcp_check_req_child(meta.at, child.at, skb(ack))
        let result = inside()
        step()
        stack_mptcp_check_req_child_returns(call, result.at)
    }

    private func skb(_ packet: StackPacket) -> UnsafeMutableRawPointer? {
        packet.bytes.withUnsafeBytes { stack_packet($0.baseAddress, $0.count, packet.transport) }
    }
}
