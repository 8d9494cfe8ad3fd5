// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Probes
import Scenarios
import Testing

/// The recorded events of each scenario; made by `mpscope demo --backend tracepoint --record
/// Tests/ProbesTests/Recorded`, and those in functions/ with `--backend fentry` on Debian's 6.18.
enum Recordings {
    static let directory = #filePath.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/Recorded"

    /// One for each scenario, seen by tracepoints and cgroup programs alone. (Settings are told by reading
    /// them as well, which no replay can.)
    static let plain = Scenario.all.map(\.name).filter { name in
        !Scenario.settings.contains { $0.name == name }
    }

    /// Those that were also seen by functions: all that end on that kernel as they do on the newest.
    static let functions = ((try? files(in: directory + "/functions")) ?? []).map {
        "functions/" + $0.dropLast(".events".count)
    }.sorted()

    static let names = plain + functions

    /// The scenario that a recording is of.
    static func scenario(of name: String) -> Scenario? {
        Scenario.named(name.split(separator: "/").last.map(String.init) ?? name)
    }

    /// The names of the files that are there.
    static func files(in directory: String = directory) throws -> [String] {
        let open = try #require(opendir(directory), "no directory \(directory)")
        defer { closedir(open) }
        var names: [String] = []
        while let entry = readdir(open) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(".events") { names.append(name) }
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
