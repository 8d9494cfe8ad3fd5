// SPDX-License-Identifier: Apache-2.0

import Glibc
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
            for part in [
                "connections=20000", "failures=0", "syntx=20000", "synrx=20000", "synackrx=20000",
                "ackrx=20000",
            ] {
                #expect(counted.contains(" \(part) "), "\(counted)")
            }
            #expect(file.lostTotal == 0)
            let listener = try #require(file.listener(port: 27801))
            let netns = UInt32(listener.number("netns") ?? 0)
            let handshakes = file.of("handshake", in: netns)
            let clients = handshakes.filter { $0.text("side") == "client" }
            let servers = handshakes.filter { $0.text("side") == "server" }
            #expect(clients.count == 20_000)
            #expect(servers.count == 20_000)
            #expect(Set(handshakes.map(\.verdict)) == ["mptcp"])
            #expect(Set(handshakes.map { $0.number("pid") }) == [listener.number("pid")])
            #expect(Set(handshakes.map { $0.text("comm") }) == ["mp-churn"])
            #expect(Set(clients.map { $0.text("pid_source") }) == ["connect"])
            #expect(Set(servers.map { $0.text("pid_source") }) == ["listen"])
            #expect(Set(servers.map { $0.number("listener") }) == [listener.number("listener")])

            // Each client's record has its one server's.
            let expected = Set(
                clients.map { line in
                    Pair(
                        token: line.text("token"), remoteToken: line.text("remote_token"),
                        local: line.end("local"), remote: line.end("remote"))
                })
            let found = Set(
                servers.map { line in
                    Pair(
                        token: line.text("remote_token"), remoteToken: line.text("token"),
                        local: line.end("remote"), remote: line.end("local"))
                })
            #expect(expected.count == 20_000)
            #expect(expected == found)

            let conns = Set(handshakes.map { $0.number("conn") ?? 0 })
            let closes = file.of("close").compactMap { $0.number("conn") }.filter(conns.contains)
            #expect(conns.count == 40_000)
            #expect(conns.subtracting(closes).sorted() == [])
            #expect(closes.count == 40_000)
        }

        @Test func aSmallBufferLosesAndSaysSo() throws {
            let file = try traced(
                ["--buffer-size", "4096", "--format", "json"],
                command: try churn(port: 27802, count: 5_000))
            #expect(file.lostTotal > 0)
            checkLossy(file, port: 27802, count: 5_000)
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
            #expect(file.lostTotal > 0)
            checkLossy(file, port: 27803, count: 2_000)
        }

        /// What is told in spite of a loss is true.
        private func checkLossy(_ file: TraceFile, port: Int, count: Int) {
            let handshakes = file.of("handshake").filter {
                $0.end("local")?.port == port || $0.end("remote")?.port == port
            }
            #expect(handshakes.count > 0)
            let verdicts = Set(handshakes.map(\.verdict))
            #expect(verdicts.isSubset(of: ["mptcp", "aborted trace_ended", "aborted not_followed"]))
            for side in ["client", "server"] {
                #expect(handshakes.filter { $0.text("side") == side }.count <= count)
            }
            let reasons = Set(file.of("lost").map { $0.text("reason") })
            #expect(reasons.isSubset(of: ["ring_full", "recursion"]))
        }

        private struct Pair: Hashable {
            let token, remoteToken: String?
            let local, remote: Place?
        }

        /// - Parameter alone: in a network namespace of its own.
        private func churn(port: Int, count: Int, alone: Bool = true) throws -> [String] {
            [try Program.path(), Actor.word, "churn", "--count", "\(count)", "--port", "\(port)"]
                + (alone ? ["--new-netns", "1"] : [])
        }
    }
}

extension TraceFile {
    /// The listener on that port, as it opened.
    func listener(port: Int) -> Line? {
        let found = of("listener").filter { $0.end("local")?.port == port && $0.text("state") == "open" }
        return found.count == 1 ? found.first : nil
    }
}
