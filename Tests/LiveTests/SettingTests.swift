// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Testing

@testable import Scenarios

extension Live {
    /// Writes to MPTCP's settings, and what does not follow them.
    @Suite struct Settings {
        private func set(_ setting: String, _ value: String, _ space: Namespace) throws {
            _ = try Tool.check("ip", ["netns", "exec", space.name, "sysctl", "-qw", "\(setting)=\(value)"])
        }

        private func numbers(_ list: JSON?) -> [Int] {
            guard case .list(let items)? = list else { return [] }
            return items.compactMap { if case .number(let number) = $0 { number } else { nil } }
        }

        private func affected(_ line: Line, _ what: String) -> [Int] {
            guard case .object(let parts)? = line.fields["affected"] else { return [] }
            return numbers(parts[what])
        }

        /// A listener goes on taking MPTCP when it is switched off: one finding, which grows and ends.
        @Test func aListenerOutlivesTheSwitch() throws {
            let stage = try Stage(executable: try Program.path())
            let space = stage.server.namespace
            defer { try? set("net.mptcp.enabled", "1", space) }
            var server = try Actors.server(stage.server, port: 27741)
            _ = try server.expect(["ready"], interruptedBy: -1)
            var client = try Actors.client(stage.client, to: stage.server.ipv4Text, port: 27741)
            _ = try client.expect(["ready"], interruptedBy: -1)
            let file = try traced { tracing in
                let output = tracing.output
                func wait(_ state: String) throws {
                    _ = try Tracing.lines(of: output) { lines in
                        lines.contains { $0.type == "anomaly" && $0.text("state") == state }
                    }
                }
                try set("net.mptcp.enabled", "0", space)
                try wait("open")
                client.tell("go")
                _ = try client.expect(["connected"], interruptedBy: -1)
                try wait("repeated")
                try set("net.mptcp.enabled", "1", space)
                try wait("closed")
                server.tell("close")
                client.tell("close")
                _ = try client.expect(["done"], interruptedBy: -1)
                try client.finish()
                try server.finish()
            }
            let changes = file.of("sysctl", in: space.inode)
            #expect(changes.map { $0.text("old") } == ["1", "0"])
            #expect(changes.map { $0.text("new") } == ["0", "1"])
            let listener = try #require(file.listener(port: 27741)?.number("listener"))
            for change in changes {
                #expect(change.text("name") == "net.mptcp.enabled")
                #expect(change.text("source") == "bpf")
                #expect(change.flag("accepted") == true)
                #expect(change.text("sampled_at") == "socket")
                #expect(change.text("comm") == "sysctl")
                #expect(change.number("uid") == 0)
                #expect(change.number("pid") ?? 0 > 0)
            }
            // To those that have MPTCP, its being switched on is no news.
            #expect(changes.map { affected($0, "listeners") } == [[listener], []])
            let findings = file.of("anomaly")
            #expect(
                findings.map { $0.text("kind") } == Array(repeating: "listener_outlives_disable", count: 3))
            #expect(findings.map { $0.text("state") } == ["open", "repeated", "closed"])
            #expect(findings.map { $0.text("severity") } == ["warning", "error", "error"])
            #expect(findings.map { $0.number("count") } == [1, 2, 2])
            #expect(Set(findings.map { $0.number("id") }).count == 1)
            #expect(Set(findings.map { $0.number("listener") }) == [listener])
            #expect(Set(findings.map { $0.text("sysctl") }) == ["net.mptcp.enabled"])
            #expect(
                findings.prefix(2).allSatisfy {
                    $0.text("message")?.contains("mp-server (pid \(server.pid))") == true
                        && $0.text("advice")?.hasPrefix("Restart mp-server (pid \(server.pid))") == true
                })
            #expect(findings[2].text("message") == "net.mptcp.enabled is 1 now.")
            let opened = try #require(file.listener(port: 27741)?.number("seq"))
            let accepted = try #require(
                file.of("handshake", in: space.inode).first { $0.text("side") == "server" })
            #expect(findings[1].number("conn") == accepted.number("conn"))
            #expect(
                numbers(findings[0].fields["evidence"])
                    == [opened, changes[0].number("seq")].compactMap(\.self))
            #expect(numbers(findings[1].fields["evidence"]) == [accepted.number("seq")].compactMap(\.self))
        }

        /// Refused, the same again, twice in a moment, and by a file that was opened in another namespace.
        @Test func everyWriteIsTold() throws {
            let stage = try Stage(executable: try Program.path())
            let space = stage.server.namespace
            let path = "/proc/sys/net/mptcp/checksum_enabled"
            let script = """
                echo 1 > \(path); echo 0 > \(path); echo 1 > \(path); echo 1 > \(path)
                echo 9 > \(path) 2>/dev/null; echo 00 > \(path); echo 0x1 > \(path)
                exec 9> \(path); nsenter --net=/run/netns/\(stage.client.namespace.name) bash -c 'echo 0 >&9'
                true
                """
            let file = try traced { _ in
                _ = try Tool.check("ip", ["netns", "exec", space.name, "bash", "-c", script])
            }
            #expect(file.of("sysctl", in: stage.client.namespace.inode) == [])
            let told = file.of("sysctl", in: space.inode).map {
                [
                    $0.text("old") ?? "?", $0.text("new") ?? "?", "\($0.flag("accepted") ?? false)",
                    $0.text("source") ?? "?",
                ]
            }
            #expect(
                told == [
                    ["0", "1", "true", "bpf"], ["1", "0", "true", "bpf"], ["0", "1", "true", "bpf"],
                    ["1", "1", "true", "bpf"], ["1", "9", "false", "bpf"], ["1", "0", "true", "bpf"],
                    ["0", "1", "true", "bpf"], ["1", "0", "true", "bpf"],
                ])
        }

        /// Also while nothing else happens from one look to the next.
        @Test func noWriteIsToldTwice() throws {
            let stage = try Stage(executable: try Program.path())
            let space = stage.server.namespace
            let file = try traced { _ in
                for value in 100..<106 {
                    try set("net.mptcp.add_addr_timeout", "\(value)", space)
                    poll(nil, 0, 450)
                }
            }
            let told = file.of("sysctl", in: space.inode)
            #expect(told.map { $0.text("new") } == (100..<106).map { "\($0)" })
            #expect(told.allSatisfy { $0.text("source") == "bpf" })
        }

        /// The kernel writes `pm_type` with `path_manager`: that is one write.
        @Test func onesWriteThatChangesTwo() throws {
            let stage = try Stage(executable: try Program.path())
            let space = stage.server.namespace
            try #require(access("/proc/sys/net/mptcp/path_manager", F_OK) == 0)
            let file = try traced { _ in
                try set("net.mptcp.path_manager", "userspace", space)
                // Longer than from one look to the next.
                poll(nil, 0, 1_500)
            }
            #expect(file.of("sysctl", in: space.inode).map { $0.text("name") } == ["net.mptcp.path_manager"])
        }

        /// A namespace that is gone leaves its number to another, and nothing else.
        @Test func aNumberThatIsUsedAgain() throws {
            let name = "mpscope-again-\(getpid())"
            let script = """
                ip netns add $0; ip netns exec $0 sysctl -qw net.mptcp.enabled=0
                number=$(stat -Lc %i /run/netns/$0); echo $number
                sleep 1.5; ip netns del $0
                # It is free once the kernel has taken the namespace apart; lower ones are given away first.
                for try in $(seq 100); do
                    name=$0-$try; ip netns add $name
                    [ $(stat -Lc %i /run/netns/$name) = $number ] && break
                    sleep 0.05
                done
                stat -Lc %i /run/netns/$name; sleep 1.5
                ip -n $name link set lo up; exec ip netns exec $name python3 -c '
                import socket
                def listener(port, protocol):
                    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
                    made.bind(("127.0.0.1", port)); made.listen()
                    return made
                held = [listener(99, 262), listener(98, 0)]
                for port in [99, 98]:
                    held.append(socket.create_connection(("127.0.0.1", port)))
                    held.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
                    held[-1].connect(("127.0.0.1", port))
                '
                """
            defer {
                let all = "for name in /run/netns/\(name)*; do ip netns del ${name##*/}; done"
                _ = try? Tool.run("bash", ["-c", all])
            }
            var numbers: [String] = []
            let file = try traced { _ in
                numbers = try Tool.check("bash", ["-c", script, name]).standardOutput
                    .split(separator: "\n").map(String.init)
            }
            // Or there is nothing to be seen of it.
            try #require(Set(numbers).count == 1, "\(numbers)")
            let netns = try #require(UInt32(numbers[0]))
            #expect(file.of("anomaly", in: netns) == [])
            #expect(file.of("sysctl", in: netns).map { $0.text("source") } == ["bpf"])
            let opened = file.of("listener", in: netns).filter { $0.text("state") == "open" }
            #expect(opened.map { $0.flag("enabled_at_creation") } == [true, true])
        }

        /// Where no program sees writes: without cgroup v2, of which a mount namespace can do without.
        @Test func withoutCgroupsItLooks() throws {
            let stage = try Stage(executable: try Program.path())
            let space = stage.server.namespace
            var server = try Actors.server(stage.server, port: 27742)
            _ = try server.expect(["ready"], interruptedBy: -1)
            let ready = "\(TemporaryFolder.path)/ready-\(getpid())"
            unlink(ready)
            defer { unlink(ready) }
            let script = """
                grep cgroup /proc/self/mounts | cut -d' ' -f2 | sort -r | xargs -n1 umount -l
                "$0" watch --format json --netns \(space.name) --ready-file \(ready) 2>/dev/null &
                while ! [ -e \(ready) ]; do sleep 0.02; done
                for value in 0 1; do
                    ip netns exec \(space.name) sysctl -qw net.mptcp.enabled=$value; sleep 2.2
                done
                kill -INT $!; wait $!
                """
            let output = try Tool.run(
                "unshare", ["-m", "bash", "-c", script, try Program.path()], seconds: 30)
            #expect(output.status == 0, "\(output.standardError)")
            let lines = try Line.all(Array(output.standardOutput.utf8))
            #expect(
                lines.map(\.type) == [
                    "meta", "listener", "sysctl", "anomaly", "sysctl", "anomaly", "summary",
                ])
            let changes = lines.filter { $0.type == "sysctl" }
            #expect(changes.map { $0.text("source") } == ["poll", "poll"])
            #expect(changes.map { $0.text("new") } == ["0", "1"])
            #expect(changes.allSatisfy { $0.number("pid") == nil })
            let findings = lines.filter { $0.type == "anomaly" }
            #expect(findings.map { $0.text("state") } == ["open", "closed"])
            server.tell("close")
            _ = try server.expect(["done"], interruptedBy: -1)
            try server.finish()
        }

        /// `mpscope watch` tells settings, listeners and findings, and no connection.
        @Test func watchTellsNoConnections() throws {
            let stage = try Stage(executable: try Program.path())
            let space = stage.server.namespace
            defer { try? set("net.mptcp.enabled", "1", space) }
            let ready = "\(TemporaryFolder.path)/ready-\(getpid())"
            unlink(ready)
            defer { unlink(ready) }
            let script = """
                "$0" watch --format json --netns \(space.name) --ready-file \(ready) &
                while ! [ -e \(ready) ]; do sleep 0.02; done
                ip netns exec \(space.name) sysctl -qw net.mptcp.enabled=0
                ip netns exec \(space.name) sysctl -qw net.mptcp.enabled=1
                kill -INT $!; wait $!
                """
            let output = try Tool.run("bash", ["-c", script, try Program.path()], seconds: 30)
            #expect(output.status == 0, "\(output.standardError)")
            let lines = try Line.all(Array(output.standardOutput.utf8))
            #expect(lines.map(\.type) == ["meta", "sysctl", "sysctl", "summary"])
        }
    }
}

private enum TemporaryFolder {
    static let path = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
}
