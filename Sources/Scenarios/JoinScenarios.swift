// SPDX-License-Identifier: Apache-2.0

import Handshake

extension Scenario {
    /// Further subflows: MP_JOIN, and the addresses that the ends tell each other.
    static let joins: [Scenario] = [
        joinByClient, joinByServerIPv6, joinByServer, joinOverLimit, joinNobodyListens, joinSynackStripped,
        joinThirdAckStripped, joinSynStripped, joinUnanswered, joinUnknownToken, joinWrongAck,
        joinWrongSynack, joinBackupByClient, joinBackupByServer, joinThreeSubflows, joinIPv6,
        joinAfterFirstIsGone, joinWithoutAddress, joinAnnouncedPort, joinOtherPort, removedByClient,
        removedByServer, forgedToken,
        forgedJoin,
    ]

    /// What both ends see of one MPTCP connection over IPv4, and this beside it.
    private static func connected(
        family: UInt8 = 4, client: [ExpectedJoin], _ clientCounters: [String: UInt64],
        clientAddresses: [ExpectedAddress] = [],
        server: [ExpectedJoin] = [], _ serverCounters: [String: UInt64] = [:],
        serverAddresses: [ExpectedAddress] = []
    ) -> Sides<Expectation> {
        var counters = Sides(
            client: ["MPCapableSYNTX": UInt64(1), "MPCapableSYNACKRX": 1],
            server: ["MPCapableSYNRX": UInt64(1), "MPCapableACKRX": 1])
        counters.client.merge(clientCounters) { $1 }
        counters.server.merge(serverCounters) { $1 }
        let handshake = ExpectedHandshake(.mptcp, family: family)
        return Sides(
            client: Expectation(
                [handshake], joins: client, addresses: clientAddresses, Counters(counters.client)),
            server: Expectation(
                [handshake], joins: server, addresses: serverAddresses, Counters(counters.server)))
    }

    private static let mptcpServer = ServerPlan(transport: .mptcp, family: .ipv4)

    /// The client has a second address and joins from it.
    private static let joinByClient = Scenario(
        name: "join-by-client", summary: "a second subflow, from a second address of the client", port: 7720,
        inDemo: true, server: mptcpServer,
        script: [
            .endpoint(.client, "$client4b", "subflow"), .listen, .connect,
            .await(.server, "MPJoinAckRx", 1), .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.joined, backup: false)], ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1],
            server: [ExpectedJoin(.joined, backup: false)], ["MPJoinSynRx": 1, "MPJoinAckRx": 1]))

    /// The client is to join from an address that is not its own.
    private static let joinWithoutAddress = Scenario(
        name: "join-without-address", summary: "a join from an address that the client does not have",
        port: 7796, server: mptcpServer,
        script: [
            .endpoint(.client, "203.0.113.9", "subflow"), .listen, .connect, .exchange(1000),
            .await(.client, "MPJoinSynTxBindErr", 1), .open, .close,
        ],
        expected: connected(client: [], [:]),
        seenByFunctions: Sides(
            client: FunctionSight(joins: [ExpectedJoin(.aborted, .connectFailed)]), server: FunctionSight()),
        needs: [.counter("MPJoinSynTxBindErr")])

    private static let joinByServerIPv6 = Scenario(
        name: "join-by-server-ipv6", summary: "a second subflow, all over IPv6", port: 7742,
        server: ServerPlan(transport: .mptcp, family: .ipv6),
        client: ClientPlan(transport: .mptcp, target: .serverIPv6),
        script: [
            .endpoint(.server, "$server6b", "signal"), .limits(.client, subflows: 2, accepted: 1),
            .listen, .connect, .await(.server, "MPJoinAckRx", 1), .exchange(1000), .open, .close,
        ],
        expected: connected(
            family: 6, client: [ExpectedJoin(.joined, family: 6, backup: false)],
            ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "AddAddr": 1],
            clientAddresses: [ExpectedAddress(.received)],
            server: [ExpectedJoin(.joined, family: 6, backup: false)],
            ["MPJoinSynRx": 1, "MPJoinAckRx": 1, "AddAddrTx": 1],
            serverAddresses: [ExpectedAddress(.announced)]))

    /// The server announces a second address and the client joins to it.
    private static let joinByServer = Scenario(
        name: "join-by-server", summary: "a second subflow, to an address that the server announced",
        port: 7721, server: mptcpServer,
        script: [
            .endpoint(.server, "$server4b", "signal"), .limits(.client, subflows: 2, accepted: 1),
            .listen, .connect, .await(.server, "MPJoinAckRx", 1), .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.joined, backup: false)],
            ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "AddAddr": 1],
            clientAddresses: [ExpectedAddress(.received)],
            server: [ExpectedJoin(.joined, backup: false)],
            ["MPJoinSynRx": 1, "MPJoinAckRx": 1, "AddAddrTx": 1],
            serverAddresses: [ExpectedAddress(.announced)]))

    /// The server takes no second subflow.
    private static let joinOverLimit = Scenario(
        name: "join-over-limit", summary: "a join that the server's limit forbids", port: 7722,
        inDemo: true, server: mptcpServer,
        script: [
            .limits(.server, subflows: 0, accepted: 0), .endpoint(.client, "$client4b", "subflow"),
            .listen, .connect, .await(.client, "MPRstTx", 1), Act.joinIsOver, .exchange(1000),
            .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.rejected, .rstProhibited)],
            ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "MPRstTx": 1],
            server: [ExpectedJoin(.rejected, .mpJoinRejected)], ["MPJoinSynRx": 1, "MPJoinRejected": 1]),
        expectedWithout: [
            // The kernel has no word for it.
            (
                .counter("MPJoinRejected"),
                connected(
                    client: [ExpectedJoin(.rejected, .rstProhibited)],
                    ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "MPRstTx": 1],
                    server: [ExpectedJoin(.rejected)], ["MPJoinSynRx": 1])
            )
        ])

    /// The server announces an address on which its listener does not listen.
    private static let joinNobodyListens = Scenario(
        name: "join-nobody-listens", summary: "a join to an announced address where nobody listens",
        port: 7723, server: ServerPlan(transport: .mptcp, family: .ipv4, address: "$server4"),
        script: [
            .endpoint(.server, "$server4b", "signal"), .limits(.client, subflows: 2, accepted: 1),
            .listen, .connect, .connects(.client, 2), Act.joinIsOver, .exchange(1000), .open,
            .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.rejected, .rstToSyn)], ["MPJoinSynTx": 1, "AddAddr": 1],
            clientAddresses: [ExpectedAddress(.received)],
            server: [], ["AddAddrTx": 1], serverAddresses: [ExpectedAddress(.announced)]))

    private static let joinSynackStripped = Scenario(
        name: "join-synack-stripped", summary: "MP_JOIN is stripped from the SYN-ACK", port: 7724,
        inDemo: false, server: mptcpServer,
        script: [
            .filter(.client, ["tcp flags & (syn | ack) == (syn | ack) \(Rule.join) \(Rule.strip)"]),
            .endpoint(.client, "$client4b", "subflow"), .listen, .connect,
            .await(.server, "MPJoinSynRx", 1), Act.joinIsOver, .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.reset, .synackWithoutMpJoin)], ["MPJoinSynTx": 1, "MPRstTx": 1],
            server: [ExpectedJoin(.reset, .rstInHandshake)], ["MPJoinSynRx": 1]))

    private static let joinThirdAckStripped = Scenario(
        name: "join-third-ack-stripped", summary: "MP_JOIN is stripped from the third ACK", port: 7725,
        server: mptcpServer,
        script: [
            .filter(.server, ["tcp flags & syn == 0 \(Rule.join) \(Rule.strip)"]),
            .endpoint(.client, "$client4b", "subflow"), .listen, .connect,
            .await(.client, "MPJoinSynAckRx", 1), Act.joinIsOver, .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.reset, .rstMptcpError)],
            ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "MPRstTx": 1],
            server: [ExpectedJoin(.reset, .ackWithoutMpJoin)], ["MPJoinSynRx": 1]))

    /// To the server it is a connection of its own, which the client resets.
    private static let joinSynStripped = Scenario(
        name: "join-syn-stripped", summary: "MP_JOIN is stripped from the SYN", port: 7726,
        server: mptcpServer,
        script: [
            .filter(.server, ["tcp flags & (syn | ack) == syn \(Rule.join) \(Rule.strip)"]),
            .endpoint(.client, "$client4b", "subflow"), .listen, .connect,
            .connects(.client, 2), Act.joinIsOver, .exchange(1000), .open, .close,
        ],
        expected: Sides(
            client: Expectation(
                [ExpectedHandshake(.mptcp, family: 4)], joins: [ExpectedJoin(.reset, .synackWithoutMpJoin)],
                ["MPCapableSYNTX": 1, "MPCapableSYNACKRX": 1, "MPJoinSynTx": 1, "MPRstTx": 1]),
            server: Expectation(
                [
                    ExpectedHandshake(.mptcp, family: 4),
                    ExpectedHandshake(.reset, .rstInHandshake, family: 4),
                ],
                ["MPCapableSYNRX": 1, "MPCapableACKRX": 1])))

    private static let joinUnanswered = Scenario(
        name: "join-unanswered", summary: "a join's SYNs are dropped without an answer (3 s)", port: 7727,
        server: mptcpServer,
        script: Act.oneRetransmission + [
            .filter(.server, ["tcp flags & (syn | ack) == syn \(Rule.join) drop"]),
            .endpoint(.client, "$client4b", "subflow"), .listen, .connect,
            .connects(.client, 2), Act.joinIsOver, .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.timeout, .noSynack)], ["MPJoinSynTx": 1]))

    private static let joinUnknownToken = Scenario(
        name: "join-unknown-token", summary: "a join with a token that the server does not know", port: 7728,
        server: mptcpServer,
        script: [
            // The third and fourth byte of the token: after 20 bytes of TCP header and 20 of options.
            .filter(.server, ["tcp flags & (syn | ack) == syn \(Rule.join) @th,352,16 set 0xdead"]),
            .endpoint(.client, "$client4b", "subflow"), .listen, .connect,
            .await(.server, "MPJoinNoTokenFound", 1), Act.joinIsOver, .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.rejected, .rstMptcpError)], ["MPJoinSynTx": 1],
            server: [ExpectedJoin(.rejected, .mpJoinNoTokenFound)],
            ["MPJoinSynRx": 1, "MPJoinNoTokenFound": 1]))

    private static let joinWrongAck = Scenario(
        name: "join-wrong-ack", summary: "the HMAC of a join's third ACK is wrong", port: 7729,
        server: mptcpServer,
        script: [
            // After 20 bytes of TCP header, 12 of timestamps and 4 of MP_JOIN.
            .filter(.server, ["tcp flags & syn == 0 \(Rule.join) @th,288,16 set 0xdead"]),
            .endpoint(.client, "$client4b", "subflow"), .listen, .connect,
            .await(.server, "MPJoinAckHMacFailure", 1), Act.joinIsOver, .exchange(1000), .open, .close,
        ],
        expected: connected(
            // As when the option is missing: MP_TCPRST says 1 of both.
            client: [ExpectedJoin(.reset, .rstMptcpError)],
            ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "MPRstTx": 1],
            server: [ExpectedJoin(.rejected, .mpJoinAckHMacFailure)],
            ["MPJoinSynRx": 1, "MPJoinAckHMacFailure": 1]),
        alternatives: [
            // MP_TCPRST says 3: Linux 6.18 in its first months.
            connected(
                client: [ExpectedJoin(.rejected, .rstProhibited)],
                ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "MPRstTx": 1],
                server: [ExpectedJoin(.rejected, .mpJoinAckHMacFailure)],
                ["MPJoinSynRx": 1, "MPJoinAckHMacFailure": 1])
        ])

    private static let joinWrongSynack = Scenario(
        name: "join-wrong-synack", summary: "the HMAC of a join's SYN-ACK is wrong", port: 7730,
        server: mptcpServer,
        script: [
            .filter(
                .client, ["tcp flags & (syn | ack) == (syn | ack) \(Rule.join) @th,352,16 set 0xdead"]),
            .endpoint(.client, "$client4b", "subflow"), .listen, .connect,
            .await(.client, "MPRstTx", 1), Act.joinIsOver, .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.rejected, .mpJoinSynAckHMacFailure)],
            ["MPJoinSynTx": 1, "MPJoinSynAckHMacFailure": 1, "MPRstTx": 1],
            server: [ExpectedJoin(.reset, .rstInHandshake)], ["MPJoinSynRx": 1]),
        alternatives: [
            // It counts it as that of a third ACK: Linux 6.18 in its first months.
            connected(
                client: [ExpectedJoin(.rejected, .mpJoinSynAckHMacFailure)],
                ["MPJoinSynTx": 1, "MPJoinAckHMacFailure": 1, "MPRstTx": 1],
                server: [ExpectedJoin(.reset, .rstInHandshake)], ["MPJoinSynRx": 1])
        ])

    private static let joinBackupByClient = Scenario(
        name: "join-backup-by-client", summary: "the client joins with a backup path", port: 7731,
        server: mptcpServer,
        script: [
            .endpoint(.client, "$client4b", "subflow backup"), .listen, .connect,
            .await(.server, "MPJoinAckRx", 1), .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.joined, backup: true)], ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1],
            server: [ExpectedJoin(.joined, backup: true)],
            ["MPJoinSynRx": 1, "MPJoinAckRx": 1, "MPJoinSynBackupRx": 1]))

    private static let joinBackupByServer = Scenario(
        name: "join-backup-by-server", summary: "the server says of a joined path that it is a backup",
        port: 7732, server: mptcpServer,
        script: [
            .endpoint(.server, "$server4b", "signal backup"), .limits(.client, subflows: 2, accepted: 1),
            .listen, .connect, .await(.server, "MPJoinAckRx", 1), .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.joined)],
            ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "MPJoinSynAckBackupRx": 1, "AddAddr": 1],
            clientAddresses: [ExpectedAddress(.received)],
            server: [ExpectedJoin(.joined)], ["MPJoinSynRx": 1, "MPJoinAckRx": 1, "AddAddrTx": 1],
            serverAddresses: [ExpectedAddress(.announced)]))

    private static let joinThreeSubflows = Scenario(
        name: "join-three-subflows", summary: "two joins: a connection of three subflows", port: 7733,
        server: mptcpServer,
        script: [
            .endpoint(.client, "$client4b", "subflow"), .endpoint(.client, "$client4c", "subflow"),
            .listen, .connect, .await(.server, "MPJoinAckRx", 2), .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.joined, backup: false, count: 2)],
            ["MPJoinSynTx": 2, "MPJoinSynAckRx": 2],
            server: [ExpectedJoin(.joined, backup: false, count: 2)],
            ["MPJoinSynRx": 2, "MPJoinAckRx": 2]))

    /// Only an IPv6 socket may have subflows of both kinds.
    private static let joinIPv6 = Scenario(
        name: "join-ipv6-beside-ipv4", summary: "a connection over IPv4 gets a subflow over IPv6", port: 7734,
        server: ServerPlan(transport: .mptcp, family: .dual),
        client: ClientPlan(transport: .mptcp, target: .serverIPv4Mapped),
        script: [
            .endpoint(.server, "$server6b", "signal"), .limits(.client, subflows: 2, accepted: 1),
            .listen, .connect, .await(.server, "MPJoinAckRx", 1), .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.joined, family: 6, backup: false)],
            ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "AddAddr": 1],
            clientAddresses: [ExpectedAddress(.received)],
            server: [ExpectedJoin(.joined, family: 6, backup: false)],
            ["MPJoinSynRx": 1, "MPJoinAckRx": 1, "AddAddrTx": 1],
            serverAddresses: [ExpectedAddress(.announced)]))

    /// The first of two subflows is destroyed, then a third joins.
    private static let joinAfterFirstIsGone = Scenario(
        name: "join-after-first-is-gone", summary: "a join after the first subflow has been destroyed",
        port: 7735, server: mptcpServer,
        script: [
            .endpoint(.client, "$client4b", "subflow"), .listen, .connect,
            .await(.server, "MPJoinAckRx", 1), .exchange(1000),
            .destroy(.client, "src $client4 dport = $port"),
            .sockets(.client, "state established dport = $port", 1),
            .sockets(.server, "state established sport = $port", 1),
            .endpoint(.client, "$client4c", "subflow"), .await(.server, "MPJoinAckRx", 2),
            .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.joined, backup: false, count: 2)],
            ["MPJoinSynTx": 2, "MPJoinSynAckRx": 2, "MPRstTx": 1],
            server: [ExpectedJoin(.joined, backup: false, count: 2)],
            ["MPJoinSynRx": 2, "MPJoinAckRx": 2, "MPRstRx": 1]))

    /// The kernel opens a listener of its own for it.
    private static let joinAnnouncedPort = Scenario(
        name: "join-announced-port", summary: "the server announces an address and a port", port: 7736,
        server: mptcpServer,
        script: [
            .endpoint(.server, "$server4b", "signal port 7799 id 7"),
            .limits(.client, subflows: 2, accepted: 1),
            .listen, .connect, .await(.server, "MPJoinAckRx", 1), .exchange(1000), .open, .close,
            .removeEndpoint(.server, 7),
        ],
        expected: connected(
            client: [ExpectedJoin(.joined, backup: false)],
            ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "AddAddr": 1],
            clientAddresses: [ExpectedAddress(.received)],
            server: [ExpectedJoin(.joined, backup: false)],
            ["MPJoinSynRx": 1, "MPJoinAckRx": 1, "AddAddrTx": 1],
            serverAddresses: [ExpectedAddress(.announced)]))

    /// Something translates the port of the join to that of another listener.
    private static let joinOtherPort = Scenario(
        name: "join-other-port", summary: "a join reaches a listener that was not announced for it",
        port: 7737, server: mptcpServer,
        script: [
            .listen, .start("other", .server), .ask("other", "listen other 0.0.0.0 7798 1"),
            .filter(
                .server, ["tcp dport $port tcp flags & (syn | ack) == syn \(Rule.join) tcp dport set 7798"]),
            .filterSent(.server, ["tcp sport 7798 tcp sport set $port"]),
            .endpoint(.client, "$client4b", "subflow"), .connect,
            .await(.server, "MismatchPortSynRx", 1), Act.joinIsOver, .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.rejected, .rstProhibited)], ["MPJoinSynTx": 1],
            server: [ExpectedJoin(.rejected, .mismatchPort)], ["MPJoinSynRx": 1]),
        alternatives: [
            // The RST has no MP_TCPRST: Linux 6.1.
            connected(
                client: [ExpectedJoin(.rejected, .rstToSyn)], ["MPJoinSynTx": 1],
                server: [ExpectedJoin(.rejected, .mismatchPort)], ["MPJoinSynRx": 1])
        ])

    private static let removedByClient = Scenario(
        name: "address-removed-by-client", summary: "the client takes back the address it joined from",
        port: 7738, server: mptcpServer,
        script: [
            .endpoint(.client, "$client4b", "subflow id 7"), .listen, .connect,
            .await(.server, "MPJoinAckRx", 1), .exchange(1000),
            .removeEndpoint(.client, 7), .await(.server, "RmAddr", 1),
            .sockets(.server, "state established sport = $port", 1), .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.joined, backup: false)], ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1],
            server: [ExpectedJoin(.joined, backup: false)],
            ["MPJoinSynRx": 1, "MPJoinAckRx": 1, "RmAddr": 1],
            serverAddresses: [ExpectedAddress(.removed)]))

    private static let removedByServer = Scenario(
        name: "address-removed-by-server", summary: "the server takes back an address it announced",
        port: 7739, server: mptcpServer,
        script: [
            .endpoint(.server, "$server4b", "signal id 7"), .limits(.client, subflows: 2, accepted: 1),
            .listen, .connect, .await(.server, "MPJoinAckRx", 1), .exchange(1000),
            .removeEndpoint(.server, 7), .await(.client, "RmAddr", 1),
            .sockets(.client, "state established dport = $port", 1), .exchange(1000), .open, .close,
        ],
        expected: connected(
            client: [ExpectedJoin(.joined, backup: false)],
            ["MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "AddAddr": 1, "RmAddr": 1],
            clientAddresses: [ExpectedAddress(.received), ExpectedAddress(.removed)],
            server: [ExpectedJoin(.joined, backup: false)],
            ["MPJoinSynRx": 1, "MPJoinAckRx": 1, "AddAddrTx": 1],
            serverAddresses: [ExpectedAddress(.announced)]))

    /// A client and a server that talk to each other, and a third who knows the server's address.
    private static let talking: [Act] = [
        .listen, .connect, .exchange(100), .start("forger", .client),
        .filterSent(.client, ["tcp sport 4444 tcp flags & rst == rst drop"]),
    ]

    private static let forgedToken = Scenario(
        name: "forged-token", summary: "somebody without a connection joins with a token of nobody's",
        port: 7740, server: mptcpServer,
        script: talking + [
            .ask("forger", "forge f $client4b 4444 $server4 $port deadbeef", "ok rst"), .exchange(100),
            .open, .close,
        ],
        expected: connected(
            client: [], [:],
            server: [ExpectedJoin(.rejected, .mpJoinNoTokenFound)],
            ["MPJoinSynRx": 1, "MPJoinNoTokenFound": 1]))

    private static let forgedJoin = Scenario(
        name: "forged-join", summary: "somebody who knows the token but not the keys joins", port: 7741,
        server: mptcpServer,
        script: talking + [
            .ask("forger", "forge f $client4b 4444 $server4 $port $token", "ok synack"),
            .ask("forger", "forge-ack f", "ok rst"), .exchange(100), .open, .close,
        ],
        expected: connected(
            client: [], [:],
            server: [ExpectedJoin(.rejected, .mpJoinAckHMacFailure)],
            ["MPJoinSynRx": 1, "MPJoinAckHMacFailure": 1]))
}

extension Rule {
    static let join = "tcp option mptcp subtype 1"
    static let strip = "reset tcp option mptcp"
}

extension Act {
    /// Until the client has one subflow, its first, and no attempt at another.
    static let joinIsOver = Act.sockets(.client, "exclude time-wait dport = $port", 1)
}
