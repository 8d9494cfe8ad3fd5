// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Scenarios
import Synchronization

/// What became of a scenario.
struct Played: Sendable {
    let scenario: Scenario
    let whereabouts: Whereabouts
    let result: Result<ScenarioResult, ScenarioError>
}

/// Plays scenarios side by side, on threads: most of them wait most of the time. Each has a stage
/// of its own, which stays until `finish`.
final class Lanes: Sendable {
    private let port: Port
    private let program: String
    private let waiting: Mutex<[Scenario]>
    private let played = Mutex<[Played]>([])
    /// Why a scenario has no stage.
    private let troubles = Mutex<[String: String]>([:])
    /// The stages may go.
    private let finished = Mutex(false)
    private let over = Mutex(0)
    private let threads = Mutex<[pthread_t]>([])

    init(_ scenarios: [Scenario], lanes: Int, program: String, port: Port) throws(Trouble) {
        self.port = port
        self.program = program
        // Taken from the end.
        waiting = Mutex(scenarios.reversed())
        for _ in 0..<lanes { try start() }
    }

    private func start() throws(Trouble) {
        var id = pthread_t()
        let failed = pthread_create(
            &id, nil,
            { context in
                if let context { Unmanaged<Lanes>.fromOpaque(context).takeRetainedValue().work() }
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        guard failed == 0 else { throw Trouble("pthread_create: \(String(cString: strerror(failed)))") }
        threads.withLock { $0.append(id) }
    }

    /// Why a scenario could not be played.
    func trouble(_ name: String) -> String { troubles.withLock { $0[name] } ?? "it was not played" }

    /// All that was played, once nothing is left to play.
    func results() -> [Played] {
        while over.withLock({ $0 }) < threads.withLock({ $0.count }) { poll(nil, 0, 20) }
        return played.withLock { $0 }
    }

    /// Takes the stages away.
    func finish() {
        finished.withLock { $0 = true }
        for id in threads.withLock({ $0 }) { pthread_join(id, nil) }
    }

    private func work() {
        var stages: [StageBox] = []
        while let scenario = waiting.withLock({ $0.popLast() }) {
            do throws(ScenarioError) {
                let box = StageBox(try Stage(executable: program))
                stages.append(box)
                play(scenario, box)
            } catch {
                troubles.withLock { $0[scenario.name] = "\(error)" }
            }
        }
        over.withLock { $0 += 1 }
        while !finished.withLock({ $0 }) { poll(nil, 0, 20) }
        stages.removeAll()
    }

    private func play(_ scenario: Scenario, _ box: StageBox) {
        let begin = Deadline.now()
        port.say(["start", scenario.name])
        let result: Result<ScenarioResult, ScenarioError>
        do throws(ScenarioError) {
            result = .success(try scenario.run(on: box.stage))
        } catch {
            result = .failure(error)
        }
        port.say(["end", scenario.name, "\((Deadline.now() - begin) / 1_000_000)"])
        let played = Played(scenario: scenario, whereabouts: Whereabouts(box.stage), result: result)
        self.played.withLock { $0.append(played) }
    }

    /// A stage, to be kept in a list.
    private final class StageBox {
        let stage: Stage
        init(_ stage: consuming Stage) { self.stage = stage }
    }
}
