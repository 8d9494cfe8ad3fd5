// SPDX-License-Identifier: Apache-2.0

import Replaying
import StackSequences
import Testing

@testable import Handshake
@testable import Probes

/// What docs/state-machine.md says of the out-of-tree stack is what the sequences show.
@Suite struct DocumentTests {
    @Test func stepsAreSeenWhereTheDocumentSays() throws {
        var seen: [Step: Set<Hook>] = [:]
        for sequence in StackSequence.all {
            for observation in try sequence.observations() {
                seen[observation.step, default: []].insert(observation.hook)
            }
        }
        for step in Step.allCases where step != .timer {
            #expect(seen[step] ?? [] == Set(step.outOfTreeHooks), "\(step.name)")
        }
        // Each hook there is tells some step.
        let told = Set(Step.allCases.flatMap(\.outOfTreeHooks))
        #expect(HookTable.multipath.allSatisfy { told.contains($0.hook) })
    }

    /// Rows that a sequence takes, or one that begins late, ends early or misses something.
    @Test func rowsAreTakenAsTheDocumentSays() throws {
        var whole: Set<Int> = []
        var cut: Set<Int> = []
        for sequence in StackSequence.all {
            for steps in [true, false] {
                let all = try sequence.observations(steps: steps)
                whole.formUnion(Replay(all, allTcp: sequence.allTcp).rows)
                for place in all.indices {
                    let before = Array(all[..<place])
                    let after = Array(all[place...])
                    for some in [before, after, before + after.dropFirst()] {
                        cut.formUnion(Replay(some).rows)
                        cut.formUnion(Replay(some, end: .atOnce).rows)
                    }
                }
            }
        }
        for (number, row) in Replay.kernel.rows.enumerated() {
            let isThere = !row.mirrors.contains("| – |")
            if whole.contains(number) { #expect(isThere, "row \(number): \(row.mirrors)") }
            if isThere { #expect(whole.union(cut).contains(number), "row \(number): \(row.mirrors)") }
        }
    }
}
