// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Numbers that are the same in every run (SplitMix64), small and special ones among them.
struct Dice {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func any() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    /// Of every length.
    mutating func next() -> UInt64 { any() >> (any() & 63) }

    /// With runs of zero groups.
    mutating func address() -> Address {
        let kind = any() % 8
        if kind == 0 { return Address(v4: UInt32(truncatingIfNeeded: any())) }
        if kind == 1 { return Address(high: 0, low: any() & 0xffff_ffff) }
        var halves = [any(), any()]
        for group in 0..<8 where any() % 3 != 0 {
            halves[group / 4] &= ~(0xffff << UInt64(48 - group % 4 * 16))
        }
        return Address(high: halves[0], low: halves[1])
    }
}
