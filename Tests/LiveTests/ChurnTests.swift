// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Testing

@testable import Scenarios

extension Live {
    /// Many short connections: nothing is missed, and what is missed is said.
    @Suite struct Churn {
        @Test func twentyThousandConnectionsAreAllThere() throws {
            // Until the kernel has let go of the last socket: then each has its `close`.
            let script = """
                ip link set lo up && "$@" && while grep -Eq '^MPTCP(v6)? +[0-9]+ +[1-9]' /proc/net/protocols
                do :; done
                """
            let file = try traced(
                ["--format", "json"],
                command: ["unshare", "-n", "bash", "-c", script, "-"]
                    + churn(port: 27801, count: 20_000, alone: false))
            let counted = String(decoding: file.printed, as: UTF8.self)
            #expect(file.lostTotal == 0)
            #expect(file.churnDifferences(port: 27801, count: 20_000, actorSaid: counted) == [])
        }

        @Test func aSmallBufferLosesAndSaysSo() throws {
            let file = try traced(
                ["--buffer-size", "4096", "--format", "json"],
                command: try churn(port: 27802, count: 5_000))
            #expect(file.lossyDifferences(port: 27802, count: 5_000) == [])
        }

        /// A reader that is stopped for a while overflows a bigger buffer.
        @Test func aStoppedReaderLosesAndSaysSo() throws {
            var actor = try ActorProcess(
                role: "churn", executable: try Program.path(),
                arguments: Actor.arguments([
                    "count": "2000", "new-netns": "1", "port": "27803", "wait": "1", "hold": "1",
                ]))
            _ = try actor.expect(["ready"], interruptedBy: -1)
            var tracing = try Tracing(["--buffer-size", "65536"])
            try tracing.awaitReady()
            kill(tracing.pid, SIGSTOP)
            actor.tell("go")
            _ = try actor.expect(["churn"], interruptedBy: -1)
            kill(tracing.pid, SIGCONT)
            actor.tell("close")
            try actor.finish()
            let file = try tracing.finish()
            #expect(file.lossyDifferences(port: 27803, count: 2_000) == [])
        }

        /// - Parameter alone: in a network namespace of its own.
        private func churn(port: Int, count: Int, alone: Bool = true) throws -> [String] {
            [try Program.path(), Actor.word, "churn", "--count", "\(count)", "--port", "\(port)"]
                + (alone ? ["--new-netns", "1"] : [])
        }
    }
}
