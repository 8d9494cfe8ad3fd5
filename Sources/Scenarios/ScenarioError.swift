// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// What can go wrong while traffic is made: what failed, on what, why, what to do.
public enum ScenarioError: Error {
    /// A system call failed.
    case system(call: String, on: String, Errno, advice: String)
    /// A tool is not installed.
    case noTool(String)
    /// A tool ended with a status other than 0.
    case tool(command: String, status: String, output: String)
    /// An actor said something else than what it was asked for, or ended.
    case actor(role: String, awaited: String, got: String, diagnostics: String)
    /// Something did not happen in time.
    case deadline(awaited: String, from: String, seconds: Int, diagnostics: String)
    /// A client's connect() ended otherwise than the scenario declares.
    case unexpectedResult(scenario: String, expected: String, got: String)
    /// The caller asked for an end (see `Stage.init`).
    case interrupted
    /// What the caller did while the connections were open threw this.
    case whileOpen(any Error)
    /// The caller's own arguments or place are wrong.
    case usage(String)
}

extension ScenarioError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .system(let call, let on, let error, let advice):
            "\(call) failed on \(on): \(error)" + (advice.isEmpty ? "" : "; \(advice)")
        case .noTool(let name):
            "cannot find \(name) in PATH, /usr/sbin or /sbin; install the package that has it"
                + " (Debian: \(name == "nft" ? "nftables" : "iproute2"))"
        case .tool(let command, let status, let output):
            "`\(command)` \(status): \(output.isEmpty ? "it printed nothing" : output)"
        case .actor(let role, let awaited, let got, let diagnostics):
            "\(role) was to say \"\(awaited)\" but \(got)" + Self.quote(diagnostics)
        case .deadline(let awaited, let from, let seconds, let diagnostics):
            "no \"\(awaited)\" from \(from) within \(seconds) s; is the machine overloaded?"
                + Self.quote(diagnostics)
        case .unexpectedResult(let scenario, let expected, let got):
            "scenario \(scenario): connect() was to end with \(expected) but ended with \(got);"
                + " look at net.mptcp.enabled and at firewalls in new network namespaces"
        case .interrupted:
            "interrupted"
        case .whileOpen(let error):
            "while the connections were open: \(error)"
        case .usage(let text):
            text
        }
    }

    private static func quote(_ diagnostics: String) -> String {
        diagnostics.isEmpty ? "" : "; its standard error ends with: \(diagnostics)"
    }

    /// The error of a shim that returned `-errno`.
    static func failed(_ call: String, on: String, _ result: CInt, advice: String = "") -> ScenarioError {
        let error = Errno(rawValue: -result)
        var advice = advice
        if advice.isEmpty, error == .notPermitted || error == .permissionDenied {
            advice = "run as root (CAP_SYS_ADMIN and CAP_NET_ADMIN)"
        }
        return .system(call: call, on: on, error, advice: advice)
    }
}
