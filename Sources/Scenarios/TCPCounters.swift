// SPDX-License-Identifier: Apache-2.0

/// What the kernel counts about TCP in one namespace, subflows included.
enum TCPCounters {
    /// How often the calling thread's namespace began a connection.
    static func activeOpens() throws(ScenarioError) -> UInt64 {
        // A line of names, then a line of values, both beginning with the group's name.
        let text = try SmallFile.read("/proc/thread-self/net/snmp")
        let lines = text.split(separator: "\n").filter { $0.hasPrefix("Tcp:") }
        guard lines.count == 2 else { throw .usage("/proc/net/snmp has no Tcp") }
        let names = lines[0].split(separator: " ")
        let values = lines[1].split(separator: " ")
        guard let place = names.firstIndex(of: "ActiveOpens"), place < values.count,
            let value = UInt64(values[place])
        else { throw .usage("/proc/net/snmp has no ActiveOpens") }
        return value
    }
}
