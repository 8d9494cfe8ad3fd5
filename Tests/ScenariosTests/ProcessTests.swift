// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import Scenarios

/// Processes that are started, and the program that is started again.
@Suite(.serialized) struct ProcessTests {
    private static func shell(_ command: String) throws(ScenarioError) -> ChildProcess {
        try ChildProcess("/bin/sh", ["-c", command], descriptors: [-1, -1, -1])
    }

    @Test func itsEndIsAwaited() throws {
        var slow = try Self.shell("sleep 0.2; exit 3")
        #expect(try slow.wait(Deadline()) == .exited(3))
        // The second time as well, when its pid is nobody's.
        #expect(try slow.wait(Deadline()) == .exited(3))
        var quick = try Self.shell("exit 0")
        usleep(50_000)
        #expect(try quick.wait(Deadline()) == .exited(0))
        var killed = try Self.shell("kill -9 $$")
        #expect(try killed.wait(Deadline()) == .signalled(SIGKILL))
    }

    /// A deadline that passes changes nothing; a process that stops has not ended.
    @Test func whoGoesOnIsNotAwaitedForever() throws {
        var child = try Self.shell("kill -STOP $$; exit 4")
        #expect(try child.wait(Deadline(seconds: 1)) == nil)
        kill(child.pid, SIGCONT)
        #expect(try child.wait(Deadline()) == .exited(4))
        let pid: pid_t
        do {
            var forgotten = try Self.shell("sleep 600")
            pid = forgotten.pid
            #expect(try forgotten.wait(Deadline(seconds: 0)) == nil)
        }
        #expect(Leftover.isGone(pid))
    }

    /// Neither descriptors nor threads are left of those that were awaited.
    @Test func nothingIsLeftOfMany() throws {
        func descriptors() -> Int { (0..<1024).filter { fcntl($0, F_GETFD) >= 0 }.count }
        // Of the test before this one a thread may still be closing its own.
        let before = descriptors()
        for number in 0..<200 {
            var child = try Self.shell(number % 2 == 0 ? "exit 0" : "sleep 0.01")
            #expect(try child.wait(Deadline()) == .exited(0))
        }
        #expect(Leftover.eventually { descriptors() <= before })
        // Nor of one that was waited for again and again.
        var child = try Self.shell("sleep 600")
        for _ in 0..<200 { #expect(try child.wait(Deadline(seconds: 0)) == nil) }
        #expect(descriptors() <= before + 2)
        child.kill()
    }

    /// What a launcher set is used, and gone.
    @Test func theLauncherIsStartedAgain() throws {
        let output = try Tool.run(
            "env",
            [
                "\(OwnProgram.launcherVariable)=/nonexistent/launcher", try ActorProgram.path(), Actor.word,
                "stage",
            ])
        #expect(output.status == 1)
        #expect(output.standardError.contains("posix_spawn failed on /nonexistent/launcher"))
    }

    @Test func aCommandGetsTheHostsEnvironment() throws {
        let output = try Tool.run(
            "env",
            [
                "\(OwnProgram.launcherVariable)=/nonexistent/launcher",
                "\(OwnProgram.hiddenPrefix)LD_FOO=a=b", "FOO=c", try ActorProgram.path(), "trace", "--",
                "env",
            ])
        let lines = output.standardOutput.split(separator: "\n")
        #expect(output.status == 0, "\(output.standardError)")
        #expect(lines.contains("LD_FOO=a=b") && lines.contains("FOO=c"))
        for name in [OwnProgram.launcherVariable, OwnProgram.hiddenPrefix] {
            #expect(!output.standardOutput.contains(name))
        }
    }

    /// Every system call that is younger than Linux 4.14 has something to stand in for it.
    @Test(arguments: [
        "demo --scenario mptcp-ipv4 --scenario join-by-client", "trace --verify -- true", "trace -- false",
        "status", "doctor",
    ])
    func noYoungerSystemCallIsNeeded(_ command: String) throws {
        let calls =
            #filePath.split(separator: "/").dropLast(2).map { "/" + $0 }.joined() + "/VM/old_calls.py"
        let arguments = command.split(separator: " ").map(String.init)
        let output = try Tool.run(
            "/usr/bin/python3", [calls, try ActorProgram.path()] + arguments, seconds: 60)
        #expect(output.status == (arguments.last == "false" ? 1 : 0), "\(output.standardError)")
    }
}
