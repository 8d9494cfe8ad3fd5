// SPDX-License-Identifier: Apache-2.0

import Handshake
import Scenarios

extension TraceFile {
    /// Holds the joins and addresses of a namespace, in a trace with --steps, against what
    /// `ip mptcp monitor` told there.
    package func joinDifferences(
        _ side: Side, in netns: UInt32, _ events: [Monitor.Event]
    ) -> [String] {
        var differences = Differences()
        let what = side.rawValue
        // A client's end is told established when it takes the SYN-ACK, before the peer confirms.
        let joins = of("join", in: netns).filter { join in
            if join.text("outcome") == "joined" { return true }
            return join.text("reason") != "mp_join_synack_hmac_failure"
                && steps(of: join).contains {
                    $0.text("to") == "join_tcp_established" && $0.text("from") != "join_tcp_established"
                }
        }
        let told = joins.map { join in
            "\(join.text("token") ?? "?") \(join.number("local_id") ?? -1) \(join.number("remote_id") ?? -1) "
                + "\(join.end("local")?.description ?? "?") \(join.end("remote")?.description ?? "?") "
                + "\(peersBackup(join))"
        }
        let established = events.filter { $0.name == "SF_ESTABLISHED" }.map { event in
            "\(event.token) \(event["locid"]) \(event["remid"]) \(event.address("saddr")) \(event["sport"]) "
                + "\(event.address("daddr")) \(event["dport"]) \(event["backup"] == "1")"
        }
        differences.same(told, established, "\(what): join")

        // What the record says of a backup path is what one of the ends asked for.
        for join in joins {
            let first = join.text("side") == "server" ? "join_syn_received" : "join_syn_sent"
            let asked = steps(of: join).contains { $0.text("step") == first && $0.flag("backup") == true }
            let answered = steps(of: join).contains {
                ["join_synack_sent", "join_synack_received"].contains($0.text("step"))
                    && $0.flag("backup") == true
            }
            differences.equal(join.flag("backup"), asked || answered, "\(what): backup of \(join)")
        }

        let addresses = of("address", in: netns)
        let announced = events.filter { $0.name == "ANNOUNCED" }.map { event in
            "\(event.token) \(event["remid"]) \(event.address("daddr")) \(event["dport"])"
        }
        let received = addresses.filter { $0.text("change") == "received" }.map { line in
            let whole = line.end("addr")
            // Without a port it is that of the connection.
            let port = whole?.port ?? connection(of: line)?.end("remote")?.port ?? -1
            return "\(connection(of: line)?.text("token") ?? "?") \(line.number("id") ?? -1) "
                + "\(whole?.addr ?? line.address("addr") ?? "?") \(port)"
        }
        differences.same(received, announced, "\(what): address received")

        let removed = events.filter { $0.name == "REMOVED" }.map { "\($0.token) \($0["remid"])" }
        let taken = addresses.filter { $0.text("change") == "removed" }.map { line in
            "\(connection(of: line)?.text("token") ?? "?") \(line.number("id") ?? -1)"
        }
        differences.same(taken, removed, "\(what): address removed")
        return differences.words
    }

    /// The handshake, or line of the snapshot, of the connection that a record is about.
    private func connection(of line: Line) -> Line? {
        lines.first {
            ["handshake", "connection"].contains($0.type) && $0.number("conn") == line.number("conn")
                && $0.number("netns") == line.number("netns")
        }
    }

    private func steps(of join: Line) -> [Line] {
        of("step").filter {
            $0.number("conn") == join.number("conn") && $0.number("subflow") == join.number("subflow")
        }
    }

    /// Whether the peer's packet asked for a backup path.
    private func peersBackup(_ join: Line) -> Bool {
        let packet = join.text("side") == "server" ? "join_syn_received" : "join_synack_received"
        return steps(of: join).contains { $0.text("step") == packet && $0.flag("backup") == true }
    }
}
