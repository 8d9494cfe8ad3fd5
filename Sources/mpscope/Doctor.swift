// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Output

/// `mpscope doctor`: what can be traced here.
struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "What this kernel, these privileges and this machine allow, and what to do about it.",
        discussion: """
            Attaches every hook for a moment, and detaches it again. Without root it tells as much \
            as it can.

            Exit status: 0 mpscope can trace; 69 nothing can be traced on this kernel; 77 only \
            privileges are missing; 74 output could not be written.
            """)

    @Option(help: "text for people, json for one JSON object.")
    var format = Format.text

    @Option(help: ArgumentHelp("BTF of this kernel, if it carries none.", valueName: "path"))
    var btf: String?

    /// As of `mpscope trace`.
    @Option(
        help: ArgumentHelp(
            "Hook the out-of-tree stack's functions of this kernel module; for tests.", valueName: "name",
            visibility: .hidden))
    var module: String?

    func run() throws {
        let examination = DoctorExamination(btf: btf, module: module)
        do throws(OutputError) {
            var sink = Sink.standardOutput()
            switch format {
            case .text:
                let terminal = Terminal.standardOutput
                var text = DoctorText(width: terminal.width, colour: terminal.wantsColour)
                text.write(examination.report, to: &sink.buffer)
            case .json:
                examination.report.writeJSON(to: &sink.buffer)
            }
            try sink.flush()
        } catch {
            // Whoever asks only for the status may close its end early.
            if !error.isCleanEnd { throw Failure("\(error)", .outputFailed) }
        }
        throw examination.status
    }
}
