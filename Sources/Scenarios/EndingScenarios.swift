// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake

extension Scenario {
    /// Somebody gives up, closes early, dies or is reset.
    static let endings: [Scenario] = [
        closedBeforeSynack, killedInSynSent, connectPatience, thirdAckLost, listenerClosedBeforeAccept,
        acceptedAndClosed, backlogFull, synCookies, closedByBoth, resetOnSyn, resetOnSynack,
        resetOnThirdAck, resetOnData, fastclose, listenerClosedInHandshake, forkedWorker,
        connectOnPassedDescriptor, listenOnPassedDescriptor, processGoneFirst, socketRefused,
    ]

    /// Both processes, and a listening server.
    private static let cast: [Act] = [
        .start("server", .server), .ask("server", "listen l 0.0.0.0 $port 4"), .start("client", .client),
        .ask("client", "socket c 4"),
    ]
    /// A connection that has carried bytes both ways.
    private static let talking: [Act] =
        cast + [.ask("client", "connect c $server4 $port"), .ask("server", "accept a l")] + talk
    private static let talk: [Act] = [
        .ask("client", "send c 10"), .ask("server", "receive a 10"), .ask("server", "send a 10"),
        .ask("client", "receive c 10"),
    ]
    /// The client's end first.
    private static let farewell: [Act] = [
        .ask("client", "shut c"), .ask("server", "drain a", "ended"), .ask("server", "close a"),
        .ask("client", "drain c", "ended"), .ask("client", "close c"),
    ]

    /// MPTCP at both ends, and what is counted besides.
    private static func mptcp(
        client: [String: UInt64] = [:], server: [String: UInt64] = [:]
    ) -> Sides<Expectation> {
        let handshake = ExpectedHandshake(.mptcp, family: 4)
        return Sides(
            client: Expectation(
                [handshake],
                Counters(client.merging(["MPCapableSYNTX": 1, "MPCapableSYNACKRX": 1]) { old, _ in old })),
            server: Expectation(
                [handshake],
                Counters(server.merging(["MPCapableSYNRX": 1, "MPCapableACKRX": 1]) { old, _ in old })))
    }

    /// Only the client sees anything.
    private static func clientAlone(
        _ outcome: Outcome, _ reason: Reason, _ counters: Counters = ["MPCapableSYNTX": 1]
    ) -> Sides<Expectation> {
        Sides(
            client: Expectation([ExpectedHandshake(outcome, reason, family: 4)], counters),
            server: Expectation())
    }

    private static let closedBeforeSynack = Scenario(
        name: "closed-before-synack", summary: "the client closes before an answer comes", port: 7750,
        script: [
            .start("client", .client), .ask("client", "socket c 4 nowait"),
            .ask("client", "connect c $nobody $port"), .open, .ask("client", "close c"),
        ],
        expected: clientAlone(.aborted, .closedByProcess))

    private static let killedInSynSent = Scenario(
        name: "killed-in-syn-sent", summary: "the client is killed while it waits for an answer", port: 7751,
        script: [
            .start("client", .client), .ask("client", "socket c 4"),
            .tell("client", "connect c $nobody $port"), .sockets(.client, "state syn-sent", 1), .open,
            .kill("client"),
        ],
        expected: clientAlone(.aborted, .closedByProcess))

    private static let connectPatience = Scenario(
        name: "connect-patience", summary: "the client's own connect timeout (0.2 s) passes", port: 7752,
        script: [
            .start("client", .client), .ask("client", "socket c 4"), .ask("client", "patience c 200"),
            .ask("client", "connect c $nobody $port", "failed 115"), .open, .ask("client", "close c"),
        ],
        expected: clientAlone(.aborted, .closedByProcess))

    /// The client is connected, the server never hears of it.
    private static let thirdAckLost = Scenario(
        name: "third-ack-lost", summary: "no third ACK reaches the server", port: 7753,
        script: [.set(.server, "net/ipv4/tcp_synack_retries", "0")] + cast + [
            .filter(.server, ["tcp dport $port tcp flags & syn == 0 drop"]),
            .ask("client", "connect c $server4 $port"), .sockets(.server, "state syn-recv", 1),
            .sockets(.server, "state syn-recv", 0), .open, .unfilter(.server),
            .ask("client", "send c 10"), .ask("client", "drain c", "failed 104"), .ask("client", "close c"),
        ],
        expected: Sides(
            client: Expectation(
                [ExpectedHandshake(.mptcp, family: 4)],
                fallbacks: [ExpectedFallback(.mpCapableDataFallback)],
                ["MPCapableSYNTX": 1, "MPCapableSYNACKRX": 1, "MPCapableDataFallback": 1]),
            server: Expectation([ExpectedHandshake(.timeout, .noAck, family: 4)], Counters(synReceived: 1))))

    private static let listenerClosedBeforeAccept = Scenario(
        name: "closed-before-accept", summary: "the server closes its listener before it accepts", port: 7754,
        script: cast + [
            .ask("client", "connect c $server4 $port"), Act.serverEstablished, .open,
            .ask("server", "close l"), .ask("client", "drain c", "failed 104"), .ask("client", "close c"),
        ],
        expected: Sides(
            client: Expectation(
                [ExpectedHandshake(.mptcp, family: 4)],
                fallbacks: [ExpectedFallback(.mpCapableDataFallback)],
                ["MPCapableSYNTX": 1, "MPCapableSYNACKRX": 1, "MPCapableDataFallback": 1]),
            // MPCapableACKRX is counted by accept().
            server: Expectation(
                [ExpectedHandshake(.mptcp, family: 4)],
                ["MPCapableSYNRX": 1, "MPFastcloseTx": 1, "MPRstTx": 1])))

    private static let acceptedAndClosed = Scenario(
        name: "accepted-and-closed", summary: "the server accepts and closes at once", port: 7755,
        script: cast + [
            .ask("client", "connect c $server4 $port"), .ask("server", "accept a l"),
            .ask("server", "close a"), .ask("client", "drain c", "ended"), .open, .ask("client", "close c"),
        ],
        expected: mptcp())

    /// The kernel drops the second SYN; its first retransmission finds a place.
    private static let backlogFull = Scenario(
        name: "backlog-full", summary: "a second client finds the listener's queue full (1 s)", port: 7756,
        script: [
            .start("server", .server), .ask("server", "listen l 0.0.0.0 $port 0"),
            .start("client", .client), .ask("client", "socket c 4"),
            .ask("client", "connect c $server4 $port"), Act.serverEstablished,
            .ask("client", "socket d 4 nowait"), .ask("client", "connect d $server4 $port"),
            .sockets(.client, "state syn-sent", 1), .open, .ask("server", "accept a l"),
            .ask("client", "connected d"), .ask("server", "accept b l"), .ask("client", "shut c"),
            .ask("client", "shut d"), .ask("server", "drain a", "ended"), .ask("server", "drain b", "ended"),
            .ask("server", "close a"), .ask("server", "close b"), .ask("client", "drain c", "ended"),
            .ask("client", "drain d", "ended"), .ask("client", "close c"), .ask("client", "close d"),
        ],
        expected: mptcp(family: 4, count: 2))

    private static let synCookies = Scenario(
        name: "syn-cookies", summary: "the server answers every SYN with a cookie", port: 7757,
        script: [.set(.server, "net/ipv4/tcp_syncookies", "2")] + talking + [.open] + farewell,
        expected: mptcp())

    private static let closedByBoth = Scenario(
        name: "closed-by-both", summary: "both ends close at the same time", port: 7758,
        script: talking + [
            .open, .tell("server", "close a"), .tell("client", "close c"), .hear("server"), .hear("client"),
        ],
        expected: mptcp())

    private static let resetOnSyn = Scenario(
        name: "reset-on-syn", summary: "a firewall answers the SYN with a RST", port: 7759,
        script: [
            .filter(.server, ["tcp dport $port tcp flags & (syn | ack) == syn reject with tcp reset"])
        ] + cast + [.ask("client", "connect c $server4 $port", "failed 111"), .open],
        expected: clientAlone(.refused, .rstToSyn))

    /// The client does not see it; its next SYN gets through.
    private static let resetOnSynack = Scenario(
        name: "reset-on-synack", summary: "a firewall answers the SYN-ACK with a RST, once (1 s)", port: 7760,
        script: cast + [
            .filter(
                .client, ["tcp sport $port tcp flags & (syn | ack) == (syn | ack) reject with tcp reset"]),
            .ask("client", "socket d 4 nowait"), .ask("client", "connect d $server4 $port"),
            .await(.server, "MPCapableSYNRX", 1), .sockets(.server, "state syn-recv", 0),
            .unfilter(.client), .ask("client", "connected d"), .ask("server", "accept a l"), .open,
            .ask("client", "shut d"), .ask("server", "drain a", "ended"), .ask("server", "close a"),
            .ask("client", "drain d", "ended"), .ask("client", "close d"),
        ],
        expected: Sides(
            client: Expectation(
                [ExpectedHandshake(.mptcp, family: 4)], Counters(synSent: 1, synackReceived: 1)),
            server: Expectation(
                [
                    ExpectedHandshake(.reset, .rstInHandshake, family: 4),
                    ExpectedHandshake(.mptcp, family: 4),
                ],
                Counters(synReceived: 2, ackReceived: 1))))

    /// The server hears of it when it sends its SYN-ACK again and the client knows of nothing.
    private static let resetOnThirdAck = Scenario(
        name: "reset-on-third-ack", summary: "a firewall answers the third ACK with a RST (1 s)", port: 7761,
        script: [
            .filter(.server, ["tcp dport $port tcp flags & (syn | ack | rst) == ack reject with tcp reset"])
        ] + cast + [
            .ask("client", "socket d 4 nowait"), .ask("client", "connect d $server4 $port"),
            .ask("client", "drain d", "failed 104"),
            .sockets(.server, "state syn-recv", 0), .open, .ask("client", "close d"),
        ],
        expected: Sides(
            client: Expectation(
                // The RST comes before connect() returns ECONNRESET, but after the SYN-ACK was taken.
                [ExpectedHandshake(.mptcp, family: 4)],
                fallbacks: [ExpectedFallback(.mpCapableDataFallback)],
                ["MPCapableSYNTX": 1, "MPCapableSYNACKRX": 1, "MPCapableDataFallback": 1]),
            server: Expectation(
                [ExpectedHandshake(.reset, .rstInHandshake, family: 4)], Counters(synReceived: 1))))

    private static let resetOnData = Scenario(
        name: "reset-on-data", summary: "a firewall answers later data with a RST", port: 7762,
        script: talking + [
            .filter(.server, ["tcp dport $port tcp flags & (syn | rst) == 0 reject with tcp reset"]),
            // An MPTCP socket whose last subflow was reset lives on for a while.
            .ask("client", "send c 10"), .sockets(.client, "exclude time-wait dport = $port", 0), .open,
            .unfilter(.server), .ask("client", "close c"), .ask("server", "send a 10"),
            .sockets(.server, "state connected exclude time-wait sport = $port", 0),
            .ask("server", "close a"),
        ],
        expected: mptcp())

    private static let fastclose = Scenario(
        name: "fastclose", summary: "the client closes with SO_LINGER 0: MP_FASTCLOSE", port: 7763,
        script: talking + [
            .open, .ask("client", "linger c"), .ask("client", "close c"),
            // ECONNRESET, but for the alternative.
            .ask("server", "drain a", ""), .ask("server", "close a"),
        ],
        expected: mptcp(
            client: ["MPFastcloseTx": 1, "MPRstTx": 1], server: ["MPFastcloseRx": 1, "MPRstRx": 1]),
        // Resets without MP_FASTCLOSE: Linux 6.18 in its first months.
        alternatives: [mptcp(client: ["MPRstTx": 1], server: ["MPRstRx": 1])])

    private static let listenerClosedInHandshake = Scenario(
        name: "listener-closed-in-handshake",
        summary: "the listener is closed while the third ACK is missing",
        port: 7764,
        script: cast + [
            .filter(.server, ["tcp dport $port tcp flags & syn == 0 drop"]),
            .ask("client", "connect c $server4 $port"), .sockets(.server, "state syn-recv", 1),
            .ask("server", "close l"), .open, .unfilter(.server), .ask("client", "send c 10"),
            .ask("client", "drain c", "failed 104"), .ask("client", "close c"),
        ],
        expected: Sides(
            client: Expectation(
                [ExpectedHandshake(.mptcp, family: 4)],
                fallbacks: [ExpectedFallback(.mpCapableDataFallback)],
                ["MPCapableSYNTX": 1, "MPCapableSYNACKRX": 1, "MPCapableDataFallback": 1]),
            server: Expectation(
                [ExpectedHandshake(.aborted, .closedByProcess, family: 4)], Counters(synReceived: 1))))

    /// The switch is asked when a socket is made, and nowhere else.
    private static let socketRefused = Scenario(
        name: "socket-refused", summary: "socket() while MPTCP is switched off, and again when it is on",
        port: 7797,
        script: [
            .set(.client, "net/mptcp/enabled", "0"), .start("server", .server),
            .ask("server", "listen l 0.0.0.0 $port 4"), .start("client", .client),
            .ask("client", "socket c 4", "failed \(ENOPROTOOPT)"), .set(.client, "net/mptcp/enabled", "1"),
            .ask("client", "socket c 4"), .ask("client", "connect c $server4 $port"),
            .ask("server", "accept a l"),
        ] + talk + [.open] + farewell,
        expected: mptcp(),
        seenByFunctions: Sides(
            client: FunctionSight(refusedSockets: 1, error: ENOPROTOOPT), server: FunctionSight()))

    /// The owner is who called listen(), not the child that accepts.
    private static let forkedWorker = Scenario(
        name: "forked-worker", summary: "a forked child of the listening process accepts", port: 7765,
        script: cast + [
            .ask("server", "fork l"), .ask("client", "connect c $server4 $port"),
            .ask("client", "send c 10"), .ask("client", "receive c 10"), .open, .ask("client", "shut c"),
            .ask("client", "drain c", "ended"), .ask("client", "close c"),
        ],
        expected: mptcp())

    private static let connectOnPassedDescriptor = Scenario(
        name: "connect-on-passed-descriptor", summary: "one process makes the socket, another connects it",
        port: 7766,
        script: [
            .start("maker", .client), .start("client", .client), .start("server", .server),
            .ask("server", "listen l 0.0.0.0 $port 4"), .ask("maker", "socket c 4"),
            .ask("maker", "give c"), .ask("client", "take c"), .ask("maker", "close c"),
            .ask("client", "connect c $server4 $port"), .ask("server", "accept a l"),
        ] + talk + [.open] + farewell,
        expected: mptcp())

    private static let listenOnPassedDescriptor = Scenario(
        name: "listen-on-passed-descriptor", summary: "one process makes the socket, another listens on it",
        port: 7767,
        script: [
            .start("maker", .server), .start("server", .server), .start("client", .client),
            .ask("maker", "socket l 4"), .ask("maker", "bind l 0.0.0.0 $port"), .ask("maker", "give l"),
            .ask("server", "take l"), .ask("maker", "close l"), .ask("server", "attend l 4"),
            .ask("client", "socket c 4"), .ask("client", "connect c $server4 $port"),
            .ask("server", "accept a l"),
        ] + talk + [.open] + farewell,
        expected: mptcp())

    /// What it sent has not arrived when the client is gone; its connection lives on until it has.
    private static let processGoneFirst = Scenario(
        name: "process-gone-first", summary: "the client is gone before its connection is", port: 7768,
        script: talking + [
            .filter(.server, ["tcp dport $port drop"]), .ask("client", "send c 1000"), .kill("client"),
            .open, .sockets(.client, "exclude time-wait dport = $port", 1), .unfilter(.server),
            .ask("server", "receive a 1000"), .ask("server", "drain a", "ended"), .ask("server", "close a"),
        ],
        expected: mptcp())
}

extension Act {
    static let serverEstablished = Act.sockets(.server, "state established sport = $port", 1)
}
