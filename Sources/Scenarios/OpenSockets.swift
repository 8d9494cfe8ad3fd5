// SPDX-License-Identifier: Apache-2.0

/// How many TCP and MPTCP sockets a namespace still has, TIME_WAIT not counted.
enum OpenSockets {
    static func ofThisThread() throws(ScenarioError) -> Int {
        let net = "/proc/thread-self/net"
        let ipv4 = inUse(try SmallFile.read("\(net)/sockstat"), "TCP:")
        let ipv6 = (try? SmallFile.read("\(net)/sockstat6")).map { inUse($0, "TCP6:") } ?? 0
        var mptcp = 0
        for line in try SmallFile.read("\(net)/protocols").split(separator: "\n") {
            // Name, size, sockets, …
            let words = line.split(separator: " ", maxSplits: 3)
            if words.count > 2, words[0] == "MPTCP" || words[0] == "MPTCPv6" { mptcp += Int(words[2]) ?? 0 }
        }
        return ipv4 + ipv6 + mptcp
    }

    /// Of "TCP: inuse 3 orphan 0 …".
    private static func inUse(_ text: String, _ group: String) -> Int {
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(group) }) else { return 0 }
        let words = line.split(separator: " ")
        return words.count > 2 ? Int(words[2]) ?? 0 : 0
    }
}
