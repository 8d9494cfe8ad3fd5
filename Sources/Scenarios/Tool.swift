// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// Runs the tools of the system: `ip`, `nft`, `nstat`, `ss`.
public enum Tool {
    /// What a tool printed, and how it ended.
    public struct Output: Sendable {
        public let standardOutput: String
        public let standardError: String
        /// Exit status; 128 + n if signal n ended it.
        public let status: Int32
    }

    /// The path of `name`: PATH first, then where Debian keeps tools that PATH may lack. A name
    /// with a slash is a path already.
    public static func find(_ name: String) -> String? {
        if name.utf8.contains(UInt8(ascii: "/")) { return access(name, X_OK) == 0 ? name : nil }
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        let folders = path.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin"]
        return folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }

    /// Runs a tool to its end, feeding it `input`. Throws when it cannot be run or takes longer
    /// than `seconds`; a status other than 0 is the caller's to judge.
    public static func run(
        _ name: String, _ arguments: [String], input: String = "", seconds: Int = 15
    ) throws(ScenarioError) -> Output {
        try run(name, arguments, input: input, seconds: seconds, inheriting: nil)
    }

    /// Like `run`, and throws when the status is not 0.
    @discardableResult
    public static func check(
        _ name: String, _ arguments: [String], input: String = ""
    ) throws(ScenarioError) -> Output {
        try check(name, arguments, input: input, inheriting: nil)
    }

    /// `inheriting`: a descriptor that the tool shall hold open, unknowingly, as its number 3.
    @discardableResult
    static func check(
        _ name: String, _ arguments: [String], input: String, inheriting: CInt?
    ) throws(ScenarioError) -> Output {
        let output = try run(
            name, arguments, input: input, seconds: Deadline.usual, inheriting: inheriting)
        guard output.status == 0 else {
            let printed = output.standardError.isEmpty ? output.standardOutput : output.standardError
            throw .tool(
                command: ([name] + arguments).joined(separator: " "), status: "ended with \(output.status)",
                output: printed.oneLine)
        }
        return output
    }

    private static func run(
        _ name: String, _ arguments: [String], input: String, seconds: Int, inheriting: CInt?
    ) throws(ScenarioError) -> Output {
        guard let path = find(name) else { throw .noTool(name) }
        let input = Array(input.utf8)
        let command = ([name] + arguments).joined(separator: " ")
        let streams = try ToolStreams(input: input)
        let held = inheriting.map { [$0] } ?? []
        var child = try ChildProcess(path, arguments, descriptors: streams.childEnds + held)
        let deadline = Deadline(seconds: seconds)
        let printed = streams.exchange(until: deadline)
        guard let printed, let status = try child.wait(deadline) else {
            throw .deadline(awaited: "end", from: "`\(command)`", seconds: seconds, diagnostics: "")
        }
        let number: Int32 =
            switch status {
            case .exited(let status): status
            case .signalled(let signal): 128 + signal
            }
        return Output(
            standardOutput: String(decoding: printed.output, as: UTF8.self),
            standardError: String(decoding: printed.error, as: UTF8.self), status: number)
    }
}

/// The standard streams of a tool while it runs.
private struct ToolStreams: ~Copyable {
    private let input: [UInt8]
    private let toTool: DescriptorPair
    private let output: DescriptorPair
    private let error: DescriptorPair

    init(input: [UInt8]) throws(ScenarioError) {
        let toTool = try DescriptorPair.sockets()
        let output = try DescriptorPair.pipe()
        let error = try DescriptorPair.pipe()
        self.input = input
        self.toTool = toTool
        self.output = output
        self.error = error
    }

    var childEnds: [CInt] { [toTool.reading.raw, output.writing.raw, error.writing.raw] }

    /// Writes all input and reads until the tool has closed both its outputs; nil: not in time.
    consuming func exchange(until deadline: Deadline) -> (output: [UInt8], error: [UInt8])? {
        let input = self.input
        // Only the child's copies of its ends may keep the streams open.
        let feed = toTool.dropReading()
        let out = output.dropWriting()
        let err = error.dropWriting()
        var sent = 0
        var printed: (output: [UInt8], error: [UInt8]) = ([], [])
        var entries = [
            pollfd(fd: feed.raw, events: Int16(POLLOUT), revents: 0),
            pollfd(fd: out.raw, events: Int16(POLLIN), revents: 0),
            pollfd(fd: err.raw, events: Int16(POLLIN), revents: 0),
        ]
        if input.isEmpty {
            shutdown(feed.raw, CInt(SHUT_WR))
            entries[0].fd = -1
        }
        while entries[1].fd >= 0 || entries[2].fd >= 0 {
            if poll(&entries, 3, deadline.milliseconds) <= 0 {
                if deadline.hasPassed { return nil }
                continue
            }
            if entries[0].revents != 0 {
                let count = input[sent...].withUnsafeBytes {
                    send(feed.raw, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL | MSG_DONTWAIT))
                }
                if count > 0 { sent += count }
                // EPIPE: the tool reads no further, which is its right.
                if sent == input.count || (count < 0 && errno != EAGAIN && errno != EINTR) {
                    shutdown(feed.raw, CInt(SHUT_WR))
                    entries[0].fd = -1
                }
            }
            if entries[1].revents != 0, !readOnce(out.raw, &printed.output) { entries[1].fd = -1 }
            if entries[2].revents != 0, !readOnce(err.raw, &printed.error) { entries[2].fd = -1 }
        }
        return printed
    }
}

extension DescriptorPair {
    /// Closes the reading end and gives the other.
    package consuming func dropReading() -> Descriptor { writing }

    /// Closes the writing end and gives the other.
    package consuming func dropWriting() -> Descriptor { reading }
}

/// Appends what can be read now; false at the end of the stream.
package func readOnce(_ descriptor: CInt, _ bytes: inout [UInt8]) -> Bool {
    var buffer: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    return withUnsafeMutableBytes(of: &buffer) { buffer in
        let count = read(descriptor, buffer.baseAddress, buffer.count)
        if count > 0 { bytes.append(contentsOf: buffer[..<count]) }
        return count > 0 || (count < 0 && (errno == EINTR || errno == EAGAIN))
    }
}

extension String {
    /// Its lines in one.
    package var oneLine: String {
        split(whereSeparator: \.isNewline).joined(separator: " | ")
    }
}
