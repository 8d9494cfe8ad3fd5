// SPDX-License-Identifier: Apache-2.0

import Handshake
import Testing

@testable import Scenarios

/// The table of scenarios, and the parts that need no root.
struct TableTests {
    @Test func namesAndPortsAreUniqueAndKebab() {
        #expect(Set(Scenario.all.map(\.name)).count == Scenario.all.count)
        #expect(Set(Scenario.all.map(\.port)).count == Scenario.all.count)
        for scenario in Scenario.all {
            #expect(
                scenario.name.utf8.allSatisfy {
                    (97...122).contains($0) || (48...57).contains($0) || $0 == 45
                })
            #expect(!scenario.summary.isEmpty && !scenario.summary.contains("\n"))
        }
    }

    @Test func successHasNoReason() {
        for scenario in Scenario.all {
            for handshake in scenario.expected.client.handshakes + scenario.expected.server.handshakes {
                #expect((handshake.reason == nil) == (handshake.outcome == .mptcp), "\(scenario.name)")
            }
        }
    }

    /// What is to be seen of joins and addresses, in the words of the kernel's counters.
    @Test(arguments: Scenario.all) func recordsAgreeWithCounters(_ scenario: Scenario) {
        let (client, server) = (scenario.expected.client, scenario.expected.server)
        func handshakes(_ end: Scenarios.Expectation, _ test: (ExpectedHandshake) -> Bool) -> UInt64 {
            UInt64(end.handshakes.filter(test).map(\.count).reduce(0, +))
        }
        func joins(_ end: Scenarios.Expectation, _ test: (ExpectedJoin) -> Bool) -> UInt64 {
            UInt64(end.joins.filter(test).map(\.count).reduce(0, +))
        }
        let asked = handshakes(client) { $0.reason != .blackhole }
        #expect(client.counters["MPCapableSYNTX"] == asked)
        #expect(client.counters["MPCapableSYNTXDisabled"] == handshakes(client) { $0.reason == .blackhole })
        #expect(
            client.counters["MPCapableSYNACKRX"]
                == handshakes(client) { $0.outcome == .mptcp })
        #expect(client.counters["MPJoinSynTx"] == joins(client) { _ in true })
        #expect(server.counters["MPJoinSynRx"] == joins(server) { _ in true })
        #expect(server.counters["MPJoinAckRx"] == joins(server) { $0.outcome == .joined })
        for (counter, reason) in [
            ("MPJoinRejected", Reason.mpJoinRejected), ("MPJoinNoTokenFound", .mpJoinNoTokenFound),
            ("MPJoinAckHMacFailure", .mpJoinAckHMacFailure),
        ] {
            #expect(server.counters[counter] == joins(server) { $0.reason == reason })
        }
        for end in [client, server] {
            for (counter, change) in [
                ("AddAddrTx", AddressChange.announced), ("AddAddr", .received), ("RmAddr", .removed),
            ] {
                let seen = end.addresses.filter { $0.change == change }.map(\.count).reduce(0, +)
                #expect(end.counters[counter] == UInt64(seen))
            }
            #expect(end.joins.allSatisfy { ($0.reason == nil) == ($0.outcome == .joined) })
            #expect(Set(end.counters.values.keys).isSubset(of: Counters.compared))
        }
    }

    /// Every script lets its caller look once.
    @Test func everyScriptIsOpenOnce() {
        for scenario in Scenario.all {
            let open = scenario.script.filter { if case .open = $0 { true } else { false } }
            #expect(open.count == 1, "\(scenario.name)")
        }
    }

    @Test func toolsAreCaptured() throws {
        let output = try Tool.run("sh", ["-c", "cat; echo oops >&2; exit 3"], input: "heard\n")
        #expect(output.standardOutput == "heard\n")
        #expect(output.standardError == "oops\n")
        #expect(output.status == 3)
        #expect(try Tool.run("sh", ["-c", "kill -9 $$"]).status == 128 + 9)
    }

    @Test func muchInputAndOutputDoNotBlock() throws {
        let text = String(repeating: "0123456789abcdef\n", count: 50_000)
        #expect(try Tool.run("cat", [], input: text).standardOutput == text)
        // A tool that reads nothing is no error.
        #expect(try Tool.run("true", [], input: text).status == 0)
    }

    @Test func toolsFailWithWords() throws {
        #expect(
            failure { _ = try Tool.run("mpscope-no-such-tool", []) }.contains(
                "cannot find mpscope-no-such-tool"))
        #expect(
            failure { try Tool.check("sh", ["-c", "echo why >&2; exit 2"]) }
                == "`sh -c echo why >&2; exit 2` ended with 2: why")
        #expect(
            failure { _ = try Tool.run("sh", ["-c", "read nothing; sleep 100"], input: "\n", seconds: 1) }
                .contains("within 1 s"))
    }

    @Test func aToolMayBeNamedByItsPath() throws {
        #expect(try Tool.run("/bin/echo", ["hello"]).standardOutput == "hello\n")
    }

    @Test func endsOfProcessesAreRead() {
        #expect(ExitStatus(0) == .exited(0))
        #expect(ExitStatus(77 << 8) == .exited(77))
        #expect(ExitStatus(9) == .signalled(9))
        #expect(ExitStatus(0x80 | 11) == .signalled(11))
    }
}
