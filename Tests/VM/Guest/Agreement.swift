// SPDX-License-Identifier: Apache-2.0

import Handshake
import Judging

/// Backends agree: what two of them say of the same handshakes is equal, but for what docs/hooks.md
/// says that one of them can't know.
enum Agreement {
    /// Fields of a record that are left out of the comparison.
    private static let exceptions: [(fields: Set<String>, of: @Sendable (Line) -> Bool)] = [
        // Where the kernel's words for its own decisions can't be read, they are guessed or absent.
        (["kernel_reason"], { _ in true }),
        // A server's handshake that never became MPTCP has none that the kernel kept.
        (
            ["token", "remote_token"],
            { $0.type == "handshake" && $0.text("side") == "server" && $0.text("outcome") != "mptcp" }
        ),
    ]

    static func differences(_ seen: Seen, _ other: Seen, _ backend: String) -> [String] {
        var differences = Differences()
        let explained = seen.sight.explainsRefusals && other.sight.explainsRefusals
        let alike = seen.sight.seesFailedJoins == other.sight.seesFailedJoins
        for side in Side.allCases {
            differences.same(
                lines(seen, side, explained, alike), lines(other, side, explained, alike),
                "\(side.rawValue)'s records, next to \(backend):")
        }
        return differences.words
    }

    /// - Parameters:
    ///   - explained: both know why a server's listener refused a third ACK.
    ///   - alike: both see joins that fail before their SYN, or neither does.
    private static func lines(_ seen: Seen, _ side: Side, _ explained: Bool, _ alike: Bool) -> [String] {
        seen.normalised(side) { line in
            let refusal: Set<String> =
                !explained && side == .server && line.type == "join" && line.text("outcome") != "joined"
                ? ["outcome", "reason", "advice"] : []
            return exceptions.reduce(into: refusal) { fields, exception in
                if exception.of(line) { fields.formUnion(exception.fields) }
            }
        } leavingOut: { line in
            !alike && line.type == "join" && line.text("reason") == "connect_failed"
        }.map { $0.joined(separator: " ") }
    }
}
