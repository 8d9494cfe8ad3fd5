// SPDX-License-Identifier: Apache-2.0

import Handshake
import Scenarios

/// What is to be seen of a scenario, where kernels differ in what they do.
package enum Expected {
    /// What the scenario says, of which the kernel's own counters choose; never empty.
    package static func candidates(
        _ scenario: Scenario, _ result: ScenarioResult, on kernel: KernelFeatures
    ) -> [Sides<Expectation>] {
        let all = scenario.candidates(on: kernel)
        let fitting = all.filter { differences(result, $0, kernel) == [] }
        return fitting.isEmpty ? all : fitting
    }

    /// Of what the kernel counted, as far as it has the counters, from what is expected.
    package static func counterDifferences(
        _ scenario: Scenario, _ result: ScenarioResult, on kernel: KernelFeatures
    ) -> [String] {
        candidates(scenario, result, on: kernel).first.map { differences(result, $0, kernel) } ?? []
    }

    /// What this kernel counts otherwise than the regular course has it.
    package static func countedOtherwise(
        _ scenario: Scenario, _ result: ScenarioResult, on kernel: KernelFeatures
    ) -> Sides<Set<String>> {
        var names = Sides<Set<String>>(client: [], server: [])
        guard let regular = scenario.candidates(on: kernel).first,
            let chosen = candidates(scenario, result, on: kernel).first
        else { return names }
        for side in Side.allCases {
            names[side] = Counters.compared.filter {
                regular[side].counters[$0] != chosen[side].counters[$0]
            }
        }
        return names
    }

    private static func differences(
        _ result: ScenarioResult, _ expected: Sides<Expectation>, _ kernel: KernelFeatures
    ) -> [String] {
        var differences = Differences()
        for side in Side.allCases {
            func lines(_ counters: Counters) -> [String] {
                counters.only(kernel.counters).values.map { "\($0.key) \($0.value)" }
            }
            differences.same(
                lines(result.counters[side]), lines(expected[side].counters),
                "the \(side.rawValue)'s counters:")
        }
        return differences.words
    }
}
