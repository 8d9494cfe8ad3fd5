// SPDX-License-Identifier: Apache-2.0

import Handshake

/// One step through bytes that should be UTF-8 and may be anything.
@inline(__always)
func scalar(
    in bytes: UnsafeBufferPointer<UInt8>, at place: Int
) -> (value: UInt32, length: Int)? {
    let first = bytes[place]
    if first < 0x80 { return (UInt32(first), 1) }
    let length: Int
    var value: UInt32
    let smallest: UInt32
    switch first {
    case 0xc2...0xdf: (length, value, smallest) = (2, UInt32(first & 0x1f), 0x80)
    case 0xe0...0xef: (length, value, smallest) = (3, UInt32(first & 0x0f), 0x800)
    case 0xf0...0xf4: (length, value, smallest) = (4, UInt32(first & 0x07), 0x1_0000)
    default: return nil
    }
    guard place + length <= bytes.count else { return nil }
    for next in 1..<length {
        let byte = bytes[place + next]
        guard byte & 0xc0 == 0x80 else { return nil }
        value = value << 6 | UInt32(byte & 0x3f)
    }
    guard value >= smallest, value <= 0x10_ffff, !(0xd800...0xdfff).contains(value) else { return nil }
    return (value, length)
}

/// Where bytes that are not UTF-8 go in JSON: byte 0xNN becomes U+EFNN, of the private use area.
/// UTF-8 of those very characters is treated as bytes too, so that nothing is ambiguous and
/// nothing is lost.
private let rawByteBase: UInt32 = 0xef00
private let rawBytes: ClosedRange<UInt32> = 0xef80...0xefff

/// Names that the kernel gave, as they were before they went into a record.
public enum KernelText {
    /// Undoes what the record writer does to bytes that are not UTF-8: `text` is a string of a
    /// record, its JSON escapes already resolved.
    public static func bytes(of text: some Sequence<UInt8>) -> [UInt8] {
        let source = Array(text)
        var result: [UInt8] = []
        result.reserveCapacity(source.count)
        source.withUnsafeBufferPointer { source in
            var place = 0
            while place < source.count {
                guard let found = scalar(in: source, at: place) else {
                    result.append(source[place])
                    place += 1
                    continue
                }
                if rawBytes.contains(found.value) {
                    result.append(UInt8(truncatingIfNeeded: found.value))
                } else {
                    result.append(contentsOf: source[place..<place + found.length])
                }
                place += found.length
            }
        }
        return result
    }
}

/// Characters that are written as `\uXXXX` though JSON would let them through: DEL, the C1
/// controls, and those that hide or turn around what stands beside them on a terminal.
private func isTroublesome(_ value: UInt32) -> Bool {
    switch value {
    case 0x7f...0x9f, 0xad, 0x61c, 0x200b...0x200f, 0x2028...0x202e, 0x2060...0x206f, 0xfeff: true
    default: false
    }
}

/// How many columns a character takes on a terminal; nil when it must not be printed as it is:
/// controls, marks that join their neighbour, unassigned ones, and letters written right to left,
/// which would turn the rest of the line around.
func columns(_ value: UInt32) -> Int? {
    if value < 0x7f { return value >= 0x20 ? 1 : nil }
    switch value {
    case 0x590...0x8ff, 0xfb1d...0xfdff, 0xfe70...0xfeff, 0x1_0800...0x1_0fff, 0x1_e800...0x1_efff:
        return nil
    default: break
    }
    guard let character = Unicode.Scalar(value) else { return nil }
    switch character.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .nonspacingMark, .spacingMark,
        .enclosingMark, .spaceSeparator, .lineSeparator, .paragraphSeparator, .modifierSymbol:
        return nil
    default: break
    }
    switch value {
    case 0x1100...0x115f, 0x231a...0x231b, 0x23e9...0x23f3, 0x25fd...0x25fe, 0x2614...0x2615,
        0x2648...0x2653, 0x267f, 0x2693, 0x26a1, 0x26aa...0x26ab, 0x26bd...0x26be, 0x26c4...0x26c5,
        0x26ce, 0x26d4, 0x26ea, 0x26f2...0x26f5, 0x26fa, 0x26fd, 0x2705, 0x270a...0x270b, 0x2728,
        0x274c, 0x274e, 0x2753...0x2757, 0x2795...0x2797, 0x27b0, 0x27bf, 0x2b1b...0x2b1c, 0x2b50,
        0x2b55, 0x2e80...0x303e, 0x3041...0x4dbf, 0x4e00...0xa4cf, 0xa960...0xa97c, 0xac00...0xd7a3,
        0xf900...0xfaff, 0xfe10...0xfe19, 0xfe30...0xfe6b, 0xff01...0xff60, 0xffe0...0xffe6,
        0x1_6fe0...0x1_b2ff, 0x1_f004...0x1_f2ff, 0x1_f300...0x1_faff, 0x2_0000...0x3_fffd:
        return 2
    default:
        return 1
    }
}

extension ByteBuffer {
    /// Any bytes as the inside of a JSON string.
    mutating func append(json bytes: UnsafeBufferPointer<UInt8>) {
        var place = 0
        while place < bytes.count {
            guard let found = scalar(in: bytes, at: place), !rawBytes.contains(found.value) else {
                // Every byte of a character that stands for a raw byte is one itself.
                append(unicode: rawByteBase | UInt32(bytes[place]))
                place += 1
                while place < bytes.count, bytes[place] & 0xc0 == 0x80 {
                    append(unicode: rawByteBase | UInt32(bytes[place]))
                    place += 1
                }
                continue
            }
            switch found.value {
            case 0x22: append("\\\"")
            case 0x5c: append("\\\\")
            case let value where value < 0x20 || isTroublesome(value): append(unicode: value)
            default: append(UnsafeBufferPointer(rebasing: bytes[place..<place + found.length]))
            }
            place += found.length
        }
    }

    /// Any string as the inside of a JSON string.
    public mutating func append(json text: String) {
        var text = text
        text.withUTF8 { append(json: $0) }
    }

    /// A task's name as the inside of a JSON string.
    @inline(__always)
    public mutating func append(json comm: Comm) {
        let first = plainBytes(comm.first)
        let second = first == 8 ? plainBytes(comm.second) : 0
        guard first >= 0, second >= 0 else {
            withName(comm) { append(json: $0) }
            return
        }
        let raw = UnsafeMutableRawPointer(room(for: 16))
        raw.storeBytes(of: comm.first.littleEndian, as: UInt64.self)
        raw.storeBytes(of: comm.second.littleEndian, toByteOffset: 8, as: UInt64.self)
        advance(first &+ second)
    }

    /// Any bytes as text that is safe on a terminal: what can't be printed is `\x1b`.
    mutating func append(text bytes: UnsafeBufferPointer<UInt8>) {
        var place = 0
        while place < bytes.count {
            if let found = scalar(in: bytes, at: place), columns(found.value) != nil {
                if found.value == 0x5c { append(UInt8(ascii: "\\")) }
                append(UnsafeBufferPointer(rebasing: bytes[place..<place + found.length]))
                place += found.length
            } else {
                append("\\x")
                append(hexByte: bytes[place])
                place += 1
            }
        }
    }

    /// Any string as text that is safe on a terminal.
    public mutating func append(text: String) {
        var text = text
        text.withUTF8 { append(text: $0) }
    }

    /// The name of a unit, or a text that holds one: a backslash stays single, as a shell and
    /// systemctl want it, unless there is something that has to be escaped.
    mutating func append(unit text: String) {
        if text.utf8.allSatisfy({ (0x20..<0x7f).contains($0) }) { append(text) } else { append(text: text) }
    }

    /// A task's name as text that is safe on a terminal.
    public mutating func append(text comm: Comm) {
        withName(comm) { append(text: $0) }
    }

    private mutating func append(unicode value: UInt32) {
        append("\\u")
        append(hexByte: UInt8(truncatingIfNeeded: value >> 8))
        append(hexByte: UInt8(truncatingIfNeeded: value))
    }
}

private func withName(_ comm: Comm, _ body: (UnsafeBufferPointer<UInt8>) -> Void) {
    var words = (comm.first.littleEndian, comm.second.littleEndian)
    let length = comm.count
    withUnsafeBytes(of: &words) { raw in
        raw.withMemoryRebound(to: UInt8.self) { body(UnsafeBufferPointer(rebasing: $0[..<length])) }
    }
}

/// How many bytes of `word` come before the first 0, if all of those are printable ASCII without
/// quote and backslash; -1 if not. All eight are looked at at once.
@inline(__always)
private func plainBytes(_ word: UInt64) -> Int {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let tops: UInt64 = 0x8080_8080_8080_8080
    let zeros = (word &- ones) & ~word & tops
    let count = zeros == 0 ? 8 : zeros.trailingZeroBitCount >> 3
    if count == 0 { return 0 }
    // What follows the end of the name is not looked at.
    let mask = ~UInt64(0) >> UInt64(64 &- count &* 8)
    let seen = word & mask | (ones &* 0x61) & ~mask
    let quote = seen ^ ones &* 0x22
    let backslash = seen ^ ones &* 0x5c
    let delete = seen ^ ones &* 0x7f
    let bad =
        seen
        | (seen &- ones &* 0x20) & ~seen
        | (quote &- ones) & ~quote
        | (backslash &- ones) & ~backslash
        | (delete &- ones) & ~delete
    return bad & tops == 0 ? count : -1
}
