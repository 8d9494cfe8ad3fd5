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

            There is one machine for both stacks: mainline (Linux 5.6 and later) and the out-of-tree one
            (multipath-tcp.org), whose handshake the seed's walk goes through
            (`shared/docs/seed-mptcp-handshake.txt`). Only where a step is seen differs.

            ## States

            | state | meaning |
            |---|---|

            """
        for state in SubflowState.allCases { text += "| `\(state.name)` | \(state.meaning) |\n" }
        text += """

            ## Steps

            Which hooks show a step. Of mainline not all are there on every kernel (`mpscope doctor`).

            | step | mainline | out-of-tree |
            |---|---|---|

            """
        for step in Step.allCases {
            text +=
                "| `\(step.name)` | \(Self.names(step.mainlineHooks)) | \(Self.names(step.outOfTreeHooks)) |\n"
        }
        text += """

            ## Transitions

            "Seed" is the line of the walk (create socket, send SYN, receive SYN, send SYN-ACK, receive
            SYN-ACK, receive ACK); "out-of-tree" what makes the transition in that stack (v0.95), with the
            hooks above; "mainline" the function of Linux 5.6 and later that does. A dash: the walk
            has no such line, or the stack does no such thing, or lets nobody see it.

            | from | step | when | to | decides | seed | out-of-tree | mainline |
            |---|---|---|---|---|---|---|---|

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
            text +=
                "| \(from) | `\(row.on.name)` | \(Self.conditions(row)) | \(to) | \(decides) "
                + "| \(row.mirrors) |\n"
        }
        return text
    }

    private static func names(_ hooks: [Hook]) -> String {
        hooks.isEmpty ? "–" : hooks.map { "`\($0.name)`" }.joined(separator: " ")
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
        (.sentByUs, "by this end"),
        (.halfOpen, "of a half-open handshake"),
        (.fullyEstablished, "`fully_established`"),
        (.noMapping, "data without a mapping that fits"),
        (.badChecksum, "wrong DSS checksum"),
        (.mpFail, "MP_FAIL came"),
        (.infiniteMapping, "infinite mapping"),
        (.dssCorruption, "DSSCorruptionFallback"),
        (.rstMptcp, "MP_TCPRST 1"),
        (.rstResources, "MP_TCPRST 2"),
        (.rstProhibited, "MP_TCPRST 3"),
        (.rstMiddlebox, "MP_TCPRST 6"),
        (.noToken, "MPJoinNoTokenFound"),
        (.joinRejected, "MPJoinRejected"),
        (.ackHMac, "MPJoinAckHMacFailure"),
        (.synackHMac, "MPJoinSynAckHMacFailure"),
        (.mismatchPort, "MismatchPortSynRx or MismatchPortAckRx"),
        (.blackhole, "MPCapableSYNTXDisabled"),
        (.md5, "MD5SigFallback"),
        (.tokensGone, "MPFallbackTokenInit"),
        (.listenerGone, "its listener is gone"),
        (.wasEstablished, "was established"),
        (.neverSent, "no SYN was made"),
        (.unexplained, "the kernel does not tell why"),
        (.discarded, "as if it had not come"),
        (.optionsIgnored, "its options are not looked for"),
        (.beginsBlackhole, "`mptcp_active_disable`"),
    ]
}
