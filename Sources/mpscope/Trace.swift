// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc

/// `mpscope trace`: follows live handshakes.
struct Trace: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Follow live MPTCP handshakes: one line for each.",
        discussion: """
            Ends with Ctrl-C, after --duration or --count, or with COMMAND. Needs root.

            Exit status: 0 done, or COMMAND's; 1 see --fail-on; 64 wrong usage; 69 nothing can be \
            traced on this kernel; 74 output could not be written; 77 not privileged; 126, 127 \
            COMMAND can't be started; 128+n COMMAND ended by signal n.
            """)

    @OptionGroup var options: LiveOptions

    @Argument(
        parsing: .postTerminator,
        help: ArgumentHelp(
            "Started once every hook is attached; the trace stops when it ends.", valueName: "command"))
    var command: [String] = []

    func run() throws {
        let session = try Session(options)
        throw try session.run(command: command)
    }
}
