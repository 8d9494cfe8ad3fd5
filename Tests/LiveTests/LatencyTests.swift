// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Testing

@testable import Scenarios

extension Live {
    /// A person who watches sees what happens when it happens.
    @Suite struct Latency {
        @Test func aRecordIsInThePipeWithinATenthOfASecond() throws {
            let stage = try Stage(executable: try Program.path())
            let folder = try Folder()
            let pipe = try DescriptorPair.pipe()
            let ready = "\(folder.path)/ready"
            var tracer = try ChildProcess(
                try Program.path(),
                ["trace", "--format", "json", "--netns", stage.client.namespace.name, "--ready-file", ready],
                descriptors: [-1, pipe.writing.raw, 2])
            let output = pipe.dropWriting()
            let deadline = Deadline()
            while access(ready, F_OK) != 0, !deadline.hasPassed { poll(nil, 0, 1) }

            var delays: [UInt64] = []
            var pending: [UInt8] = []
            for _ in 0..<20 {
                try stage.client.namespace.inside { () throws(ScenarioError) in try Self.connectOnce() }
                // Both ends' handshakes.
                var missing = 2
                while missing > 0 {
                    var entry = pollfd(fd: output.raw, events: Int16(POLLIN), revents: 0)
                    try #require(poll(&entry, 1, 5_000) > 0)
                    _ = readOnce(output.raw, &pending)
                    let now = Deadline.now()
                    while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                        let line = try Line(pending[..<end])
                        pending.removeSubrange(...end)
                        guard line.type == "handshake" else { continue }
                        missing -= 1
                        delays.append(now - UInt64(line.number("mono_ns") ?? 0))
                    }
                }
            }
            kill(tracer.pid, SIGINT)
            // What is left must find its way out.
            while readOnce(output.raw, &pending) {}
            #expect(try tracer.wait(Deadline()) == .exited(0))
            let sorted = delays.sorted()
            #expect(sorted.count == 40)
            let median = sorted[sorted.count / 2]
            print("latency: median \(median / 1_000) us, worst \((sorted.last ?? 0) / 1_000) us")
            #expect(median <= 100_000_000)
        }

        private static func connectOnce() throws(ScenarioError) {
            let address = try SocketAddress("127.0.0.1", port: 27741)
            let listener = Descriptor(
                owning: try ActorSocket.listener(address, 262, dual: false, backlog: 1))
            let client = Descriptor(owning: try ActorSocket.make(address, 262, blocking: true))
            guard address.withPointer({ connect(client.raw, $0, $1) }) == 0 else {
                throw .failed("connect", on: "loopback", -errno)
            }
            _ = Descriptor(owning: accept(listener.raw, nil, nil))
        }
    }
}
