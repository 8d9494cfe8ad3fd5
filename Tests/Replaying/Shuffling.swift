// SPDX-License-Identifier: Apache-2.0

import Handshake
import TestSupport

/// Events of one CPU stay in their order; those of another may come some places earlier or later.
package func betweenCPUs(_ observations: [Observation], _ dice: inout Dice) -> [Observation] {
    var shifted: [(place: Int, observation: Observation)] = []
    var shift: [UInt16: Int] = [:]
    var last: [UInt16: Int] = [:]
    for (place, observation) in observations.enumerated() {
        if Int.random(in: 0..<4, using: &dice) == 0 {
            shift[observation.cpu] = Int.random(in: -4...4, using: &dice)
        }
        let wanted = max(place + (shift[observation.cpu] ?? 0), last[observation.cpu] ?? .min)
        last[observation.cpu] = wanted
        shifted.append((wanted, observation))
    }
    return shifted.enumerated().sorted { ($0.element.place, $0.offset) < ($1.element.place, $1.offset) }
        .map(\.element.observation)
}
