// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake
import StackPrograms

/// A process that owns sockets.
package struct StackProcess: Sendable {
    package var pid: UInt32
    package var name: String
    var uid: UInt32 = 33
    var cpu: UInt32
}

/// A kernel with its network namespace.
package final class StackMachine {
    package let netns: UInt32
    package let process: StackProcess
    /// Where its softirqs run.
    let softirqCPU: UInt32
    let net: UnsafeMutableRawPointer?

    init(netns: UInt32, _ process: StackProcess, softirqCPU: UInt32) {
        self.netns = netns
        self.process = process
        self.softirqCPU = softirqCPU
        net = stack_net(netns, 5)
    }
}

/// struct tcp_sock, as far as the programs look at it.
final class StackSocket {
    let machine: StackMachine
    private(set) var at: UnsafeMutableRawPointer?
    var fields = stack_socket() { didSet { stack_socket_set(at, &fields) } }
    var connection: StackConnection?

    init(_ machine: StackMachine, at place: UnsafeMutableRawPointer? = nil) {
        self.machine = machine
        at = place ?? stack_socket_new()
        var new = stack_socket()
        new.state = TCPState.close.rawValue
        new.net = machine.net
        fields = new
        stack_socket_set(at, &fields)
    }

    var local: Endpoint {
        get { Endpoint(address(fields.local), fields.num) }
        set {
            withUnsafeMutableBytes(of: &fields.local) { $0.copyBytes(from: newValue.address.bytes) }
            fields.num = newValue.port
            fields.sport = newValue.port
        }
    }

    var remote: Endpoint {
        get { Endpoint(address(fields.remote), fields.dport) }
        set {
            withUnsafeMutableBytes(of: &fields.remote) { $0.copyBytes(from: newValue.address.bytes) }
            fields.dport = newValue.port
            fields.ipv6 = !newValue.address.isV4
        }
    }
}

/// include/net/tcp_states.h
enum TCPState: UInt8 {
    case established = 1
    case synSent = 2
    case synReceived = 3
    case close = 7
    case listen = 10
}

/// struct mptcp_cb.
final class StackConnection {
    let at = stack_mpcb_new()
    let meta: StackSocket
    var fields = stack_mpcb() { didSet { stack_mpcb_set(at, &fields) } }

    init(_ meta: StackSocket, _ fields: stack_mpcb) {
        self.meta = meta
        self.fields = fields
        stack_mpcb_set(at, &self.fields)
    }
}

/// struct mptcp_request_sock.
struct StackRequest {
    let at: UnsafeMutableRawPointer?
    let listener: StackSocket
    let local: Endpoint
    let remote: Endpoint
    let token: UInt32
    let isJoin: Bool
    let remoteID: UInt8
    /// Of a plain one, nothing answers with an option.
    let isMptcp: Bool
}

func address(
    _ bytes: (
        UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8,
        UInt8, UInt8
    )
) -> Address {
    withUnsafeBytes(of: bytes) { bytes in
        Address(
            high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
            low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }
}
