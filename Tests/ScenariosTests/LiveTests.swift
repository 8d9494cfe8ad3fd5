// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import SystemPackage
import Testing

@testable import Scenarios

extension [Scenario] {
    /// Each as often as MPSCOPE_REPEAT says.
    func repeated() -> [Scenario] {
        let times = getenv("MPSCOPE_REPEAT").flatMap { Int(String(cString: $0)) } ?? 1
        return flatMap { [Scenario](repeating: $0, count: times) }
    }
}

extension Scenario: CustomTestStringConvertible {
    public var testDescription: String { name }
}

/// Real traffic, without any tracer. Needs root and says so.
@Suite(.serialized) struct LiveTests {
    struct Mistake: Error {}

    /// In the words of the kernel's own counters, at each end; and what is left on the stage.
    @Test(arguments: Scenario.all.repeated()) func countsWhatItDeclares(_ scenario: Scenario) throws {
        let stage = try Stage(executable: try ActorProgram.path())
        let before = try StageState(stage)
        var calls = 0
        let result = try scenario.run(on: stage) { calls += 1 }

        #expect(calls == 1)
        #expect(result.counters.client == scenario.expected.client.counters)
        #expect(result.counters.server == scenario.expected.server.counters)
        let pids = result.clientPIDs + result.serverPIDs
        #expect(pids.allSatisfy { Leftover.isGone($0) })
        let changed = try StageState(stage).differences(from: before)
        #expect(changed == [])
    }

    /// A stage can be used again: nothing of one scenario is counted in the next.
    @Test func allOnOneStage() throws {
        let stage = try Stage(executable: try ActorProgram.path())
        for scenario in Scenario.all where !scenario.summary.contains(" s)") {
            for _ in 1...2 {
                let result = try scenario.run(on: stage)
                #expect(result.counters.client == scenario.expected.client.counters, "\(scenario.name)")
                #expect(result.counters.server == scenario.expected.server.counters, "\(scenario.name)")
            }
        }
    }

    /// Every client's connection is told of.
    @Test func connectionsAreAsManyAsHandshakes() throws {
        let stage = try Stage(executable: try ActorProgram.path())
        for name in ["mptcp-ten-at-once", "refused", "join-by-client", "syn-stripped", "tcp-to-mptcp-server"]
        {
            let scenario = try #require(Scenario.named(name))
            let result = try scenario.run(on: stage)
            let expected = scenario.expected.client.handshakes.map(\.count).reduce(0, +)
            #expect(result.connections.count == max(1, expected), "\(name)")
        }
    }

    /// Addresses, ports and owners, as `ss` tells them while the connections are open.
    @Test(arguments: ["mptcp-ten-at-once", "mptcp-ipv6", "mptcp-v4-mapped", "tcp-to-mptcp-server"])
    func endpointsAndOwnersAreTheKernels(_ name: String) throws {
        let scenario = try #require(Scenario.named(name))
        let stage = try Stage(executable: try ActorProgram.path())
        let namespaces = Sides(client: stage.client.namespace.name, server: stage.server.namespace.name)
        var listed = Sides(client: "", server: "")
        let result = try scenario.run(on: stage) {
            let arguments = ["ss", "-tnHp", "state", "established"]
            listed.client = try Tool.check("ip", ["netns", "exec", namespaces.client] + arguments)
                .standardOutput
            listed.server = try Tool.check("ip", ["netns", "exec", namespaces.server] + arguments)
                .standardOutput
        }
        #expect(listed.client.split(separator: "\n").count == result.connections.count)
        #expect(listed.server.split(separator: "\n").count == result.connections.count)
        for connection in result.connections {
            #expect(listed.client.contains(":\(connection.client.port) "), "\(listed.client)")
            #expect(listed.server.contains(":\(connection.client.port) "), "\(listed.server)")
            #expect(connection.server.port == scenario.port)
            let family: UInt8 = connection.client.address.isV4 ? 4 : 6
            #expect(scenario.expected.server.handshakes.allSatisfy { $0.family == family })
        }
        // MPTCP's subflows belong to no process in `ss`; plain TCP's do.
        if name == "tcp-to-mptcp-server" {
            #expect(listed.client.contains("pid=\(result.clientPID),"), "\(listed.client)")
        }
    }

    @Test func countersAreThoseOfNstat() throws {
        let scenario = try #require(Scenario.named("mptcp-ten-at-once"))
        let stage = try Stage(executable: try ActorProgram.path())
        _ = try scenario.run(on: stage)
        let counters = try stage.counters(.server)
        let printed = try Tool.check(
            "ip", ["netns", "exec", stage.server.namespace.name, "nstat", "-asz", "MPTcpExtMPCapable*"]
        ).standardOutput
        var values: [String: UInt64] = [:]
        for line in printed.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 3, let value = UInt64(words[1]) { values[String(words[0])] = value }
        }
        #expect(counters.ackReceived == 10)
        #expect(values["MPTcpExtMPCapableSYNRX"] == counters.synReceived)
        #expect(values["MPTcpExtMPCapableACKRX"] == counters.ackReceived)
    }

    @Test func settingsComeBack() throws {
        let scenario = try #require(Scenario.named("unanswered"))
        let stage = try Stage(executable: try ActorProgram.path())
        let path = "/proc/sys/net/ipv4/tcp_syn_retries"
        let inside = { () throws(ScenarioError) in try SmallFile.read(path) }
        let before = try stage.client.namespace.inside(inside)
        let namespace = stage.client.namespace
        var during = ""
        _ = try scenario.run(on: stage) { during = try namespace.inside(inside) }
        #expect(during == "1\n")
        #expect(try stage.client.namespace.inside(inside) == before)
    }

    @Test func nothingIsLeftWhenTheCallerThrows() throws {
        let scenario = try #require(Scenario.named("mptcp-ten-at-once"))
        var stage = try Stage(executable: try ActorProgram.path())
        let names = [stage.client.namespace.name, stage.server.namespace.name]
        let janitor = stage.janitorPID
        #expect(Namespace.names(prefix: names[0]) == [names[0]])
        #expect(failure { _ = try scenario.run(on: stage) { throw Mistake() } }.contains("Mistake()"))
        // The connections were closed in order, and the stage is as good as new.
        let again = try scenario.run(on: stage)
        #expect(again.counters.server == scenario.expected.server.counters)
        try stage.remove()
        try stage.remove()
        #expect(names.allSatisfy { Namespace.names(prefix: $0).isEmpty })
        #expect(Leftover.isGone(janitor))
    }

    /// A script that fails half-way leaves nothing behind either.
    @Test func aScriptThatFailsIsUndone() throws {
        let scenario = Scenario(
            name: "fails", summary: "", port: 7999,
            script: [
                .set(.client, "net/mptcp/checksum_enabled", "1"),
                .set(.server, "net/ipv4/tcp_syncookies", "2"),
                .filter(.server, [Rule.stripSyn]), .filterSent(.client, [Rule.dropSyn]),
                .endpoint(.client, "$client4b", "subflow"), .limits(.server, subflows: 1, accepted: 1),
                .start("client", .client), .ask("client", "socket c 4"), .ask("client", "juggle c"),
            ],
            expected: Sides(client: Scenarios.Expectation(), server: Scenarios.Expectation()))
        let stage = try Stage(executable: try ActorProgram.path())
        let before = try StageState(stage)
        let words = failure { _ = try scenario.run(on: stage) }
        #expect(words.contains("what is \"juggle\"?"), "\(words)")
        let changed = try StageState(stage).differences(from: before)
        #expect(changed == [])
    }

    @Test func rulesThatNftRefusesAreQuoted() throws {
        let scenario = Scenario(
            name: "fails", summary: "", port: 7999, script: [.filter(.server, ["tcp option nonsense drop"])],
            expected: Sides(client: Scenarios.Expectation(), server: Scenarios.Expectation()))
        let stage = try Stage(executable: try ActorProgram.path())
        let words = failure { _ = try scenario.run(on: stage) }
        #expect(words.contains("nft add rule tcp option nonsense drop"), "\(words)")
        #expect(words.contains("syntax error"), "\(words)")
    }

    @Test func aStageEndsByItself() throws {
        var names: [String] = []
        var janitor: Int32 = 0
        do {
            let stage = try Stage(executable: try ActorProgram.path())
            names = [stage.client.namespace.name, stage.server.namespace.name]
            janitor = stage.janitorPID
        }
        #expect(names.allSatisfy { Namespace.names(prefix: $0).isEmpty })
        #expect(Leftover.isGone(janitor))
    }

    @Test func leftoversGo() throws {
        let stage = try Stage(executable: try ActorProgram.path())
        // Of a process that makes no stages itself; other tests may be making theirs.
        let name = "mpscope-\(stage.janitorPID)-c1"
        try Tool.check("ip", ["netns", "add", name])
        Stage.removeLeftovers(of: stage.janitorPID)
        #expect(Namespace.names(prefix: name).isEmpty)
        #expect(!Namespace.names(prefix: stage.client.namespace.name).isEmpty)
    }

    /// SIGKILL leaves a program no time to tidy up; its janitor does.
    @Test(arguments: [SIGKILL, SIGINT]) func nothingIsLeftWhenTheProgramIsKilled(_ signal: Int32) throws {
        var program = try ActorProcess(role: "stage", executable: try ActorProgram.path(), arguments: [])
        let names = try program.expect(["ready"], interruptedBy: -1).arguments
        #expect(names.count == 2)
        #expect(names.allSatisfy { Namespace.names(prefix: $0) == [$0] })
        kill(program.pid, signal)
        #expect(failure { try program.finish() }.contains("by signal \(signal)"))
        #expect(Leftover.eventually { names.allSatisfy { Namespace.names(prefix: $0).isEmpty } })
    }

    @Test func anInterruptionEndsEveryWait() throws {
        let pipe = try DescriptorPair.pipe()
        let scenario = try #require(Scenario.named("mptcp-ipv4"))
        let stage = try Stage(
            executable: try ActorProgram.path(), interruptedBy: FileDescriptor(rawValue: pipe.reading.raw))
        _ = try scenario.run(on: stage)
        var byte: UInt8 = 0
        #expect(write(pipe.writing.raw, &byte, 1) == 1)
        #expect(failure { _ = try scenario.run(on: stage) } == "interrupted")
    }

    @Test func aWrongProgramIsNamed() {
        let missing = failure { _ = try Stage(executable: "/nonexistent/program") }
        #expect(missing.contains("posix_spawn failed on /nonexistent/program: No such file"), "\(missing)")
        let other = failure { _ = try Stage(executable: "/bin/false") }
        #expect(other.contains("to say \"ready\" but ended with status 1"), "\(other)")
    }

    /// What the actor says on its standard error is in the error.
    @Test func anActorsFailureIsQuoted() throws {
        var actor = try ActorProcess(
            role: "server", executable: try ActorProgram.path(),
            arguments: Actor.arguments(["netns": "mpscope-no-such", "port": "1", "connections": "1"]))
        let words = failure { _ = try actor.expect(["ready"], interruptedBy: -1) }
        #expect(words.contains("setns failed on /run/netns/mpscope-no-such"), "\(words)")
    }

    @Test(arguments: ["4", "6"]) func churnIsAllMptcp(_ family: String) throws {
        let output = try Tool.run(
            try ActorProgram.path(),
            [
                Actor.word, "churn", "--new-netns", "1", "--count", "1000", "--family", family,
                "--concurrency", "2",
            ])
        #expect(output.status == 0, "\(output.standardError)")
        for part in [
            "connections=1000", "failures=0", "syntx=1000", "synrx=1000", "ackrx=1000", "fallback=0",
        ] {
            #expect(output.standardOutput.contains(" \(part)"), "\(output.standardOutput)")
        }
    }
}
