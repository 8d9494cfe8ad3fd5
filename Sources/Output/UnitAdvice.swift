// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Where a reason's advice names the unit of the process.
enum UnitPlace {
    case nowhere
    /// In the place of "restart it", its last words.
    case restart
    /// After its last word: the advice is about the process.
    case process
}

extension Reason {
    private static let restart = "restart it."

    var unitPlace: UnitPlace {
        switch self {
        case .md5SigFallback, .closedByProcess: .process
        default: advice.hasSuffix(Self.restart) ? .restart : .nowhere
        }
    }

    /// The advice up to where the unit is named; all but its full stop if that is nowhere.
    var adviceHead: Substring {
        unitPlace == .restart ? advice.dropLast(Self.restart.count) : advice.dropLast()
    }

    /// The advice for a process of `unit`.
    public func advice(for unit: Unit?) -> String {
        guard let unit, unitPlace != .nowhere else { return advice }
        return adviceHead + (unitPlace == .restart ? unit.restart : unit.mention) + "."
    }
}

extension Unit {
    /// What is said in the place of "restart it".
    var restart: String {
        switch kind {
        case .service: "restart it (\(command))"
        case .socket: "restart it (SocketProtocol=mptcp in \(name); \(command))"
        case .scope: "restart it (it runs in \(name))"
        case .container: "restart the container \(name)"
        }
    }

    /// What is said after a sentence about the process.
    var mention: String { kind == .container ? " (container \(name))" : " (\(name))" }

    private var command: String {
        // A shell would take the backslash of an escape.
        let word = name.contains("\\") ? "'\(name)'" : name
        return "systemctl \(isUser ? "--user " : "")restart \(word)"
            + (container.map { " in the container \($0)" } ?? "")
    }
}
