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
    }

    /// Waits until it has ended; nil if it has not by then.
    package mutating func wait(_ deadline: Deadline) throws(ScenarioError) -> ExitStatus? {
        if let status { return status }
        let raw = mps_pidfd_open(pid)
        // Linux 5.3 has it; an older kernel has to be asked again and again.
        if raw == -ENOSYS { return waitAsking(deadline) }
        guard raw >= 0 else { throw .failed("pidfd_open", on: "process \(pid)", raw) }
        let descriptor = Descriptor(owning: raw)
        var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        while poll(&entry, 1, deadline.milliseconds) <= 0 {
            if deadline.hasPassed { return nil }
        }
        return reap()
    }

    private mutating func waitAsking(_ deadline: Deadline) -> ExitStatus? {
        while true {
            var raw: CInt = 0
            if waitpid(pid, &raw, CInt(WNOHANG)) == pid {
                let ended = ExitStatus(raw)
                status = ended
                return ended
            }
            if deadline.hasPassed { return nil }
            poll(nil, 0, 5)
        }
    }

    /// Ends it at once.
    package mutating func kill() {
        guard status == nil else { return }
        Glibc.kill(pid, SIGKILL)
        _ = reap()
    }

    private mutating func reap() -> ExitStatus {
        var raw: CInt = 0
        while waitpid(pid, &raw, 0) < 0, errno == EINTR {}
        let ended = ExitStatus(raw)
        status = ended
        return ended
    }

    deinit {
        guard status == nil else { return }
        Glibc.kill(pid, SIGKILL)
        while waitpid(pid, nil, 0) < 0, errno == EINTR {}
    }
}
