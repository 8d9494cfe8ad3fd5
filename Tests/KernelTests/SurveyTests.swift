// SPDX-License-Identifier: Apache-2.0

import Handshake
import Testing

@testable import Kernel

/// Which TCP socket belongs to which connection and listener.
@Suite struct SurveyTests {
    private static let server = Address(v4: 0x0a00_0002)
    private static let client = Address(v4: 0x0a00_0001)
    private static let second = Address(v4: 0x0a00_0101)
    private static let any = Address(v4: 0)

    private func tcp(
        _ local: Endpoint, _ remote: Endpoint, inode: UInt32 = 1, subflow: SubflowInfo? = nil,
        told: Bool = true, state: SocketState = .established
    ) -> InetSocket {
        InetSocket(
            table: .tcp, state: state, local: local, remote: remote, inode: inode, uid: 0, cookie: 0,
            v6Only: nil, isSubflow: told ? subflow != nil : nil, subflow: told ? subflow : nil, cgroup: nil,
            mptcp: nil)
    }

    private func mptcp(
        _ local: Endpoint, _ remote: Endpoint, inode: UInt32 = 1, token: UInt32, flags: UInt32 = 2
    ) -> InetSocket {
        InetSocket(
            table: .mptcp, state: .established, local: local, remote: remote, inode: inode, uid: 0,
            cookie: 0, v6Only: nil, isSubflow: nil, subflow: nil, cgroup: nil,
            mptcp: MptcpInfo(subflows: 2, flags: flags, token: token, checksum: false))
    }

    private func listening(_ table: TransportProtocol, _ local: Endpoint, inode: UInt32) -> InetSocket {
        InetSocket(
            table: table, state: .listening, local: local, remote: .unspecified, inode: inode, uid: 0,
            cookie: 0, v6Only: nil, isSubflow: nil, subflow: nil, cgroup: nil,
            mptcp: table == .mptcp ? MptcpInfo(subflows: 1, flags: 0, token: 0, checksum: false) : nil)
    }

    private func info(_ flags: SubflowInfo.Flags, token: UInt32) -> SubflowInfo {
        SubflowInfo(flags: flags, token: token, remoteToken: 0, localID: 0, remoteID: 0)
    }

    @Test(arguments: [true, false])
    func subflowsOfTheirConnection(told: Bool) {
        let (a, b) = (Endpoint(Self.client, 1000), Endpoint(Self.client, 1001))
        let peer = Endpoint(Self.server, 80)
        let joined = Endpoint(Self.second, 2000)
        let survey = SocketSurvey(
            mptcp: [mptcp(a, peer, inode: 7, token: 5), mptcp(b, peer, inode: 8, token: 6, flags: 1)],
            tcp: [
                tcp(joined, peer, inode: 7, subflow: info([.joined, .requestsJoin], token: 5), told: told),
                tcp(b, peer, inode: 8, subflow: info([.requestsCapable], token: 6), told: told),
                tcp(a, peer, inode: 7, subflow: info([.capable, .requestsCapable], token: 5), told: told),
                tcp(Endpoint(Self.client, 1002), peer, inode: 9, told: told),
            ], netns: 1)
        #expect(survey.toldSubflows == told)
        #expect(survey.connections.map(\.kind) == [.mptcp, .fallback])
        // The first comes first, whatever the table's order.
        #expect(survey.connections.map { $0.subflows.map(\.local) } == [[a, joined], [b]])
        #expect(survey.connections.allSatisfy { $0.hasFirst })
        #expect(survey.connections.map(\.side) == (told ? [.client, .client] : [nil, nil]))
        #expect(survey.others.map(\.local.port) == [1002])
    }

    @Test func theFirstIsGone() {
        let (a, peer) = (Endpoint(Self.client, 1000), Endpoint(Self.server, 80))
        let survey = SocketSurvey(
            mptcp: [mptcp(a, peer, token: 5)],
            tcp: [tcp(Endpoint(Self.second, 1), peer, subflow: info([.joined], token: 5))], netns: 1)
        #expect(survey.connections.first?.hasFirst == false)
        #expect(survey.connections.first?.subflows.count == 1)
    }

    @Test func plainOnesOfAnMptcpListener() {
        let peer = Endpoint(Self.client, 1000)
        func kinds(_ listeners: [InetSocket], _ local: Endpoint, inode: UInt32 = 3, told: Bool = true)
            -> String
        {
            let survey = SocketSurvey(
                mptcp: listeners.filter { $0.table == .mptcp },
                tcp: listeners.filter { $0.table == .tcp } + [tcp(local, peer, inode: inode, told: told)],
                netns: 1)
            return "\(survey.connections.count) \(survey.others.count) "
                + (survey.connections.first?.listener.map { "\($0)" } ?? "-")
        }
        let here = Endpoint(Self.server, 80)
        let wide = listening(.mptcp, Endpoint(Self.any, 80), inode: 1)
        let narrow = listening(.mptcp, here, inode: 2)
        let plain = listening(.tcp, here, inode: 4)
        #expect(kinds([wide], here) == "1 0 0")
        #expect(kinds([wide], Endpoint(Self.server, 81)) == "0 1 -")
        // The one that listens at that very address took it.
        #expect(kinds([wide, narrow], here) == "1 0 1")
        #expect(kinds([wide, plain], here) == "0 1 -")
        #expect(kinds([wide, wide], here) == "1 0 -", "either of them")
        // Without privileges, one that nobody has accepted could be a subflow.
        #expect(kinds([wide], here, inode: 0, told: false) == "0 0 -")
        #expect(kinds([wide], here, inode: 0) == "1 0 0")
    }

    @Test func ofNoConnection() {
        let survey = SocketSurvey(
            mptcp: [],
            tcp: [
                tcp(Endpoint(Self.client, 1), Endpoint(Self.server, 2), subflow: info([.joined], token: 9)),
                tcp(Endpoint(Self.client, 3), Endpoint(Self.server, 2), state: .synSent),
            ], netns: 1)
        #expect(survey.connections.isEmpty && survey.others.isEmpty)
    }

    /// Such an MPTCP socket is in the table of TCP only.
    @Test func fallenBackBeforeItAsked() {
        let (here, there) = (Endpoint(Self.client, 1), Endpoint(Self.server, 2))
        let survey = SocketSurvey(
            mptcp: [], tcp: [tcp(here, there, inode: 5, subflow: info([.connected], token: 0))], netns: 1)
        #expect(survey.connections.map(\.kind) == [.fallback])
        #expect(survey.connections.map(\.side) == [.client])
        #expect(survey.connections.map { $0.subflows.count } == [1])
        #expect(survey.others.isEmpty)
    }
}
