// SPDX-License-Identifier: Apache-2.0

import Handshake
import Kernel

/// MPTCP's settings in every namespace: what they were when last looked at, and what is another value now.
///
/// A write is seen by a program before the kernel takes or refuses it; looking tells which. Looking now and
/// then finds what no program saw.
final class SettingsWatch {
    fileprivate struct Key: Hashable {
        var netns: UInt32
        var name: String
    }

    /// Those to look at; nil: all that can be found.
    private let only: [NetworkNamespace]?
    private var namespaces: [UInt32: NetworkNamespace] = [:]
    private var values: [Key: String] = [:] { didSet { isOffKnown = nil } }
    /// See `isOffAnywhere`; nil: to be found out.
    private var isOffKnown: Bool?
    /// The path manager's endpoints.
    private var endpoints: [UInt32: Set<PathManagerEndpoint>] = [:]
    private var cookies: [UInt32: UInt64] = [:]
    /// The path manager's limits among the settings.
    private static let limits = Setting.limits.name
    /// Writes of which is not known yet whether they were taken.
    private var open: [Key: SettingChange] = [:]
    /// Written since `look`.
    private var touched: Set<Key> = []
    /// Namespaces that could not be found, and when.
    private var missing: [UInt32: UInt64] = [:]
    /// Namespaces whose settings were told as a whole: at the beginning, by `learn` or by `new`.
    private var told: Set<UInt32> = []
    /// Where something happened, and when; and when each was looked at.
    private var active: [UInt32: UInt64] = [:]
    private var lastLooks: [UInt32: UInt64] = [:]
    /// When namespaces were last searched for, which takes a look at every process.
    private var lastSearch: UInt64 = 0

    /// ns between two looks.
    private static let pause: UInt64 = 1_000_000_000
    /// ns that one look may take.
    private static let budget: UInt64 = 20_000_000
    /// ns for which a namespace counts as one where something happens.
    private static let activity: UInt64 = 10_000_000_000
    /// ns that the kernel may need to take a write.
    private static let patience: UInt64 = 100_000_000
    /// ns between two searches. (A write in one that is not known yet makes it be searched for.)
    private static let searchPause: UInt64 = 5_000_000_000

    init(only: [NetworkNamespace]?) {
        self.only = only
        _ = look(at: 0, evenSoon: true)
    }

    /// What they were when the watch began.
    func tellBeginning(to tracker: inout Tracker) {
        for (key, value) in values { tracker.know(key.name, is: value, in: key.netns) }
    }

    /// What a namespace has, as it is read.
    private static func read(_ namespace: NetworkNamespace) -> State? {
        guard var found = (try? MptcpSettings.read(in: namespace))?.values else { return nil }
        let manager = (try? PathManagerState.read(in: namespace)).flatMap { $0 }
        found[limits] = manager?.limits.words
        return State(
            values: found, endpoints: Set(manager?.endpoints ?? []),
            cookie: (try? namespace.cookie()).flatMap { $0 })
    }

    /// The values in a namespace that was found only now; nil: it is not new, or can't be looked into.
    func learn(_ netns: UInt32) -> [String: String]? {
        if told.contains(netns) { return nil }
        guard let namespace = namespace(netns), let found = Self.read(namespace) else { return nil }
        know(found, in: netns)
        return found.values
    }

    private func know(_ state: State, in netns: UInt32) {
        for (name, value) in state.values { values[Key(netns: netns, name: name)] = value }
        endpoints[netns] = state.endpoints
        cookies[netns] = state.cookie
        told.insert(netns)
    }

    /// Whether MPTCP is switched off anywhere.
    var isOffAnywhere: Bool {
        if let isOffKnown { return isOffKnown }
        let isOff = values.contains { Setting.switches.contains($0.key.name) && $0.value == "0" }
        isOffKnown = isOff
        return isOff
    }

    /// What is another value than it was, by looking; nil: it is too soon. To be compared, once every write
    /// that the programs saw until now was taken, by `changes(since:)`.
    func look(at now: UInt64, evenSoon: Bool = false) -> Look? {
        if evenSoon || now >= lastSearch &+ Self.searchPause {
            lastSearch = now
            let found = only ?? (try? NetworkNamespaces.all()) ?? []
            namespaces = Dictionary(found.map { ($0.inode, $0) }, uniquingKeysWith: { first, _ in first })
            lastLooks = lastLooks.filter { namespaces[$0.key] != nil }
            active = active.filter { now < $0.value &+ Self.activity }
        }
        let due = namespaces.keys.filter { evenSoon || now >= lastLooks[$0, default: 0] &+ Self.pause }
        if due.isEmpty, !evenSoon { return nil }
        touched.removeAll(keepingCapacity: true)
        // Where something happens first, then where it is longest ago; what takes too long waits for the next
        // time: events must not.
        let order = due.sorted {
            (active[$0] == nil ? 1 : 0, lastLooks[$0, default: 0]) < (
                active[$1] == nil ? 1 : 0, lastLooks[$1, default: 0]
            )
        }
        let began = KernelClock.monotonic()
        var look = Look(time: now)
        for netns in order {
            if !evenSoon, KernelClock.monotonic() >= began &+ Self.budget { break }
            look.before[netns] = lastLooks[netns, default: 0]
            lastLooks[netns] = now
            look.states[netns] = namespaces[netns].flatMap(Self.read)
        }
        if evenSoon { for (netns, state) in look.states { know(state, in: netns) } }
        return look
    }

    /// Something happens in that namespace: it is looked at before others.
    func noteActivity(in netns: UInt32, at time: UInt64) { active[netns] = time }

    fileprivate struct State {
        /// Settings, and the limits.
        var values: [String: String]
        var endpoints: Set<PathManagerEndpoint>
        /// Tells the namespace from another that had its number before; nil: the kernel does not tell.
        var cookie: UInt64?
    }

    /// Some namespaces, at one moment.
    struct Look {
        /// ns, CLOCK_MONOTONIC.
        let time: UInt64
        /// When each was looked at before.
        fileprivate var before: [UInt32: UInt64] = [:]
        /// Of those that could be read.
        fileprivate var states: [UInt32: State] = [:]

        fileprivate init(time: UInt64) { self.time = time }
    }

    /// Namespaces that are there no more, or are others under the same number.
    func gone(at look: Look) -> [UInt32] {
        let gone = told.filter { netns in
            if namespaces[netns] == nil { return true }
            guard look.before[netns] != nil else { return false }
            guard let state = look.states[netns] else { return true }
            if let before = cookies[netns], let now = state.cookie { return before != now }
            return false
        }
        for netns in gone {
            forget(netns)
            if look.before[netns] != nil, look.states[netns] == nil { namespaces[netns] = nil }
        }
        return gone.sorted()
    }

    /// Namespaces that were not there before, and what they have.
    func new(at look: Look) -> [(netns: UInt32, values: [String: String])] {
        look.states.filter { !told.contains($0.key) }.sorted { $0.key < $1.key }.map { netns, state in
            know(state, in: netns)
            return (netns, state.values)
        }
    }

    struct EndpointChange {
        var netns: UInt32
        var endpoint: PathManagerEndpoint
        var change: AddressChange
    }

    /// Endpoints that came and went.
    func endpointChanges(since look: Look) -> [EndpointChange] {
        var changes: [EndpointChange] = []
        for (netns, state) in look.states.sorted(by: { $0.key < $1.key }) {
            let now = state.endpoints
            guard let before = endpoints[netns], before != now else { continue }
            endpoints[netns] = now
            func add(_ some: Set<PathManagerEndpoint>, _ change: AddressChange) {
                for endpoint in some.sorted(by: { $0.id < $1.id }) {
                    changes.append(EndpointChange(netns: netns, endpoint: endpoint, change: change))
                }
            }
            add(before.subtracting(now), .endpointRemoved)
            add(now.subtracting(before), .endpointAdded)
        }
        return changes
    }

    /// What no program saw.
    func changes(since look: Look) -> [SettingChange] {
        var changes: [SettingChange] = []
        for (netns, state) in look.states {
            for (name, value) in state.values {
                let key = Key(netns: netns, name: name)
                if touched.contains(key) || open[key] != nil { continue }
                if let before = values[key], before != value {
                    changes.append(
                        SettingChange(
                            time: look.time, netns: netns, name: name, old: before, new: value,
                            source: .poll, accepted: true, earliest: look.before[netns] ?? 0))
                }
                values[key] = value
            }
        }
        return changes.sorted { ($0.netns, $0.name) < ($1.netns, $1.name) }
    }

    /// A write that a program saw.
    /// - Returns: `before`: an earlier write of the same setting, of which is known only now whether the
    ///   kernel took it; `change`: this one, if that is known of it; `isRenewed`: its namespace is another
    ///   than the one that had its number before.
    func take(
        _ change: SettingChange
    ) -> (before: SettingChange?, change: SettingChange?, isRenewed: Bool) {
        let key = Key(netns: change.netns, name: change.name)
        let isRenewed = identify(change.netns)
        note(key)
        // The kernel writes the one with the other.
        for (one, other) in [("path_manager", "pm_type"), ("pm_type", "path_manager")]
        where change.name == "net.mptcp.\(one)" {
            note(Key(netns: change.netns, name: "net.mptcp.\(other)"))
        }
        var before = open.removeValue(forKey: key)
        if let earlier = before {
            // What this one finds, that one left.
            before?.accepted = change.old.map { Self.same($0, earlier.new) }
            if before?.accepted == true, let left = change.old { before?.new = left }
        }
        var change = change
        guard let now = current(key) else { return (before, change, isRenewed) }
        if Self.same(now, change.new) {
            change.accepted = true
            change.new = now
            return (before, change, isRenewed)
        }
        // Refused, not taken yet, or written again already.
        open[key] = change
        return (before, nil, isRenewed)
    }

    /// Which namespace it is that has this number.
    /// - Returns: whether another had it before.
    private func identify(_ netns: UInt32) -> Bool {
        guard let namespace = namespace(netns), let cookie = (try? namespace.cookie()).flatMap({ $0 }) else {
            return false
        }
        defer { cookies[netns] = cookie }
        guard let before = cookies[netns], before != cookie else { return false }
        forget(netns)
        return true
    }

    private func forget(_ netns: UInt32) {
        for key in values.keys where key.netns == netns { values[key] = nil }
        endpoints[netns] = nil
        cookies[netns] = nil
        told.remove(netns)
    }

    /// The one of that number; nil: it can't be found.
    private func namespace(_ netns: UInt32) -> NetworkNamespace? {
        if let known = namespaces[netns] { return known }
        let now = KernelClock.monotonic()
        if only != nil || now < missing[netns, default: 0] &+ Self.pause { return nil }
        for namespace in (try? NetworkNamespaces.all()) ?? [] { namespaces[namespace.inode] = namespace }
        if namespaces[netns] == nil {
            if missing.count > 1024 { missing.removeAll() }
            missing[netns] = now
        }
        return namespaces[netns]
    }

    /// What it is from here on is no news to the next look, nor to one that was taken already.
    private func note(_ key: Key) {
        touched.insert(key)
        if let now = current(key) { values[key] = now }
    }

    /// Writes of which nothing more will be known: what the kernel did not take by now, it refused. The
    /// program sees a write a moment before the kernel takes it, so they get some time.
    /// - Parameter now: CLOCK_MONOTONIC; `.max`: the trace ends.
    func settle(at now: UInt64) -> [SettingChange] {
        if open.isEmpty { return [] }
        var done: [SettingChange] = []
        for (key, change) in open where now >= change.time &+ Self.patience {
            var change = change
            let value = current(key)
            change.accepted = value.map { Self.same($0, change.new) }
            if change.accepted == true, let value { change.new = value }
            done.append(change)
            open[key] = nil
            note(key)
        }
        return done.sorted { $0.time < $1.time }
    }

    /// Whether the kernel would make the one of the other: numbers may be written as `00` or `0x0`.
    static func same(_ one: String, _ other: String) -> Bool {
        func trimmed(_ text: String) -> Substring {
            var rest = text[...]
            while rest.first?.isWhitespace == true { rest.removeFirst() }
            while rest.last?.isWhitespace == true { rest.removeLast() }
            return rest
        }
        let (a, b) = (trimmed(one), trimmed(other))
        return a == b || number(a).map { $0 == number(b) } ?? false
    }

    /// As the kernel reads it: octal after a 0, hexadecimal after 0x.
    private static func number(_ text: Substring) -> Int? {
        if text.hasPrefix("0x") || text.hasPrefix("0X") { return Int(text.dropFirst(2), radix: 16) }
        return text.hasPrefix("0") && text.count > 1 ? Int(text, radix: 8) : Int(text)
    }

    /// What it is at this moment; nil: it can't be read.
    private func current(_ key: Key) -> String? {
        guard let namespace = namespace(key.netns) else { return nil }
        return (try? MptcpSettings.read(key.name, in: namespace)).flatMap { $0 }
    }
}

extension PathManagerLimits {
    /// As `ip mptcp limits` prints them.
    fileprivate var words: String { "add_addr_accepted \(addAddrAccepted) subflows \(subflows)" }
}
