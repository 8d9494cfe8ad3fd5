// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Scenarios

/// Many connections at once, and traces that can't take them all.
enum Load: String, CaseIterable {
    case churn
    case lossSmallBuffer = "loss-small-buffer"
    case lossStoppedReader = "loss-stopped-reader"

    private var count: Int { self == .churn ? 5_000 : 2_000 }
    private var port: Int { 27801 }

    /// Of each trace.
    var options: [String] {
        switch self {
        case .churn: []
        case .lossSmallBuffer: ["--buffer-size", "4096"]
        case .lossStoppedReader: ["--buffer-size", "65536"]
        }
    }

    /// - Parameter traces: the processes that trace.
    /// - Returns: what the actor said of it.
    func run(_ program: String, _ traces: [Int32]) throws(ScenarioError) -> String {
        // Until the kernel has let go of the last socket: then each has its `close`.
        let script = """
            ip link set lo up && "$@" && while grep -Eq '^MPTCP(v6)? +[0-9]+ +[1-9]' /proc/net/protocols
            do sleep 0.05; done
            """
        // A reader that is quick enough loses nothing, however small its buffer.
        let stopped = self != .churn
        if stopped { for pid in traces { kill(pid, SIGSTOP) } }
        defer { if stopped { for pid in traces { kill(pid, SIGCONT) } } }
        let output = try Tool.run(
            "unshare",
            [
                "-n", "sh", "-c", script, "-", program, Actor.word, "churn", "--count", "\(count)",
                "--port", "\(port)",
            ], seconds: 120)
        return output.standardOutput + output.standardError
    }

    func differences(_ file: TraceFile, _ said: String) -> [String] {
        guard self == .churn else { return file.lossyDifferences(port: port, count: count) }
        return (file.lostTotal == 0 ? [] : ["lost \(file.lostTotal): \(file.losses)"])
            + file.churnDifferences(port: port, count: count, actorSaid: said)
    }
}
