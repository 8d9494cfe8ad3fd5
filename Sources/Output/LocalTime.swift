// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Wall-clock times of the place where mpscope runs.
struct LocalTime {
    /// Seconds east of UTC, nil: ask the system.
    private let fixed: Int?
    /// The quarter of an hour for which `offset` holds; clocks are changed at its borders only.
    private var quarter = UInt64.max
    private var offset = 0

    init(fixed: Int?) {
        self.fixed = fixed
        if fixed == nil { tzset() }
    }

    /// Appends `HH:MM:SS`, and `.mmm` if asked for, of `ns` after 1970-01-01T00:00:00Z.
    mutating func append(_ ns: UInt64, milliseconds: Bool, to line: inout ByteBuffer) {
        let seconds = ns / 1_000_000_000
        if seconds / 900 != quarter {
            quarter = seconds / 900
            offset = fixed ?? systemOffset(seconds)
        }
        let local = UInt64(truncatingIfNeeded: (Int(truncatingIfNeeded: seconds) &+ offset) % 86_400 + 86_400)
        line.append(decimal: local / 3600 % 24, digits: 2)
        line.append(":")
        line.append(decimal: local / 60 % 60, digits: 2)
        line.append(":")
        line.append(decimal: local % 60, digits: 2)
        if milliseconds {
            line.append(".")
            line.append(decimal: ns / 1_000_000 % 1000, digits: 3)
        }
    }

    private func systemOffset(_ seconds: UInt64) -> Int {
        var time = time_t(truncatingIfNeeded: seconds)
        var parts = tm()
        return localtime_r(&time, &parts) == nil ? 0 : parts.tm_gmtoff
    }
}

extension ByteBuffer {
    /// A time span in at most seven columns: `412 µs`, `1.23 ms`, `12.3 ms`, `123 ms`, `1.23 s`.
    mutating func append(span ns: UInt64) {
        switch ns {
        case ..<1_000_000:
            append(decimal: ns / 1000)
            append(" µs")
        case ..<1_000_000_000:
            append(threeDigits: ns / 1000)
            append(" ms")
        default:
            append(threeDigits: ns / 1_000_000)
            append(" s")
        }
    }

    /// A number of thousandths, as a decimal of three digits where it has so few before the point.
    private mutating func append(threeDigits thousandths: UInt64) {
        append(decimal: thousandths / 1000)
        switch thousandths {
        case ..<10_000:
            append(".")
            append(decimal: thousandths / 10 % 100, digits: 2)
        case ..<100_000:
            append(".")
            append(decimal: thousandths / 100 % 10, digits: 1)
        default: break
        }
    }
}
