// SPDX-License-Identifier: Apache-2.0

import Handshake

extension Scenario {
    /// One end, the other, or nobody speaks MPTCP, and nothing is between them.
    package static let basic: [Scenario] = [
        Scenario(
            name: "mptcp-ipv4", summary: "MPTCP at both ends, over IPv4", port: 7701, inDemo: true,
            server: ServerPlan(transport: .mptcp, family: .ipv4),
            client: ClientPlan(transport: .mptcp, target: .serverIPv4),
            expected: mptcp(family: 4)),
        Scenario(
            name: "mptcp-ipv6", summary: "MPTCP at both ends, over IPv6", port: 7702, inDemo: true,
            server: ServerPlan(transport: .mptcp, family: .ipv6),
            client: ClientPlan(transport: .mptcp, target: .serverIPv6),
            expected: mptcp(family: 6)),
        Scenario(
            name: "mptcp-v4-mapped", summary: "MPTCP over IPv4 between IPv6 sockets (::ffff:a.b.c.d)",
            port: 7703, inDemo: true,
            server: ServerPlan(transport: .mptcp, family: .dual),
            client: ClientPlan(transport: .mptcp, target: .serverIPv4Mapped),
            expected: mptcp(family: 4)),
        Scenario(
            name: "mptcp-nonblocking", summary: "MPTCP at both ends, the client does not wait in connect()",
            port: 7704, inDemo: true,
            server: ServerPlan(transport: .mptcp, family: .ipv4),
            client: ClientPlan(transport: .mptcp, target: .serverIPv4, blocking: false),
            expected: mptcp(family: 4)),
        Scenario(
            name: "mptcp-ten-at-once", summary: "ten MPTCP connections, all started before any is waited for",
            port: 7705, inDemo: true,
            server: ServerPlan(transport: .mptcp, family: .ipv4),
            client: ClientPlan(transport: .mptcp, target: .serverIPv4, connections: 10, blocking: false),
            expected: mptcp(family: 4, count: 10)),
        Scenario(
            name: "mptcp-to-tcp-server", summary: "an MPTCP client reaches a plain TCP listener", port: 7706,
            inDemo: true,
            server: ServerPlan(transport: .tcp, family: .ipv4),
            client: ClientPlan(transport: .mptcp, target: .serverIPv4),
            expected: Sides(
                client: Expectation(
                    [ExpectedHandshake(.fallback, .synackWithoutMptcp, family: 4)],
                    Counters(synSent: 1, fallbackSynack: 1)),
                // The listener is no MPTCP socket: nothing counts there.
                server: Expectation([ExpectedHandshake(.fallback, .listenerIsTcp, family: 4)]))),
        Scenario(
            name: "tcp-to-mptcp-server", summary: "a plain TCP client reaches an MPTCP listener", port: 7707,
            inDemo: true,
            server: ServerPlan(transport: .mptcp, family: .ipv4),
            client: ClientPlan(transport: .tcp, target: .serverIPv4),
            expected: Sides(
                client: Expectation([]),
                // FallbackACK counts only third ACKs after a SYN that had the option.
                server: Expectation([ExpectedHandshake(.fallback, .synWithoutMptcp, family: 4)]))),
        Scenario(
            name: "refused", summary: "an MPTCP client reaches a port where nobody listens", port: 7708,
            inDemo: true,
            client: ClientPlan(transport: .mptcp, target: .serverIPv4, ending: .refused),
            expected: Sides(
                client: Expectation(
                    [ExpectedHandshake(.refused, .rstToSyn, family: 4)], Counters(synSent: 1)),
                server: Expectation([]))),
        Scenario(
            name: "unanswered", summary: "an MPTCP client's SYNs are dropped without an answer (3 s)",
            port: 7709, inDemo: true,
            client: ClientPlan(transport: .mptcp, target: .nobody, ending: .timedOut),
            script: Act.oneRetransmission + [.connect, .open, .close],
            expected: Sides(
                client: Expectation(
                    [ExpectedHandshake(.timeout, .noSynack, family: 4)],
                    ["MPCapableSYNTX": 1, "MPCapableSYNTXDrop": 1]),
                server: Expectation([]))),
    ]

    /// Both ends speak MPTCP.
    static func mptcp(family: UInt8, count: Int = 1) -> Sides<Expectation> {
        let handshakes = [ExpectedHandshake(.mptcp, family: family, count: count)]
        let number = UInt64(count)
        return Sides(
            client: Expectation(handshakes, Counters(synSent: number, synackReceived: number)),
            server: Expectation(handshakes, Counters(synReceived: number, ackReceived: number)))
    }
}

extension Act {
    /// One retransmission of the client's SYNs, so that nobody's silence is known after 1 s + 2 s.
    static let oneRetransmission: [Act] = [
        .set(.client, "net/ipv4/tcp_syn_retries", "1"),
        // Since Linux 6.5 these many come on top, one second apart.
        .set(.client, "net/ipv4/tcp_syn_linear_timeouts", "0"),
    ]
}
