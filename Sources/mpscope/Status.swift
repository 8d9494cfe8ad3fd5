// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Handshake
import Kernel
import Output

/// `mpscope status`: what is open now.
struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Who listens and who is connected now, with MPTCP or without.",
        discussion: """
            Lists TCP and MPTCP listeners and the open connections of every network namespace that \
            can be found: those that speak MPTCP with their subflows, those that fell back, and the \
            plain TCP ones that an MPTCP listener took; with their processes, and how MPTCP is set \
            there: now, and when each of them was made. Without root it shows what it may see and says what is missing.

            Exit status: 0 done; 64 wrong usage; 69 the kernel did not answer; 74 output could not \
            be written; 77 not privileged to look into the namespace of --netns.
            """)

    @Option(help: "text for people, json for JSON Lines.")
    var format = Format.text

    @Option(help: ArgumentHelp("Only this network namespace.", valueName: "name|path|inode"))
    var netns: String?

    @Flag(help: "List the other TCP connections as well.")
    var allTcp = false

    func run() throws {
        let survey = try StatusSurvey(only: netns, allTcp: allTcp)
        do throws(OutputError) {
            switch format {
            case .text: try writeText(survey)
            case .json: try writeJSON(survey)
            }
        } catch {
            if error.isCleanEnd { return }
            throw Failure("\(error)", .outputFailed)
        }
    }

    private func writeText(_ survey: StatusSurvey) throws(OutputError) {
        let terminal = Terminal.standardOutput
        var sink = Sink.standardOutput()
        var writer = StatusWriter(
            width: terminal.width, colour: terminal.wantsColour, names: survey.cgroupName,
            sockets: survey.socketUnit)
        writer.write(survey.namespaces, evenEmpty: netns != nil, to: &sink.buffer)
        if !survey.hidden.isEmpty { sink.buffer.append("\n") }
        for sentence in survey.sentences { writer.write(note: sentence, to: &sink.buffer) }
        try sink.flush()
    }

    private func writeJSON(_ survey: StatusSurvey) throws(OutputError) {
        var sink = Sink.standardOutput()
        var writer = RecordWriter(
            realtimeOffset: KernelClock.realtimeOffset(), names: survey.cgroupName,
            sockets: survey.socketUnit)
        let machine = survey.machine
        writer.write(
            MetaRecord(
                time: survey.time, tool: "mpscope \(Mpscope.version)", host: machine.hostname,
                bootID: machine.bootID, kernel: machine.kernel, arch: machine.architecture,
                stack: MetaRecord.Stack(rawValue: survey.stack.rawValue)),
            to: &sink.buffer)
        for namespace in survey.namespaces {
            writer.write(namespace, at: survey.time, to: &sink.buffer)
            try sink.flushIfFull()
        }
        for hidden in survey.hidden { writer.write(hidden, at: survey.time, to: &sink.buffer) }
        writer.write(
            SummaryRecord(time: survey.time, events: 0, delivered: 0, lostTotal: 0), to: &sink.buffer)
        try sink.flush()
        for problem in survey.sentences {
            // It may name namespaces, whose names are anybody's.
            var safe = ByteBuffer(capacity: 512)
            safe.append(text: problem)
            complain(String(decoding: safe.bytes(), as: UTF8.self))
        }
    }
}
