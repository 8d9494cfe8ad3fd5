// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Testing

@testable import Scenarios

extension Live {
    /// What can't be done ends with its status and one sentence, and leaves nothing behind.
    @Suite struct Failures {
        @Test func notPrivileged() throws {
            let folder = try Folder(mode: 0o755)
            let copy = "\(folder.path)/mpscope"
            try Tool.check("install", ["-m", "0755", try Program.path(), copy])
            let output = try Tool.run(
                "setpriv", ["--reuid", "65534", "--regid", "65534", "--clear-groups", copy, "trace"])
            expect(output, 77, ["root"])
        }

        @Test func noBTF() throws {
            expect(try hidden("mount -t tmpfs none /sys/kernel/btf"), 69, ["BTF"])
        }

        @Test func typesThatCannotBeRead() throws {
            expect(
                try trace(["--btf", "/etc/hostname", "--duration", "0.2"]), 69, ["BTF", "libbpf", "--btf"])
        }

        /// Who asks for one way does not get another: this kernel may have it, or says why not.
        @Test(arguments: ["fentry", "kprobe"]) func aWayThatIsAskedFor(_ backend: String) throws {
            let output = try trace(["--backend", backend, "--format", "json", "--duration", "0.2"])
            if output.status == 0 {
                let meta = try Line.all(Array(output.standardOutput.utf8)).first
                #expect(meta?.text("backend") == backend)
            } else {
                expect(output, 69, ["cannot attach by \(backend)", "--backend"])
            }
        }

        /// Less is seen then, and it is said.
        @Test func noCgroup2() throws {
            let hide = "while read -r d p t r; do [ $t = cgroup2 ] && umount -l $p; done < /proc/mounts; true"
            let output = try Tool.run(
                "unshare",
                ["-m", "sh", "-c", "\(hide); exec \"$0\" trace --format json -d 0.2", try Program.path()])
            #expect(output.status == 0)
            #expect(output.standardError.contains("mount -t cgroup2"))
            let hooks = try Line.all(Array(output.standardOutput.utf8)).first?.fields["hooks"]
            #expect("\(String(describing: hooks))".contains("cgroup v2 is mounted nowhere"))
        }

        @Test func noMPTCP() throws {
            let folder = try Folder()
            expect(try hidden("mount --bind \(folder.path) /proc/sys/net/mptcp"), 69, ["MPTCP"])
        }

        @Test func unwritableOutput() throws {
            let folder = try Folder()
            for output in ["/dev/full", folder.path, "\(folder.path)/no/such/folder"] {
                expect(try trace(["-o", output, "--duration", "1"]), 74, [output])
            }
            expect(try trace(["--ready-file", "\(folder.path)/no/such", "--duration", "1"]), 74, ["no/such"])
            let full = try Tool.run(
                "sh", ["-c", "\"$0\" trace --format json --duration 1 > /dev/full", try Program.path()])
            expect(full, 74, ["No space"])
        }

        @Test(arguments: [
            ["--no-such-option"], ["--port", "65536"], ["--side", "middle"], ["--outcome", "good"],
            ["--fail-on", "love"], ["-4", "-6"], ["--count", "0"], ["--duration", "0"], ["--addr", "10.0.0"],
            ["--netns", "no-such-namespace"], ["--cgroup", "/no/such/cgroup"], ["--buffer-size", "0"],
            ["--comm", "a-name-that-is-too-long"],
        ])
        func wrongUsage(_ options: [String]) throws {
            let output = try trace(options)
            #expect(output.status == 64)
            #expect(output.standardOutput == "")
            #expect(!output.standardError.isEmpty)
        }

        /// Whoever read has gone: the trace ends at the next record, and nothing went wrong.
        @Test func aClosedPipeIsACleanEnd() throws {
            let program = try Program.path()
            let script = """
                set -o pipefail
                "$0" trace --format json --duration 10 | head -1 > "$1/first" &
                while ! [ -s "$1/first" ]; do read -r -t 0.01 < "$1/fifo" || :; done
                "$0" __actor churn --new-netns 1 --count 10 > /dev/null
                wait $!
                """
            let folder = try Folder()
            #expect(mkfifo("\(folder.path)/fifo", 0o600) == 0)
            // Opened for both, so that the script's short waits have something to wait on.
            let fifo = Descriptor(owning: open("\(folder.path)/fifo", O_RDWR | O_CLOEXEC))
            let before = Deadline.now()
            let output = try Tool.run("bash", ["-c", script, program, folder.path])
            withExtendedLifetime(fifo.raw) {}
            #expect(output.status == 0)
            #expect(output.standardError == "")
            #expect(Deadline.now() - before < 8_000_000_000)
            #expect(try File.text("\(folder.path)/first").hasPrefix("{\"v\":1,\"type\":\"meta\",\"seq\":1,"))
        }

        @Test(arguments: [SIGINT, SIGTERM]) func aSignalEndsCleanly(_ signal: Int32) throws {
            var tracing = try Tracing()
            try tracing.awaitReady()
            let attached = try Attached(tracing.pid)
            #expect(attached.links.count >= 3)
            _ = try tracing.finish(signal: signal)
            #expect(try attached.left() == [])
        }

        /// The trace ends, its command with it.
        @Test func aSignalEndsTheCommandToo() throws {
            var tracing = try Tracing(command: ["sleep", "1000"])
            try tracing.awaitReady()
            let path = "/proc/\(tracing.pid)/task/\(tracing.pid)/children"
            let deadline = Deadline()
            var child: Int32?
            while child == nil, !deadline.hasPassed {
                child = try File.text(path).split(separator: " ").first.flatMap { Int32($0) }
            }
            let pid = try #require(child)
            _ = try tracing.finish()
            #expect(kill(pid, 0) == -1 && errno == ESRCH)
        }

        @Test func nothingStaysAttachedWhenKilled() throws {
            let attached: Attached
            do {
                var tracing = try Tracing()
                try tracing.awaitReady()
                attached = try Attached(tracing.pid)
                #expect(attached.links.count >= 3)
                try tracing.kill()
            }
            let deadline = Deadline()
            while try attached.left() != [], !deadline.hasPassed { poll(nil, 0, 5) }
            #expect(try attached.left() == [])
        }

        private func expect(_ output: Tool.Output, _ status: Int32, _ words: [String]) {
            #expect(output.status == status)
            #expect(output.standardError.hasPrefix("mpscope: "))
            #expect(output.standardError.split(separator: "\n").count == 1, "\(output.standardError)")
            for word in words { #expect(output.standardError.contains(word), "\(output.standardError)") }
        }

        private func trace(_ options: [String]) throws -> Tool.Output {
            try Tool.run(try Program.path(), ["trace"] + options)
        }

        /// A trace in a mount namespace of its own.
        private func hidden(_ preparation: String) throws -> Tool.Output {
            try Tool.run(
                "unshare",
                [
                    "-m", "--propagation", "private", "bash", "-c",
                    "{ \(preparation); } || exit 99; exec \"$0\" trace --duration 1", try Program.path(),
                ])
        }
    }
}

/// The BPF links and programs that a process holds.
private struct Attached {
    let links: Set<String>
    let programs: Set<String>

    init(_ pid: Int32) throws {
        var links: Set<String> = []
        var programs: Set<String> = []
        for number in 0..<256 {
            guard let text = try? File.text("/proc/\(pid)/fdinfo/\(number)") else { continue }
            for line in text.split(separator: "\n") {
                let words = line.split(whereSeparator: \.isWhitespace)
                if words.first == "link_id:", words.count > 1 { links.insert(String(words[1])) }
                if words.first == "prog_id:", words.count > 1 { programs.insert(String(words[1])) }
            }
        }
        self.links = links
        self.programs = programs
    }

    /// Those that still exist.
    func left() throws -> [String] {
        try left("link", links) + left("prog", programs)
    }

    private func left(_ kind: String, _ ids: Set<String>) throws -> [String] {
        let listing = try Tool.check("bpftool", [kind, "show"]).standardOutput
        let present = Set(
            listing.split(separator: "\n").compactMap { line in
                line.split(separator: ":").first.map(String.init)
            })
        return ids.filter(present.contains).map { "\(kind) \($0)" }
    }
}
