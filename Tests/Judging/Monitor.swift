// SPDX-License-Identifier: Apache-2.0

import Glibc
import Scenarios

/// `ip mptcp monitor` in a namespace.
package struct Monitor: ~Copyable {
    private var child: ChildProcess
    private let namespace: Namespace
    private let output: Descriptor
    private var printed: [UInt8] = []

    package init(_ namespace: Namespace) throws {
        guard let ip = Tool.find("ip"), let buffering = Tool.find("stdbuf") else {
            throw Trouble("ip or stdbuf is missing")
        }
        let pipe = try DescriptorPair.pipe()
        let child = try ChildProcess(
            ip, ["netns", "exec", namespace.name, buffering, "-oL", ip, "mptcp", "monitor"],
            descriptors: [-1, pipe.writing.raw, 2])
        let pid = child.pid
        try namespace.inside { () throws(ScenarioError) in
            let deadline = Deadline()
            while try Self.unread(by: pid) == nil {
                if deadline.hasPassed { throw .usage("ip mptcp monitor did not subscribe") }
                poll(nil, 0, 1)
            }
        }
        self.child = child
        self.namespace = namespace
        output = pipe.dropWriting()
    }

    /// What the kernel has told so far.
    package mutating func events() throws -> [Event] {
        let pid = child.pid
        try namespace.inside { () throws(ScenarioError) in
            let deadline = Deadline()
            // It has taken all, and waits for more: so it has printed all.
            while true {
                if try Self.unread(by: pid) == 0, try Self.sleeps(pid) { return }
                if deadline.hasPassed { throw .usage("ip mptcp monitor does not read") }
                poll(nil, 0, 1)
            }
        }
        var entry = pollfd(fd: output.raw, events: Int16(POLLIN), revents: 0)
        while poll(&entry, 1, 0) > 0, readOnce(output.raw, &printed) {}
        return String(decoding: printed, as: UTF8.self).split(separator: "\n").map(Event.init)
    }

    /// How many bytes wait in its generic netlink socket (16) that has a group; nil: there is none.
    private static func unread(by pid: Int32) throws(ScenarioError) -> Int? {
        let table = try SmallFile.read("/proc/thread-self/net/netlink")
        for line in table.split(separator: "\n") {
            // sk Eth Pid Groups Rmem …
            let words = line.split(separator: " ")
            guard words.count > 4, words[1] == "16", words[2] == "\(pid)" else { continue }
            if words[3].contains(where: { $0 != "0" }) { return Int(words[4]) }
        }
        return nil
    }

    private static func sleeps(_ pid: Int32) throws(ScenarioError) -> Bool {
        // pid (comm) state …
        let text = try SmallFile.read("/proc/\(pid)/stat")
        return text.split(separator: ")").last?.split(separator: " ").first == "S"
    }

    /// A line of it.
    package struct Event: Sendable, CustomStringConvertible {
        /// `CREATED`, `SF_ESTABLISHED`…
        package let name: String
        private let fields: [Substring: Substring]
        package let description: String

        fileprivate init(_ line: Substring) {
            description = String(line)
            let parts = line.split(separator: "]", maxSplits: 1)
            name = parts.first.map { String($0.drop { "[ ".contains($0) }) } ?? ""
            var fields: [Substring: Substring] = [:]
            for word in parts.last?.split(separator: " ") ?? [] {
                let pair = word.split(separator: "=", maxSplits: 1)
                if pair.count == 2 { fields[pair[0]] = pair[1] }
            }
            self.fields = fields
        }

        package var token: String { fields["token"].map { Line.token(String($0)) } ?? "?" }

        /// A number, as text.
        package subscript(_ name: Substring) -> String { fields[name].map(String.init) ?? "-" }

        /// `saddr` or `daddr`, of either family; v4-mapped ones as IPv4.
        package func address(_ name: Substring) -> String {
            let text = fields[name + "4"] ?? fields[name + "6"] ?? "-"
            return String(text.hasPrefix("::ffff:") ? text.dropFirst(7) : text)
        }
    }
}
