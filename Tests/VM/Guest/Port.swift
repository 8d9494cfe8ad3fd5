// SPDX-License-Identifier: Apache-2.0

import Glibc
import Scenarios
import Synchronization

/// The way to the host: lines of fields with tabs between, each after the run's own word.
///
///     start    SCENARIO
///     end      SCENARIO  MILLISECONDS
///     program  what `mpscope __programs` says of one
///     result   BACKEND  SCENARIO  pass | fail | cannot  WHY
///     time     WHAT  MILLISECONDS
///     note     WHAT
///     trouble  WHY
///     done
final class Port: Sendable {
    private let word: String
    private let lock = Mutex(())

    init(word: String) { self.word = word }

    func say(_ fields: [String]) {
        let line = ([word] + fields.map(Self.field)).joined(separator: "\t") + "\n"
        let bytes = Array(line.utf8)
        lock.withLock { _ in
            var sent = 0
            while sent < bytes.count {
                let count = bytes[sent...].withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
                if count < 0, errno != EINTR { return }
                sent += max(0, count)
            }
        }
    }

    /// In one line, without tabs.
    private static func field(_ text: String) -> String {
        String(decoding: text.utf8.map { $0 < 32 ? 32 : $0 }, as: UTF8.self)
    }
}

extension Port {
    /// Says of every BPF program whether this kernel takes it.
    /// - Parameter types: those of the out-of-tree stack, for whose programs it is; nil: mainline's.
    func listPrograms(of program: String, types: String? = nil) throws(ScenarioError) {
        let arguments = ["__programs"] + (types.map { ["--btf", $0] } ?? [])
        let output = try Tool.run(program, arguments, seconds: 120)
        for line in output.standardOutput.split(separator: "\n") {
            say(["program"] + line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init))
        }
        if output.status != 0 {
            say([
                "program", "-", "-", "-", "failed", "mpscope __programs ended with \(output.status)",
                output.standardError,
            ])
        }
    }
}
