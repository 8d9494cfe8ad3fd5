// SPDX-License-Identifier: Apache-2.0

import Handshake

/// What the kernel told behind a write of which is not known yet whether it took it: it waits, so that all
/// is told in the order in which it happened. Empty but for moments.
struct HeldBack {
    enum Item {
        case observation(Observation)
        /// `isSettled`: it is known whether it was taken.
        case change(SettingChange, isSettled: Bool)
    }

    private var items: ContiguousArray<Item> = []
    private var head = 0

    var isEmpty: Bool { head == items.count }
    var count: Int { items.count - head }

    /// ns, CLOCK_MONOTONIC, of the oldest; nil: there is none.
    var oldest: UInt64? {
        if isEmpty { return nil }
        return switch items[head] {
        case .observation(let observation): observation.time
        case .change(let change, _): change.time
        }
    }

    mutating func append(_ item: Item) { items.append(item) }

    /// Now it is known.
    mutating func settle(_ change: SettingChange) {
        let place = items[head...].firstIndex {
            if case .change(let other, isSettled: false) = $0 {
                other.netns == change.netns && other.name == change.name
            } else {
                false
            }
        }
        if let place { items[place] = .change(change, isSettled: true) }
    }

    /// The next whose turn it is; nil: it waits, or there is none.
    mutating func next() -> Item? {
        if isEmpty { return nil }
        if case .change(_, isSettled: false) = items[head] { return nil }
        defer {
            head += 1
            if isEmpty {
                items.removeAll(keepingCapacity: true)
                head = 0
            } else if head >= 4096, head * 2 >= items.count {
                items.removeFirst(head)
                head = 0
            }
        }
        return items[head]
    }
}
