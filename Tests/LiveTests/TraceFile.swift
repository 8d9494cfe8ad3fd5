// SPDX-License-Identifier: Apache-2.0

import Testing

/// What a trace wrote.
struct TraceFile {
    let lines: [Line]
    let bytes: [UInt8]
    /// Its standard output.
    let printed: [UInt8]
    /// Its standard error.
    let complaints: String

    func of(_ type: String) -> [Line] { lines.filter { $0.type == type } }

    func of(_ type: String, in netns: UInt32) -> [Line] {
        lines.filter { $0.type == type && $0.number("netns") == Int(netns) }
    }

    var lostTotal: Int { lines.last?.number("lost_total") ?? -1 }

    /// What holds of every trace, whatever it saw.
    func checkForm() {
        #expect(lines.first?.type == "meta")
        #expect(lines.last?.type == "summary")
        #expect(lines.dropFirst().dropLast().allSatisfy { $0.type != "meta" && $0.type != "summary" })
        #expect(lines.map { $0.number("seq") } == (1...max(1, lines.count)).map { $0 })
        #expect(of("anomaly").filter { $0.text("kind") == "mirror_divergence" } == [])
        checkSums()
        checkSteps()
    }

    private func checkSums() {
        guard let summary = lines.last else { return }
        let lost = of("lost").compactMap { $0.number("count") }.reduce(0, +)
        #expect(lost == summary.number("lost_total"))
        #expect(summary.number("events") == (summary.number("delivered") ?? -1) + lost)
        var outcomes: [String: Int] = [:]
        var reasons: [String: Int] = [:]
        var joins: [String: Int] = [:]
        for line in of("handshake") { outcomes[line.text("outcome") ?? "", default: 0] += 1 }
        for line in of("join") { joins[line.text("outcome") ?? "", default: 0] += 1 }
        let reasoned = of("handshake") + of("join") + of("fallback")
        for line in reasoned {
            if let reason = line.text("reason") { reasons[reason, default: 0] += 1 }
        }
        #expect(reasoned.filter { ($0.text("reason") == nil) != ($0.text("advice") == nil) } == [])
        #expect(summary.numbers("handshakes") == outcomes)
        #expect(summary.numbers("joins") == joins)
        #expect(summary.numbers("reasons") == reasons)
    }

    /// Each step of a subflow begins where its last one ended.
    private func checkSteps() {
        struct Subflow: Hashable { let conn: Int, subflow: Int }
        var states: [Subflow: String] = [:]
        var torn: [Line] = []
        for line in lines {
            guard let conn = line.number("conn") else { continue }
            if line.type == "connection" {
                let mptcp = line.text("state") == "mptcp"
                states[Subflow(conn: conn, subflow: 0)] = mptcp ? "mptcp_established" : "fallback"
            }
            guard line.type == "step" else { continue }
            let subflow = Subflow(conn: conn, subflow: line.number("subflow") ?? -1)
            if line.text("from") != states[subflow] ?? "none" { torn.append(line) }
            states[subflow] = line.text("to")
        }
        #expect(torn == [])
    }
}
