// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Handshake
import Output

/// `mpscope schema`: the JSON Schema of the records.
struct SchemaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema", abstract: "Print the JSON Schema of the records.")

    func run() throws {
        try Print.standardOutput(Schema.text)
    }
}

/// The state machine as docs/state-machine.md holds it; for whoever changes it.
struct TableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "state-machine", abstract: "Print the mirrored state machine as a document.",
        shouldDisplay: false)

    func run() throws {
        try Print.standardOutput(TransitionTable().document)
    }
}

/// The reasons as docs/reasons.md holds them; for whoever changes them.
struct ReasonsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reasons", abstract: "Print every reason with its advice as a document.",
        shouldDisplay: false)

    func run() throws {
        try Print.standardOutput(Reason.document)
    }
}

enum Print {
    /// Writes text, with the exit status for an output that fails.
    static func standardOutput(_ text: String) throws {
        do throws(OutputError) {
            var sink = Sink.standardOutput()
            sink.buffer.append(text)
            if !text.hasSuffix("\n") { sink.buffer.append(0x0a) }
            try sink.flush()
        } catch {
            if error.isCleanEnd { return }
            throw Failure("\(error)", .outputFailed)
        }
    }
}
