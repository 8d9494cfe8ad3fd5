// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Handshake
import Synchronization
import SystemPackage

/// A stage on a thread of its own, so that whoever traces need not wait for the traffic.
///
/// The thread lives as long as the worker: actors die with the thread that started them.
public final class StageWorker: Sendable {
    /// The namespaces, once they are made.
    public struct Ends: Sendable {
        public let client: Namespace
        public let server: Namespace
    }

    private enum Outcome {
        case ready(Ends)
        case done(ScenarioResult)
        case failed(ScenarioError)
    }

    private let outcome = Mutex<Outcome?>(nil)
    private let orders: Pipe
    private let answers: Pipe
    private let thread = Mutex<pthread_t?>(nil)

    private struct Pipe: Sendable {
        let reading: CInt
        let writing: CInt

        init() throws(ScenarioError) {
            var ends: [CInt] = [-1, -1]
            guard mps_pipe(&ends) == 0 else {
                throw .system(
                    call: "pipe2", on: "a worker", Errno(rawValue: errno), advice: "raise RLIMIT_NOFILE")
            }
            (reading, writing) = (ends[0], ends[1])
        }

        func send(_ byte: UInt8) {
            var byte = byte
            while write(writing, &byte, 1) < 0, errno == EINTR {}
        }

        /// nil: the other end is closed.
        func receive() -> UInt8? {
            var byte: UInt8 = 0
            while true {
                let got = read(reading, &byte, 1)
                if got == 1 { return byte }
                if got < 0, errno == EINTR { continue }
                return nil
            }
        }
    }

    /// Makes the stage.
    /// - Parameter interruptedBy: readable when every wait shall end, see `Stage.init`.
    public init(interruptedBy: FileDescriptor) throws(ScenarioError) {
        orders = try Pipe()
        answers = try Pipe()
        let start = Box { [weak self] in self?.work(interruptedBy) }
        var id = pthread_t()
        let failed = pthread_create(
            &id, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body()
                return nil
            }, Unmanaged.passRetained(start).toOpaque())
        guard failed == 0 else {
            throw .system(
                call: "pthread_create", on: "a worker", Errno(rawValue: failed), advice: "raise RLIMIT_NPROC")
        }
        thread.withLock { $0 = id }
    }

    private final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Becomes readable when the stage is made, and after each `start` when that scenario is over.
    public var descriptor: CInt { answers.reading }

    /// The namespaces; waits until they are made.
    public func ends() throws(ScenarioError) -> Ends {
        switch take() {
        case .ready(let ends): return ends
        case .failed(let error): throw error
        default: throw .interrupted
        }
    }

    /// Begins a scenario.
    /// - Parameter index: its place in `Scenario.all`.
    public func start(_ index: Int) { orders.send(UInt8(clamping: index)) }

    /// What became of the scenario begun last; waits until it is over.
    public func result() throws(ScenarioError) -> ScenarioResult {
        switch take() {
        case .done(let result): return result
        case .failed(let error): throw error
        default: throw .interrupted
        }
    }

    /// Takes the stage away, and the thread.
    public func finish() {
        guard
            let id = thread.withLock({ id in
                defer { id = nil }
                return id
            })
        else { return }
        close(orders.writing)
        pthread_join(id, nil)
        close(orders.reading)
        close(answers.reading)
        close(answers.writing)
    }

    private func take() -> Outcome? {
        guard answers.receive() != nil else { return nil }
        return outcome.withLock { outcome in
            defer { outcome = nil }
            return outcome
        }
    }

    private func answer(_ result: Outcome) {
        outcome.withLock { $0 = result }
        answers.send(1)
    }

    private func work(_ interruptedBy: FileDescriptor) {
        do throws(ScenarioError) {
            var stage = try Stage(interruptedBy: interruptedBy)
            answer(.ready(Ends(client: stage.client.namespace, server: stage.server.namespace)))
            while let order = orders.receive() {
                do throws(ScenarioError) {
                    answer(.done(try Scenario.all[Int(order)].run(on: stage)))
                } catch {
                    answer(.failed(error))
                }
            }
            try stage.remove()
        } catch {
            answer(.failed(error))
        }
    }
}
