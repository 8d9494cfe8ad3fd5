// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Testing

@testable import Scenarios

/// A running `mpscope trace`; see `awaitReady`.
struct Tracing: ~Copyable {
    private var child: ChildProcess
    private let folder: Folder
    private let executable: String

    /// Where its records go.
    let output: String

    /// - Parameters:
    ///   - options: beyond those that every trace gets.
    ///   - command: what it starts; empty: nothing.
    init(_ options: [String] = [], command: [String] = []) throws {
        let folder = try Folder()
        let executable = try Program.path()
        let output = "\(folder.path)/records"
        let printed = Descriptor(owning: try File.create("\(folder.path)/out"))
        let complaints = Descriptor(owning: try File.create("\(folder.path)/err"))
        let arguments = ["trace", "-o", output, "--ready-file", "\(folder.path)/ready"] + options
        let child = try ChildProcess(
            executable, arguments + (command.isEmpty ? [] : ["--"] + command),
            descriptors: [-1, printed.raw, complaints.raw])
        self.executable = executable
        self.output = output
        self.child = child
        self.folder = folder
    }

    /// Waits until all its hooks are attached.
    mutating func awaitReady() throws {
        let deadline = Deadline()
        while !isReady {
            if let status = try child.wait(Deadline(seconds: 0)) {
                throw Trouble("mpscope \(status.words): \(try File.text("\(folder.path)/err"))")
            }
            if deadline.hasPassed { throw Trouble("mpscope was not ready in time") }
            poll(nil, 0, 1)
        }
    }

    var pid: Int32 { child.pid }
    var readyFile: String { "\(folder.path)/ready" }
    var isReady: Bool { access(readyFile, F_OK) == 0 }

    /// Waits until `condition` holds of the whole lines that were written; these lines.
    static func lines(of output: String, when condition: ([Line]) -> Bool) throws -> [Line] {
        let deadline = Deadline()
        while true {
            // It is created a moment after the program started.
            let bytes = access(output, F_OK) == 0 ? try File.bytes(output) : []
            let end = bytes.lastIndex(of: UInt8(ascii: "\n")) ?? -1
            let lines = end < 0 ? [] : try Line.all(Array(bytes[...end]))
            if condition(lines) { return lines }
            if deadline.hasPassed { throw Trouble("what was waited for did not come: \(lines.suffix(5))") }
            poll(nil, 0, 5)
        }
    }

    /// Ends it at once.
    mutating func kill() throws {
        Glibc.kill(child.pid, SIGKILL)
        #expect(try child.wait(Deadline()) == .signalled(SIGKILL))
    }

    /// Ends it; what it wrote is the caller's to look at.
    /// - Parameter meanwhile: called again and again until it has ended.
    mutating func end(meanwhile: () throws -> Void) throws {
        Glibc.kill(child.pid, SIGINT)
        let deadline = Deadline(seconds: 30)
        while true {
            try meanwhile()
            if let status = try child.wait(Deadline(seconds: 0)) {
                let complaints = try File.text("\(folder.path)/err")
                #expect(status == .exited(0), "\(complaints)")
                return
            }
            if deadline.hasPassed { throw Trouble("mpscope did not end in time") }
            poll(nil, 0, 1)
        }
    }

    /// Ends it, and holds what every trace must be like against what it wrote.
    /// - Parameters:
    ///   - signal: 0: it ends by itself.
    ///   - validating: hold it against the schema, which takes a while.
    mutating func finish(
        signal: Int32 = SIGINT, status expected: Int32 = 0, seconds: Int = 30, validating: Bool = true
    ) throws -> TraceFile {
        if signal != 0 { Glibc.kill(child.pid, signal) }
        guard let status = try child.wait(Deadline(seconds: seconds)) else {
            throw Trouble("mpscope did not end in time")
        }
        let complaints = try File.text("\(folder.path)/err")
        #expect(status == .exited(expected), "\(complaints)")
        let bytes = try File.bytes(output)
        if validating {
            let check = try Tool.run(
                "/usr/bin/python3", ["\(Self.here)/validate.py", executable, output], seconds: 60)
            #expect(check.status == 0, "\(check.standardOutput.prefix(2_000)) \(check.standardError)")
        }
        let file = TraceFile(
            lines: try Line.all(bytes), bytes: bytes, printed: try File.bytes("\(folder.path)/out"),
            complaints: complaints)
        #expect(file.formDifferences() == [])
        return file
    }

    static let here = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        .dropLast().joined(separator: "/")
}

/// Traces what `body` does, from before it began to after it ended.
func traced(_ options: [String] = [], _ body: (borrowing Tracing) throws -> Void) throws -> TraceFile {
    var tracing = try Tracing(options)
    try tracing.awaitReady()
    try body(tracing)
    return try tracing.finish()
}

/// Traces what a command does; the trace ends with it.
func traced(_ options: [String] = [], command: [String], status: Int32 = 0) throws -> TraceFile {
    var tracing = try Tracing(options, command: command)
    return try tracing.finish(signal: 0, status: status, seconds: 60)
}
