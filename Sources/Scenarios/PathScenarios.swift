// SPDX-License-Identifier: Apache-2.0

import Handshake

extension Scenario {
    /// Something on the path takes MP_CAPABLE away, or packets that have it.
    static let path: [Scenario] = [
        Scenario(
            name: "syn-stripped", summary: "MP_CAPABLE is stripped from the SYN", port: 7710,
            server: ServerPlan(transport: .mptcp, family: .ipv4),
            script: [
                .filter(.server, [Rule.stripSyn]), .listen, .connect, .exchange(100), .open, .close,
            ],
            expected: Sides(
                client: Expectation(
                    [ExpectedHandshake(.fallback, .synackWithoutMptcp, family: 4)],
                    Counters(synSent: 1, fallbackSynack: 1)),
                server: Expectation([ExpectedHandshake(.fallback, .synWithoutMptcp, family: 4)]))),
        Scenario(
            name: "synack-stripped", summary: "MP_CAPABLE is stripped from the SYN-ACK", port: 7711,
            inDemo: true,
            server: ServerPlan(transport: .mptcp, family: .ipv4),
            script: [
                .filter(.client, [Rule.stripSynack]), .listen, .connect, .exchange(100), .open, .close,
            ],
            expected: Sides(
                client: Expectation(
                    [ExpectedHandshake(.fallback, .synackWithoutMptcp, family: 4)],
                    Counters(synSent: 1, fallbackSynack: 1)),
                server: Expectation(
                    [ExpectedHandshake(.fallback, .ackWithoutMptcp, family: 4)],
                    Counters(synReceived: 1, fallbackAck: 1)))),
        Scenario(
            name: "third-ack-stripped",
            summary: "every MP_CAPABLE after the SYN is stripped on the way there",
            port: 7712, inDemo: true,
            server: ServerPlan(transport: .mptcp, family: .ipv4),
            script: [
                .filter(.server, [Rule.stripAckCapable]), .listen, .connect, .exchange(100), .open, .close,
            ],
            expected: Sides(
                client: Expectation(
                    [ExpectedHandshake(.mptcp, family: 4)],
                    fallbacks: [ExpectedFallback(.mpCapableDataFallback)],
                    ["MPCapableSYNTX": 1, "MPCapableSYNACKRX": 1, "MPCapableDataFallback": 1]),
                server: Expectation(
                    [ExpectedHandshake(.fallback, .ackWithoutMptcp, family: 4)],
                    Counters(synReceived: 1, fallbackAck: 1)))),
        Scenario(
            name: "all-after-synack-stripped",
            summary: "every MPTCP option after the SYN-ACK is stripped, both ways", port: 7713,
            server: ServerPlan(transport: .mptcp, family: .ipv4),
            script: [
                .filter(.server, [Rule.stripAfterSyn]), .filter(.client, [Rule.stripAfterSyn]),
                .listen, .connect, .exchange(100), .open, .close,
            ],
            expected: Sides(
                client: Expectation(
                    [ExpectedHandshake(.mptcp, family: 4)],
                    fallbacks: [ExpectedFallback(.mpCapableDataFallback)],
                    ["MPCapableSYNTX": 1, "MPCapableSYNACKRX": 1, "MPCapableDataFallback": 1]),
                server: Expectation(
                    [ExpectedHandshake(.fallback, .ackWithoutMptcp, family: 4)],
                    Counters(synReceived: 1, fallbackAck: 1)))),
        Scenario(
            name: "syn-with-mptcp-dropped",
            summary: "SYNs with MP_CAPABLE are dropped, the one without gets through (3 s)", port: 7714,
            inDemo: true,
            server: ServerPlan(transport: .mptcp, family: .ipv4),
            script: [
                // Written back at the end, which clears the blackhole state.
                .set(.client, "net/mptcp/blackhole_timeout", "3600"),
                .filter(.server, [Rule.dropSyn]), .listen, .connect, .open, .close,
            ],
            expected: Sides(
                client: Expectation(
                    [ExpectedHandshake(.fallback, .synWithMptcpDropped, family: 4)],
                    ["MPCapableSYNTX": 1, "MPCapableSYNTXDrop": 1, "Blackhole": 1]),
                server: Expectation([ExpectedHandshake(.fallback, .synWithoutMptcp, family: 4)])),
            needs: [.counter("MPCapableSYNTXDrop")]),
        Scenario(
            name: "blackhole-holds",
            summary: "after dropped SYNs the next connection does not ask for MPTCP (3 s)", port: 7715,
            server: ServerPlan(transport: .mptcp, family: .ipv4),
            script: [
                .set(.client, "net/mptcp/blackhole_timeout", "3600"),
                .filter(.server, [Rule.dropSyn]), .listen, .connect, .hangUp,
                .unfilter(.server), .connect, .open, .close,
            ],
            expected: Sides(
                client: Expectation(
                    [
                        ExpectedHandshake(.fallback, .synWithMptcpDropped, family: 4),
                        ExpectedHandshake(.fallback, .blackhole, family: 4),
                    ],
                    [
                        "MPCapableSYNTX": 1, "MPCapableSYNTXDrop": 1, "Blackhole": 1,
                        "MPCapableSYNTXDisabled": 1,
                    ]),
                server: Expectation([ExpectedHandshake(.fallback, .synWithoutMptcp, family: 4, count: 2)])),
            needs: [.sysctl("net/mptcp/blackhole_timeout")]),
        Scenario(
            name: "blackhole-ended",
            summary: "writing blackhole_timeout makes the next connection ask for MPTCP again (3 s)",
            port: 7716,
            server: ServerPlan(transport: .mptcp, family: .ipv4),
            script: [
                .set(.client, "net/mptcp/blackhole_timeout", "3600"),
                .filter(.server, [Rule.dropSyn]), .listen, .connect, .hangUp,
                .unfilter(.server), .set(.client, "net/mptcp/blackhole_timeout", "3600"),
                .connect, .open, .close,
            ],
            expected: Sides(
                client: Expectation(
                    [
                        ExpectedHandshake(.fallback, .synWithMptcpDropped, family: 4),
                        ExpectedHandshake(.mptcp, family: 4),
                    ],
                    [
                        "MPCapableSYNTX": 2, "MPCapableSYNTXDrop": 1, "Blackhole": 1,
                        "MPCapableSYNACKRX": 1,
                    ]),
                server: Expectation(
                    [
                        ExpectedHandshake(.fallback, .synWithoutMptcp, family: 4),
                        ExpectedHandshake(.mptcp, family: 4),
                    ], Counters(synReceived: 1, ackReceived: 1))),
            needs: [.sysctl("net/mptcp/blackhole_timeout")]),
    ]
}

/// nft rules, for the table of `Act.filter`.
enum Rule {
    static let stripSyn = "tcp flags & (syn | ack) == syn reset tcp option mptcp"
    static let stripSynack = "tcp flags & (syn | ack) == (syn | ack) reset tcp option mptcp"
    /// Also later packets that carry MP_CAPABLE: data for which no ACK of MPTCP's has come yet.
    static let stripAckCapable = "tcp flags & syn == 0 tcp option mptcp subtype 0 reset tcp option mptcp"
    static let stripAfterSyn = "tcp flags & syn == 0 reset tcp option mptcp"
    static let dropSyn = "tcp flags & (syn | ack) == syn tcp option mptcp exists drop"
}
