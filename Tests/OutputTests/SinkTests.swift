// SPDX-License-Identifier: Apache-2.0

import Glibc
import Output
import TestSupport
import Testing

@Suite struct SinkTests {
    init() { signal(SIGPIPE, SIG_IGN) }

    /// The reading and the writing end of a pipe that children do not get by accident.
    private func pipeEnds() throws -> [Int32] {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        for end in ends { try #require(fcntl(end, F_SETFD, FD_CLOEXEC) == 0) }
        return ends
    }

    private func mode(_ path: String) throws -> mode_t {
        var found = stat()
        try #require(lstat(path, &found) == 0)
        return found.st_mode & 0o7777
    }

    @Test func newFilesAreForTheOwnerOnly() throws {
        try withDirectory { directory in
            let path = directory + "/trace"
            var sink = try Sink.open(path: path)
            sink.buffer.append("one line\n")
            try sink.flushIfFull()
            #expect(sink.buffer.count == 9)
            try sink.finish()
            #expect(try mode(path) == 0o600)
            #expect(try read(path) == Array("one line\n".utf8))
        }
    }

    @Test func filesThatExistAreEmptiedAndKeepTheirMode() throws {
        try withDirectory { directory in
            let path = directory + "/trace"
            try write(Array("a longer text that was there before".utf8), to: path)
            try #require(chmod(path, 0o640) == 0)
            var sink = try Sink.open(path: path)
            sink.buffer.append("new\n")
            try sink.flush()
            #expect(sink.buffer.count == 0)
            #expect(try mode(path) == 0o640)
            #expect(try read(path) == Array("new\n".utf8))
        }
    }

    @Test func closedPipeIsACleanEnd() throws {
        let ends = try pipeEnds()
        close(ends[0])
        defer { close(ends[1]) }
        var sink = Sink(descriptor: ends[1], path: "standard output")
        sink.buffer.append("x\n")
        do throws(OutputError) {
            try sink.flush()
            Issue.record("no error")
        } catch {
            #expect(error == .closedPipe(path: "standard output"))
            #expect(error.isCleanEnd && error.exitStatus == 0)
        }
    }

    @Test func pipesThatAreFullAreWaitedFor() throws {
        let ends = try pipeEnds()
        try #require(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0)
        defer { close(ends[1]) }
        try withDirectory { directory in
            let copy = directory + "/copy"
            // A reader that begins late, in another process.
            var actions = posix_spawn_file_actions_t()
            posix_spawn_file_actions_init(&actions)
            posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
            posix_spawn_file_actions_addopen(&actions, 1, copy, O_WRONLY | O_CREAT, 0o600)
            defer { posix_spawn_file_actions_destroy(&actions) }
            let command: [String] = ["sh", "-c", "sleep 0.2; head -c 1000000 | cat"]
            var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
            arguments.append(nil)
            defer { for argument in arguments { free(argument) } }
            var child: pid_t = 0
            try #require(posix_spawn(&child, "/bin/sh", &actions, nil, arguments, environ) == 0)
            close(ends[0])
            var sink = Sink(descriptor: ends[1], path: "pipe")
            for place in 0..<250_000 {
                sink.buffer.append(decimal: UInt64(place % 1000 + 1000))
            }
            let all = sink.buffer.bytes()
            try sink.flush()
            var status: Int32 = 0
            waitpid(child, &status, 0)
            #expect(try read(copy) == all)
        }
    }

    @Test func errorsSayWhatAndWhy() throws {
        do throws(OutputError) {
            _ = try Sink.open(path: "/no/such/directory/trace")
            Issue.record("no error")
        } catch {
            #expect(error == .cannotOpen(path: "/no/such/directory/trace", errno: ENOENT))
            #expect(error.exitStatus == 74)
            #expect("\(error)".contains("/no/such/directory/trace"))
            #expect("\(error)".contains("No such file or directory"))
        }
        var full = try Sink.open(path: "/dev/full")
        full.buffer.append("x\n")
        do throws(OutputError) {
            try full.flush()
            Issue.record("no error")
        } catch {
            #expect(error == .cannotWrite(path: "/dev/full", errno: ENOSPC))
            #expect(full.buffer.count == 2)
        }
    }
}
