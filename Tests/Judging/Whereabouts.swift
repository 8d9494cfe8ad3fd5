// SPDX-License-Identifier: Apache-2.0

import Handshake
import Scenarios

/// Where a scenario is played: a stage, as its judge needs it.
package struct Whereabouts: Sendable {
    package let ends: Sides<Stage.End>
    private let nobody: (address: Address, text: String)

    package init(_ stage: borrowing Stage) {
        ends = Sides(client: stage.client, server: stage.server)
        nobody = (stage.nobody, stage.nobodyText)
    }

    package func netns(_ side: Side) -> Int { Int(ends[side].namespace.inode) }

    /// An endpoint as records have it.
    package func place(_ endpoint: Endpoint) -> Place {
        let address = endpoint.address
        let text = ends.client.text(address) ?? ends.server.text(address)
        return Place(addr: text ?? (address == nobody.address ? nobody.text : "?"), port: Int(endpoint.port))
    }
}

extension Stage.End {
    /// An address of this end as records have it.
    package func text(_ address: Address) -> String? {
        address == ipv4 ? ipv4Text : address == ipv6 ? ipv6Text : nil
    }
}
