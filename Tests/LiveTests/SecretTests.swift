// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Testing

@testable import Scenarios

extension Live {
    /// MPTCP keys are secrets: whoever has both can join or reset a connection.
    @Suite struct Secrets {
        @Test func keysAreNeverWritten() throws {
            let stage = try Stage(executable: try Program.path())
            let scenario = try #require(Scenario.named("mptcp-ten-at-once"))
            var capture: Capture?
            try stage.server.namespace.inside { () throws(ScenarioError) in capture = try Capture() }
            let packets = try #require(capture)
            defer { packets.end() }
            // JSON Lines to the file, text for people to standard output.
            let file = try traced(["--steps"]) { _ in _ = try scenario.run(on: stage) }
            let keys = packets.keys()

            // A key for each end of ten connections.
            #expect(keys.count == 20)
            let handshakes = file.of("handshake", in: stage.server.namespace.inode)
            #expect(handshakes.count == 10)
            #expect(file.of("step", in: stage.server.namespace.inode).count >= 10 * 7)
            let printed = String(decoding: file.printed, as: UTF8.self)
            for line in handshakes {
                #expect(printed.contains(":\(line.end("remote")?.port ?? 0) "), "\(printed.prefix(2_000))")
            }
            for output in [file.bytes, file.printed, Array(file.complaints.utf8)] {
                let text = String(decoding: output, as: UTF8.self).lowercased()
                let bare = text.filter { $0 != " " && $0 != ":" }
                for key in keys {
                    for value in [key, key.byteSwapped] {
                        let hex = String(value, radix: 16)
                        let padded = String(repeating: "0", count: 16 - hex.count) + hex
                        #expect(!text.contains(padded))
                        #expect(!bare.contains(padded))
                        #expect(!text.contains("\(value)"))
                        #expect(!text.contains("\(Int64(bitPattern: value))"))
                    }
                }
            }
        }
    }
}

/// The packets of a namespace, from when it is made inside on.
private struct Capture {
    private let socket: CInt

    init() throws(ScenarioError) {
        // ETH_P_ALL, a macro that Swift can't see.
        let everything = CInt(UInt16(3).bigEndian)
        socket = Glibc.socket(
            AF_PACKET, CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), everything)
        guard socket >= 0 else { throw .failed("socket(AF_PACKET)", on: "a namespace", -errno) }
    }

    func end() { close(socket) }

    /// All keys of MP_CAPABLE options (RFC 8684, 3.1): one in a SYN-ACK, two in what follows.
    func keys() -> Set<UInt64> {
        var keys: Set<UInt64> = []
        var frame = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(socket, &frame, frame.count, 0)
            if count <= 0 { return keys }
            guard let option = Self.capable(frame[..<count]) else { continue }
            // Kind, length, subtype and version, flags; then the keys.
            for begin in stride(from: 4, to: min(option.count, 20) - 7, by: 8) {
                keys.insert(option[begin..<begin + 8].reduce(0) { $0 << 8 | UInt64($1) })
            }
        }
    }

    /// The MP_CAPABLE option of an Ethernet frame with TCP over IPv4.
    private static func capable(_ frame: ArraySlice<UInt8>) -> [UInt8]? {
        guard frame.count > 54, frame[12] == 8, frame[13] == 0, frame[23] == 6 else { return nil }
        let tcp = 14 + Int(frame[14] & 15) * 4
        guard tcp + 20 <= frame.count else { return nil }
        let end = min(tcp + Int(frame[tcp + 12] >> 4) * 4, frame.count)
        var at = tcp + 20
        while at + 1 < end, frame[at] != 0 {
            let length = frame[at] == 1 ? 1 : Int(frame[at + 1])
            guard length > 0, at + length <= end else { return nil }
            if frame[at] == 30, frame[at + 2] >> 4 == 0 { return Array(frame[at..<at + length]) }
            at += length
        }
        return nil
    }
}
