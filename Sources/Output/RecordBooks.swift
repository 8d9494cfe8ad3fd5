// SPDX-License-Identifier: Apache-2.0

import Handshake

/// What of a record the kernel's counters can depend on. Records of one kind are counted together.
struct RecordKind: Equatable, Sendable {
    enum Form: String, Sendable { case step, handshake, join, fallback }

    struct Traits: OptionSet, Equatable, Sendable {
        let rawValue: UInt8

        /// A SYN-ACK was seen.
        static let answered = Traits(rawValue: 1 << 0)
        /// A SYN was sent more than once.
        static let retransmitted = Traits(rawValue: 1 << 1)
        /// The kernel made a token for it.
        static let hasToken = Traits(rawValue: 1 << 2)
    }

    var form: Form
    var side: Side?
    var outcome: Outcome?
    var joinOutcome: JoinOutcome?
    var reason: Reason?
    var kernelReason: KernelReason?
    var from = SubflowState.none
    var to = SubflowState.none
    var traits: Traits = []

    init(_ form: Form) { self.form = form }

    /// nil: no counter depends on it.
    init?(_ record: Record) {
        switch record {
        case .step(let step):
            // What changes nothing is a repeat.
            if step.from == step.to { return nil }
            self.init(.step)
            from = step.from
            to = step.to
        case .handshake(let handshake):
            self.init(.handshake)
            side = handshake.side
            outcome = handshake.outcome
            reason = handshake.reason
            kernelReason = handshake.kernelReason
            if handshake.timings.synToSynack != nil { traits.insert(.answered) }
            if handshake.synRetransmits ?? 0 > 0 { traits.insert(.retransmitted) }
            if handshake.token != 0 { traits.insert(.hasToken) }
        case .join(let join):
            self.init(.join)
            side = join.side
            joinOutcome = join.outcome
            reason = join.reason
            kernelReason = join.kernelReason
            if join.timings.synToSynack != nil { traits.insert(.answered) }
        case .fallback(let fallback):
            self.init(.fallback)
            reason = fallback.reason
            kernelReason = fallback.kernelReason
        default:
            return nil
        }
    }

    /// The word in that field of the record; nil: it is absent.
    func word(_ field: String) -> String? {
        switch field {
        case "side": side?.rawValue
        case "outcome": outcome?.rawValue ?? joinOutcome?.rawValue
        case "reason": reason?.rawValue
        case "kernel_reason": kernelReason?.rawValue
        case "to": form == .step ? to.name : nil
        default: nil
        }
    }

    func isCounted(by term: KernelCounter.Term) -> Bool {
        term.type == form.rawValue && term.fields.allSatisfy { word($0.name) == $0.word }
    }
}

/// Counts records by network namespace and kind, for `--verify`: everything that the mirror found,
/// whatever of it is written.
public struct RecordBooks: Sendable {
    /// Of one namespace.
    struct Book: Sendable {
        /// Few: what happens in one namespace is of few kinds.
        var kinds: [(kind: RecordKind, count: UInt64)] = []
        /// ns, CLOCK_MONOTONIC.
        var firstTime = UInt64.max
        /// An MPTCP listener closed: whoever waited there to be accepted is gone.
        var lostListener = false

        func count(where matches: (RecordKind) -> Bool) -> Int64 {
            kinds.reduce(0) { matches($1.kind) ? $0 + Int64(clamping: $1.count) : $0 }
        }
    }

    /// Of how many namespaces a book is kept.
    static let limit = 65_536

    private var places: [UInt32: Int] = [:]
    private var books: [Book] = []
    private var last: (netns: UInt32, place: Int) = (0, -1)

    /// There was a namespace too many: of those without a book it is not known what happened.
    public private(set) var isFull = false

    public init() {}

    /// Takes one record into account.
    public mutating func take(_ record: Record) {
        if case .listener(let listener) = record {
            if listener.state == .closed, listener.transport == .mptcp, let place = place(of: listener.netns)
            {
                books[place].lostListener = true
            }
            return
        }
        guard let kind = RecordKind(record) else { return }
        let (netns, time) = Self.whereAndWhen(record)
        guard let place = place(of: netns) else { return }
        books[place].firstTime = min(books[place].firstTime, time)
        for number in books[place].kinds.indices where books[place].kinds[number].kind == kind {
            books[place].kinds[number].count &+= 1
            return
        }
        books[place].kinds.append((kind, 1))
    }

    /// Inodes of the namespaces of which something was counted.
    public var namespaces: Set<UInt32> { Set(places.keys) }

    /// ns, CLOCK_MONOTONIC, of the first record counted there; nil: none was.
    public func firstTime(in netns: UInt32) -> UInt64? {
        guard let place = places[netns], books[place].firstTime < .max else { return nil }
        return books[place].firstTime
    }

    func book(_ netns: UInt32) -> Book { places[netns].map { books[$0] } ?? Book() }

    private mutating func place(of netns: UInt32) -> Int? {
        if last.place >= 0, last.netns == netns { return last.place }
        let place = places[netns] ?? books.count
        if place == books.count {
            if place >= Self.limit {
                isFull = true
                return nil
            }
            places[netns] = place
            books.append(Book())
        }
        last = (netns, place)
        return place
    }

    private static func whereAndWhen(_ record: Record) -> (UInt32, UInt64) {
        switch record {
        case .step(let step): (step.observation.netns, step.observation.time)
        case .handshake(let handshake): (handshake.netns, handshake.time)
        case .join(let join): (join.netns, join.time)
        case .fallback(let fallback): (fallback.netns, fallback.time)
        default: (0, .max)
        }
    }
}
