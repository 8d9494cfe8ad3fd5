// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Owns what a scenario changes around its processes at the two ends of a stage: sysctls, packet
/// filters, MPTCP's endpoints and limits. All is as it was when it ends.
final class Surroundings {
    /// The one nft table, of both hooks.
    static let table = "mpscope"

    private struct Change {
        let path: String
        /// The value before.
        let old: String
    }

    private let namespaces: Sides<Namespace>
    private var changes = Sides<[Change]>(client: [], server: [])
    private var filtered = Sides(client: false, server: false)
    /// Endpoints were added, or may have been by the kernel itself: it makes one, "implicit", of
    /// the address that it answers an ADD_ADDR from.
    private var endpoints = false
    private var limits = Sides<String?>(client: nil, server: nil)

    init(_ namespaces: Sides<Namespace>) { self.namespaces = namespaces }

    /// A sysctl that this kernel does not have needs no change.
    func set(_ side: Side, _ path: String, _ value: String) throws(ScenarioError) {
        let path = "/proc/sys/\(path)"
        let old = try namespaces[side].inside { () throws(ScenarioError) -> String? in
            do throws(ScenarioError) {
                let old = try SmallFile.read(path)
                try SmallFile.write(path, value)
                return old
            } catch .system(_, _, .noSuchFileOrDirectory, _) {
                return nil
            }
        }
        guard let old, !changes[side].contains(where: { $0.path == path }) else { return }
        changes[side].append(Change(path: path, old: old))
    }

    /// Adds rules for what arrives (`hook` "prerouting") or leaves ("output").
    func filter(_ side: Side, hook: String, _ rules: [String]) throws(ScenarioError) {
        filtered[side] = true
        var input = """
            table inet \(Self.table) {
              chain \(hook) { type filter hook \(hook) priority raw; policy accept; }
            }

            """
        for rule in rules { input += "add rule inet \(Self.table) \(hook) \(rule)\n" }
        do throws(ScenarioError) {
            try tool(side, "nft", ["-f", "-"], input: input)
        } catch .tool(_, let status, let output) {
            throw .tool(
                command: "nft add rule \(rules.joined(separator: ", "))", status: status,
                output: "\(output) (does this kernel's nf_tables have exthdr, payload and reject?)")
        }
    }

    func unfilter(_ side: Side) throws(ScenarioError) {
        guard filtered[side] else { return }
        // The first makes it no error that there is none.
        let input = "add table inet \(Self.table)\ndelete table inet \(Self.table)\n"
        try tool(side, "nft", ["-f", "-"], input: input)
        filtered[side] = false
    }

    func addEndpoint(_ side: Side, _ address: String, _ flags: String) throws(ScenarioError) {
        endpoints = true
        try tool(
            side, "ip",
            ["mptcp", "endpoint", "add", address] + flags.split(separator: " ").map(String.init))
    }

    func removeEndpoint(_ side: Side, _ id: Int, _ address: String) throws(ScenarioError) {
        let words = ["mptcp", "endpoint", "delete", "id", "\(id)"]
        try tool(side, "ip", id == 0 ? words + [address] : words)
    }

    func setLimits(_ side: Side, subflows: Int, accepted: Int) throws(ScenarioError) {
        if limits[side] == nil { limits[side] = try tool(side, "ip", ["mptcp", "limits", "show"]) }
        try tool(
            side, "ip",
            ["mptcp", "limits", "set", "subflows", "\(subflows)", "add_addr_accepted", "\(accepted)"])
    }

    /// What a tool prints that runs at that end.
    @discardableResult
    func tool(
        _ side: Side, _ name: String, _ arguments: [String], input: String = ""
    ) throws(ScenarioError) -> String {
        try namespaces[side].inside { () throws(ScenarioError) in
            try Tool.check(name, arguments, input: input).standardOutput
        }
    }

    /// Takes the filters away: what is left of the connections may then end.
    func unfilter() throws(ScenarioError) {
        for side in Side.allCases { try unfilter(side) }
    }

    /// Brings everything back to what it was.
    func restore() throws(ScenarioError) {
        var failure: ScenarioError?
        func attempt(_ body: () throws(ScenarioError) -> Void) {
            do throws(ScenarioError) { try body() } catch { failure = failure ?? error }
        }
        for side in Side.allCases {
            attempt { () throws(ScenarioError) in try unfilter(side) }
            if endpoints {
                attempt { () throws(ScenarioError) in try tool(side, "ip", ["mptcp", "endpoint", "flush"]) }
            }
            if let old = limits[side] {
                let words = old.split(whereSeparator: \.isWhitespace).map(String.init)
                attempt { () throws(ScenarioError) in
                    try tool(side, "ip", ["mptcp", "limits", "set"] + words)
                }
                limits[side] = nil
            }
            let back = changes[side]
            changes[side] = []
            guard !back.isEmpty else { continue }
            attempt { () throws(ScenarioError) in
                try namespaces[side].inside { () throws(ScenarioError) in
                    for change in back { try SmallFile.write(change.path, change.old) }
                }
            }
        }
        endpoints = false
        if let failure { throw failure }
    }

    deinit { try? restore() }
}
