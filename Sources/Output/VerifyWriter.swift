// SPDX-License-Identifier: Apache-2.0

import Handshake

// The summary's `verify`, as JSON and as text.

extension RecordWriter {
    static func write(_ verify: VerifyResult, to line: inout ByteBuffer) {
        line.member(",\"verify\":{\"checked\":", verify.checked)
        line.member(",\"equal\":", verify.equal)
        line.member(",\"within_bounds\":", unlessZero: verify.withinBounds)
        line.append(",\"differences\":[")
        for (place, difference) in verify.differences.enumerated() {
            line.append(place == 0 ? "{" : ",{")
            switch difference {
            case .counter(let it):
                line.member("\"netns\":", it.netns)
                line.member(",\"counter\":\"", word: it.counter)
                line.member(",\"kernel\":", UInt64(clamping: it.kernel))
                line.append(",\"seen\":")
                if it.seen < 0 { line.append("-") }
                line.append(decimal: it.seen.magnitude)
                line.member(",\"unexplained\":", it.unexplained)
            case .connection(let it):
                line.member("\"netns\":", it.netns)
                line.member(",\"conn\":", unlessZero: it.conn)
                line.member(",\"token\":\"", token: it.token)
                line.member(",\"local\":{\"addr\":\"", it.local)
                line.member(",\"remote\":{\"addr\":\"", it.remote)
                line.member(",\"field\":\"state\",\"kernel\":\"", word: it.kernel?.rawValue ?? "none")
                line.member(",\"seen\":\"", word: it.seen?.rawValue ?? "none")
            }
            line.append("}")
        }
        line.append("]")
        if !verify.skippedCounts.isEmpty { line.member(",\"skipped\":{", counts: verify.skippedCounts) }
        line.member(",\"lost\":", unlessZero: verify.lost)
        line.append("}")
    }
}

extension TextWriter {
    /// How many differences are told to people.
    private static let shownDifferences = 20

    mutating func write(_ verify: VerifyResult, to text: inout ByteBuffer) {
        cell.clear()
        cell.append("verify      ")
        cell.append(decimal: verify.checked)
        cell.append(" checked  ")
        cell.append(decimal: verify.equal)
        cell.append(" equal")
        if verify.withinBounds > 0 {
            cell.append(" (")
            cell.append(decimal: verify.withinBounds)
            cell.append(" as near as can be told)")
        }
        cell.append("  ")
        cell.append(count: verify.differing, "difference")
        paragraph(verify.differing == 0 ? .plain : .red, indent: 12, inItems: true, to: &text)
        for difference in verify.differences.prefix(Self.shownDifferences) {
            cell.clear()
            cell.append(UInt8(ascii: " "), times: 12)
            switch difference {
            case .counter(let it): describe(it)
            case .connection(let it): describe(it)
            }
            paragraph(.red, indent: 14, to: &text)
        }
        if verify.differing > Self.shownDifferences {
            cell.clear()
            cell.append(UInt8(ascii: " "), times: 12)
            cell.append("and ")
            cell.append(decimal: verify.differing - UInt64(Self.shownDifferences))
            cell.append(" more")
            paragraph(.red, indent: 14, to: &text)
        }
        if verify.lost > 0, verify.differing > 0 {
            cell.clear()
            cell.append(UInt8(ascii: " "), times: 12)
            cell.append("events were lost: what differs may come from that")
            paragraph(.red, indent: 14, to: &text)
        }
        for what in VerifySkip.allCases {
            guard let count = verify.skipped[what] else { continue }
            cell.clear()
            cell.append(UInt8(ascii: " "), times: 12)
            cell.append("not checked: ")
            cell.append(what.text)
            cell.append(": ")
            cell.append(decimal: count)
            paragraph(indent: 14, to: &text)
        }
    }

    private mutating func describe(_ it: CounterDifference) {
        cell.append(it.counter)
        append(netns: it.netns, it.name)
        cell.append(": kernel ")
        cell.append(decimal: it.kernel.magnitude)
        cell.append(", seen ")
        if it.seen < 0 { cell.append("-") }
        cell.append(decimal: it.seen.magnitude)
        let apart = (it.kernel - it.seen).magnitude
        if apart != it.unexplained {
            cell.append(", ")
            cell.append(decimal: apart - it.unexplained)
            cell.append(" of it explained")
        }
    }

    private mutating func describe(_ it: ConnectionDifference) {
        if it.conn == 0 {
            cell.append("a connection ")
        } else {
            cell.append("conn ")
            cell.append(decimal: it.conn)
            cell.append(" ")
        }
        cell.append(text: it.local)
        cell.append(" – ")
        cell.append(text: it.remote)
        append(netns: it.netns, it.name)
        cell.append(": kernel ")
        cell.append(it.kernel?.rawValue ?? "none")
        cell.append(", seen ")
        cell.append(it.seen?.rawValue ?? "none")
    }

    private mutating func append(netns: UInt32, _ name: String?) {
        cell.append(" in ")
        if let name {
            cell.append(text: name)
        } else {
            cell.append("net:[")
            cell.append(decimal: netns)
            cell.append("]")
        }
    }
}
