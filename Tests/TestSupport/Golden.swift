// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

package struct FileFailure: Error {
    package var what: String

    package init(what: String) { self.what = what }
}

/// The bytes of a file.
package func read(_ path: String) throws -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileFailure(what: "cannot read \(path): errno \(errno)") }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
        let got = read(descriptor, &chunk, chunk.count)
        guard got >= 0 else { throw FileFailure(what: "cannot read \(path): errno \(errno)") }
        if got == 0 { return bytes }
        bytes.append(contentsOf: chunk[..<got])
    }
}

package func write(_ bytes: [UInt8], to path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileFailure(what: "cannot write \(path): errno \(errno)") }
    defer { close(descriptor) }
    guard write(descriptor, bytes, bytes.count) == bytes.count else {
        throw FileFailure(what: "cannot write \(path): errno \(errno)")
    }
}

private func lines(_ bytes: [UInt8]) -> [Substring] {
    String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
}

/// Holds `bytes` against a file of Golden/, or writes that file when UPDATE_GOLDEN is set.
package func expectGolden(_ bytes: [UInt8], _ name: String, file: String = #filePath) throws {
    let path = file.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/Golden/" + name
    if getenv("UPDATE_GOLDEN") != nil {
        try write(bytes, to: path)
        return
    }
    let golden = try read(path)
    let got = lines(bytes)
    let wanted = lines(golden)
    for (place, pair) in zip(got, wanted).enumerated() {
        #expect(pair.0 == pair.1, "\(name), line \(place + 1)")
    }
    // Not the arrays themselves: a failure would print every byte.
    let same = bytes == golden
    #expect(same, "\(name): \(got.count) lines, not \(wanted.count)")
}
