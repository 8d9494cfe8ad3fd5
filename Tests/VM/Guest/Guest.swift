// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Scenarios

/// What runs in a VM, after its first process: every scenario once, seen by one trace of each
/// backend side by side, and a line for each backend and scenario (see `Port`).
///
/// All traces run all the time. To start one takes longer than most scenarios do, and what is to
/// be compared is what each of them makes of the very same packets. Records are told apart by
/// their network namespaces: each scenario has its own two, which are kept to the end, for the
/// kernel gives the number of one that is gone to the next.
@main
enum Guest {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.first == "--list" {
            for name in Name.of(kind: arguments.dropFirst().first ?? "scenarios") { print(name) }
            return
        }
        if arguments.count == 5, arguments[2] == "standin" {
            perform(arguments[0], arguments[4], of: Name.of(kind: "standin")) {
                port, wanted throws(Trouble) in
                try StandinPlay(program: arguments[1], folder: arguments[3], port: port).play(wanted)
            }
            return
        }
        if arguments.count == 7, arguments[2] == "stack" {
            perform(arguments[0], arguments[6], of: Name.of(kind: "stack")) { port, wanted throws(Trouble) in
                try StackPlay(
                    program: arguments[1], stack: arguments[3] == "mainline" ? .mainline : .outOfTree,
                    btf: arguments[4] == "-" ? nil : arguments[4], backend: arguments[5], port: port
                ).play(wanted)
            }
            return
        }
        guard arguments.count == 5, let lanes = Int(arguments[4]), lanes > 0 else {
            complain(
                """
                usage: vm-guest --list [scenarios|standin|stack]
                       vm-guest WORD PROGRAM BACKEND,… SCENARIO,…|all LANES
                       vm-guest WORD PROGRAM standin FOLDER ROW,…|all
                       vm-guest WORD PROGRAM stack mainline|multipath-tcp.org BTF|- BACKEND NAME,…|all
                """)
            exit(64)
        }
        let wanted = arguments[3] == "all" ? Name.all : arguments[3].split(separator: ",").map(String.init)
        let unknown = wanted.filter { !Name.all.contains($0) }
        guard unknown.isEmpty else {
            complain("there is no scenario \(unknown.joined(separator: ", "))")
            exit(64)
        }
        let port = Port(word: arguments[0])
        do {
            let matrix = Matrix(
                program: arguments[1], backends: arguments[2].split(separator: ",").map(String.init),
                port: port, kernel: try KernelFeatures())
            try matrix.listPrograms()
            try matrix.play(wanted.compactMap(Scenario.named), lanes: lanes)
            for load in Load.allCases where wanted.contains(load.rawValue) { try matrix.run(load) }
            port.say(["done"])
        } catch {
            port.say(["trouble", "\(error)"])
            exit(1)
        }
    }

    private static func perform(
        _ word: String, _ names: String, of known: [String],
        _ body: (Port, [String]) throws(Trouble) -> Void
    ) {
        let wanted = names == "all" ? known : names.split(separator: ",").map(String.init)
        let unknown = wanted.filter { !known.contains($0) }
        guard unknown.isEmpty else {
            complain("nothing is called \(unknown.joined(separator: ", "))")
            exit(64)
        }
        let port = Port(word: word)
        do throws(Trouble) {
            try body(port, wanted)
            port.say(["done"])
        } catch {
            port.say(["trouble", "\(error)"])
            exit(1)
        }
    }

    static func complain(_ text: String) {
        let bytes = Array("vm-guest: \(text)\n".utf8)
        _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

/// What the lines of the matrix are called.
enum Name {
    static let all = Scenario.all.map(\.name) + Load.allCases.map(\.rawValue)

    static func of(kind: String) -> [String] {
        switch kind {
        case "standin": StandinPlay.names
        case "stack": StackPlay.names
        default: all
        }
    }
}
