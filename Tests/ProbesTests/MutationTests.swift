// SPDX-License-Identifier: Apache-2.0

import CEvent
import Glibc
import Replaying
import Scenarios
import StackSequences
import Testing

@testable import Handshake
@testable import Probes

/// Each row of the table matters: without it, or with another state or verdict in it, some
/// recording or sequence, or one that is made from it, is not told as it is told now.
@Suite struct MutationTests {
    /// A recording, or what is made of one.
    struct Case: Sendable {
        var name: String
        var observations: [Observation]
        var gaps: Set<Int> = []
        var end = Replay.End.later

        func replay(_ table: TransitionTable) -> Replay {
            Replay(observations, gaps: gaps, end: end, table: table, allTcp: true)
        }
    }

    /// Every recording, whole, and every sequence of the out-of-tree stack.
    private static func whole() throws -> [Case] {
        try Recordings.names.map { Case(name: $0, observations: try Recordings.observations($0)) }
            + StackSequence.all.flatMap { sequence in
                try [true, false].map { steps in
                    Case(
                        name: "\(sequence.name), \(steps ? "with" : "without") steps",
                        observations: try sequence.events(steps: steps).map { event in
                            try event.withUnsafeBytes { try Decoder.decode($0) }
                        })
                }
            }
    }

    /// The trace ends early, begins late, or misses something.
    private static func derived(_ whole: [Case]) -> [Case] {
        var cases: [Case] = []
        for one in whole {
            for place in one.observations.indices {
                let before = Array(one.observations[..<place])
                let after = Array(one.observations[place...])
                cases += [
                    Case(name: "\(one.name), ends before \(place)", observations: before, end: .atOnce),
                    Case(name: "\(one.name), silent after \(place)", observations: before),
                    Case(name: "\(one.name), begins with \(place)", observations: after),
                    Case(name: "\(one.name), without \(place)", observations: before + after.dropFirst()),
                    Case(name: "\(one.name), \(place) twice", observations: before + after.prefix(1) + after),
                ]
            }
        }
        return cases
    }

    /// A recording in which the kernel decided otherwise: `change` edits an event, or drops it
    /// by returning false.
    private static func edited(
        _ name: String, _ what: String, _ change: (inout mps_event) -> Bool
    ) throws -> Case {
        try edited(try Recordings.events(name), "\(name), \(what)", change)
    }

    private static func edited(
        _ events: [[UInt8]], _ name: String, _ change: (inout mps_event) -> Bool
    ) throws -> Case {
        var observations: [Observation] = []
        for bytes in events {
            var event = bytes.withUnsafeBytes { $0.loadUnaligned(as: mps_event.self) }
            guard change(&event) else { continue }
            let edited =
                withUnsafeBytes(of: &event) { Array($0) } + bytes.dropFirst(MemoryLayout<mps_event>.size)
            observations.append(try edited.withUnsafeBytes { try Decoder.decode($0) })
        }
        return Case(name: name, observations: observations)
    }

    /// What the scenarios do not make happen, each as its events would tell it.
    private static func variants() throws -> [Case] {
        [
            try edited("mptcp-to-tcp-server", "neither end MPTCP") { event in
                switch UInt32(event.kind) {
                case MPS_SOCKET_CREATED.rawValue, MPS_MSK_ESTABLISHED.rawValue, MPS_MSK_CLOSED.rawValue:
                    return false
                default:
                    event.flags &= ~UInt16(MPS_F_MPTCP | MPS_F_REQUEST_MPTCP)
                    event.msk = 0
                    if event.flags & UInt16(MPS_F_PACKET) != 0 { event.option = UInt8(MPS_OPTION_NONE) }
                    return true
                }
            },
            try edited("functions/mptcp-ipv4", "MPTCP is off") { event in
                guard event.isKind(MPS_SOCKET_CREATED) else { return false }
                event.kind = UInt8(MPS_SOCKET_REFUSED.rawValue)
                event.error = UInt16(ENOPROTOOPT)
                return true
            },
            try edited("functions/third-ack-stripped", "no packet seen") { event in
                !event.isKind(MPS_ACK_IN)
            },
            try edited("functions/join-unanswered", "no route") { event in
                guard event.isKind(MPS_CONNECT), event.flags & UInt16(MPS_F_REQUEST_JOIN) != 0 else {
                    return event.flags & UInt16(MPS_F_REQUEST_JOIN) == 0
                }
                event.kind = UInt8(MPS_JOIN_FAILED.rawValue)
                event.hook = UInt8(MPS_HOOK_SUBFLOW_CONNECT.rawValue)
                event.error = UInt16(ENETUNREACH)
                return true
            },
            try edited("functions/dss-stripped-to-server", "mappings that do not fit") { event in
                if event.counted(MPS_MIB_DSS_FALLBACK) {
                    event.mib = UInt8(MPS_MIB_DSS_CORRUPTION.rawValue)
                    event.option_flags = 0
                }
                return true
            },
            try edited("join-over-limit", "no reason told") { event in
                if event.isKind(MPS_RESET_OUT) {
                    event.mib = 0
                    event.flags &= ~UInt16(MPS_F_RESET_REASON)
                    event.option_flags = UInt8(MPS_RESET_UNEXPLAINED)
                }
                return true
            },
            try edited("join-by-client", "without cgroup v2") { event in
                if event.isKind(MPS_SUBFLOW_CLOSED), event.flags & UInt16(MPS_F_REQUEST_JOIN) != 0 {
                    event.flags |= UInt16(MPS_F_FULL)
                }
                return event.flags & UInt16(MPS_F_PACKET) == 0
            },
            try edited("blackhole-holds", "TCP MD5") { event in
                if event.counted(MPS_MIB_SYNTX_DISABLED) {
                    event.mib = UInt8(MPS_MIB_MD5SIG_FALLBACK.rawValue)
                }
                return true
            },
            try edited("blackhole-holds", "no token") { event in
                if event.counted(MPS_MIB_SYNTX_DISABLED) { event.mib = UInt8(MPS_MIB_TOKEN_INIT.rawValue) }
                return true
            },
            try edited("blackhole-holds", "nothing counted") { event in
                event.mib = 0
                return true
            },
            try edited("unanswered", "ICMP: no route") { event in
                if event.error != 0 { event.error = UInt16(EHOSTUNREACH) }
                return true
            },
            try edited("refused", "reset without a RST") { event in
                if event.isKind(MPS_RESET_IN) { return false }
                if event.error != 0 { event.error = UInt16(ECONNRESET) }
                return true
            },
            try edited("join-unanswered", "ICMP: no route") { event in
                if event.error != 0 { event.error = UInt16(EHOSTUNREACH) }
                return true
            },
            try edited("third-ack-stripped", "and the SYN-ACK at home") { event in
                if event.isKind(MPS_SYNACK_OUT) { event.option = UInt8(MPS_OPTION_NONE) }
                return true
            },
            try edited("join-other-port", "MP_CAPABLE at the path manager's port") { event in
                if event.isKind(MPS_SYN_IN), event.option == UInt8(MPS_OPTION_MP_JOIN) {
                    event.option = UInt8(MPS_OPTION_MP_CAPABLE)
                }
                if event.isKind(MPS_RESET_OUT) { event.mib = 0 }
                return true
            },
            try edited("join-syn-stripped", "at home") { event in
                if event.isKind(MPS_SYN_OUT), event.option == UInt8(MPS_OPTION_MP_JOIN) {
                    event.option = UInt8(MPS_OPTION_NONE)
                }
                return true
            },
            try edited("join-synack-stripped", "at home") { event in
                if event.isKind(MPS_SYNACK_OUT), event.option == UInt8(MPS_OPTION_MP_JOIN) {
                    event.option = UInt8(MPS_OPTION_NONE)
                }
                return true
            },
            try edited("join-synack-stripped", "because the listener is TCP") { event in
                if event.option == UInt8(MPS_OPTION_MP_JOIN), event.isKind(MPS_SYN_IN) {
                    event.flags &= ~UInt16(MPS_F_MPTCP)
                }
                if event.option == UInt8(MPS_OPTION_MP_JOIN), event.isKind(MPS_SYNACK_OUT) {
                    event.flags &= ~UInt16(MPS_F_MPTCP)
                    event.option = UInt8(MPS_OPTION_NONE)
                }
                return true
            },
            try edited("join-over-limit", "MP_TCPRST 2") { event in
                if event.isKind(MPS_RESET_IN) { event.reset_reason = 2 }
                return true
            },
            try edited("join-over-limit", "MP_TCPRST 6") { event in
                if event.isKind(MPS_RESET_IN) { event.reset_reason = 6 }
                return true
            },
            try edited("join-over-limit", "no MP_TCPRST") { event in
                if event.isKind(MPS_RESET_IN) { event.flags &= ~UInt16(MPS_F_RESET_REASON) }
                return true
            },
            try edited("join-over-limit", "nothing counted") { event in
                event.mib = 0
                return true
            },
            try edited("join-over-limit", "a RST for something else") { event in
                if event.isKind(MPS_RESET_OUT) {
                    event.mib = 0
                    event.flags &= ~UInt16(MPS_F_RESET_REASON)
                }
                return true
            },
            try edited("join-over-limit", "reset without a RST") { event in
                if event.isKind(MPS_RESET_IN) { return false }
                if event.isKind(MPS_SUBFLOW_CLOSED), event.flags & UInt16(MPS_F_REQUEST_JOIN) != 0 {
                    event.error = UInt16(ECONNRESET)
                }
                return true
            },
            try edited("join-unknown-token", "nothing counted") { event in
                event.mib = 0
                return true
            },
            try edited("dss-stripped", "mappings that do not fit") { event in
                if event.isKind(MPS_FALLBACK) { event.option_flags = UInt8(MPS_MAPPING_DUMMY) }
                return true
            },
            try edited("payload-changed-to-client", "seen late") { event in
                if event.isKind(MPS_FALLBACK) { return false }
                if event.isKind(MPS_MSK_CLOSED) { event.option_flags = UInt8(MPS_MAPPING_BAD_CSUM) }
                return true
            },
            try edited("payload-changed-to-client", "MP_FAIL, seen late") { event in
                if event.isKind(MPS_FALLBACK) { return false }
                if event.isKind(MPS_MSK_CLOSED) { event.option_flags = UInt8(MPS_MAPPING_MP_FAIL) }
                return true
            },
            try edited(
                StackSequence.named("given-up")?.events(steps: true) ?? [], "given-up, no verdict"
            ) { event in
                !event.isKind(MPS_SUBFLOW_ESTABLISHED) && !event.isKind(MPS_MSK_ESTABLISHED)
            },
        ]
    }

    /// What is told, as far as the table has a say in it.
    private static func told(_ replay: Replay) -> [String] {
        var told = ["\(replay.left)"]
        for record in replay.records {
            switch record {
            case .handshake(let it):
                told.append("\(it.conn) \(it.outcome.rawValue) \(it.reason?.rawValue ?? "")")
            case .join(let it):
                told.append(
                    "\(it.conn)/\(it.subflow) \(it.outcome.rawValue) \(it.reason?.rawValue ?? "")")
            case .fallback(let it): told.append("\(it.conn) lost it \(it.reason?.rawValue ?? "")")
            case .close(let it): told.append("\(it.conn) closed")
            case .anomaly(let it): told.append("\(it.conn) \(it.message)")
            case .step(let it):
                told.append("\(it.conn)/\(it.subflow) \(it.from.rawValue) \(it.to.rawValue)")
            case .address, .connection, .listener, .lost, .sysctl: break
            }
        }
        return told
    }

    /// A row that is another one; nil: that is not there.
    private static func mutations(_ row: Transition) -> [(what: String, row: Transition?)] {
        var mutations: [(what: String, row: Transition?)] = [("left out", nil)]
        for state in [nil, SubflowState.closed, .tcpEstablished] where state != row.to {
            // "Stays" and its only state are the same.
            if state == nil, row.from.count == 1, row.from.first == row.to { continue }
            if let state, row.to == nil, row.from == [state] { continue }
            var other = row
            other.to = state
            mutations.append(("to \(state?.name ?? "the same")", other))
        }
        let verdicts: [Verdict] =
            switch row.verdict {
            case .nothing: []
            case .decide(let outcome, let reason):
                [
                    .nothing, .decide(outcome == .aborted ? .timeout : .aborted, reason),
                    .decide(outcome, reason == .connectFailed ? nil : .connectFailed),
                ]
            case .join(let outcome, let reason):
                [
                    .nothing, .join(outcome == .aborted ? .timeout : .aborted, reason),
                    .join(outcome, reason == .connectFailed ? nil : .connectFailed),
                ]
            case .fallBack(let reason):
                [.nothing, .fallBack(reason == .dssFallback ? .mpFailRx : .dssFallback)]
            case .close: [.nothing]
            }
        for verdict in verdicts {
            var other = row
            other.verdict = verdict
            mutations.append(("decides \(verdict)", other))
        }
        return mutations
    }

    /// Rows and mutations that nothing here tells apart, with the reason. A row in it that is told
    /// apart fails the test: the list can only become shorter.
    private static let exceptions: [String: String] = [:]

    @Test func everyRowMatters() throws {
        let kernel = Replay.kernel
        let whole = try Self.whole()
        let variants = try Self.variants()
        var cases: [[Case]] = Array(repeating: [], count: kernel.rows.count)
        for one in (whole + variants).sorted(by: { $0.observations.count < $1.observations.count })
            + Self.derived(whole + variants)
        {
            for row in one.replay(kernel).rows where cases[row].count < 30 { cases[row].append(one) }
        }
        var used: Set<String> = []
        for (number, row) in kernel.rows.enumerated() {
            let name = "\(row.from.map(\.name).joined(separator: " ")) on \(row.on.name): \(row.mirrors)"
            for mutation in Self.mutations(row) {
                var rows = kernel.rows
                if let other = mutation.row { rows[number] = other } else { rows.remove(at: number) }
                let table = TransitionTable(rows)
                let noticed = cases[number].contains {
                    Self.told($0.replay(kernel)) != Self.told($0.replay(table))
                }
                let key = "\(name), \(mutation.what)"
                if Self.exceptions[key] != nil { used.insert(key) }
                #expect(noticed == (Self.exceptions[key] == nil), "row \(number): \(key)")
            }
        }
        #expect(Set(Self.exceptions.keys) == used)
    }
}

extension mps_event {
    fileprivate func isKind(_ kind: mps_kind) -> Bool { UInt32(self.kind) == kind.rawValue }
    fileprivate func counted(_ mib: mps_mib) -> Bool { UInt32(self.mib) == mib.rawValue }
}
