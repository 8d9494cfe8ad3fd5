// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import BPF
import Probes

/// Every BPF program, loaded by itself; for the tests in virtual machines. One line each, with tabs
/// between: PROGRAM, WAY, TARGET, and `loaded` N, `cannot` WHY or `failed` WHY.
struct ProgramsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "__programs", abstract: "Load every BPF program and print what the verifier says.",
        shouldDisplay: false)

    @Option(help: "Those for the out-of-tree stack, with its types from this file.")
    var btf: String?

    func run() throws {
        if let btf {
            for (transport, trial) in ProgramTrial.multipath(btf: btf) {
                try Self.write(trial, " over \(transport.rawValue)")
            }
            return
        }
        let trials: [ProgramTrial]
        do throws(BPFError) {
            trials = try ProgramTrial.all()
        } catch {
            throw Failure("\(error)", .unavailable)
        }
        for trial in trials { try Self.write(trial) }
    }

    private static func write(_ trial: ProgramTrial, _ mark: String = "") throws {
        let result =
            switch trial.result {
            case .loaded(let verified): "loaded\t\(verified.map { "\($0)" } ?? "-")"
            case .cannot(let why): "cannot\t\(why)"
            case .failed(let why): "failed\t\(why)"
            }
        try Print.standardOutput(
            "\(trial.program)\(mark)\t\(trial.way.attachment.rawValue)\t\(trial.way.target)\t\(result)\n")
    }
}
