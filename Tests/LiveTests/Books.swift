// SPDX-License-Identifier: Apache-2.0

@testable import Scenarios

extension HandshakeCounters {
    /// What the kernel must have counted in a namespace, if these are all its `handshake` records.
    init(of handshakes: [Line]) {
        self.init()
        for line in handshakes {
            switch (line.text("side"), line.verdict) {
            // Not asked for: nothing is counted.
            case ("client", "fallback mptcp_disabled_at_connect"), ("client", "tcp"): break
            case ("client", let verdict):
                synSent += 1
                if verdict == "mptcp" { synackReceived += 1 }
                if verdict == "fallback synack_without_mptcp" { fallbackSynack += 1 }
            case (_, "mptcp"):
                synReceived += 1
                ackReceived += 1
            case (_, "fallback ack_without_mptcp"):
                synReceived += 1
                fallbackAck += 1
            // A TCP listener counts nothing, nor does an MPTCP listener a SYN without the option.
            default: break
            }
        }
    }
}
