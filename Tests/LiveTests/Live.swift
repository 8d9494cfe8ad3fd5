// SPDX-License-Identifier: Apache-2.0

import Handshake
import Testing

@testable import Scenarios

/// The program on this kernel: real hooks, real traffic, whole files. Needs root and says so.
///
/// One after the other: all of them look at the whole machine.
@Suite(.serialized) enum Live {}

extension Stage.End {
    /// An address of this stage as records have it.
    func text(_ address: Address) -> String? {
        address == ipv4 ? ipv4Text : address == ipv6 ? ipv6Text : nil
    }
}

extension Stage {
    func end(_ endpoint: Endpoint) -> Place {
        let address = endpoint.address
        let text = client.text(address) ?? server.text(address) ?? (address == nobody ? nobodyText : "?")
        return Place(addr: text, port: Int(endpoint.port))
    }
}
