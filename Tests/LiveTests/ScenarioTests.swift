// SPDX-License-Identifier: Apache-2.0

import Handshake
import Judging
import Testing

@testable import Scenarios

extension Live {
    /// Every scenario, as seen by traces of everything and of one end alone.
    @Suite struct EveryScenario {
        @Test(arguments: Scenario.all.map(\.name)) func everyTraceSeesWhatIsDeclared(_ name: String) throws {
            // A program that a softirq interrupts is skipped and counted as lost: such a run proves
            // nothing, and is made again.
            for attempt in 1...3 {
                if try look(at: name, isLast: attempt == 3) { return }
            }
        }

        /// - Returns: false if something was lost.
        private func look(at name: String, isLast: Bool) throws -> Bool {
            let scenario = try #require(Scenario.named(name))
            let kernel = try KernelFeatures()
            if scenario.obstacle(on: kernel) != nil { return true }
            let stage = try Stage(executable: try Program.path())
            // Four traces of the same run.
            var everything = try Tracing(["--verify"])
            var steps = try Tracing(["--steps", "--verify"])
            var clientAlone = try Tracing(["--netns", stage.client.namespace.name])
            var serverAlone = try Tracing(["--netns", stage.server.namespace.name])
            try everything.awaitReady()
            try steps.awaitReady()
            try clientAlone.awaitReady()
            try serverAlone.awaitReady()
            var clientMonitor = try Monitor(stage.client.namespace)
            var serverMonitor = try Monitor(stage.server.namespace)
            let midway = Midway()
            let joins = !(scenario.expected.client.joins + scenario.expected.server.joins).isEmpty
            let result = try scenario.run(on: stage) { try midway.look(at: stage, tracing: joins) }
            #expect(Expected.counterDifferences(scenario, result, on: kernel) == [])
            let files = (
                try everything.finish(), try steps.finish(), try clientAlone.finish(),
                try serverAlone.finish()
            )
            let late = try midway.finish()
            let lost = files.0.lostTotal + files.1.lostTotal + files.2.lostTotal + files.3.lostTotal
            if lost > 0, !isLast { return false }
            #expect(lost == 0)
            let whereabouts = Whereabouts(stage)
            let whole = Seen(files.0, scenario, whereabouts, result, on: kernel)
            let stepped = Seen(files.1, scenario, whereabouts, result, on: kernel)
            let client = Seen(files.2, scenario, whereabouts, result, on: kernel)
            let server = Seen(files.3, scenario, whereabouts, result, on: kernel)
            #expect(whole.differences() == [])
            #expect(stepped.differences() == [])
            #expect(client.differences(only: .client) == [])
            #expect(server.differences(only: .server) == [])

            // An end alone tells the same, whatever else is traced.
            #expect(whole.normalised(.client) == stepped.normalised(.client))
            #expect(whole.normalised(.client) == client.normalised(.client))
            #expect(whole.normalised(.server) == stepped.normalised(.server))
            #expect(whole.normalised(.server) == server.normalised(.server))

            // The kernel's books say the same, of every namespace there is.
            for file in [files.0, files.1] {
                let verified = try Verified(file)
                #expect(verified.differences == [])
                #expect(verified.equal == verified.checked)
                let counters = try Verified.counters(steps: file.of("step") != [], in: stage.client.namespace)
                #expect(verified.checked >= 2 * counters)
            }

            #expect(whole.file.of("step") == [])
            #expect(stepped.counterDifferences(on: kernel) == [])
            #expect(stepped.ladderDifferences() == [])
            let told = Sides(client: try clientMonitor.events(), server: try serverMonitor.events())
            for side in Side.allCases {
                #expect(
                    stepped.file.joinDifferences(side, in: stage[side].namespace.inode, told[side]) == [])
            }

            // What was open when a trace began ends in it under the same number.
            #expect((late != nil) == joins)
            for space in [stage.client.namespace, stage.server.namespace] {
                guard let late else { break }
                let conns = late.of("connection", in: space.inode).map { $0.number("conn") }
                #expect(conns.count == 1)
                for conn in conns {
                    #expect(late.of("close").filter { $0.number("conn") == conn }.count == 1)
                }
            }
            return true
        }
    }
}
