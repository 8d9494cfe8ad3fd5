// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Probes
import Scenarios
import Testing

/// The recorded events of each scenario; made by `mpscope demo --record Tests/ProbesTests/Recorded`.
enum Recordings {
    static let directory = #filePath.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/Recorded"

    /// One for each scenario.
    static let names = Scenario.all.map(\.name)

    /// The names of the files that are there.
    static func files() throws -> [String] {
        let open = try #require(opendir(directory), "no directory \(directory)")
        defer { closedir(open) }
        var names: [String] = []
        while let entry = readdir(open) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

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

    static func observations(_ name: String) throws -> [Observation] {
        try events(name).map { event in try event.withUnsafeBytes { try Decoder.decode($0) } }
    }
}
