// SPDX-License-Identifier: Apache-2.0

extension TransitionTable {
    /// The states and transitions as Markdown: docs/state-machine.md is this text.
    public var document: String {
        var text = """
            # The mirrored state machine

            Made by `mpscope state-machine` from the one table, whose rows are in
            `Sources/Handshake/Transitions.swift` and `JoinTransitions.swift`; a test holds this page
            against it.

            Every subflow is in one of these states. The machine takes observations in the order in
            which the kernel made them; a row fits when the subflow is in one of its states, the step
            is the row's, and everything under "when" holds. The first row that fits is taken. When
            none fits, the kernel did something that the mirror does not know: that is written as a
            `mirror_divergence` with the step as its evidence, and the state follows the kernel.

            The machine has no clock: time comes in as the step `timer`.

            ## States

            | state | meaning |
            |---|---|

            """
        for state in SubflowState.allCases { text += "| `\(state.name)` | \(state.meaning) |\n" }
        text += """

            ## Transitions

            "Walk" is the step of the handshake in the out-of-tree stack's walk (create socket, send
            SYN, receive SYN, send SYN-ACK, receive SYN-ACK, receive ACK) with its function; "mainline"
            the function of Linux 5.6 and later that does the same.

            | from | step | when | to | decides | walk | mainline |
            |---|---|---|---|---|---|---|

            """
        for row in rows {
            let from = row.from.map { "`\($0.name)`" }.joined(separator: " ")
            let to = row.to.map { "`\($0.name)`" } ?? "stays"
            let decides =
                switch row.verdict {
                case .nothing: ""
                case .close: "`close`"
                case .join(let outcome, let reason):
                    "join `\(outcome.rawValue)`" + (reason.map { " `\($0.rawValue)`" } ?? "")
                case .fallBack(let reason): "`fallback` record" + (reason.map { " `\($0.rawValue)`" } ?? "")
                case .decide(let outcome, let reason):
                    "`\(outcome.rawValue)`" + (reason.map { " `\($0.rawValue)`" } ?? "")
                }
            let parts = row.mirrors.split(separator: "|", maxSplits: 1).map(Self.trimmed)
            let walk = parts.first ?? ""
            let mainline = parts.count > 1 ? parts[1] : "the same"
            text +=
                "| \(from) | `\(row.on.name)` | \(Self.conditions(row)) | \(to) | \(decides) "
                + "| \(walk) | \(mainline) |\n"
        }
        return text
    }

    private static func trimmed(_ part: Substring) -> String {
        var part = part
        while part.first == " " { part.removeFirst() }
        while part.last == " " { part.removeLast() }
        return String(part)
    }

    private static func conditions(_ row: Transition) -> String {
        let words =
            Facts.words.compactMap { row.all.contains($0.0) ? $0.1 : nil }
            + Facts.words.compactMap { row.none.contains($0.0) ? "not: \($0.1)" : nil }
        return words.joined(separator: ", ")
    }
}

extension Facts {
    /// Each fact in words.
    static let words: [(Facts, String)] = [
        (.mptcpSocket, "MPTCP socket or listener"),
        (.plainSocket, "plain TCP socket or listener"),
        (.requestsMptcp, "`request_mptcp`"),
        (.requestsJoin, "`request_join`"),
        (.optionCapable, "packet carries MP_CAPABLE"),
        (.optionJoin, "packet carries MP_JOIN"),
        (.optionAbsent, "packet carries no MP_CAPABLE"),
        (.capable, "`mp_capable`"),
        (.droppedSyns, "`mpc_drop`"),
        (.refused, "ECONNREFUSED"),
        (.timedOut, "ETIMEDOUT"),
        (.connectionReset, "ECONNRESET or EPIPE"),
        (.otherError, "another error"),
        (.msk, "of the MPTCP socket"),
        (.traceEnd, "the trace ends"),
    ]
}
