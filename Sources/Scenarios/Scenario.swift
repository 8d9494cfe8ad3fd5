// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Handshakes that one end must see, all alike.
public struct ExpectedHandshake: Sendable, Hashable {
    public let outcome: Outcome
    public let reason: Reason?
    /// 4 or 6.
    public let family: UInt8
    public let count: Int

    public init(_ outcome: Outcome, _ reason: Reason? = nil, family: UInt8, count: Int = 1) {
        self.outcome = outcome
        self.reason = reason
        self.family = family
        self.count = count
    }
}

/// What must be seen at one end.
public struct Expectation: Sendable, Hashable {
    /// The `handshake` records of that end's namespace.
    public let handshakes: [ExpectedHandshake]
    /// What the kernel itself counts there.
    public let counters: HandshakeCounters

    public init(_ handshakes: [ExpectedHandshake], _ counters: HandshakeCounters = .init()) {
        self.handshakes = handshakes
        self.counters = counters
    }
}

/// Real traffic between the two ends of a stage, and what is known of it beforehand.
public struct Scenario: Sendable {
    /// kebab-case.
    public let name: String
    /// One line, for people.
    public let summary: String
    /// Where the server listens, or nobody does; each scenario has its own.
    public let port: UInt16
    let server: ServerPlan?
    let client: ClientPlan
    public let expected: Sides<Expectation>

    /// A listener.
    struct ServerPlan: Sendable {
        let transport: TransportProtocol
        let family: Family

        enum Family: String, Sendable {
            case ipv4 = "4"
            case ipv6 = "6"
            /// An IPv6 socket that takes IPv4 as well.
            case dual = "6+4"
        }
    }

    /// Connections, and how their connect() ends.
    struct ClientPlan: Sendable {
        let transport: TransportProtocol
        let target: Target
        var connections = 1
        var blocking = true
        var ending = Ending.connected
        /// Retransmit the SYN as seldom as the kernel lets us.
        var givesUpSoon = false
    }

    enum Target: Sendable {
        case serverIPv4, serverIPv6
        /// ::ffff:a.b.c.d, from an IPv6 socket.
        case serverIPv4Mapped
        /// An address whose packets are dropped.
        case nobody
    }

    enum Ending: String, Sendable {
        case connected, refused, timedOut
    }

    /// The scenario of that name.
    public static func named(_ name: String) -> Scenario? { all.first { $0.name == name } }
}
