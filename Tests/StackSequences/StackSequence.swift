// SPDX-License-Identifier: Apache-2.0

import Handshake

/// One row of the facts' order table (shared/docs/kernel-out-of-tree.md), played function by function.
package struct StackSequence: Sendable {
    package let name: String
    /// What is told, one line for each record, in order; `StackSequence.line` says how.
    package let expected: [String]
    package let allTcp: Bool
    private let body: @Sendable (Stack) -> Void

    init(_ name: String, allTcp: Bool = false, expect: [String], _ body: @escaping @Sendable (Stack) -> Void)
    {
        self.name = name
        self.allTcp = allTcp
        expected = expect
        self.body = body
    }

    /// The bytes that the programs send.
    /// - Parameter steps: with what is only sent for --steps.
    package func events(steps: Bool) -> [[UInt8]] {
        Stack.events(steps: steps, allTcp: allTcp, body)
    }

    package static func named(_ name: String) -> StackSequence? { all.first { $0.name == name } }

    /// A record in a line; nil: a step.
    package static func line(_ record: Record) -> String? {
        func words(_ words: String?...) -> String { words.compactMap(\.self).joined(separator: " ") }
        switch record {
        case .step: return nil
        case .handshake(let it): return words(it.side.rawValue, it.outcome.rawValue, it.reason?.rawValue)
        case .join(let it): return words(it.side.rawValue, "join", it.outcome.rawValue, it.reason?.rawValue)
        case .fallback(let it): return words(it.side?.rawValue, "lost MPTCP", it.reason?.rawValue)
        case .close(let it): return words("closed,", it.subflows.map(String.init), "subflows")
        case .listener(let it):
            return words(it.transport?.rawValue ?? "unknown", "listener", it.state.rawValue)
        case .anomaly(let it): return words("anomaly:", it.message)
        case .lost(let it): return words("lost", it.reason.rawValue)
        case .address: return "address"
        case .sysctl: return "sysctl"
        case .connection: return "connection"
        }
    }
}
