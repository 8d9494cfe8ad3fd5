// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A moment of CLOCK_MONOTONIC after which waiting has failed.
package struct Deadline {
    /// What each wait of a scenario gets.
    package static let usual = 15

    package let seconds: Int
    private let end: UInt64

    package init(seconds: Int = Deadline.usual) {
        self.seconds = seconds
        end = Self.now() + UInt64(seconds) * 1_000_000_000
    }

    /// What poll() takes: at least 1 until the deadline has passed, then 0.
    package var milliseconds: CInt {
        let now = Self.now()
        return now >= end ? 0 : CInt(clamping: (end - now + 999_999) / 1_000_000)
    }

    package var hasPassed: Bool { Self.now() >= end }

    /// ns, CLOCK_MONOTONIC.
    package static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
