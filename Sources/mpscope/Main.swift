// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Scenarios

/// The program. What the demo's own clients and servers run as is not a command of it.
@main
enum Main {
    static func main() {
        OwnProgram.restoreEnvironment()
        // Whoever started us may not care for its children, and that is inherited.
        signal(SIGCHLD, SIG_DFL)
        // A closed pipe is an error of write(), not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        let arguments = CommandLine.arguments
        // Swift finds them by /proc, and so do we with much else.
        guard !arguments.isEmpty else {
            complain("/proc is not mounted: mount -t proc proc /proc")
            exit(ExitStatus.unavailable.code)
        }
        if arguments.count > 1, arguments[1] == Actor.word {
            exit(Actor.run(arguments: Array(arguments.dropFirst(2))))
        }
        do {
            var command = try Mpscope.parseAsRoot()
            try command.run()
        } catch let status as ExitStatus {
            exit(status.code)
        } catch let error as Failure {
            complain(error.message)
            exit(error.status.code)
        } catch {
            Mpscope.exit(withError: error)
        }
    }
}

struct Mpscope: ParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "mpscope",
        abstract: "Watches Multipath TCP handshakes in the running kernel.",
        discussion: """
            Tells which connections speak MPTCP, which fell back to TCP and why, and how long \
            each step took.
            """,
        version: "mpscope \(version)",
        subcommands: [
            Trace.self, Watch.self, Status.self, Doctor.self, Demo.self, SchemaCommand.self,
            TableCommand.self,
            ReasonsCommand.self, CountersCommand.self, SettingsCommand.self, ProgramsCommand.self,
        ])
}
