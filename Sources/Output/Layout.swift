// SPDX-License-Identifier: Apache-2.0

/// Which columns a table line has, and how wide they are, so that it fits the terminal. 0: left out.
struct Layout: Equatable {
    /// `HH:MM:SS.mmm` (12) or `HH:MM:SS` (8).
    var time = 12
    var pid = 7
    var comm = 15
    /// Only where there is much room.
    var unit = 20
    /// 6: `client`, `server`; 1: `→`, `←` between the addresses.
    var side = 6
    /// Room for an address (15 or more), or for its port only (6).
    var local = 21
    var remote = 21
    let outcome = 8
    /// 0: shares the last column with the reason: the latency of a success, else the reason.
    var latency = 7
    /// The last column, never padded.
    var reason = 40

    /// The columns for a terminal `width` columns wide; 0: no limit.
    init(width: Int) {
        if width <= 0 { return }
        if width < 170 { unit = 0 }
        switch width {
        case 140...:
            reason = 35
            // Room for IPv6 addresses, then for what there is to say of a subflow.
            var spare = width - 140 - (unit > 0 ? unit + 1 : 0)
            let addresses = min(spare, 52) / 2
            local += addresses
            remote += addresses
            spare -= 2 * addresses
            reason += spare
        case 100...:
            (side, comm, local, reason) = (1, 9, 6, 21)
            var spare = width - 100
            Layout.widen(&local, from: 6, to: 21, in: 15, &spare)
            Layout.widen(&reason, from: 21, to: 25, in: 1, &spare)
            Layout.widen(&comm, from: 9, to: 15, in: 1, &spare)
            Layout.widen(&remote, from: 21, to: 47, in: 1, &spare)
            reason += spare
        case 78...:
            (side, comm, local, remote, latency, reason) = (1, 8, 0, 17, 0, 19)
            var spare = width - 78
            Layout.widen(&reason, from: 19, to: 25, in: 1, &spare)
            Layout.widen(&remote, from: 17, to: 21, in: 1, &spare)
            Layout.widen(&comm, from: 8, to: 15, in: 1, &spare)
        case 52...:
            (time, pid, side, comm, local, remote, latency, reason) = (8, 0, 1, 8, 0, 15, 0, 7)
            var spare = width - 52
            Layout.widen(&reason, from: 7, to: 25, in: 1, &spare)
            Layout.widen(&remote, from: 15, to: 21, in: 1, &spare)
        case 38...:
            (time, pid, side, comm, local, latency, reason) = (8, 0, 1, 7, 0, 0, 0)
            remote = width - 28
        case 32...:
            (time, pid, side, comm, local, latency, reason) = (8, 0, 0, 7, 0, 0, 0)
            remote = width - 26
        default:
            (time, pid, side, comm, local, latency, reason) = (0, 0, 0, 0, 0, 0, 0)
            remote = max(1, width - 9)
        }
    }

    private static func widen(
        _ column: inout Int, from: Int, to: Int, in steps: Int, _ spare: inout Int
    ) {
        let more = min(spare, to - from) / steps * steps
        column += more
        spare -= more
    }
}
