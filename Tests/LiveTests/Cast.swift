// SPDX-License-Identifier: Apache-2.0

import Glibc

@testable import Scenarios

/// Servers and clients of a stage that are there before anything is traced, their pids known.
///
/// | connection | client | server | port | records |
/// |---|---|---|---|---|
/// | `both` | MPTCP | MPTCP | 27701 | both ends `mptcp` |
/// | `tcpServer` | MPTCP | TCP | 27702 | both ends `fallback` |
/// | `ipv6` | MPTCP | MPTCP | 27703 | both ends `mptcp` |
/// | `tcpClient` | TCP | MPTCP | 27704 | the server's `fallback` |
struct Cast: ~Copyable {
    var servers: Row
    var clients: Row

    /// An actor for each connection.
    struct Row: ~Copyable {
        var both: ActorProcess
        var tcpServer: ActorProcess
        var ipv6: ActorProcess
        var tcpClient: ActorProcess

        mutating func tell(_ word: String) {
            both.tell(word)
            tcpServer.tell(word)
            ipv6.tell(word)
            tcpClient.tell(word)
        }

        mutating func expect(_ word: String) throws {
            _ = try both.expect([word], interruptedBy: -1)
            _ = try tcpServer.expect([word], interruptedBy: -1)
            _ = try ipv6.expect([word], interruptedBy: -1)
            _ = try tcpClient.expect([word], interruptedBy: -1)
        }

        mutating func finish() throws {
            try both.finish()
            try tcpServer.finish()
            try ipv6.finish()
            try tcpClient.finish()
        }
    }

    init(_ stage: borrowing Stage) throws {
        let server = stage.server
        let client = stage.client
        var servers = Row(
            both: try Actors.server(server, port: 27701),
            tcpServer: try Actors.server(server, port: 27702, transport: "tcp"),
            ipv6: try Actors.server(server, port: 27703, family: "6"),
            tcpClient: try Actors.server(server, port: 27704))
        try servers.expect("ready")
        var clients = Row(
            both: try Actors.client(client, to: server.ipv4Text, port: 27701),
            tcpServer: try Actors.client(client, to: server.ipv4Text, port: 27702),
            ipv6: try Actors.client(client, to: server.ipv6Text, port: 27703),
            tcpClient: try Actors.client(client, to: server.ipv4Text, port: 27704, transport: "tcp"))
        try clients.expect("ready")
        self.servers = servers
        self.clients = clients
    }

    /// Makes the connections, one after the other, and closes them.
    mutating func play() throws {
        for place in 0..<4 {
            switch place {
            case 0: try Self.open(&clients.both)
            case 1: try Self.open(&clients.tcpServer)
            case 2: try Self.open(&clients.ipv6)
            default: try Self.open(&clients.tcpClient)
            }
        }
        servers.tell("close")
        clients.tell("close")
        try clients.expect("done")
        try clients.finish()
        try servers.expect("done")
        try servers.finish()
    }

    private static func open(_ client: inout ActorProcess) throws {
        client.tell("go")
        _ = try client.expect(["connected"], interruptedBy: -1)
    }
}

/// Actors by themselves.
enum Actors {
    static func server(
        _ end: Stage.End, port: Int, transport: String = "mptcp", family: String = "4",
        connections: Int = 1, backlog: Int? = nil
    ) throws -> ActorProcess {
        try ActorProcess(
            role: "server", executable: try Program.path(),
            arguments: Actor.arguments([
                "netns": end.namespace.name, "protocol": transport, "family": family,
                "port": "\(port)", "connections": "\(connections)",
                "backlog": "\(backlog ?? connections + 1)",
            ]))
    }

    static func client(
        _ end: Stage.End, to address: String, port: Int, transport: String = "mptcp", connections: Int = 1
    ) throws -> ActorProcess {
        try ActorProcess(
            role: "client", executable: try Program.path(),
            arguments: Actor.arguments([
                "netns": end.namespace.name, "protocol": transport, "address": address,
                "port": "\(port)", "connections": "\(connections)", "connect": "blocking",
            ]))
    }
}
