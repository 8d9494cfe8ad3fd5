// SPDX-License-Identifier: Apache-2.0

import Judging
import Scenarios

/// What `--verify` found in all namespaces.
struct Verification {
    private let found: [Line]

    /// nil: the summary does not say.
    init?(_ file: TraceFile) {
        guard case .object(let members)? = file.lines.last?.fields["verify"],
            case .list(let values)? = members["differences"]
        else { return nil }
        found = values.compactMap { value in
            guard case .object(let fields) = value else { return nil }
            return Line(fields: fields)
        }
    }

    /// - Parameters:
    ///   - spaces: of these namespaces; nil: of all.
    ///   - otherwise: counters that this kernel counts as something else.
    func differences(in spaces: Set<Int>? = nil, but otherwise: Set<String> = []) -> [String] {
        found.filter { line in
            guard let netns = line.number("netns"), let spaces else { return true }
            return spaces.contains(netns) && !otherwise.contains(line.text("counter") ?? "")
        }.map { "--verify: \($0)" }
    }
}
