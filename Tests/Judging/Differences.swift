// SPDX-License-Identifier: Apache-2.0

/// Collects what is not as it should be, in words.
package struct Differences {
    private static let longest = 400

    package private(set) var words: [String] = []

    package init() {}

    package mutating func hold(_ condition: Bool, _ what: @autoclosure () -> String) {
        if !condition { words.append(String(what().prefix(Self.longest))) }
    }

    package mutating func equal<Value: Equatable>(
        _ seen: Value, _ expected: Value, _ what: @autoclosure () -> String
    ) {
        hold(seen == expected, "\(what()): \(seen) instead of \(expected)")
    }

    /// Two tallies; only what differs is told.
    package mutating func equal(_ seen: [String: Int], _ expected: [String: Int], _ what: String) {
        for name in Set(seen.keys).union(expected.keys).sorted() {
            equal(seen[name] ?? 0, expected[name] ?? 0, "\(what) \(name)")
        }
    }

    /// Two lists of lines in any order; only what differs is told.
    package mutating func same(_ seen: [String], _ expected: [String], _ what: String) {
        func tally(_ lines: [String]) -> [String: Int] {
            Dictionary(lines.map { ($0, 1) }, uniquingKeysWith: +)
        }
        equal(tally(seen), tally(expected), what)
    }
}
