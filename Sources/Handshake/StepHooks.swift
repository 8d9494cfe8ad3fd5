// SPDX-License-Identifier: Apache-2.0

/// Where each stack lets a step be seen. A test holds this against what the programs send.
extension Step {
    /// In Linux 5.6 and later.
    public var mainlineHooks: [Hook] {
        switch self {
        case .socketCreated: [.sockCreate, .initSock]
        case .socketRefused: [.initSock, .socketExit]
        case .listening: [.inetSockSetState]
        case .synSent: [.inetSockSetState, .tcpConnect, .skbEgress, .detectBlackhole]
        case .synReceived: [.skbIngress, .checkReq]
        case .synackSent: [.skbEgress]
        case .synackReceived: [.skbIngress, .finishConnect, .mptcpFinishConnect]
        case .ackReceived: [.skbIngress, .synRecvSock, .finishJoin, .mptcpEvent]
        case .established: [.inetSockSetState]
        case .mptcpEstablished: [.inetSockSetState, .mskState, .cloneInit, .mptcpEvent]
        case .joinSynSent: [.inetSockSetState, .tcpConnect, .skbEgress, .subflowConnect]
        case .joinSynReceived: [.skbIngress, .checkReq]
        case .joinSynackSent: [.skbEgress]
        case .joinSynackReceived: [.skbIngress, .finishConnect, .finishJoin, .mptcpEvent]
        case .joinEstablished: [.inetSockSetState, .skbIngress]
        case .fallback:
            [.inetSockSetState, .mskState, .dropCtx, .dataAvailable, .tryFallback, .activeDisable]
        case .reset: [.tcpReceiveReset, .tcpSendReset, .skbIngress]
        case .closed: [.inetSockSetState, .sockRelease]
        case .addressed: [.skbEgress, .skbIngress]
        case .timer: [.clock]
        }
    }

    /// In the out-of-tree stack (multipath-tcp.org), whose names the seed's walk has.
    public var outOfTreeHooks: [Hook] {
        switch self {
        case .socketCreated: [.enableSock]
        case .socketRefused: []
        case .listening: [.listenStart]
        case .synSent: [.tcpConnect, .synOptions]
        case .synReceived: [.connRequest, .tcpConnRequest, .reqskInit]
        case .synackSent: [.synackOptions]
        case .synackReceived: [.synsentProcess]
        case .ackReceived: [.tcpCheckReq]
        case .established: [.tcpFinishConnect, .tcpSetState, .updateMetasocket]
        case .mptcpEstablished: [.updateMetasocket, .checkReqMaster]
        case .joinSynSent: [.tcpConnect, .synOptions]
        case .joinSynReceived: [.connRequest, .joinReqskInit, .tcpConnRequest]
        case .joinSynackSent: [.synackOptions]
        case .joinSynackReceived: [.synsentProcess]
        case .joinEstablished: [.tcpSetState, .ackInInfinite]
        case .fallback: [.tcpFinishConnect, .ackInInfinite]
        case .reset: [.tcpCheckReq, .checkReqChild, .forceClose]
        case .closed: [.tcpSetState]
        case .addressed: []
        case .timer: [.clock]
        }
    }
}
