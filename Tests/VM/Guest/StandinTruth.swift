// SPDX-License-Identifier: Apache-2.0

import Judging

/// One line of what the stand-in says that it played: what is to be seen of it, in one record.
///
///     row=join  type=join  side=client  family=4  local=10.99.9.3:40018  remote=10.99.9.2:4009
///         token=1fc673f3  pid=136  outcome=joined  local_id=1  remote_id=0
///
/// (one line, with tabs between). A field that is absent must be absent in the record, but for those
/// that not every type has; the reason `*` is one that the facts leave open.
struct StandinTruth {
    private let fields: [String: String]

    init(_ line: Substring) {
        var fields: [String: String] = [:]
        for field in line.split(separator: "\t") {
            let parts = field.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { fields[String(parts[0])] = String(parts[1]) }
        }
        self.fields = fields
    }

    var row: String { fields["row"] ?? "?" }
    var type: String { fields["type"] ?? "?" }
    /// What is to be told of it when it ends: a close.
    var isConnection: Bool { type == "handshake" && ["mptcp", "fallback"].contains(fields["outcome"]) }
    var words: String { "\(type) \(fields["side"] ?? "") \(fields["outcome"] ?? "")" }

    private func place(_ key: String) -> Place? {
        guard let text = fields[key], let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...])
        else { return nil }
        return Place(addr: text[..<colon].filter { $0 != "[" && $0 != "]" }, port: port)
    }

    /// Whether a record is about this end.
    func concerns(_ line: Line) -> Bool {
        line.type == type && line.end("local") == place("local")
            && (type == "listener"
                || line.end("remote") == place("remote") && line.text("side") == fields["side"])
    }

    /// What a record of this end has that it should not, and the other way round.
    func differences(_ line: Line, netns: Int) -> [String] {
        var differences = Differences()
        func same(_ key: String, _ expected: String?) {
            let seen = line.text(key) ?? line.number(key).map(String.init)
            differences.equal(seen ?? "none", expected ?? "none", "\(words): \(key)")
        }
        same("netns", "\(netns)")
        switch type {
        case "listener":
            same("protocol", fields["protocol"])
            same("pid", fields["pid"])
        case "fallback":
            differences.hold(line.number("conn") != nil, "\(words): no conn")
        default:
            for key in ["outcome", "family", "token", "pid"] { same(key, fields[key]) }
            if fields["reason"] != "*" { same("reason", fields["reason"]) }
            if type == "handshake" {
                same("remote_token", fields["remote_token"])
                same("pid_source", fields["side"] == "client" ? "connect" : "listen")
            }
            for key in ["local_id", "remote_id"] where fields[key] != nil { same(key, fields[key]) }
        }
        return differences.words
    }

    /// The port of the row's server, by which what nobody expected is put to a row.
    var serverPort: Int? { (fields["side"] == "client" ? place("remote") : place("local"))?.port }
}
