// SPDX-License-Identifier: Apache-2.0

extension TraceFile {
    /// The listener on that port, as it opened.
    package func listener(port: Int) -> Line? {
        let found = of("listener").filter { $0.end("local")?.port == port && $0.text("state") == "open" }
        return found.count == 1 ? found.first : nil
    }

    /// Holds the trace of a churn that was lossless against what its actor counted: each of `count`
    /// connections is told at both ends, with the same tokens, and closed.
    package func churnDifferences(port: Int, count: Int, actorSaid said: String) -> [String] {
        var differences = Differences()
        let fields = said.split(whereSeparator: \.isWhitespace)
        for part in ["connections", "syntx", "synrx", "synackrx", "ackrx"].map({ "\($0)=\(count)" })
            + ["failures=0"]
        {
            differences.hold(fields.contains { $0 == part }, "the churn has no \(part): \(said)")
        }
        guard let listener = listener(port: port) else {
            differences.hold(false, "no listener on port \(port)")
            return differences.words
        }
        let handshakes = of("handshake").filter { $0.number("netns") == listener.number("netns") }
        let clients = handshakes.filter { $0.text("side") == "client" }
        let servers = handshakes.filter { $0.text("side") == "server" }
        differences.equal(clients.count, count, "client handshakes")
        differences.equal(servers.count, count, "server handshakes")
        differences.equal(Set(handshakes.map(\.verdict)), ["mptcp"], "verdicts")
        differences.equal(Set(handshakes.map { $0.number("pid") }), [listener.number("pid")], "pid")
        differences.equal(Set(handshakes.map { $0.text("comm") }), ["mp-churn"], "comm")
        differences.equal(Set(clients.map { $0.text("pid_source") }), ["connect"], "pid_source")
        differences.equal(Set(servers.map { $0.text("pid_source") }), ["listen"], "pid_source")
        differences.equal(
            Set(servers.map { $0.number("listener") }), [listener.number("listener")], "listener")

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
        differences.equal(expected.count, count, "different pairs")
        differences.equal(expected.symmetricDifference(found).count, 0, "records without the other end's")

        let conns = Set(handshakes.compactMap { $0.number("conn") })
        let closes = of("close").compactMap { $0.number("conn") }.filter(conns.contains)
        differences.equal(conns.count, 2 * count, "connections")
        differences.equal(Set(closes).count, 2 * count, "connections that closed")
        differences.equal(closes.count, 2 * count, "close records")
        return differences.words
    }

    /// Of a trace that had to lose something: it says so, and what it tells in spite of it is true.
    package func lossyDifferences(port: Int, count: Int) -> [String] {
        var differences = Differences()
        differences.hold(lostTotal > 0, "nothing was lost")
        let handshakes = of("handshake").filter {
            $0.end("local")?.port == port || $0.end("remote")?.port == port
        }
        differences.hold(!handshakes.isEmpty, "no handshake was told")
        let impossible = Set(handshakes.map(\.verdict)).subtracting([
            "mptcp", "aborted trace_ended", "aborted not_followed",
        ])
        differences.equal(impossible, [], "verdicts that can't be")
        for side in ["client", "server"] {
            let told = handshakes.filter { $0.text("side") == side }.count
            differences.hold(told <= count, "\(told) of \(count) handshakes of the \(side)")
        }
        let reasons = Set(of("lost").map { $0.text("reason") })
        differences.equal(
            reasons.subtracting(["ring_full", "perf_lost", "recursion"]), [], "reasons of a loss")
        return differences.words
    }
}

/// The two ends of a connection, as one of them tells them.
private struct Pair: Hashable {
    let token, remoteToken: String?
    let local, remote: Place?
}
