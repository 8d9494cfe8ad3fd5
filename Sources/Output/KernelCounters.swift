// SPDX-License-Identifier: Apache-2.0

/// One of the kernel's MPTcpExt counters, and the records that it counts, one each.
///
/// docs/counters.md is made from `all`, and the live tests hold every scenario's counters
/// against its records by it.
public struct KernelCounter: Sendable {
    /// As `nstat` prints it, without `MPTcpExt`.
    public let name: String
    public let counts: [Term]

    /// Records of one type, with these words in these fields. A step only counts when it changes
    /// the state.
    public struct Term: Sendable {
        public let type: String
        public let fields: [(name: String, word: String)]
        /// -1: what the others count too much.
        public let sign: Int

        init(_ type: String, _ fields: KeyValuePairs<String, String>, sign: Int = 1) {
            self.type = type
            self.fields = fields.map { ($0.key, $0.value) }
            self.sign = sign
        }
    }

    init(_ name: String, _ counts: Term...) {
        self.name = name
        self.counts = counts
    }

    public static let all: [KernelCounter] = [
        KernelCounter("MPCapableSYNTX", Term("step", ["to": "syn_sent"])),
        KernelCounter("MPCapableSYNRX", Term("step", ["to": "syn_received"])),
        KernelCounter("MPCapableSYNACKRX", Term("handshake", ["side": "client", "outcome": "mptcp"])),
        KernelCounter("MPCapableACKRX", Term("handshake", ["side": "server", "outcome": "mptcp"])),
        KernelCounter("MPCapableFallbackACK", Term("handshake", ["reason": "ack_without_mptcp"])),
        KernelCounter("MPCapableFallbackSYNACK", Term("handshake", ["reason": "synack_without_mptcp"])),
        KernelCounter(
            "MPCapableSYNTXDrop", Term("handshake", ["reason": "syn_with_mptcp_dropped"]),
            Term("handshake", ["reason": "no_synack"])),
        KernelCounter("MPCapableSYNTXDisabled", Term("handshake", ["reason": "blackhole"])),
        KernelCounter("MPCapableEndpAttempt", Term("handshake", ["reason": "mp_capable_endp_attempt"])),
        KernelCounter("Blackhole", Term("handshake", ["reason": "syn_with_mptcp_dropped"])),
        KernelCounter("MD5SigFallback", Term("handshake", ["reason": "md5_sig_fallback"])),
        KernelCounter("MPJoinSynTx", Term("step", ["to": "join_syn_sent"])),
        KernelCounter("MPJoinSynRx", Term("step", ["to": "join_syn_received"])),
        KernelCounter(
            "MPJoinSynAckRx", Term("step", ["to": "join_tcp_established"]),
            Term("join", ["reason": "mp_join_synack_hmac_failure"], sign: -1)),
        KernelCounter("MPJoinAckRx", Term("join", ["side": "server", "outcome": "joined"])),
        KernelCounter("MPJoinRejected", Term("join", ["reason": "mp_join_rejected"])),
        KernelCounter("MPJoinNoTokenFound", Term("join", ["reason": "mp_join_no_token_found"])),
        KernelCounter(
            "MPJoinSynAckHMacFailure", Term("join", ["kernel_reason": "MPJoinSynAckHMacFailure"])),
        KernelCounter("MPJoinAckHMacFailure", Term("join", ["kernel_reason": "MPJoinAckHMacFailure"])),
        KernelCounter("MPCapableDataFallback", Term("fallback", ["reason": "mp_capable_data_fallback"])),
        KernelCounter(
            "DSSCorruptionFallback", Term("fallback", ["kernel_reason": "DSSCorruptionFallback"])),
        KernelCounter("DssFallback", Term("fallback", ["kernel_reason": "DssFallback"])),
        KernelCounter("InfiniteMapTx", Term("fallback", ["reason": "mp_fail_rx"])),
        KernelCounter("AddAddrTx", Term("address", ["change": "announced"])),
        KernelCounter("AddAddr", Term("address", ["change": "received"])),
        KernelCounter("RmAddr", Term("address", ["change": "removed"])),
    ]
}

extension KernelCounter {
    /// All of them as Markdown: docs/counters.md is this text.
    public static var document: String {
        var text = """
            # The kernel's counters

            Made by `mpscope counters` from the one table in `Sources/Output/KernelCounters.swift`; a
            test holds this page against it, and the live tests hold the counters of every scenario
            against the records of a trace with `--steps`.

            `nstat -asz 'MPTcpExt*'` prints these counters of the network namespace it runs in (they
            count from the namespace's beginning; `nstat -n` notes where they stand). Each of them
            counts the records below: those of its namespace, from traces that lost nothing. A step
            counts when its `to` differs from its `from`.

            | counter (`MPTcpExt…`) | counts |
            |---|---|

            """
        for counter in all {
            let terms = counter.counts.map { term in
                (term.sign < 0 ? "less " : "") + "`\(term.type)` with "
                    + term.fields.map { "`\($0.name)` `\($0.word)`" }.joined(separator: ", ")
            }
            text += "| `\(counter.name)` | \(terms.joined(separator: "; ")) |\n"
        }
        text += """

            Not in this table: what happens to data (`MPTCPRetrans`, `DuplicateData`, …), and packets
            that several records share (`MPRstTx`, `MPFailTx`, `EchoAdd`, …). A plain TCP client at an
            MPTCP listener, a SYN whose option was stripped and a plain listener move no MPTcpExt counter
            of the server, but have their records. `RmAddr` counts packets on some kernels and addresses
            on others; there is a record for each id.

            `MPCapableSYNTX` also counts a connect() that fails before its SYN (no route), of which there
            is no record; `MPCapableACKRX` counts when the connection is accepted. `mpscope trace --verify`
            compares at the end and allows for both: [records.md](records.md#verify).

            """
        return text
    }
}
