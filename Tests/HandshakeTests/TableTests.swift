// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import Handshake

@Suite struct TableTests {
    /// A row behind one that takes all its cases would never be tried.
    @Test func everyRowCanBeReached() {
        for (number, row) in TransitionTable.kernel.enumerated() {
            for state in row.from {
                let earlier = TransitionTable.kernel[..<number].filter {
                    $0.on == row.on && $0.from.contains(state) && row.all.isSuperset(of: $0.all)
                        && $0.none.isEmpty
                }
                #expect(earlier.isEmpty, "row \(number) from \(state) on \(row.on.name)")
            }
        }
    }

    @Test func namesAreUnique() {
        #expect(Set(SubflowState.allCases.map(\.name)).count == SubflowState.allCases.count)
        #expect(Set(Step.allCases.map(\.name)).count == Step.allCases.count)
    }

    /// Each row says what it mirrors in each stack, and when it fits.
    @Test func everyRowSaysWhatItMirrors() {
        let lines = [
            "–", "create socket", "send SYN", "receive SYN", "send SYN-ACK", "receive SYN-ACK", "receive ACK",
        ]
        let said = Facts.words.reduce(Facts()) { $0.union($1.0) }
        for (number, row) in TransitionTable.kernel.enumerated() {
            let parts = row.mirrors.mirrored
            #expect(parts.count == 3, "row \(number)")
            #expect(lines.contains(parts.first ?? ""), "row \(number)")
            #expect(parts.dropFirst().contains { $0 != "–" }, "row \(number)")
            #expect(said.isSuperset(of: row.all.union(row.none)), "row \(number)")
        }
    }

    @Test func documentsAreTheTables() throws {
        for (name, table) in [
            ("state-machine.md", TransitionTable().document), ("reasons.md", Reason.document),
            ("sysctls.md", Setting.document),
        ] {
            let path =
                #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/docs/" + name
            let file = try #require(fopen(path, "r"), "no \(path)")
            defer { fclose(file) }
            var buffer = [UInt8](repeating: 0, count: 4096)
            var bytes: [UInt8] = []
            while case let count = fread(&buffer, 1, buffer.count, file), count > 0 {
                bytes += buffer[..<count]
            }
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(text == table, "run: make document")
        }
    }
}

extension String {
    /// What stands between bars.
    fileprivate var mirrored: [String] {
        var parts: [String] = [""]
        for part in split(separator: " ", omittingEmptySubsequences: false) {
            if part == "|" {
                parts.append("")
            } else {
                parts[parts.count - 1] += (parts[parts.count - 1].isEmpty ? "" : " ") + part
            }
        }
        return parts
    }
}
