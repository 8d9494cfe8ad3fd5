// SPDX-License-Identifier: Apache-2.0

/// What a trace wrote.
package struct TraceFile {
    package let lines: [Line]
    package let bytes: [UInt8]
    /// Its standard output.
    package let printed: [UInt8]
    /// Its standard error.
    package let complaints: String

    package init(lines: [Line], bytes: [UInt8] = [], printed: [UInt8] = [], complaints: String = "") {
        self.lines = lines
        self.bytes = bytes
        self.printed = printed
        self.complaints = complaints
    }

    /// Whether that hook was attached, as the first record says.
    package func hasAttached(_ name: String) -> Bool {
        guard case .list(let hooks)? = lines.first?.fields["hooks"] else { return false }
        return hooks.contains { hook in
            guard case .object(let fields) = hook else { return false }
            return fields["name"] == .text(name) && fields["status"] == .text("attached")
        }
    }

    /// What the hooks that were attached can see.
    package var sight: Sight {
        guard case .list(let hooks)? = lines.first?.fields["hooks"] else { return Sight() }
        func hasError(_ name: String) -> Bool {
            hooks.contains { hook in
                guard case .object(let fields) = hook else { return false }
                return fields["name"] == .text(name) && fields["error"] != nil
            }
        }
        return Sight(
            explainsRefusals: !hasError("tcp_send_reset") || hasAttached("subflow_add_reset_reason"),
            seesRefusedSockets: hasAttached("mptcp_init_sock"),
            seesFailedJoins: hasAttached("__mptcp_subflow_connect"))
    }

    package func of(_ type: String) -> [Line] { lines.filter { $0.type == type } }

    package func of(_ type: String, in netns: UInt32) -> [Line] {
        lines.filter { $0.type == type && $0.number("netns") == Int(netns) }
    }

    package var lostTotal: Int { lines.last?.number("lost_total") ?? -1 }

    /// What its `lost` records say, such as `37 × recursion of inet_sock_set_state`.
    package var losses: String {
        var counts: [String: Int] = [:]
        for line in of("lost") {
            counts["\(line.text("reason") ?? "?") of \(line.text("hook") ?? "?")", default: 0] +=
                line.number("count") ?? 0
        }
        return counts.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }.joined(separator: ", ")
    }

    /// What is wrong with it that holds of every trace, whatever it saw.
    package func formDifferences() -> [String] {
        var differences = Differences()
        differences.equal(lines.first?.type, "meta", "the first record")
        differences.equal(lines.last?.type, "summary", "the last record")
        let between = lines.dropFirst().dropLast()
        differences.hold(
            between.allSatisfy { $0.type != "meta" && $0.type != "summary" }, "meta or summary in between")
        differences.hold(
            lines.enumerated().allSatisfy { $0.element.number("seq") == $0.offset + 1 },
            "seq does not count the records")
        let diverged = of("anomaly").filter { $0.text("kind") == "mirror_divergence" }
        differences.equal(diverged, [], "mirror_divergence")
        judgeSums(&differences)
        judgeSteps(&differences)
        return differences.words
    }

    private func judgeSums(_ differences: inout Differences) {
        guard let summary = lines.last else { return }
        let lost = of("lost").compactMap { $0.number("count") }.reduce(0, +)
        differences.equal(summary.number("lost_total"), lost, "lost_total")
        differences.equal(summary.number("events"), (summary.number("delivered") ?? -1) + lost, "events")
        var outcomes: [String: Int] = [:]
        var reasons: [String: Int] = [:]
        var joins: [String: Int] = [:]
        for line in of("handshake") { outcomes[line.text("outcome") ?? "", default: 0] += 1 }
        for line in of("join") { joins[line.text("outcome") ?? "", default: 0] += 1 }
        let reasoned = of("handshake") + of("join") + of("fallback")
        for line in reasoned {
            if let reason = line.text("reason") { reasons[reason, default: 0] += 1 }
        }
        differences.equal(
            reasoned.filter { ($0.text("reason") == nil) != ($0.text("advice") == nil) }, [],
            "a reason without advice")
        differences.equal(summary.numbers("handshakes"), outcomes, "the summary's handshakes")
        differences.equal(summary.numbers("joins"), joins, "the summary's joins")
        differences.equal(summary.numbers("reasons"), reasons, "the summary's reasons")
    }

    /// Each step of a subflow begins where its last one ended.
    private func judgeSteps(_ differences: inout Differences) {
        struct Subflow: Hashable { let conn: Int, subflow: Int }
        var states: [Subflow: String] = [:]
        for line in lines {
            guard let conn = line.number("conn") else { continue }
            if line.type == "connection" {
                let mptcp = line.text("state") == "mptcp"
                states[Subflow(conn: conn, subflow: 0)] = mptcp ? "mptcp_established" : "fallback"
            }
            guard line.type == "step" else { continue }
            let subflow = Subflow(conn: conn, subflow: line.number("subflow") ?? -1)
            let before = states[subflow] ?? "none"
            differences.hold(line.text("from") == before, "a step that does not begin at \(before): \(line)")
            states[subflow] = line.text("to")
        }
    }

    /// Its records by the network namespaces that they are about; those that name a connection and
    /// no namespace are where the connection is.
    package func byNamespace() -> [Int: TraceFile] {
        var places: [Int: Int] = [:]
        for line in lines {
            if let conn = line.number("conn"), let netns = line.number("netns") { places[conn] = netns }
        }
        var parts: [Int: [Line]] = [:]
        for line in lines {
            let netns = line.number("netns") ?? line.number("conn").flatMap { places[$0] }
            if let netns { parts[netns, default: []].append(line) }
        }
        return parts.mapValues { TraceFile(lines: $0) }
    }
}

/// What a trace can see, as its hooks allow.
package struct Sight: Sendable, Equatable {
    /// Why a listener refuses a third ACK: by tcp_send_reset's third argument (6.10), or by a function.
    package var explainsRefusals = true
    /// A socket() that fails.
    package var seesRefusedSockets = false
    /// Joins that fail before their SYN.
    package var seesFailedJoins = false

    package init(
        explainsRefusals: Bool = true, seesRefusedSockets: Bool = false, seesFailedJoins: Bool = false
    ) {
        self.explainsRefusals = explainsRefusals
        self.seesRefusedSockets = seesRefusedSockets
        self.seesFailedJoins = seesFailedJoins
    }
}
