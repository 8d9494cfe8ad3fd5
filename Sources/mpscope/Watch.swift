// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Handshake

/// `mpscope watch`: follows MPTCP's settings.
struct Watch: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Follow writes to net.mptcp settings, and what each one does not reach.",
        discussion: """
            One line for each write to a setting: old and new value, who wrote, in which network \
            namespace; for each change of the path manager's limits and endpoints; listeners as they \
            open and close; and findings: who goes on by an old value, and whom to restart. It is what \
            `mpscope trace` tells, without the connections.

            Exit status: as of `mpscope trace`.
            """)

    @OptionGroup var options: LiveOptions

    @Argument(
        parsing: .postTerminator,
        help: ArgumentHelp(
            "Started once every hook is attached; the watch stops when it ends.", valueName: "command"))
    var command: [String] = []

    func run() throws {
        let session = try Session(options, telling: .settings)
        throw try session.run(command: command)
    }
}
