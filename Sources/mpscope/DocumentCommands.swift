// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Handshake
import Output

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

/// The kernel's counters as docs/counters.md holds them; for whoever changes them.
struct CountersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "counters", abstract: "Print which records each counter of the kernel counts.",
        shouldDisplay: false)

    func run() throws {
        try Print.standardOutput(KernelCounter.document)
    }
}

/// The settings as docs/sysctls.md holds them; for whoever changes them.
struct SettingsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settings",
        abstract: "Print when the kernel reads each of MPTCP's settings, as a document.",
        shouldDisplay: false)

    func run() throws {
        try Print.standardOutput(Setting.document)
    }
}
