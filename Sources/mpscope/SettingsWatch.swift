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
    private var values: [Key: String] = [:]
    /// The path manager's endpoints.
    private var endpoints: [UInt32: Set<PathManagerEndpoint>] = [:]
    /// The path manager's limits among the settings.
    private static let limits = Setting.limits.name
    /// Writes of which is not known yet whether they were taken.
    private var open: [Key: SettingChange] = [:]
    /// Written since `look`.
    private var touched: Set<Key> = []
    /// ns, CLOCK_MONOTONIC.
    private var lastLook: UInt64 = 0

    /// Namespaces that `learn` was asked about.
    private var learnt: Set<UInt32> = []
    /// When namespaces were last searched for, which takes a look at every process.
    private var lastSearch: UInt64 = 0

    /// ns between two looks.
    private static let pause: UInt64 = 1_000_000_000
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

    /// The values in a namespace that was found only now; nil: it is not new, or can't be looked into.
    func learn(_ netns: UInt32) -> [(name: String, value: String)]? {
        guard learnt.insert(netns).inserted, only == nil, namespaces[netns] == nil else { return nil }
        for namespace in (try? NetworkNamespaces.all()) ?? [] { namespaces[namespace.inode] = namespace }
        guard let namespace = namespaces[netns], let found = try? MptcpSettings.read(in: namespace) else {
            return nil
        }
        for (name, value) in found.values { values[Key(netns: netns, name: name)] = value }
        var learnt = found.values.map { (name: $0.key, value: $0.value) }
        if let state = try? PathManagerState.read(in: namespace) {
            values[Key(netns: netns, name: Self.limits)] = state.limits.words
            endpoints[netns] = Set(state.endpoints)
            learnt.append((Self.limits, state.limits.words))
        }
        return learnt
    }

    /// Whether MPTCP is switched off anywhere.
    var isOffAnywhere: Bool {
        values.contains { SettingsWatch.switches.contains($0.key.name) && $0.value == "0" }
    }

    private static let switches: Set<String> = ["net.mptcp.enabled", "net.mptcp.mptcp_enabled"]

    /// What is another value than it was, by looking; nil: it is too soon. To be compared, once every write
    /// that the programs saw until now was taken, by `changes(since:)`.
    func look(at now: UInt64, evenSoon: Bool = false) -> Look? {
        guard evenSoon || now >= lastLook &+ Self.pause else { return nil }
        let before = lastLook
        lastLook = now
        touched.removeAll(keepingCapacity: true)
        if evenSoon || now >= lastSearch &+ Self.searchPause {
            lastSearch = now
            let found = only ?? (try? NetworkNamespaces.all()) ?? []
            namespaces = Dictionary(found.map { ($0.inode, $0) }, uniquingKeysWith: { first, _ in first })
        }
        var seen: [Key: String] = [:]
        var seenEndpoints: [UInt32: Set<PathManagerEndpoint>] = [:]
        for (netns, namespace) in namespaces {
            guard let settings = try? MptcpSettings.read(in: namespace) else { continue }
            for (name, value) in settings.values { seen[Key(netns: netns, name: name)] = value }
            if let state = try? PathManagerState.read(in: namespace) {
                seen[Key(netns: netns, name: Self.limits)] = state.limits.words
                seenEndpoints[netns] = Set(state.endpoints)
            }
        }
        if evenSoon {
            values = seen
            endpoints = seenEndpoints
        }
        return Look(time: now, before: before, seen: seen, endpoints: seenEndpoints)
    }

    struct Look {
        /// ns, CLOCK_MONOTONIC.
        private(set) var time: UInt64
        /// That of the look before.
        fileprivate var before: UInt64
        fileprivate var seen: [Key: String]
        fileprivate var endpoints: [UInt32: Set<PathManagerEndpoint>]

        fileprivate init(
            time: UInt64, before: UInt64, seen: [Key: String], endpoints: [UInt32: Set<PathManagerEndpoint>]
        ) {
            self.time = time
            self.before = before
            self.seen = seen
            self.endpoints = endpoints
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
        for (netns, now) in look.endpoints.sorted(by: { $0.key < $1.key }) {
            guard let before = endpoints[netns], before != now else { continue }
            func add(_ some: Set<PathManagerEndpoint>, _ change: AddressChange) {
                for endpoint in some.sorted(by: { $0.id < $1.id }) {
                    changes.append(EndpointChange(netns: netns, endpoint: endpoint, change: change))
                }
            }
            add(before.subtracting(now), .endpointRemoved)
            add(now.subtracting(before), .endpointAdded)
        }
        endpoints = look.endpoints
        return changes
    }

    /// What no program saw.
    func changes(since look: Look) -> [SettingChange] {
        var changes: [SettingChange] = []
        for (key, value) in look.seen where !touched.contains(key) && open[key] == nil {
            if let before = values[key], before != value {
                changes.append(
                    SettingChange(
                        time: look.time, netns: key.netns, name: key.name, old: before, new: value,
                        source: .poll, accepted: true, earliest: look.before))
            }
        }
        // Of namespaces that are gone nothing is kept; of new ones, what they begin with.
        let known = Set(look.seen.keys)
        values = values.filter { touched.contains($0.key) || known.contains($0.key) }
        values.merge(look.seen) { before, now in now }
        for key in touched { values[key] = current(key) ?? values[key] }
        return changes.sorted { ($0.netns, $0.name) < ($1.netns, $1.name) }
    }

    /// A write that a program saw.
    /// - Returns: `before`: an earlier write of the same setting, of which is known only now whether the
    ///   kernel took it; `change`: this one, if that is known of it.
    func take(_ change: SettingChange) -> (before: SettingChange?, change: SettingChange?) {
        let key = Key(netns: change.netns, name: change.name)
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
        guard let now = current(key) else { return (before, change) }
        if Self.same(now, change.new) {
            change.accepted = true
            change.new = now
            return (before, change)
        }
        // Refused, not taken yet, or written again already.
        open[key] = change
        return (before, nil)
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
        if namespaces[key.netns] == nil, only == nil {
            for namespace in (try? NetworkNamespaces.all()) ?? [] { namespaces[namespace.inode] = namespace }
        }
        guard let namespace = namespaces[key.netns] else { return nil }
        return (try? MptcpSettings.read(key.name, in: namespace)).flatMap { $0 }
    }
}

extension PathManagerLimits {
    /// As `ip mptcp limits` prints them.
    fileprivate var words: String { "add_addr_accepted \(addAddrAccepted) subflows \(subflows)" }
}
