// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake

/// What the kernel is told to leave out. Ends and namespace are known there; whose socket it is
/// is not (softirq has no owner), so that is decided later.
public struct Filters: Sendable {
    /// Inode of the only namespace wanted; 0: all.
    public var netns: UInt32 = 0
    /// Of either end; 0: any.
    public var port: UInt16 = 0
    public var localPort: UInt16 = 0
    public var remotePort: UInt16 = 0
    /// 4, 6 or 0 for both.
    public var family: UInt8 = 0
    public var side: Side?
    /// The address of either end, with the length of its prefix in the 128 bits; 0: any.
    public var address = Address.unspecified
    public var prefixLength: UInt8 = 0

    public init() {}

    /// The same as the programs read it.
    func configuration(
        steps: Bool, allTcp: Bool, ownPid: UInt32, wakeBytes: UInt64, perCPUDistance: Int32
    ) -> mps_config {
        var config = mps_config()
        config.`self` = ownPid
        config.netns = netns
        config.port = port
        config.local_port = localPort
        config.remote_port = remotePort
        config.family = family
        config.side = side == .client ? UInt8(MPS_SIDE_CLIENT) : side == .server ? UInt8(MPS_SIDE_SERVER) : 0
        config.steps = steps ? 1 : 0
        config.all_tcp = allTcp ? 1 : 0
        config.prefix_length = prefixLength
        config.wake_bytes = wakeBytes
        config.per_cpu_distance = UInt32(bitPattern: perCPUDistance)
        withUnsafeMutableBytes(of: &config.address) { bytes in
            bytes.storeBytes(of: address.high.bigEndian, toByteOffset: 0, as: UInt64.self)
            bytes.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        return config
    }
}
