// SPDX-License-Identifier: Apache-2.0

/// A day of the (proleptic Gregorian) calendar.
struct CivilDate: Equatable {
    var year: UInt64
    var month: UInt64
    var day: UInt64

    /// The date `days` days after 1970-01-01. Years are counted from March, so that the leap day
    /// is the last of the year; 400 years have 146097 days.
    init(daysSince1970 days: UInt64) {
        let shifted = days &+ 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra =
            (dayOfEra &- dayOfEra / 1460 &+ dayOfEra / 36_524 &- dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra &- (365 &* yearOfEra &+ yearOfEra / 4 &- yearOfEra / 100)
        let marchMonth = (5 &* dayOfYear &+ 2) / 153
        day = dayOfYear &- (153 &* marchMonth &+ 2) / 5 &+ 1
        month = marchMonth < 10 ? marchMonth &+ 3 : marchMonth &- 9
        year = yearOfEra &+ era &* 400 &+ (month <= 2 ? 1 : 0)
    }
}

/// RFC 3339 times in UTC with nanoseconds; the text of the second is kept, since most records
/// share it with the record before.
struct TimeText {
    private var second = UInt64.max
    /// The 20 bytes `2025-11-22T15:40:00.`, as they lie in memory.
    private var head: (UInt64, UInt64, UInt32) = (0, 0, 0)

    /// Writes `ns` after 1970-01-01T00:00:00Z, 30 bytes.
    @inline(__always)
    mutating func write(_ ns: UInt64, to line: inout ByteBuffer) {
        let now = ns / 1_000_000_000
        if now != second { keep(now) }
        let place = line.room(for: 30)
        let raw = UnsafeMutableRawPointer(place)
        raw.storeBytes(of: head.0, as: UInt64.self)
        raw.storeBytes(of: head.1, toByteOffset: 8, as: UInt64.self)
        raw.storeBytes(of: head.2, toByteOffset: 16, as: UInt32.self)
        putDecimal(ns &- now &* 1_000_000_000, digits: 9, endingAt: place + 29)
        place[29] = UInt8(ascii: "Z")
        line.advance(30)
    }

    @inline(never)
    private mutating func keep(_ now: UInt64) {
        second = now
        let date = CivilDate(daysSince1970: now / 86_400)
        let time = now % 86_400
        withUnsafeMutableBytes(of: &head) { bytes in
            guard let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
            putDecimal(date.year, digits: 4, endingAt: start + 4)
            start[4] = UInt8(ascii: "-")
            putDecimal(date.month, digits: 2, endingAt: start + 7)
            start[7] = UInt8(ascii: "-")
            putDecimal(date.day, digits: 2, endingAt: start + 10)
            start[10] = UInt8(ascii: "T")
            putDecimal(time / 3600, digits: 2, endingAt: start + 13)
            start[13] = UInt8(ascii: ":")
            putDecimal(time / 60 % 60, digits: 2, endingAt: start + 16)
            start[16] = UInt8(ascii: ":")
            putDecimal(time % 60, digits: 2, endingAt: start + 19)
            start[19] = UInt8(ascii: ".")
        }
    }
}
