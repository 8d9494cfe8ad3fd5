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

    func run() throws {
        let trials: [ProgramTrial]
        do throws(BPFError) {
            trials = try ProgramTrial.all()
        } catch {
            throw Failure("\(error)", .unavailable)
        }
        for trial in trials {
            let result =
                switch trial.result {
                case .loaded(let verified): "loaded\t\(verified.map { "\($0)" } ?? "-")"
                case .cannot(let why): "cannot\t\(why)"
                case .failed(let why): "failed\t\(why)"
                }
            try Print.standardOutput(
                "\(trial.program)\t\(trial.way.attachment.rawValue)\t\(trial.way.target)\t\(result)\n")
        }
    }
}
