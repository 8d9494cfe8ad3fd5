// SPDX-License-Identifier: Apache-2.0

import Glibc
import Output

/// With what status the program ends.
struct ExitStatus: Error {
    let code: Int32

    init(_ code: Int32) { self.code = code }

    static let done = ExitStatus(0)
    /// Something that `--fail-on` names was seen.
    static let seen = ExitStatus(1)
    static let usage = ExitStatus(64)
    static let badInput = ExitStatus(65)
    /// Nothing can be traced on this kernel.
    static let unavailable = ExitStatus(69)
    static let outputFailed = ExitStatus(74)
    static let notPrivileged = ExitStatus(77)
}

/// The end of a command that could not do its work: one sentence for a person, and the status.
struct Failure: Error {
    let message: String
    let status: ExitStatus

    init(_ message: String, _ status: ExitStatus) {
        self.message = message
        self.status = status
    }
}

/// Says `message` on standard error. It may hold names from the kernel or a file: control
/// characters are shown, not sent to the terminal.
func complain(_ message: String) {
    var text = ByteBuffer()
    text.append("mpscope: ")
    // Some messages are several lines, the verifier's for one.
    for (number, line) in message.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
        if number > 0 { text.append(0x0a) }
        text.append(text: String(line))
    }
    text.append(0x0a)
    text.withBytes { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
