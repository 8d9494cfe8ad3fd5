// SPDX-License-Identifier: Apache-2.0

/// A map from a non-zero 64-bit key (a kernel pointer, a cookie, a hash) to a small number.
///
/// Open addressing, linear probing, no tombstones: a lookup on the way of every event is one
/// multiplication and, mostly, one cache line. It grows by doubling and never shrinks; its
/// users bound how much they put in.
struct PointerTable {
    private var keys: ContiguousArray<UInt64>
    private var values: ContiguousArray<Int32>
    private var mask: Int
    private(set) var count = 0

    init(capacity: Int = 64) {
        var size = 64
        while size < capacity * 2 { size *= 2 }
        keys = ContiguousArray(repeating: 0, count: size)
        values = ContiguousArray(repeating: 0, count: size)
        mask = size - 1
    }

    /// Bytes with so many entries, at most.
    static func worstCase(_ count: Int) -> Int {
        4 * count * (MemoryLayout<UInt64>.stride + MemoryLayout<Int32>.stride)
    }

    private func home(_ key: UInt64) -> Int {
        // Kernel pointers differ in their middle bits: take the high half of a product.
        Int(truncatingIfNeeded: (key &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask
    }

    subscript(key: UInt64) -> Int32? {
        get {
            if key == 0 { return nil }
            var at = home(key)
            while true {
                let found = keys[at]
                if found == key { return values[at] }
                if found == 0 { return nil }
                at = (at + 1) & mask
            }
        }
        set {
            if key == 0 { return }
            if let newValue {
                insert(key, newValue)
            } else {
                remove(key)
            }
        }
    }

    private mutating func insert(_ key: UInt64, _ value: Int32) {
        if (count + 1) * 2 > keys.count { grow() }
        var at = home(key)
        while keys[at] != 0, keys[at] != key { at = (at + 1) & mask }
        if keys[at] == 0 { count += 1 }
        keys[at] = key
        values[at] = value
    }

    private mutating func remove(_ key: UInt64) {
        var hole = home(key)
        while keys[hole] != key {
            if keys[hole] == 0 { return }
            hole = (hole + 1) & mask
        }
        count -= 1
        // Move back whatever the hole would cut off from its home.
        var at = hole
        while true {
            at = (at + 1) & mask
            if keys[at] == 0 { break }
            let distance = (at - home(keys[at])) & mask
            if distance >= (at - hole) & mask {
                keys[hole] = keys[at]
                values[hole] = values[at]
                hole = at
            }
        }
        keys[hole] = 0
    }

    private mutating func grow() {
        let oldKeys = keys
        let oldValues = values
        let size = keys.count * 2
        keys = ContiguousArray(repeating: 0, count: size)
        values = ContiguousArray(repeating: 0, count: size)
        mask = size - 1
        count = 0
        for (key, value) in zip(oldKeys, oldValues) where key != 0 { insert(key, value) }
    }
}
