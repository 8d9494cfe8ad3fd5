// SPDX-License-Identifier: Apache-2.0

/// What each setting is, and was, in every namespace, as far as the trace knows.
struct SettingHistory {
    struct Change {
        /// It happened after `earliest` and not after `time`, ns: to the moment when its write was seen.
        var earliest: UInt64
        var time: UInt64
        var old: String?
        /// nil: not known, as whether the kernel took what was written.
        var new: String?
        /// The number of its record (`Evidence.change`).
        var number: UInt64
    }

    private struct Key: Hashable {
        var netns: UInt32
        var name: String
    }

    private struct Course {
        /// What it was as the trace began, or its namespace was found; nil: not known.
        var atBeginning: String?
        /// What it was before the first of `changes`, from `since` on; nil: not known.
        var first: String?
        var since: UInt64
        /// The oldest first.
        var changes: [Change] = []
        /// Older ones were there.
        var isCut = false
    }

    private var courses: [Key: Course] = [:]
    /// How many changes of a setting are kept: what was made before is made at an unknown time.
    private static let limit = 64

    /// What a setting is, of which no change was seen.
    /// - Parameter since: ns; from when on it is known to be that.
    mutating func know(_ name: String, is value: String, in netns: UInt32, since: UInt64) {
        let key = Self.key(name, netns)
        if courses[key] == nil { courses[key] = Course(atBeginning: value, first: value, since: since) }
    }

    mutating func add(_ change: Change, of name: String, in netns: UInt32) {
        let key = Self.key(name, netns)
        var course = courses[key] ?? Course(atBeginning: change.old, first: change.old, since: 0)
        if course.changes.isEmpty, let old = change.old, !course.isCut {
            // What was believed until now may have been read a moment after this.
            course.first = old
            course.atBeginning = old
        }
        course.changes.append(change)
        if course.changes.count > Self.limit {
            let forgotten = course.changes.removeFirst()
            course.first = forgotten.new
            course.since = forgotten.time
            course.isCut = true
        }
        courses[key] = course
    }

    /// A write found it to be that: if it was not known, it is now.
    mutating func reveal(_ name: String, is value: String, in netns: UInt32) {
        let key = Self.key(name, netns)
        guard let last = courses[key]?.changes.indices.last, courses[key]?.changes[last].new == nil else {
            return
        }
        courses[key]?.changes[last].new = value
    }

    /// Of a namespace that is gone; its number may be another's later.
    mutating func forget(_ netns: UInt32) {
        for key in courses.keys where key.netns == netns { courses[key] = nil }
    }

    /// What it is now; nil: not known.
    func value(_ name: String, in netns: UInt32) -> String? {
        guard let course = courses[Self.key(name, netns)] else { return nil }
        return course.changes.last.map(\.new) ?? course.first
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
    func firstValue(_ name: String, in netns: UInt32) -> String? {
        courses[Self.key(name, netns)]?.atBeginning
    }

    /// Whether it had one value only until its last change, as far as the trace goes back.
    func hasChangedOnce(_ name: String, in netns: UInt32) -> Bool {
        courses[Self.key(name, netns)].map { $0.changes.count == 1 && !$0.isCut } ?? false
    }

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
