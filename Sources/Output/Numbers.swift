// SPDX-License-Identifier: Apache-2.0

/// "00" to "99" in a row: two digits are written for each division.
private let pairs: StaticString = """
    00010203040506070809101112131415161718192021222324252627282930313233343536373839\
    40414243444546474849505152535455565758596061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899
    """

private let hexDigits: StaticString = "0123456789abcdef"

/// How many decimal digits `value` has.
@inline(__always)
func decimalDigits(_ value: UInt64) -> Int {
    // log10 from log2 (1233/4096 is just above log10 of 2), then put right by one comparison.
    let guess = ((64 &- (value | 1).leadingZeroBitCount) &* 1233) >> 12
    return guess &+ (value >= powerOfTen(guess) || guess == 0 ? 1 : 0)
}

@inline(__always)
private func powerOfTen(_ exponent: Int) -> UInt64 {
    switch exponent {
    case 0: 1
    case 1: 10
    case 2: 100
    case 3: 1000
    case 4: 10_000
    case 5: 100_000
    case 6: 1_000_000
    case 7: 10_000_000
    case 8: 100_000_000
    case 9: 1_000_000_000
    case 10: 10_000_000_000
    case 11: 100_000_000_000
    case 12: 1_000_000_000_000
    case 13: 10_000_000_000_000
    case 14: 100_000_000_000_000
    case 15: 1_000_000_000_000_000
    case 16: 10_000_000_000_000_000
    case 17: 100_000_000_000_000_000
    case 18: 1_000_000_000_000_000_000
    default: 10_000_000_000_000_000_000
    }
}

/// Writes `value` so that its last digit is just before `end`, `digits` of them.
@inline(__always)
func putDecimal(_ value: UInt64, digits: Int, endingAt end: UnsafeMutablePointer<UInt8>) {
    let table = pairs.utf8Start
    var value = value
    var place = end
    var left = digits
    while left >= 2 {
        let quotient = value / 100
        let pair = Int(truncatingIfNeeded: value &- quotient &* 100) &* 2
        place -= 2
        place[0] = table[pair]
        place[1] = table[pair &+ 1]
        value = quotient
        left &-= 2
    }
    if left == 1 { (place - 1).pointee = UInt8(truncatingIfNeeded: 48 &+ value % 10) }
}

extension ByteBuffer {
    /// `value` in decimal.
    @inline(__always)
    public mutating func append(decimal value: UInt64) {
        let digits = decimalDigits(value)
        putDecimal(value, digits: digits, endingAt: room(for: 20) + digits)
        advance(digits)
    }

    /// `value` in decimal.
    @inline(__always)
    public mutating func append(decimal value: some FixedWidthInteger & UnsignedInteger) {
        append(decimal: UInt64(truncatingIfNeeded: value))
    }

    /// `value` in decimal, with leading zeros up to `digits`; higher digits are left out.
    @inline(__always)
    mutating func append(decimal value: UInt64, digits: Int) {
        putDecimal(value, digits: digits, endingAt: room(for: digits) + digits)
        advance(digits)
    }

    /// Eight lower case hex digits, as `ip mptcp monitor` prints a token.
    @inline(__always)
    public mutating func append(token: UInt32) {
        let place = room(for: 8)
        let digits = hexDigits.utf8Start
        var value = token
        var left = 8
        while left > 0 {
            left &-= 1
            place[left] = digits[Int(value & 15)]
            value >>= 4
        }
        advance(8)
    }

    /// `value` in hex without leading zeros.
    @inline(__always)
    mutating func append(hex value: UInt16) {
        let digits = hexDigits.utf8Start
        let length = max(1, (19 &- value.leadingZeroBitCount) >> 2)
        let place = room(for: 4)
        var value = value
        var left = length
        while left > 0 {
            left &-= 1
            place[left] = digits[Int(value & 15)]
            value >>= 4
        }
        advance(length)
    }

    /// Two lower case hex digits.
    @inline(__always)
    mutating func append(hexByte value: UInt8) {
        let digits = hexDigits.utf8Start
        append(digits[Int(value >> 4)])
        append(digits[Int(value & 15)])
    }
}
