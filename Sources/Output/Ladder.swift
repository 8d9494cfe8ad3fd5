// SPDX-License-Identifier: Apache-2.0

import Handshake

/// The steps of one subflow, kept until its handshake is decided.
struct Ladder {
    /// Which subflow of which connection.
    struct Key: Hashable {
        var conn: UInt64
        var subflow: UInt32
    }

    /// What the drawing needs of a step.
    struct Rung {
        var time: UInt64
        var step: Step
        var hook: Hook
        var option: PacketOption
        var from: SubflowState
        var to: SubflowState
        var token: UInt32
        var error: UInt32
        var localID: UInt8?
        var remoteID: UInt8?
        var backup: Bool

        init(_ record: StepRecord) {
            time = record.observation.time
            step = record.observation.step
            hook = record.observation.hook
            option = record.observation.option
            from = record.from
            to = record.to
            token = record.observation.token
            error = record.observation.error
            localID = record.observation.localID
            remoteID = record.observation.remoteID
            backup = record.observation.backup ?? false
        }
    }

    private(set) var rungs: [Rung] = []
    /// Older ones that had to go.
    private(set) var forgotten = 0

    mutating func add(_ record: StepRecord, limit: Int) {
        if rungs.count >= limit {
            rungs.removeFirst()
            forgotten += 1
        }
        rungs.append(Rung(record))
    }

    /// Whether a handshake can begin with `step`: what comes after the end of one starts no ladder.
    static func begins(with step: Step) -> Bool {
        switch step {
        case .fallback, .reset, .closed, .timer, .established, .mptcpEstablished, .joinEstablished: false
        default: true
        }
    }

    /// Draws one line for each step, at most `width` columns wide.
    func draw(width: Int, to text: inout ByteBuffer) {
        var cell = ByteBuffer(capacity: 256)
        let columns = Columns(width: width, names: rungs.map(\.step.name.utf8.count).max() ?? 0)
        if forgotten > 0 {
            cell.append("     (")
            cell.append(decimal: UInt64(forgotten))
            cell.append(forgotten == 1 ? " earlier step is" : " earlier steps are")
            cell.append(" not kept)")
            text.append(cell: cell, in: width, padded: false)
            text.append("\n")
        }
        var before: Rung?
        var token: UInt32 = 0
        for rung in rungs {
            cell.clear()
            let isNewToken = rung.token != 0 && rung.token != token
            if isNewToken { token = rung.token }
            rung.draw(after: before, showToken: isNewToken, columns, to: &cell)
            cell.dropTrailingSpaces()
            text.append(cell: cell, in: width, padded: false)
            text.append("\n")
            before = rung
        }
    }

    /// What there is room for.
    fileprivate struct Columns {
        var indent = 3
        var name: Int
        /// The packet and its option, or what else there is to say.
        var packet = true
        var option = true
        var width: Int

        init(width: Int, names: Int) {
            self.width = width
            name = names
            let least = 13 + 2 + names + 2 + 3  // time, name, arrow
            packet = width >= least + 3 + 22
            option = width >= least + 3 + 16
            if width < least + 3 { indent = 0 }
        }
    }
}

extension Ladder.Rung {
    fileprivate func draw(
        after before: Ladder.Rung?, showToken: Bool, _ columns: Ladder.Columns, to line: inout ByteBuffer
    ) {
        var cell = ByteBuffer(capacity: 64)
        let isLate = before.map { time < $0.time } ?? false
        line.append(UInt8(ascii: " "), times: columns.indent)
        line.append(before == nil ? "  " : isLate ? "- " : "+ ")
        let gap = before.map { isLate ? $0.time - time : time - $0.time } ?? 0
        cell.append(decimal: gap / 1_000_000)
        cell.append(".")
        cell.append(decimal: gap / 1000 % 1000, digits: 3)
        line.append(cell: cell, in: max(8, cell.columnCount), aligned: .right)
        line.append(" ms  ")
        cell.clear()
        cell.append(step.name)
        line.append(cell: cell, in: columns.name)
        let packet = packet
        if columns.option {
            cell.clear()
            if let packet {
                if columns.packet {
                    cell.append(packet.name)
                    cell.append(UInt8(ascii: " "), times: 9 - packet.name.utf8CodeUnitCount)
                }
                switch option {
                case .unknown: break
                case .absent: cell.append("no MPTCP")
                default: cell.append(option.name ?? "")
                }
            } else if error != 0 {
                cell.append(errorName(error))
            } else if showToken {
                cell.append("token ")
                cell.append(token: token)
            } else if step == .synSent || step == .joinSynSent {
                cell.append("connect()")
            }
            line.append("  ")
            line.append(cell: cell, in: columns.packet ? 20 : 14)
        }
        line.append("  ")
        switch packet?.isOutgoing {
        case true?: line.append("──▶")
        case false?: line.append("◀──")
        case nil: line.append("   ")
        }
        if localID != nil || remoteID != nil || backup {
            cell.clear()
            if let localID {
                cell.append("  local id ")
                cell.append(decimal: localID)
            }
            if let remoteID {
                cell.append("  remote id ")
                cell.append(decimal: remoteID)
            }
            if backup { cell.append("  backup") }
            if line.columnCount + cell.columnCount <= columns.width { line.append(cell) }
        }
        // The state says something that the step does not.
        if from != to, to.name != step.name {
            let room = columns.width - line.columnCount
            cell.clear()
            cell.append("  ")
            cell.append(from.name)
            cell.append(" → ")
            cell.append(to.name)
            if cell.columnCount > room {
                cell.clear()
                cell.append("  → ")
                cell.append(to.name)
            }
            if cell.columnCount <= room { line.append(cell) }
        }
        // Which function told it, where there is room.
        if hook.isFunction {
            cell.clear()
            cell.append("  ")
            cell.append(text: hook.name)
            if line.columnCount + cell.columnCount <= columns.width { line.append(cell) }
        }
    }

    /// The packet that this step is about, if it was seen on the wire.
    private var packet: (name: StaticString, isOutgoing: Bool)? {
        switch hook {
        case .skbEgress, .skbIngress, .tcpReceiveReset: break
        // The out-of-tree stack's functions that make packets, or are called with them.
        case .synOptions, .connRequest, .tcpConnRequest, .synackOptions, .synsentProcess, .tcpCheckReq: break
        default: return nil
        }
        return switch step {
        case .synSent, .joinSynSent: ("SYN", true)
        case .synReceived, .joinSynReceived: ("SYN", false)
        case .synackSent, .joinSynackSent: ("SYN-ACK", true)
        case .synackReceived, .joinSynackReceived: ("SYN-ACK", false)
        case .ackReceived: ("ACK", false)
        case .reset: ("RST", hook == .skbEgress)
        default: ("", hook == .skbEgress)
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func dropTrailingSpaces() {
        let kept = withBytes { bytes in (bytes.lastIndex { $0 != UInt8(ascii: " ") } ?? -1) + 1 }
        truncate(to: kept)
    }
}
