// SPDX-License-Identifier: Apache-2.0

import CEvent

/// Which bit of an MPTCP socket's flags says that it has fallen back: the kernel has no name for it
/// outside its sources, and it has moved (bit 4 up to 6.1, bit 2 in 6.12).
public struct Calibration: Sendable, Equatable {
    /// Where the connections are made, and by what thread: no trace shows them.
    public static let address = UInt32(MPS_OWN_ADDRESS)
    public static let threadName = MPS_OWN_THREAD

    /// The flags of a connection that fell back, and of one that did not.
    public var fallen: UInt64
    public var healthy: UInt64

    public init(fallen: UInt64, healthy: UInt64) {
        self.fallen = fallen
        self.healthy = healthy
    }

    /// The one bit in which they differ; nil: there is none, or more than one.
    public var bit: Int? {
        let only = fallen & ~healthy
        return only.nonzeroBitCount == 1 ? only.trailingZeroBitCount : nil
    }
}
