// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The actor's side of `ActorProcess`: words come in on standard input, go out on standard output.
struct ParentLink {
    private var pending: [UInt8] = []
    /// Nothing more will come: the parent let go, or died.
    private(set) var ended = false

    static let descriptor = STDIN_FILENO

    /// Says a line.
    func say(_ line: String) throws(ScenarioError) {
        try Self.write(line, to: STDOUT_FILENO)
    }

    /// Says why the actor fails; whether anyone hears no longer matters.
    static func complain(_ line: String) {
        try? write(line, to: STDERR_FILENO)
    }

    /// The next word; nil at the end.
    mutating func next() -> String? {
        while true {
            if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: pending[..<end], as: UTF8.self)
                pending.removeSubrange(...end)
                return line
            }
            if ended || !readOnce(Self.descriptor, &pending) {
                ended = true
                return nil
            }
        }
    }

    /// Waits for that word and no other.
    mutating func await(_ word: String) throws(ScenarioError) {
        guard let got = next() else { throw .usage("waiting for \"\(word)\": the parent let go") }
        guard got == word else { throw .usage("waiting for \"\(word)\": the parent said \"\(got)\"") }
    }

    private static func write(_ line: String, to descriptor: CInt) throws(ScenarioError) {
        var bytes = Array("\(line)\n".utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 || errno == EINTR else { throw .failed("write", on: "standard output", -errno) }
            bytes = bytes.dropFirst(max(0, count))
        }
    }
}
