// SPDX-License-Identifier: Apache-2.0

import Glibc
import Probes
import Testing

/// The recorded events of each scenario; made by `mpscope demo --record Tests/ProbesTests/Recorded`.
enum Recordings {
    static let directory = #filePath.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/Recorded"

    static let names = [
        "mptcp-ipv4", "mptcp-ipv6", "mptcp-v4-mapped", "mptcp-nonblocking", "mptcp-ten-at-once",
        "mptcp-to-tcp-server", "tcp-to-mptcp-server", "refused", "unanswered",
    ]

    static func bytes(_ name: String) throws -> [UInt8] {
        let path = "\(directory)/\(name).events"
        let file = try #require(fopen(path, "r"), "no recording \(path)")
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 {
            bytes += buffer[..<count]
        }
        return bytes
    }

    static func events(_ name: String) throws -> [[UInt8]] {
        try EventRecording.events(in: bytes(name))
    }
}
