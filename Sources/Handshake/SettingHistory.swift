// SPDX-License-Identifier: Apache-2.0

/// What each setting is, and was, in every namespace, as far as the trace knows.
struct SettingHistory {
    struct Change {
        /// It happened after `earliest` and not after `time`, ns: to the moment when its write was seen.
        var earliest: UInt64
        var time: UInt64
        var old: String?
        var new: String
        /// The number of its record (`Evidence.change`).
        var number: UInt64
    }

    private struct Key: Hashable {
        var netns: UInt32
        var name: String
    }

    private struct Course {
        /// What it was before the first of `changes`, from `since` on; nil: not known.
        var first: String?
        var since: UInt64
        /// The oldest first.
        var changes: [Change] = []
    }

    private var courses: [Key: Course] = [:]
    /// How many changes of a setting are kept: what was made before is made at an unknown time.
    private static let limit = 64

    static let switches: Set<String> = ["net.mptcp.enabled", "net.mptcp.mptcp_enabled"]

    /// What a setting is, of which no change was seen.
    /// - Parameter since: ns; from when on it is known to be that.
    mutating func know(_ name: String, is value: String, in netns: UInt32, since: UInt64) {
        let key = Self.key(name, netns)
        if courses[key] == nil { courses[key] = Course(first: value, since: since) }
    }

    mutating func add(_ change: Change, of name: String, in netns: UInt32) {
        let key = Self.key(name, netns)
        var course = courses[key] ?? Course(first: change.old, since: 0)
        // What was believed until now may have been read a moment after this.
        if course.changes.isEmpty, let old = change.old { course.first = old }
        course.changes.append(change)
        if course.changes.count > Self.limit {
            let forgotten = course.changes.removeFirst()
            course.first = forgotten.new
            course.since = forgotten.time
        }
        courses[key] = course
    }

    /// Of a namespace that is gone; its number may be another's later.
    mutating func forget(_ netns: UInt32) {
        for key in courses.keys where key.netns == netns { courses[key] = nil }
    }

    /// What it is now; nil: not known.
    func value(_ name: String, in netns: UInt32) -> String? {
        guard let course = courses[Self.key(name, netns)] else { return nil }
        return course.changes.last?.new ?? course.first
    }

    /// What it was at that time; nil: not known.
    func value(_ name: String, in netns: UInt32, at time: UInt64) -> String? {
        guard time != 0, let course = courses[Self.key(name, netns)] else { return nil }
        guard let place = course.changes.lastIndex(where: { $0.earliest <= time }) else {
            return time >= course.since ? course.first : nil
        }
        // Between two looks of which only the second found another value.
        return course.changes[place].time <= time ? course.changes[place].new : nil
    }

    func lastChange(_ name: String, in netns: UInt32) -> Change? {
        courses[Self.key(name, netns)]?.changes.last
    }

    /// What it was when the trace began, or its namespace was found.
    func firstValue(_ name: String, in netns: UInt32) -> String? { courses[Self.key(name, netns)]?.first }

    /// The switch that counts there; nil: none is known.
    func switchName(in netns: UInt32) -> String? {
        if courses[Key(netns: netns, name: "net.mptcp.enabled")] != nil { return "net.mptcp.enabled" }
        return courses[Key(netns: 0, name: "net.mptcp.mptcp_enabled")] != nil
            ? "net.mptcp.mptcp_enabled" : nil
    }

    /// The out-of-tree stack's settings are one for all.
    private static func key(_ name: String, _ netns: UInt32) -> Key {
        Key(netns: Setting.named(name)?.isPerNamespace == false ? 0 : netns, name: name)
    }
}
