// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A line that an actor said: a word, and what follows it.
struct Reply {
    let word: String
    let arguments: [String]
}

/// Owns an actor: a child process that runs `Actor.run`, spoken to in lines of words. It gets its
/// commands on standard input and answers on standard output; what it prints on standard error is
/// kept for error messages.
struct ActorProcess: ~Copyable {
    private static let tailLimit = 2_000

    let role: String
    private var child: ChildProcess
    /// nil: told that nothing more will come.
    private var commands: Descriptor?
    private let replies: Descriptor
    private let errors: Descriptor
    private var pending: [UInt8] = []
    private var errorTail: [UInt8] = []
    private var errorsEnded = false

    /// `inheriting`: what the actor shall have as its descriptor 3. `wrapper`: a command that becomes the
    /// one after it.
    init(
        role: String, executable: String, arguments: [String], inheriting: CInt? = nil,
        under wrapper: [String] = []
    ) throws(ScenarioError) {
        let input = try DescriptorPair.sockets()
        let output = try DescriptorPair.pipe()
        let error = try DescriptorPair.pipe()
        var command = wrapper + [executable, Actor.word, role] + arguments
        let first = command.removeFirst()
        guard let program = wrapper.isEmpty ? first : Tool.find(first) else { throw .noTool(first) }
        let child = try ChildProcess(
            program, command,
            descriptors: [input.reading.raw, output.writing.raw, error.writing.raw]
                + (inheriting.map { [$0] } ?? []))
        self.role = role
        self.child = child
        // Only the child's copies of its ends may keep the streams open.
        commands = input.dropReading()
        replies = output.dropWriting()
        errors = error.dropWriting()
    }

    var pid: Int32 { child.pid }

    /// The end of the socket that the actor's standard input is.
    var commandDescriptor: Int32 {
        switch commands {
        case .some(let descriptor): descriptor.raw
        case .none: -1
        }
    }

    /// Tells it a word. Whether it heard shows in what it says next.
    mutating func tell(_ word: String) {
        let line = Array("\(word)\n".utf8)
        _ = line.withUnsafeBytes {
            send(commandDescriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
        }
    }

    /// Waits for its next line, which must begin with one of `words`.
    mutating func expect(_ words: [String], interruptedBy: CInt) throws(ScenarioError) -> Reply {
        let awaited = words.joined(separator: "\" or \"")
        let deadline = Deadline()
        while true {
            if let line = takeLine() {
                let parts = line.split(separator: " ").map(String.init)
                guard let word = parts.first, words.contains(word) else {
                    throw .actor(role: name, awaited: awaited, got: "said: \(line)", diagnostics: tail)
                }
                return Reply(word: word, arguments: Array(parts.dropFirst()))
            }
            var entries = [
                pollfd(fd: replies.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: errorsEnded ? -1 : errors.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: interruptedBy, events: Int16(POLLIN), revents: 0),
            ]
            if poll(&entries, 3, deadline.milliseconds) <= 0 {
                guard deadline.hasPassed else { continue }
                throw .deadline(awaited: awaited, from: name, seconds: deadline.seconds, diagnostics: tail)
            }
            if entries[2].revents != 0 { throw .interrupted }
            if entries[1].revents != 0 { readErrors() }
            if entries[0].revents != 0, !readOnce(replies.raw, &pending) {
                throw .actor(role: name, awaited: awaited, got: try ending(), diagnostics: tail)
            }
        }
    }

    /// Ends it at once.
    mutating func kill() { child.kill() }

    /// Tells it that nothing more will come and waits for it to end, which it must do well.
    /// Nothing happens the second time.
    mutating func finish() throws(ScenarioError) {
        commands = nil
        let deadline = Deadline()
        guard let status = try child.wait(deadline) else {
            throw .deadline(awaited: "end", from: name, seconds: deadline.seconds, diagnostics: tail)
        }
        guard status == .exited(0) else {
            while !errorsEnded { readErrors() }
            throw .actor(role: name, awaited: "end", got: status.words, diagnostics: tail)
        }
    }

    private var name: String { "the \(role) actor (pid \(pid))" }

    private var tail: String { String(decoding: errorTail, as: UTF8.self).oneLine }

    /// How it ended, after its output did; everything it printed before is in the tail.
    private mutating func ending() throws(ScenarioError) -> String {
        let status = try child.wait(Deadline())
        if status != nil { while !errorsEnded { readErrors() } }
        return status?.words ?? "closed its output"
    }

    private mutating func readErrors() {
        if !readOnce(errors.raw, &errorTail) { errorsEnded = true }
        if errorTail.count > Self.tailLimit { errorTail.removeFirst(errorTail.count - Self.tailLimit) }
    }

    private mutating func takeLine() -> String? {
        guard let end = pending.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        let line = String(decoding: pending[..<end], as: UTF8.self)
        pending.removeSubrange(...end)
        return line
    }
}
