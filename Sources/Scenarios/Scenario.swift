// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Real traffic between the two ends of a stage, and what is known of it beforehand.
public struct Scenario: Sendable {
    /// kebab-case.
    public let name: String
    /// One line, for people.
    public let summary: String
    /// Where the server listens, or nobody does; each scenario has its own.
    public let port: UInt16
    /// Short and instructive.
    public let inDemo: Bool
    /// Whom `.listen` starts.
    package let server: ServerPlan?
    /// Whom `.connect` starts.
    let client: ClientPlan
    /// What happens, in this order.
    let script: [Act]
    public let expected: Sides<Expectation>
    /// What is seen besides by a trace that hooks the kernel's functions.
    public let seenByFunctions: Sides<FunctionSight>
    /// Without one of these the kernel can't do what the scenario is about.
    public let needs: [KernelFeature]
    /// What is to be seen instead where the kernel lacks something; the first that it lacks counts.
    let expectedWithout: [(feature: KernelFeature, expected: Sides<Expectation>)]
    /// What some kernels do instead, and nothing tells beforehand.
    let alternatives: [Sides<Expectation>]
    /// MPTCP sockets of the server that the kernel counts for ever: it counts one twice that listens twice.
    let overcounted: Int

    init(
        name: String, summary: String, port: UInt16, inDemo: Bool = false, server: ServerPlan? = nil,
        client: ClientPlan = ClientPlan(transport: .mptcp, target: .serverIPv4),
        script: [Act] = [.listen, .connect, .open, .close], expected: Sides<Expectation>,
        seenByFunctions: Sides<FunctionSight> = Sides(client: FunctionSight(), server: FunctionSight()),
        needs: [KernelFeature] = [],
        expectedWithout: [(feature: KernelFeature, expected: Sides<Expectation>)] = [],
        alternatives: [Sides<Expectation>] = [], overcounted: Int = 0
    ) {
        self.name = name
        self.summary = summary
        self.port = port
        self.inDemo = inDemo
        self.server = server
        self.client = client
        self.script = script
        self.expected = expected
        self.seenByFunctions = seenByFunctions
        self.needs = needs
        self.expectedWithout = expectedWithout
        self.alternatives = alternatives
        self.overcounted = overcounted
    }

    /// A listener.
    package struct ServerPlan: Sendable {
        package let transport: TransportProtocol
        let family: Family
        /// Where it listens; nil: everywhere.
        var address: String?

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
