// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The kernel's clocks, in ns.
public enum KernelClock {
    /// CLOCK_MONOTONIC, as bpf_ktime_get_ns.
    public static func monotonic() -> UInt64 { UInt64(read(CLOCK_MONOTONIC)) }

    /// What to add to CLOCK_MONOTONIC to get the time since 1970, UTC. It changes when the clock is
    /// set or slewed.
    public static func realtimeOffset() -> Int64 {
        // Of several readings the one least disturbed: the middle of the shortest interval.
        var best: (width: Int64, offset: Int64) = (.max, 0)
        for _ in 0..<5 {
            let before = read(CLOCK_MONOTONIC)
            let now = read(CLOCK_REALTIME)
            let after = read(CLOCK_MONOTONIC)
            if after - before < best.width {
                best = (after - before, now - (before + (after - before) / 2))
            }
        }
        return best.offset
    }

    private static func read(_ clock: clockid_t) -> Int64 {
        var now = timespec()
        // It fails for unknown clocks only.
        clock_gettime(clock, &now)
        return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
    }
}
