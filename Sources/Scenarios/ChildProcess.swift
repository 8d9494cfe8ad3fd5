// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// How a process ended.
package enum ExitStatus: Equatable {
    case exited(CInt)
    case signalled(CInt)

    /// Of what waitpid() stored.
    init(_ raw: CInt) {
        let signal = raw & 0x7f
        self = signal == 0 ? .exited((raw >> 8) & 0xff) : .signalled(signal)
    }

    package var words: String {
        switch self {
        case .exited(let status): "ended with status \(status)"
        case .signalled(let signal): "was ended by signal \(signal)"
        }
    }
}

/// Owns a child process: it is killed and reaped, at the latest when its owner ends.
package struct ChildProcess: ~Copyable {
    package let pid: pid_t
    /// Set once it has been reaped; its pid means nothing from then on.
    private(set) var status: ExitStatus?
    /// Readable once it has ended; made when that is first waited for, and not anew each time.
    private var end: Descriptor?

    /// Starts `path` with `descriptors` as its 0, 1, 2, … (negative: /dev/null) and no others.
    package init(_ path: String, _ arguments: [String], descriptors: [CInt]) throws(ScenarioError) {
        var pid: pid_t = 0
        var argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) }
        argv.append(nil)
        let result = mps_spawn(&pid, path, argv, descriptors, CInt(descriptors.count))
        for argument in argv { free(argument) }
        guard result == 0 else {
            throw .failed("posix_spawn", on: path, result, advice: "is it there, and executable?")
        }
        self.pid = pid
        status = nil
        end = nil
    }

    /// Waits until it has ended; nil if it has not by then.
    package mutating func wait(_ deadline: Deadline) throws(ScenarioError) -> ExitStatus? {
        if let status { return status }
        // Most have, when they are waited for.
        if reap(WNOHANG) { return status }
        var entry = pollfd(fd: try endDescriptor(), events: Int16(POLLIN), revents: 0)
        while poll(&entry, 1, deadline.milliseconds) <= 0 {
            if deadline.hasPassed { return nil }
        }
        _ = reap()
        return status
    }

    private mutating func endDescriptor() throws(ScenarioError) -> CInt {
        if end == nil {
            let raw = mps_child_end(pid)
            guard raw >= 0 else { throw .failed("pthread_create", on: "process \(pid)", raw) }
            end = Descriptor(owning: raw)
        }
        switch end {
        case .some(let descriptor): return descriptor.raw
        case .none: return -1
        }
    }

    /// Ends it at once.
    package mutating func kill() {
        guard status == nil else { return }
        Glibc.kill(pid, SIGKILL)
        _ = reap()
    }

    /// Whether it has ended.
    private mutating func reap(_ options: CInt = 0) -> Bool {
        var raw: CInt = 0
        var result = waitpid(pid, &raw, options)
        while result < 0, errno == EINTR { result = waitpid(pid, &raw, options) }
        guard result != 0 else { return false }
        status = ExitStatus(raw)
        return true
    }

    deinit {
        guard status == nil else { return }
        Glibc.kill(pid, SIGKILL)
        while waitpid(pid, nil, 0) < 0, errno == EINTR {}
    }
}
