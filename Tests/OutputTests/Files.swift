// SPDX-License-Identifier: Apache-2.0

import Glibc
import TestSupport

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

/// The text of a C string in an array.
func text(of cString: [CChar]) -> String {
    String(decoding: cString.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
