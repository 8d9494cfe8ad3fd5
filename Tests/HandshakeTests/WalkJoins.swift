// SPDX-License-Identifier: Apache-2.0

@testable import Handshake

/// What comes after the handshake: further subflows, addresses, and the end of MPTCP.
extension Walk {
    /// The ends of the `number`th further subflow.
    func joinEnds(_ number: UInt16) -> (here: Endpoint, there: Endpoint) {
        (Endpoint(Address(v4: 0x0a00_0100 + UInt32(number)), here.port), there)
    }

    private mutating func makeJoin(
        _ number: UInt16, _ step: Step, _ hook: Hook, _ side: Side?, _ facts: Facts
    ) -> Observation {
        var o = make(step, hook, side, facts)
        let ends = joinEnds(number)
        o.local = side == .server ? ends.there : ends.here
        o.remote = side == .server ? ends.here : ends.there
        return o
    }

    private func subflow(_ number: UInt16) -> UInt64 { ssk + 0x200 + UInt64(number) * 0x10 }

    // MARK: client

    mutating func joinConnect(_ number: UInt16) -> Observation {
        var o = makeJoin(number, .joinSynSent, .inetSockSetState, .client, [.mptcpSocket, .requestsJoin])
        o.socket = subflow(number)
        o.msk = msk
        o.token = token
        o.local.port = 0
        return o
    }

    mutating func joinSynOut(_ number: UInt16) -> Observation {
        var o = makeJoin(number, .joinSynSent, .skbEgress, .client, [.mptcpSocket, .optionJoin])
        o.socket = subflow(number)
        o.localID = UInt8(truncatingIfNeeded: number)
        o.backup = false
        return o
    }

    mutating func joinSynackIn(_ number: UInt16) -> Observation {
        var o = makeJoin(number, .joinSynackReceived, .skbIngress, .client, [.mptcpSocket, .optionJoin])
        o.socket = subflow(number)
        o.remoteID = 0
        return o
    }

    mutating func joinSubflowEstablished(_ number: UInt16) -> Observation {
        var o = makeJoin(number, .established, .inetSockSetState, .client, [.mptcpSocket])
        o.socket = subflow(number)
        return o
    }

    mutating func joinConfirmed(_ number: UInt16) -> Observation {
        var o = makeJoin(number, .joinEstablished, .dataAvailable, .client, [.mptcpSocket])
        o.socket = subflow(number)
        return o
    }

    mutating func joinResetIn(_ number: UInt16, _ reason: Facts = .rstProhibited) -> Observation {
        var o = makeJoin(number, .reset, .tcpReceiveReset, nil, [.mptcpSocket, reason])
        o.socket = subflow(number)
        return o
    }

    mutating func joinClosed(_ number: UInt16) -> Observation {
        var o = makeJoin(number, .closed, .inetSockSetState, nil, [.mptcpSocket])
        o.socket = subflow(number)
        return o
    }

    // MARK: server

    mutating func joinSynIn(_ number: UInt16) -> Observation {
        var o = makeJoin(number, .joinSynReceived, .skbIngress, .server, [.mptcpSocket, .optionJoin])
        o.listener = listener
        o.token = peerToken
        o.remoteID = UInt8(truncatingIfNeeded: number)
        o.retransmits = 5
        return o
    }

    mutating func joinSynackOut(_ number: UInt16) -> Observation {
        var o = makeJoin(number, .joinSynackSent, .skbEgress, .server, [.mptcpSocket, .optionJoin])
        o.listener = listener
        return o
    }

    mutating func joinAckIn(_ number: UInt16) -> Observation {
        var o = makeJoin(number, .ackReceived, .skbIngress, .server, [.mptcpSocket, .optionJoin])
        o.listener = listener
        return o
    }

    mutating func joinAccepted(_ number: UInt16) -> Observation {
        var o = makeJoin(number, .joinEstablished, .inetSockSetState, .server, [.mptcpSocket])
        o.socket = subflow(number) + 0x800
        o.msk = msk + 0x100
        o.token = peerToken
        o.listener = listener
        return o
    }

    mutating func joinResetOut(_ number: UInt16, _ why: Facts = .joinRejected) -> Observation {
        makeJoin(number, .reset, .tcpSendReset, .server, [.mptcpSocket, .sentByUs, .rstProhibited, why])
    }

    mutating func joinChildClosed(_ number: UInt16) -> Observation {
        var o = makeJoin(number, .closed, .inetSockSetState, nil, [.mptcpSocket])
        o.socket = subflow(number) + 0x800
        let ends = joinEnds(number)
        o.local = ends.there
        o.remote = ends.here
        return o
    }

    // MARK: both

    /// Data without a mapping reached one of the ends.
    mutating func losesMptcp(_ side: Side) -> Observation {
        var o = make(.fallback, .dataAvailable, nil, [.mptcpSocket, .noMapping, .fullyEstablished])
        let atServer = side == .server
        o.socket = ssk + (atServer ? 0x100 : 0)
        o.msk = msk + (atServer ? 0x100 : 0)
        o.token = atServer ? peerToken : token
        o.local = atServer ? there : here
        o.remote = atServer ? here : there
        return o
    }

    /// The server announces a second address, or takes it back.
    mutating func addressed(_ option: PacketOption, at side: Side) -> Observation {
        let atServer = side == .server
        var o = make(.addressed, atServer ? .skbEgress : .skbIngress, nil, [.mptcpSocket, .optionAbsent])
        o.option = option
        o.socket = ssk + (atServer ? 0x100 : 0)
        o.local = atServer ? there : here
        o.remote = option == .addAddr ? Endpoint(Address(v4: 0x0a00_0202), 0) : .unspecified
        o.remoteID = 2
        return o
    }
}

extension [Record] {
    var joins: [JoinRecord] {
        compactMap { if case .join(let join) = $0 { join } else { nil } }
    }
    var fallbacks: [FallbackRecord] {
        compactMap { if case .fallback(let fallback) = $0 { fallback } else { nil } }
    }
    var addresses: [AddressRecord] {
        compactMap { if case .address(let address) = $0 { address } else { nil } }
    }
}
