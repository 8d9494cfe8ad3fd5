// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake

@testable import Scenarios

/// Finds the program that runs the actors.
enum ActorProgram {
    struct NotFound: Error, CustomStringConvertible {
        let description: String
    }

    /// `mpscope` beside the test bundle, or what MPSCOPE_BINARY says.
    static func path() throws(NotFound) -> String {
        if let wanted = getenv("MPSCOPE_BINARY") {
            let path = String(cString: wanted)
            guard access(path, X_OK) == 0 else {
                throw NotFound(
                    description: "MPSCOPE_BINARY=\(path) is no executable file; correct it or unset it")
            }
            return path
        }
        guard let own = realpath("/proc/self/exe", nil) else {
            throw NotFound(description: "/proc/self/exe cannot be read; set MPSCOPE_BINARY to the program")
        }
        defer { free(own) }
        let folder = String(cString: own).split(separator: "/").dropLast().joined(separator: "/")
        let path = "/\(folder)/mpscope"
        guard access(path, X_OK) == 0 else {
            throw NotFound(description: "\(path) is missing; run `swift build` first or set MPSCOPE_BINARY")
        }
        return path
    }
}

/// What is left behind of stages and actors.
enum Leftover {
    /// Whether the process is gone, reaped and all.
    static func isGone(_ pid: Int32) -> Bool { kill(pid, 0) == -1 && errno == ESRCH }

    /// Waits until `condition` holds; false when it does not within 15 s.
    static func eventually(_ condition: () -> Bool) -> Bool {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let end = now.tv_sec + 15
        while !condition() {
            clock_gettime(CLOCK_MONOTONIC, &now)
            if now.tv_sec >= end { return false }
            poll(nil, 0, 5)
        }
        return true
    }
}

/// The words of the ScenarioError that `body` throws; empty when it throws none.
func failure(_ body: () throws -> Void) -> String {
    do {
        try body()
        return ""
    } catch let error as ScenarioError {
        return error.description
    } catch {
        return ""
    }
}

/// What scenarios may change at the two ends, as the tools tell it.
struct StageState {
    private var lines: [String] = []

    func differences(from other: StageState) -> [String] {
        lines.filter { !other.lines.contains($0) } + other.lines.filter { !lines.contains($0) }
    }

    init(_ stage: borrowing Stage) throws {
        for side in Side.allCases {
            let namespace = stage[side].namespace.name
            var text = ""
            for command in [
                "nft list tables", "ip mptcp endpoint show", "ip mptcp limits show", "ip address show",
                "sysctl -a --pattern ^net.(mptcp|ipv4.tcp_syn)",
                "ss -tanHO state connected exclude time-wait",
            ] {
                let words = command.split(separator: " ").map(String.init)
                text += "\(side) \(command)\n"
                text += try Tool.check("ip", ["netns", "exec", namespace] + words).standardOutput
            }
            lines += text.split(separator: "\n").map { "\(side): \($0)" }
        }
    }
}
