// SPDX-License-Identifier: Apache-2.0

/// Which columns the table of `status` has, and how wide they are, so that it fits the terminal.
/// 0: left out.
struct StatusLayout: Equatable {
    /// `listener`, `connection`.
    var what = 10
    var local = 5
    /// `→`, `←` or `–` between the addresses.
    var arrow = 1
    var remote = 6
    /// `mptcp`, `tcp`, `fallback`.
    var state = 8
    /// `enabled=1, now 0` and what fits behind it; if it is short `1, now 0`.
    var made = 9
    var madeIsShort = false
    var token = 8
    var subflows = 8
    /// The last column, never padded.
    var process = 7

    /// - Parameters:
    ///   - width: columns of the terminal; 0: no limit.
    ///   - local, remote, made, process: how much room the longest text of these columns wants.
    init(
        width: Int, local wantedLocal: Int, remote wantedRemote: Int, made wantedMade: Int,
        process wantedProcess: Int
    ) {
        let wanted = (max(local, wantedLocal), max(remote, wantedRemote), max(process, wantedProcess))
        let wholeMade = max(made, wantedMade)
        if width <= 0 {
            made = wholeMade
            (local, remote, process) = wanted
            return
        }
        // What is left out first is what the rest implies, then what other tools want to know.
        made = min(wholeMade, 16)
        if width < 87 + made { (made, madeIsShort) = (8, true) }
        if width < 100 + made { what = 0 }
        if width < 96 { (token, subflows) = (0, 0) }
        if width < 72 { (made, arrow) = (0, 0) }
        if width < 52 { process = 0 }
        let columns = [what, local, arrow, remote, state, made, token, subflows, process].filter { $0 > 0 }
        var spare = max(0, width - columns.reduce(0, +) - (columns.count - 1))
        // First any IPv4 address with its port, then the process, then whatever there is.
        for limit in [21, 26, Int.max] {
            StatusLayout.widen(&local, to: min(wanted.0, limit), &spare)
            StatusLayout.widen(&remote, to: min(wanted.1, limit), &spare)
            if process > 0 { StatusLayout.widen(&process, to: min(wanted.2, limit), &spare) }
        }
        // All of it or what it has.
        if made > 0, !madeIsShort, spare >= wholeMade - made { made = wholeMade }
    }

    private static func widen(_ column: inout Int, to wanted: Int, _ spare: inout Int) {
        let more = min(spare, max(0, wanted - column))
        column += more
        spare -= more
    }
}
