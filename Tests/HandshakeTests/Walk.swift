// SPDX-License-Identifier: Apache-2.0

@testable import Handshake

/// Observations of made-up handshakes, as a kernel would send them.
struct Walk {
    var time: UInt64 = 1_000_000
    var netns: UInt32 = 77
    var ssk: UInt64 = 0xffff_8880_0000_1000
    var msk: UInt64 = 0xffff_8880_0000_2000
    var listener: UInt64 = 0xffff_8880_0000_3000
    var here = Endpoint(Address(v4: 0x0a00_0001), 40_000)
    var there = Endpoint(Address(v4: 0x0a00_0002), 443)
    var token: UInt32 = 0x1111_1111
    var peerToken: UInt32 = 0x2222_2222

    static let owner = Owner(
        pid: 812, tid: 813, uid: 33, comm: Comm("nginx".utf8), cgroup: 9, source: .connect)

    mutating func make(
        _ step: Step, _ hook: Hook, _ side: Side?, _ facts: Facts, after: UInt64 = 1_000
    ) -> Observation {
        time += after
        var o = Observation(time: time, step: step, hook: hook, side: side)
        o.netns = netns
        o.facts = facts
        o.local = side == .server ? there : here
        o.remote = side == .server ? here : there
        return o
    }

    // MARK: client

    mutating func connect(_ facts: Facts = [.mptcpSocket, .requestsMptcp]) -> Observation {
        var o = make(.synSent, .inetSockSetState, .client, facts)
        o.socket = ssk
        o.msk = facts.contains(.mptcpSocket) ? msk : 0
        o.local.port = 0
        o.token = facts.contains(.requestsMptcp) ? token : 0
        o.owner = Self.owner
        return o
    }

    mutating func synOut(_ option: Facts = .optionCapable) -> Observation {
        var o = make(.synSent, .skbEgress, .client, [.mptcpSocket, option])
        o.socket = ssk
        return o
    }

    mutating func synackIn(_ option: Facts = .optionCapable) -> Observation {
        var o = make(.synackReceived, .skbIngress, .client, [.mptcpSocket, option])
        o.socket = ssk
        return o
    }

    mutating func subflowEstablished() -> Observation {
        var o = make(.established, .inetSockSetState, .client, [.mptcpSocket])
        o.socket = ssk
        return o
    }

    mutating func verdict(_ mptcp: Bool, _ more: Facts = []) -> Observation {
        var o = make(
            mptcp ? .mptcpEstablished : .fallback, .inetSockSetState, .client,
            [.mptcpSocket, mptcp ? .capable : [], more])
        o.socket = ssk
        o.msk = msk
        o.token = token
        o.remoteToken = mptcp ? peerToken : 0
        return o
    }

    mutating func subflowClosed(_ error: Facts = [], socket: Facts = .mptcpSocket) -> Observation {
        var o = make(.closed, .inetSockSetState, nil, [socket, error])
        o.socket = ssk
        o.error = error.contains(.refused) ? 111 : error.contains(.timedOut) ? 110 : 0
        return o
    }

    mutating func mskClosed() -> Observation {
        var o = make(.closed, .inetSockSetState, nil, [.mptcpSocket, .msk])
        o.msk = msk
        return o
    }

    // MARK: server

    mutating func listen(_ socket: Facts = .mptcpSocket) -> Observation {
        var o = make(.listening, .inetSockSetState, .server, socket)
        o.socket = listener
        o.local = there
        o.remote = .unspecified
        o.inode = 4711
        var owner = Self.owner
        owner.source = .listen
        o.owner = owner
        return o
    }

    mutating func synIn(_ option: Facts = .optionCapable, socket: Facts = .mptcpSocket) -> Observation {
        var o = make(.synReceived, .skbIngress, .server, [socket, option])
        o.listener = listener
        // tcp_synack_retries
        o.retransmits = 5
        return o
    }

    mutating func synackOut(_ option: Facts = .optionCapable, socket: Facts = .mptcpSocket) -> Observation {
        var o = make(.synackSent, .skbEgress, .server, [socket, option])
        o.listener = listener
        return o
    }

    mutating func ackIn(_ option: Facts = .optionCapable) -> Observation {
        var o = make(.ackReceived, .skbIngress, .server, [.mptcpSocket, option])
        o.listener = listener
        return o
    }

    mutating func accepted() -> Observation {
        var o = make(.mptcpEstablished, .inetSockSetState, .server, [.mptcpSocket])
        o.socket = ssk + 0x100
        o.msk = msk + 0x100
        o.token = peerToken
        o.listener = listener
        return o
    }

    mutating func childEstablished(_ mptcp: Bool) -> Observation {
        var o = make(
            .established, .inetSockSetState, .server, mptcp ? [.mptcpSocket, .capable] : [.plainSocket])
        o.socket = ssk + 0x100
        o.msk = mptcp ? msk + 0x100 : 0
        o.token = mptcp ? peerToken : 0
        o.remoteToken = mptcp ? token : 0
        return o
    }

    mutating func childMskClosed() -> Observation {
        var o = mskClosed()
        o.msk = msk + 0x100
        return o
    }

    mutating func childClosed(_ socket: Facts = .plainSocket) -> Observation {
        var o = make(.closed, .inetSockSetState, nil, socket)
        o.socket = ssk + 0x100
        o.local = there
        o.remote = here
        return o
    }

    /// Another connection: other pointers, other ports.
    mutating func next() {
        ssk += 0x1000
        msk += 0x1000
        here.port = here.port == .max ? 1024 : here.port + 1
        token &+= 1
        peerToken &+= 1
    }
}

extension Tracker {
    /// Feeds observations and takes what was found.
    mutating func feed(_ observations: [Observation]) -> [Record] {
        for observation in observations { take(observation) }
        defer { records.removeAll() }
        return Array(records)
    }
}

extension [Record] {
    var handshakes: [HandshakeRecord] {
        compactMap { if case .handshake(let handshake) = $0 { handshake } else { nil } }
    }
    var closes: [CloseRecord] {
        compactMap { if case .close(let close) = $0 { close } else { nil } }
    }
    var steps: [StepRecord] {
        compactMap { if case .step(let step) = $0 { step } else { nil } }
    }
    var listeners: [ListenerRecord] {
        compactMap { if case .listener(let listener) = $0 { listener } else { nil } }
    }
    var connections: [ConnectionRecord] {
        compactMap { if case .connection(let connection) = $0 { connection } else { nil } }
    }
    var anomalies: [AnomalyRecord] {
        compactMap { if case .anomaly(let anomaly) = $0 { anomaly } else { nil } }
    }
    var losses: [LostRecord] {
        compactMap { if case .lost(let lost) = $0 { lost } else { nil } }
    }
}
