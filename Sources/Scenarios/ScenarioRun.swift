// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake

/// What a run of a scenario really was, to hold a trace against.
public struct ScenarioResult: Sendable {
    /// Who called connect().
    public let clientPID: Int32
    /// Who called listen(); nil: nobody did.
    public let serverPID: Int32?
    /// The two ends of each connection; v4-mapped ones as IPv4. Port 0 of the client: it no
    /// longer had one when connect() had failed.
    public let connections: [Sides<Endpoint>]
    /// What the kernel counted in each namespace from before the first SYN to after the last
    /// socket was gone.
    public let counters: Sides<HandshakeCounters>
}

extension Scenario {
    /// Runs the scenario. `whileOpen` is called once every connection is established and has
    /// carried a byte each way, or has failed as it should; the connections are closed after it,
    /// also when it throws. All processes are gone at the end, however it ends.
    public func run(
        on stage: borrowing Stage, whileOpen: () throws -> Void = {}
    ) throws(ScenarioError) -> ScenarioResult {
        let settings = try ChangedSettings(
            client.givesUpSoon ? Setting.fastConnectTimeout : [], in: stage.client.namespace)
        defer { withExtendedLifetime(settings) {} }
        let before = Sides(client: try stage.counters(.client), server: try stage.counters(.server))

        var listener: ActorProcess?
        var serverPID: Int32?
        if let server {
            let actor = try startServer(server, on: stage)
            serverPID = actor.pid
            listener = consume actor
        }
        var connector = try startClient(on: stage)
        let clientPID = connector.pid

        connector.tell("go")
        let reply = try connector.expect(["connected", "failed"], interruptedBy: stage.interruptedBy)
        let connections = try connections(from: reply, on: stage)
        if listener != nil, client.ending == .connected {
            _ = try listener?.expect(["open"], interruptedBy: stage.interruptedBy)
        }

        var failure: (any Error)?
        do { try whileOpen() } catch { failure = error }

        // The client's end comes first; the server's follows when it sees that.
        listener?.tell("close")
        connector.tell("close")
        _ = try connector.expect(["done"], interruptedBy: stage.interruptedBy)
        try connector.finish()
        _ = try listener?.expect(["done"], interruptedBy: stage.interruptedBy)
        try listener?.finish()
        try stage.awaitSilence()
        if let failure { throw .whileOpen(failure) }

        let after = Sides(client: try stage.counters(.client), server: try stage.counters(.server))
        return ScenarioResult(
            clientPID: clientPID, serverPID: serverPID, connections: connections,
            counters: Sides(client: after.client - before.client, server: after.server - before.server))
    }

    private func startServer(
        _ plan: ServerPlan, on stage: borrowing Stage
    ) throws(ScenarioError) -> ActorProcess {
        var actor = try ActorProcess(
            role: "server", executable: stage.executable,
            arguments: Actor.arguments([
                "netns": stage.server.namespace.name, "protocol": plan.transport.rawValue,
                "family": plan.family.rawValue, "port": "\(port)", "connections": "\(client.connections)",
            ]))
        _ = try actor.expect(["ready"], interruptedBy: stage.interruptedBy)
        return actor
    }

    private func startClient(on stage: borrowing Stage) throws(ScenarioError) -> ActorProcess {
        let address =
            switch client.target {
            case .serverIPv4: stage.server.ipv4Text
            case .serverIPv6: stage.server.ipv6Text
            case .serverIPv4Mapped: "::ffff:\(stage.server.ipv4Text)"
            case .nobody: stage.nobodyText
            }
        var actor = try ActorProcess(
            role: "client", executable: stage.executable,
            arguments: Actor.arguments([
                "netns": stage.client.namespace.name, "protocol": client.transport.rawValue,
                "address": address, "port": "\(port)", "connections": "\(client.connections)",
                "connect": client.blocking ? "blocking" : "nonblocking",
            ]))
        _ = try actor.expect(["ready"], interruptedBy: stage.interruptedBy)
        return actor
    }

    /// Judges the client's word ("connected", and a local port for each connection, or "failed"
    /// and the errno) and makes endpoints of it.
    private func connections(
        from reply: Reply, on stage: borrowing Stage
    ) throws(ScenarioError) -> [Sides<Endpoint>] {
        let ending: Ending? =
            switch (reply.word, reply.arguments.first.flatMap { CInt($0) }) {
            case ("connected", _): .connected
            case ("failed", ECONNREFUSED): .refused
            case ("failed", ETIMEDOUT): .timedOut
            default: nil
            }
        guard ending == client.ending else {
            throw .unexpectedResult(
                scenario: name, expected: client.ending.rawValue,
                got: ending?.rawValue ?? "\(reply.word) \(reply.arguments.joined(separator: " "))")
        }
        let ports =
            ending == .connected
            ? reply.arguments.compactMap { UInt16($0) }
            : [UInt16](repeating: 0, count: client.connections)
        let (local, remote) =
            switch client.target {
            case .serverIPv4, .serverIPv4Mapped: (stage.client.ipv4, stage.server.ipv4)
            case .serverIPv6: (stage.client.ipv6, stage.server.ipv6)
            case .nobody: (stage.client.ipv4, stage.nobody)
            }
        return ports.map { Sides(client: Endpoint(local, $0), server: Endpoint(remote, port)) }
    }
}
