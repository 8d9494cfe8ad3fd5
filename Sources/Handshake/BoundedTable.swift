// SPDX-License-Identifier: Apache-2.0

/// A dictionary that forgets its oldest entry when it is full.
package struct BoundedTable<Key: Hashable, Value> {
    package let limit: Int
    private var values: [Key: Value] = [:]
    /// Keys in the order they came, the next to go at `head`; some may be gone already.
    private var order: [Key] = []
    private var head = 0

    package init(limit: Int) { self.limit = limit }

    package var count: Int { values.count }

    package subscript(key: Key) -> Value? { values[key] }

    package mutating func remove(_ key: Key) -> Value? { values.removeValue(forKey: key) }

    /// Changes the value of `key`, which is `fresh` if it had none.
    package mutating func update(
        _ key: Key, default fresh: @autoclosure () -> Value, _ change: (inout Value) -> Void
    ) {
        if values[key] == nil {
            makeRoom()
            order.append(key)
        }
        change(&values[key, default: fresh()])
    }

    private mutating func makeRoom() {
        while values.count >= limit, head < order.count {
            values.removeValue(forKey: order[head])
            head += 1
        }
        if order.count >= 4 * limit {
            order = order[head...].filter { values[$0] != nil }
            head = 0
        }
    }
}
