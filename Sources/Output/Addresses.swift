// SPDX-License-Identifier: Apache-2.0

import Handshake

extension ByteBuffer {
    /// An address as RFC 5952 wants it; a v4-mapped one as IPv4. The same text as inet_ntop's.
    @inline(__always)
    public mutating func append(address: Address) {
        if address.high == 0 && address.low >> 32 == 0xffff {
            append(v4: UInt32(truncatingIfNeeded: address.low))
        } else {
            append(v6: address)
        }
    }

    /// `10.0.0.1:443`, `[2001:db8::1]:443`.
    public mutating func append(endpoint: Endpoint) {
        if endpoint.address.isV4 {
            append(address: endpoint.address)
        } else {
            append(UInt8(ascii: "["))
            append(address: endpoint.address)
            append(UInt8(ascii: "]"))
        }
        append(UInt8(ascii: ":"))
        append(decimal: endpoint.port)
    }

    @inline(__always)
    mutating func append(v4: UInt32) {
        append(decimal: v4 >> 24)
        append(UInt8(ascii: "."))
        append(decimal: v4 >> 16 & 0xff)
        append(UInt8(ascii: "."))
        append(decimal: v4 >> 8 & 0xff)
        append(UInt8(ascii: "."))
        append(decimal: v4 & 0xff)
    }

    private mutating func append(v6 address: Address) {
        // The first of the longest runs of two or more zero groups becomes `::`.
        var start = 8
        var length = 1
        var run = 0
        for place in 0..<8 {
            run = group(address, place) == 0 ? run + 1 : 0
            if run > length {
                length = run
                start = place + 1 - run
            }
        }
        let end = start == 8 ? 8 : start + length
        // ::192.0.2.1, the old v4-compatible form.
        let compatible = start == 0 && length == 6
        var place = 0
        while place < 8 {
            if place == start {
                append("::")
                place = end
                continue
            }
            if place > 0 && place != end { append(UInt8(ascii: ":")) }
            if place == 6 && compatible {
                append(v4: UInt32(truncatingIfNeeded: address.low))
                return
            }
            append(hex: group(address, place))
            place += 1
        }
    }

    @inline(__always)
    private func group(_ address: Address, _ place: Int) -> UInt16 {
        let half = place < 4 ? address.high : address.low
        return UInt16(truncatingIfNeeded: half >> UInt64(48 &- (place & 3) &* 16))
    }
}
