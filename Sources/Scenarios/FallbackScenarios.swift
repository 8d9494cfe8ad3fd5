// SPDX-License-Identifier: Apache-2.0

import Handshake

extension Scenario {
    /// Connections that lose MPTCP after their handshake.
    static let fallbacks: [Scenario] = [
        dssStrippedToClient, dssStrippedToServer, dssStripped, dssStrippedToClientFromStart,
        dssStrippedToServerFromStart, payloadChangedToServer, payloadChangedToClient,
        dssStrippedAndRepeated,
    ]

    private static let mptcpServer = ServerPlan(transport: .mptcp, family: .ipv4)

    private static func fallenBack(
        client: Reason?, _ clientCounters: [String: UInt64], server: Reason?,
        _ serverCounters: [String: UInt64]
    ) -> Sides<Expectation> {
        let handshake = ExpectedHandshake(.mptcp, family: 4)
        return Sides(
            client: Expectation(
                [handshake], fallbacks: [ExpectedFallback(client)],
                Counters(
                    clientCounters.merging(["MPCapableSYNTX": 1, "MPCapableSYNACKRX": 1]) { old, _ in old })),
            server: Expectation(
                [handshake], fallbacks: [ExpectedFallback(server)],
                Counters(
                    serverCounters.merging(["MPCapableSYNRX": 1, "MPCapableACKRX": 1]) { old, _ in old })))
    }

    private static let dss = "tcp flags & syn == 0 tcp option mptcp subtype 2"

    /// The end that misses the DSS falls back and sends none any more: so does the other, then.
    private static let dssStrippedToClient = Scenario(
        name: "dss-stripped-to-client", summary: "DSS is stripped from data on the way to the client",
        port: 7780, inDemo: true, server: mptcpServer,
        script: [
            .listen, .connect, .exchange(100), .filter(.client, ["\(dss) \(Rule.strip)"]), .exchange(100),
            .exchange(100), .open, .close,
        ],
        expected: fallenBack(
            client: .dssFallback, ["DssFallback": 1], server: .dssFallback, ["DssFallback": 1]))

    private static let dssStrippedToServer = Scenario(
        name: "dss-stripped-to-server", summary: "DSS is stripped from data on the way to the server",
        port: 7781, server: mptcpServer,
        script: [
            .listen, .connect, .exchange(100), .filter(.server, ["\(dss) \(Rule.strip)"]), .exchange(100),
            .exchange(100), .open, .close,
        ],
        expected: fallenBack(
            client: .dssFallback, ["DssFallback": 1], server: .dssFallback, ["DssFallback": 1]))

    private static let dssStripped = Scenario(
        name: "dss-stripped", summary: "DSS is stripped from data both ways", port: 7782, server: mptcpServer,
        script: [
            .listen, .connect, .exchange(100), .filter(.client, ["\(dss) \(Rule.strip)"]),
            .filter(.server, ["\(dss) \(Rule.strip)"]), .exchange(100), .exchange(100), .open, .close,
        ],
        expected: fallenBack(
            client: .dssFallback, ["DssFallback": 1], server: .dssFallback, ["DssFallback": 1]))

    /// The first data that come to the client have none: to it the handshake was in vain.
    private static let dssStrippedToClientFromStart = Scenario(
        name: "dss-never-reaches-client", summary: "no DSS ever reaches the client", port: 7783,
        server: mptcpServer,
        script: [
            .filter(.client, ["\(dss) \(Rule.strip)"]), .listen, .connect, .exchange(100), .exchange(100),
            .open, .close,
        ],
        expected: fallenBack(
            client: .mpCapableDataFallback, ["MPCapableDataFallback": 1],
            server: .dssFallback, ["DssFallback": 1]))

    private static let dssStrippedToServerFromStart = Scenario(
        name: "dss-never-reaches-server", summary: "no DSS ever reaches the server", port: 7784,
        server: mptcpServer,
        script: [
            .filter(.server, ["\(dss) \(Rule.strip)"]), .listen, .connect, .exchange(100), .exchange(100),
            .open, .close,
        ],
        expected: fallenBack(
            client: .dssFallback, ["DssFallback": 1], server: .dssFallback, ["DssFallback": 1]))

    private static let checksums: [Act] = [
        .set(.client, "net/mptcp/checksum_enabled", "1"), .set(.server, "net/mptcp/checksum_enabled", "1"),
    ]
    /// Two bytes of the payload of large packets, in reach of nf_tables before Linux 6.13: it has
    /// eight bits for the offset.
    private static let change = "\(dss) meta length 500-9000 @th,1600,16 set 0xdead"

    private static let payloadChangedToServer = Scenario(
        name: "payload-changed-to-server", summary: "the payload is changed on the way to the server",
        port: 7785, server: mptcpServer,
        script: checksums + [
            .listen, .connect, .exchange(100), .filter(.server, [change]), .exchange(1000),
            .exchange(100), .open, .close,
        ],
        expected: fallenBack(
            client: .mpFailRx, ["MPFailRx": 1, "MPFailTx": 1, "InfiniteMapTx": 1],
            server: .dataCsumErr,
            ["DataCsumErr": 1, "MPFailTx": 1, "MPFailRx": 1, "InfiniteMapRx": 1, "DssFallback": 1]))

    private static let payloadChangedToClient = Scenario(
        name: "payload-changed-to-client", summary: "the payload is changed on the way to the client",
        port: 7786, server: mptcpServer,
        script: checksums + [
            .listen, .connect, .exchange(100), .filter(.client, [change]), .exchange(1000),
            .exchange(100), .open, .close,
        ],
        expected: fallenBack(
            client: .dataCsumErr,
            ["DataCsumErr": 1, "MPFailTx": 1, "MPFailRx": 1, "InfiniteMapRx": 1, "DssFallback": 1],
            server: .mpFailRx, ["MPFailRx": 1, "MPFailTx": 1, "InfiniteMapTx": 1]))

    /// The client falls back and acknowledges no more as MPTCP; the server has sent its data again
    /// before it hears of that, and can fall back no more: it resets.
    private static let dssStrippedAndRepeated = Scenario(
        name: "dss-stripped-and-repeated",
        summary: "DSS is stripped on the way to the client, and data were sent again", port: 7787,
        script: [
            .start("server", .server), .ask("server", "listen l 0.0.0.0 $port 4"),
            .start("client", .client), .ask("client", "socket c 4"),
            .filter(.client, ["\(dss) \(Rule.strip)"]), .ask("client", "connect c $server4 $port"),
            .ask("server", "accept a l"), .ask("client", "send c 10"), .ask("server", "receive a 10"),
            .ask("server", "send a 10"), .ask("client", "receive c 10"),
            .await(.server, "MPTCPRetrans", 1), .ask("client", "send c 10"),
            .ask("client", "drain c", "failed 104"), .open, .ask("client", "close c"),
            .ask("server", "close a"),
        ],
        expected: Sides(
            client: Expectation(
                [ExpectedHandshake(.mptcp, family: 4)],
                fallbacks: [ExpectedFallback(.mpCapableDataFallback)],
                ["MPCapableSYNTX": 1, "MPCapableSYNACKRX": 1, "MPCapableDataFallback": 1]),
            server: Expectation(
                [ExpectedHandshake(.mptcp, family: 4)],
                ["MPCapableSYNRX": 1, "MPCapableACKRX": 1, "MPRstTx": 1])))
}
