// SPDX-License-Identifier: Apache-2.0

import Handshake

/// A packet's bytes: an IP header, a TCP header and its options, as far as the programs look.
struct StackPacket {
    enum Flags: UInt8 {
        case syn = 0x02
        case synack = 0x12
        case ack = 0x10
        case rst = 0x04
    }

    /// MPTCP's option as version 0 has it (RFC 6824).
    enum Option {
        case none
        case capable
        /// Of a SYN: whom it asks for.
        case join(token: UInt32, id: UInt8)
        /// Of a SYN-ACK.
        case joinAnswer(id: UInt8)
        /// Of a third ACK.
        case joinHmac
        case dss
    }

    var bytes: [UInt8]
    /// Where its TCP header begins.
    var transport: Int

    init(_ flags: Flags, _ option: Option, from source: Endpoint, to destination: Endpoint) {
        var options: [UInt8] = []
        if flags == .syn || flags == .synack {
            // MSS, SACK permitted, timestamps, window scale: MPTCP's comes last, as it does.
            options = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]
        } else {
            options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1]
        }
        options += Self.bytes(option, flags)
        while options.count % 4 != 0 { options.append(0) }
        let isV4 = destination.address.isV4
        if isV4 {
            bytes = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0]
            bytes += source.address.bytes[12...] + destination.address.bytes[12...]
        } else {
            bytes = [0x60, 0, 0, 0, 0, 0, 6, 64] + source.address.bytes + destination.address.bytes
        }
        transport = bytes.count
        bytes += [UInt8(source.port >> 8), UInt8(source.port & 0xff)]
        bytes += [UInt8(destination.port >> 8), UInt8(destination.port & 0xff)]
        bytes += [0, 0, 0, 1, 0, 0, 0, 0]
        bytes += [UInt8((20 + options.count) / 4) << 4, flags.rawValue, 0xff, 0xff, 0, 0, 0, 0]
        bytes += options
    }

    /// What stands for keys, HMACs and random numbers is 0xab: it must not come out anywhere.
    private static func bytes(_ option: Option, _ flags: Flags) -> [UInt8] {
        func secret(_ count: Int) -> [UInt8] { .init(repeating: 0xab, count: count) }
        switch option {
        case .none: return []
        case .capable:
            // The checksum is not asked for; HMAC-SHA1. The third ACK has both keys.
            return [30, flags == .ack ? 20 : 12, 0x00, 0x01] + secret(flags == .ack ? 16 : 8)
        case .join(let token, let id):
            return [30, 12, 0x10, id]
                + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: token >> $0) } + secret(4)
        case .joinAnswer(let id): return [30, 16, 0x10, id] + secret(12)
        case .joinHmac: return [30, 24, 0x10, 0] + secret(20)
        case .dss: return [30, 8, 0x20, 0x01, 0, 0, 0, 1]
        }
    }
}

extension Address {
    /// In network order.
    var bytes: [UInt8] {
        [high, low].flatMap { half in
            stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: half >> UInt64($0)) }
        }
    }
}
