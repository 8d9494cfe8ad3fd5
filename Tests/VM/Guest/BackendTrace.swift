// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging
import Scenarios

/// A running trace by one backend. It can't be had: then why not.
struct BackendTrace: ~Copyable {
    private static let folder = "/tmp"
    private static let patience = 60

    let backend: String
    private var child: ChildProcess
    private let path: String

    /// - Parameter name: of its files, where several traces have one backend.
    init(
        _ program: String, _ backend: String, _ options: [String], name: String? = nil
    ) throws(Trouble) {
        let path = "\(Self.folder)/\(name ?? backend)"
        for file in ["\(path).records", "\(path).ready"] { unlink(file) }
        let complaints = Descriptor(owning: try File.create("\(path).err"))
        let arguments =
            [
                "trace", "--backend", backend, "--format", "json", "-o", "\(path).records", "--ready-file",
                "\(path).ready",
            ] + options
        do throws(ScenarioError) {
            child = try ChildProcess(program, arguments, descriptors: [-1, -1, complaints.raw])
        } catch {
            throw Trouble("\(error)")
        }
        self.backend = backend
        self.path = path
    }

    var pid: Int32 { child.pid }

    /// Waits until all its hooks are attached.
    mutating func awaitReady() throws(Trouble) {
        let deadline = Deadline(seconds: Self.patience)
        while access("\(path).ready", F_OK) != 0 {
            if let status = try status(within: 0) { throw Trouble("mpscope \(status): \(try complaints())") }
            if deadline.hasPassed { throw Trouble("mpscope was not ready in \(deadline.seconds) s") }
            poll(nil, 0, 10)
        }
    }

    /// Ends it; what it wrote.
    mutating func finish() throws(Trouble) -> TraceFile {
        kill(child.pid, SIGINT)
        let status = try status(within: Self.patience)
        guard let status else { throw Trouble("mpscope did not end in \(Self.patience) s") }
        guard status == "ended with status 0" else {
            throw Trouble("mpscope \(status): \(try complaints())")
        }
        return TraceFile(lines: try Line.all(try File.bytes("\(path).records")))
    }

    private mutating func status(within seconds: Int) throws(Trouble) -> String? {
        do throws(ScenarioError) {
            return try child.wait(Deadline(seconds: seconds))?.words
        } catch {
            throw Trouble("\(error)")
        }
    }

    private func complaints() throws(Trouble) -> String {
        // What the verifier says may be long; its first lines and its last tell most.
        let text = try File.text("\(path).err").oneLine
        return text.count < 1_500 ? text : "\(text.prefix(700)) … \(text.suffix(700))"
    }
}
