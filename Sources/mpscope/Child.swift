// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// COMMAND, started for a trace.
struct Child: ~Copyable {
    let pid: pid_t
    /// Readable once it has ended.
    let descriptor: Int32

    /// - Throws: `Failure` with status 126 (can't be executed) or 127 (not found).
    static func start(_ command: [String]) throws(Failure) -> Child {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Signals as a shell would give them: ours are blocked, and SIGPIPE ignored.
        var none = sigset_t()
        sigemptyset(&none)
        var defaults = sigset_t()
        sigemptyset(&defaults)
        for number in [SIGPIPE, SIGINT, SIGTERM, SIGCHLD] { sigaddset(&defaults, number) }
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF))

        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        let error = posix_spawnp(&pid, command[0], nil, &attributes, arguments, environ)
        guard error == 0 else {
            throw Failure(
                "cannot start \(command[0]): \(String(cString: strerror(error)))",
                ExitStatus(error == ENOENT ? 127 : 126))
        }
        let descriptor = mps_child_end(pid)
        guard descriptor >= 0 else {
            kill(pid, SIGKILL)
            throw Failure(
                "cannot follow \(command[0]): \(String(cString: strerror(0 - descriptor)))", .unavailable)
        }
        return Child(pid: pid, descriptor: descriptor)
    }

    deinit { close(descriptor) }

    /// Its exit status as a shell says it, if it has ended.
    func reap() -> Int32? {
        var status: Int32 = 0
        guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
        return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
    }

    /// Ends it, and waits.
    func terminate() {
        kill(pid, SIGTERM)
        var status: Int32 = 0
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        if poll(&waiting, 1, 5000) == 0 { kill(pid, SIGKILL) }
        waitpid(pid, &status, 0)
    }
}
