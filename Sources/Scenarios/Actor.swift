// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// The processes that make traffic: the product's own program, started again under a hidden
/// first argument.
public enum Actor {
    /// The hidden first argument.
    public static let word = "__actor"

    /// What the program's main does when its first argument is `word`; `arguments` are those
    /// after it. The result is the exit status.
    public static func run(arguments: [String]) -> Int32 {
        guard let role = arguments.first else { return usage() }
        let rest = Array(arguments.dropFirst())
        var parent = ParentLink()
        do throws(ScenarioError) {
            switch role {
            case "server": try ServerActor.run(try prepare("mp-server", rest), &parent)
            case "client": try ClientActor.run(try prepare("mp-client", rest), &parent)
            case "puppet": try PuppetActor.run(try prepare("mp-puppet", rest), &parent)
            case "churn": try ChurnActor.run(try prepare("mp-churn", rest), &parent)
            case "flood": try FloodActor.run(try prepare("mp-flood", rest), &parent)
            case "stage": try StageActor.run(&parent)
            case "janitor": JanitorActor.run(names: rest, &parent)
            default: return usage()
            }
            return 0
        } catch {
            ParentLink.complain("\(role): \(error)")
            return 1
        }
    }

    /// The arguments of an actor that dies with this process and lives in a namespace of ours.
    static func arguments(_ options: [String: String]) -> [String] {
        ["--parent", "\(getpid())"]
            + options.sorted { $0.key < $1.key }.flatMap { ["--\($0.key)", $0.value] }
    }

    /// Names the process, ties its life to its parent's and moves it into its namespace, before
    /// it makes its first socket.
    private static func prepare(_ name: String, _ arguments: [String]) throws(ScenarioError) -> ActorOptions {
        let options = try ActorOptions(arguments)
        _ = mps_thread_name(name)
        if let parent = try options.number("parent") {
            let result = mps_die_with_parent()
            guard result == 0 else { throw .failed("prctl(PR_SET_PDEATHSIG)", on: name, result) }
            // It may have died before it was asked for.
            guard getppid() == pid_t(parent) else { throw .usage("the parent \(parent) is gone") }
        }
        try options.enterNamespace()
        return options
    }

    private static func usage() -> Int32 {
        ParentLink.complain(
            """
            usage: \(word) server|client|puppet|churn|flood|stage|janitor …
              churn --count N [--netns NAME | --new-netns 1] [--protocol mptcp|tcp] [--family 4|6]
                    [--concurrency C] [--bytes 0|1] [--port P] [--wait 1] [--hold 1]
            """)
        return 64
    }
}

/// What follows an actor's role: `--name value` pairs.
struct ActorOptions {
    private var values: [String: String] = [:]

    init(_ arguments: [String]) throws(ScenarioError) {
        var rest = arguments[...]
        while let name = rest.popFirst() {
            guard name.hasPrefix("--"), let value = rest.popFirst() else {
                throw .usage("\(name): expected --name value")
            }
            values[String(name.dropFirst(2))] = value
        }
    }

    subscript(name: String) -> String? { values[name] }

    func number(_ name: String) throws(ScenarioError) -> Int? {
        guard let text = values[name] else { return nil }
        guard let number = Int(text), number >= 0 else { throw .usage("--\(name) \(text): not a number") }
        return number
    }

    func required(_ name: String) throws(ScenarioError) -> String {
        guard let value = values[name] else { throw .usage("--\(name) is missing") }
        return value
    }

    func requiredNumber(_ name: String) throws(ScenarioError) -> Int {
        guard let number = try number(name) else { throw .usage("--\(name) is missing") }
        return number
    }

    func port() throws(ScenarioError) -> UInt16 {
        let number = try requiredNumber("port")
        guard let port = UInt16(exactly: number) else { throw .usage("--port \(number): above 65535") }
        return port
    }

    /// What socket() takes.
    func protocolNumber() throws(ScenarioError) -> CInt {
        switch values["protocol"] {
        case nil, "mptcp": 262
        case "tcp": CInt(IPPROTO_TCP)
        case .some(let text): throw .usage("--protocol \(text): expected mptcp or tcp")
        }
    }

    /// Moves the calling thread into the namespace of `--netns`; without that it stays.
    func enterNamespace() throws(ScenarioError) {
        guard let name = values["netns"] else { return }
        let result = mps_netns_enter(Namespace.path(name))
        guard result == 0 else { throw .failed("setns", on: Namespace.path(name), result) }
    }
}
