// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

struct FileFailure: Error {
    var what: String
}

/// The bytes of a file.
func read(_ path: String) throws -> [UInt8] {
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

func write(_ bytes: [UInt8], to path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileFailure(what: "cannot write \(path): errno \(errno)") }
    defer { close(descriptor) }
    guard write(descriptor, bytes, bytes.count) == bytes.count else {
        throw FileFailure(what: "cannot write \(path): errno \(errno)")
    }
}

/// A fresh directory, removed with what `body` left in it.
func withDirectory(_ body: (String) throws -> Void) throws {
    var template = Array("/tmp/mpscope-output-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw FileFailure(what: "mkdtemp: errno \(errno)") }
    let path = text(of: template)
    defer { _ = try? run("/bin/rm", ["-rf", path]) }
    try body(path)
}

/// Runs a program and returns its wait status.
@discardableResult
func run(_ program: String, _ arguments: [String]) throws -> Int32 {
    var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) }
    argv.append(nil)
    defer { for argument in argv { free(argument) } }
    var child: pid_t = 0
    let error = posix_spawn(&child, program, nil, nil, argv, environ)
    guard error == 0 else { throw FileFailure(what: "cannot start \(program): errno \(error)") }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 {
        guard errno == EINTR else { throw FileFailure(what: "waitpid: errno \(errno)") }
    }
    return status
}

private func lines(_ bytes: [UInt8]) -> [Substring] {
    String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
}

/// The text of a C string in an array.
func text(of cString: [CChar]) -> String {
    String(decoding: cString.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Holds `bytes` against a file of Golden/, or writes that file when UPDATE_GOLDEN is set.
func expectGolden(_ bytes: [UInt8], _ name: String, file: String = #filePath) throws {
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
