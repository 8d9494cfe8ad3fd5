// SPDX-License-Identifier: Apache-2.0

/// The kernel's counters of TCP and MPTCP.
public enum MptcpCounters {
    private static let groups: Set<Substring> = ["Tcp", "TcpExt", "MPTcpExt"]

    /// The counters of `namespace` by the names that nstat prints, such as
    /// `MPTcpExtMPCapableSYNTX`, `TcpExtListenDrops` and `TcpActiveOpens`, from its
    /// /proc/net/netstat and /proc/net/snmp. Most count from the namespace's beginning;
    /// `MPTcpExtMPCurrEstab` and `TcpCurrEstab` are what is there now. A counter that this kernel
    /// does not have is absent; without any `MPTcpExt` the kernel has no mainline MPTCP.
    ///
    /// - Throws: `KernelError` when the namespace cannot be entered or the files not be read.
    public static func read(in namespace: NetworkNamespace) throws(KernelError) -> [String: UInt64] {
        try namespace.inside { () throws(KernelError) in try readHere() }
    }

    /// The same of the calling thread's namespace.
    static func readHere() throws(KernelError) -> [String: UInt64] {
        // /proc/net would be the first thread's namespace.
        var counters = parse(try SmallFile.text("/proc/thread-self/net/netstat"))
        counters.merge(parse(try SmallFile.text("/proc/thread-self/net/snmp"))) { first, _ in first }
        return counters
    }

    /// Lines come in pairs: `GROUP: NAME NAME…`, then `GROUP: VALUE VALUE…`.
    static func parse(_ text: String) -> [String: UInt64] {
        var counters: [String: UInt64] = [:]
        var heading: [Substring]?
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard let names = heading, names.first == words.first else {
                heading = words
                continue
            }
            heading = nil
            guard let group = words.first?.dropLast(), groups.contains(group) else { continue }
            for (name, word) in zip(names, words).dropFirst() {
                // Values below 0 (Tcp's MaxConn) mean that there is no number.
                if let value = UInt64(word) { counters["\(group)\(name)"] = value }
            }
        }
        return counters
    }
}
