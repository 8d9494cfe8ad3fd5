// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import Scenarios

extension Live {
    /// The kernel gives the memory of one socket to the next: no record may speak of another's.
    @Suite struct Reuse {
        @Test func alternatingServersAreNotMixedUp() throws {
            let stage = try Stage(executable: try Program.path())
            let space = stage.client.namespace
            let turns = 1_500
            let file = try traced { _ in
                try space.inside { () throws(ScenarioError) in
                    let mptcp = try Server(27731, 262)
                    let tcp = try Server(27732, CInt(IPPROTO_TCP))
                    let mixed = try Server(27733, 262)
                    for _ in 0..<turns {
                        try mptcp.connectOnce(262)
                        try tcp.connectOnce(262)
                        try mixed.connectOnce(CInt(IPPROTO_TCP))
                    }
                }
            }
            #expect(file.lostTotal == 0)
            var found: [String: Int] = [:]
            for line in file.of("handshake", in: space.inode) {
                let side = line.text("side") ?? ""
                let port = (side == "client" ? line.end("remote") : line.end("local"))?.port ?? 0
                found["\(port) \(side) \(line.verdict)", default: 0] += 1
            }
            #expect(
                found == [
                    "27731 client mptcp": turns, "27731 server mptcp": turns,
                    "27732 client fallback synack_without_mptcp": turns,
                    "27732 server fallback listener_is_tcp": turns,
                    "27733 server fallback syn_without_mptcp": turns,
                ])
            #expect(file.of("handshake", in: space.inode).allSatisfy { $0.number("pid") == Int(getpid()) })
            let conns = Set(file.of("handshake", in: space.inode).map { $0.number("conn") })
            let closes = file.of("close").map { $0.number("conn") }.filter(conns.contains)
            #expect(closes.count == 5 * turns)
            #expect(Set(closes).count == 5 * turns)
        }

        /// A plain connection that gets the place of an MPTCP one has nothing to do with it.
        @Test func plainTcpAtTheSamePlaceIsNotTold() throws {
            let stage = try Stage(executable: try Program.path())
            let space = stage.client.namespace
            let turns = 100
            let file = try traced { _ in
                try space.inside { () throws(ScenarioError) in
                    let mptcp = try Server(27734, 262)
                    let tcp = try Server(27735, CInt(IPPROTO_TCP))
                    for _ in 0..<turns {
                        try mptcp.connectOnce(262)
                        for _ in 0..<10 { try tcp.connectOnce(CInt(IPPROTO_TCP)) }
                    }
                }
            }
            let found = file.of("handshake", in: space.inode)
            #expect(found.filter { $0.verdict == "mptcp" }.count == 2 * turns)
            #expect(found.filter { $0.verdict != "mptcp" } == [])
        }
    }
}

/// A listener on loopback.
private struct Server: ~Copyable {
    private let listener: Descriptor
    private let address: SocketAddress

    init(_ port: UInt16, _ number: CInt) throws(ScenarioError) {
        let address = try SocketAddress("127.0.0.1", port: port)
        let raw = try ActorSocket.listener(address, number, dual: false, backlog: 4)
        self.address = address
        listener = Descriptor(owning: raw)
    }

    /// A connection that carries a byte each way, so that both ends have made up their minds.
    func connectOnce(_ number: CInt) throws(ScenarioError) {
        let client = Descriptor(owning: try ActorSocket.make(address, number, blocking: true))
        guard address.withPointer({ connect(client.raw, $0, $1) }) == 0 else {
            throw .failed("connect", on: "loopback", -errno)
        }
        let server = Descriptor(owning: accept(listener.raw, nil, nil))
        var byte: UInt8 = 1
        guard send(client.raw, &byte, 1, CInt(MSG_NOSIGNAL)) == 1, recv(server.raw, &byte, 1, 0) == 1,
            send(server.raw, &byte, 1, CInt(MSG_NOSIGNAL)) == 1, recv(client.raw, &byte, 1, 0) == 1
        else { throw .failed("a byte there and back", on: "loopback", -errno) }
    }
}
