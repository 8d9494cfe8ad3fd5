// SPDX-License-Identifier: Apache-2.0

import Handshake
import Judging
import Testing

@testable import Scenarios

/// A look at what is open in the middle of a scenario: what `status` and the opening snapshot of a
/// trace tell, against `ss`.
final class Midway {
    /// It began in the middle.
    private var late: Tracing?

    /// To be called while the scenario is held open. Sockets may change their state meanwhile: it
    /// looks again then.
    /// - Parameter tracing: begin a trace, too.
    func look(at stage: borrowing Stage, tracing wanted: Bool) throws {
        let spaces = Sides(client: stage.client.namespace, server: stage.server.namespace)
        let program = try Program.path()
        let deadline = Deadline()
        while true {
            let before = try [spaces.client, spaces.server].map { try SsRows(in: $0.name) }
            let told = try [spaces.client, spaces.server].map { space in
                let output = try Tool.check(
                    program, ["status", "--format", "json", "--netns", space.name])
                return try Line.all(Array(output.standardOutput.utf8))
            }
            if wanted {
                var tracing = try Tracing(["--steps"])
                try tracing.awaitReady()
                late = consume tracing
            }
            let snapshot =
                try (late?.output).map { try Tracing.lines(of: $0) { _ in true } }?
                .filter { $0.type == "connection" } ?? []
            let after = try [spaces.client, spaces.server].map { try SsRows(in: $0.name) }
            guard before == after else {
                if deadline.hasPassed { throw Trouble("sockets do not rest: \(before) \(after)") }
                try late?.kill()
                late = nil
                continue
            }
            for (place, space) in [spaces.client, spaces.server].enumerated() {
                before[place].compare(with: told[place], all: false)
                guard wanted else { continue }
                before[place].compare(
                    withSnapshot: snapshot.filter { $0.number("netns") == Int(space.inode) })
            }
            return
        }
    }

    /// Ends the trace that began in the middle, after the scenario.
    func finish() throws -> TraceFile? { try late?.finish() }
}
