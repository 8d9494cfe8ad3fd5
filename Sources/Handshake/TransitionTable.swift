// SPDX-License-Identifier: Apache-2.0

/// What a transition decides.
public enum Verdict: Hashable, Sendable {
    case nothing
    /// The handshake is over.
    case decide(Outcome, Reason?)
    /// The attempt to add a subflow is over.
    case join(JoinOutcome, Reason?)
    /// A connection that had MPTCP lost it.
    case fallBack(Reason?)
    /// The connection is over.
    case close
}

/// One row of the mirror: in one of these states, this step, if these things are true and
/// those are not, leads to that state.
public struct Transition: Sendable {
    public var from: [SubflowState]
    public var on: Step
    public var all: Facts
    public var none: Facts
    /// nil: the state stays.
    public var to: SubflowState?
    public var verdict: Verdict
    /// What it mirrors: `line of the seed's walk | the out-of-tree stack | mainline`, each a dash when
    /// there is none (docs/state-machine.md).
    public var mirrors: String

    init(
        _ from: [SubflowState], _ on: Step, _ all: Facts = [], unless none: Facts = [],
        to: SubflowState?, _ verdict: Verdict, _ mirrors: String
    ) {
        self.from = from
        self.on = on
        self.all = all
        self.none = none
        self.to = to
        self.verdict = verdict
        self.mirrors = mirrors
    }

    init(
        _ from: [SubflowState], _ on: Step, _ all: Facts = [], unless none: Facts = [],
        to: SubflowState?, _ mirrors: String
    ) {
        self.init(from, on, all, unless: none, to: to, .nothing, mirrors)
    }
}

/// The one table of all transitions. Rows are tried from the top; the first that fits is taken.
public struct TransitionTable: Sendable {
    public let rows: [Transition]
    /// For each state and step: where in `order` its rows begin; `order` holds row numbers.
    private let starts: [UInt16]
    private let order: [UInt16]

    private static let steps = Step.allCases.count

    public init(_ rows: [Transition] = TransitionTable.kernel) {
        self.rows = rows
        var cells = [[UInt16]](repeating: [], count: SubflowState.allCases.count * Self.steps)
        for (number, row) in rows.enumerated() {
            for state in Set(row.from) {
                cells[Int(state.rawValue) * Self.steps + Int(row.on.rawValue)].append(UInt16(number))
            }
        }
        var starts: [UInt16] = [0]
        var order: [UInt16] = []
        for cell in cells {
            order += cell
            starts.append(UInt16(order.count))
        }
        self.starts = starts
        self.order = order
    }

    /// The number of the row for what was observed, nil when the mirrored machine does not allow it.
    public func row(from state: SubflowState, on step: Step, _ facts: Facts) -> Int? {
        let cell = Int(state.rawValue) * Self.steps + Int(step.rawValue)
        var at = Int(starts[cell])
        let end = Int(starts[cell + 1])
        while at < end {
            let number = Int(order[at])
            if facts.isSuperset(of: rows[number].all), facts.isDisjoint(with: rows[number].none) {
                return number
            }
            at += 1
        }
        return nil
    }
}
