// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Testing

@testable import Output

/// The table of the kernel's counters, against its document and against the records' own words.
@Suite struct CounterTests {
    @Test func theDocumentIsTheTable() throws {
        let path =
            #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/docs/counters.md"
        let file = try #require(fopen(path, "r"), "no \(path)")
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        var bytes: [UInt8] = []
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 {
            bytes += buffer[..<count]
        }
        #expect(String(decoding: bytes, as: UTF8.self) == KernelCounter.document, "run: make document")
    }

    /// A counter that counts nothing a record can say would always be 0.
    @Test func everyWordIsOneOfTheRecords() {
        let schema = Schema.text
        for counter in KernelCounter.all {
            for term in counter.counts {
                #expect(schema.contains("\"\(term.type)\""))
                for field in term.fields {
                    #expect(schema.contains("\"\(field.name)\""))
                    switch field.name {
                    case "to": #expect(SubflowState.allCases.contains { $0.name == field.word })
                    case "kernel_reason": #expect(KernelReason(rawValue: field.word) != nil)
                    default: #expect(schema.contains("\"\(field.word)\""), "\(field.word)")
                    }
                }
            }
        }
        #expect(Set(KernelCounter.all.map(\.name)).count == KernelCounter.all.count)
    }
}
