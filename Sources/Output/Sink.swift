// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Collects bytes and writes them to a file descriptor.
///
/// The program must ignore SIGPIPE (and give children the default back): a closed pipe is then
/// told as ``OutputError/closedPipe(path:)``.
public struct Sink: ~Copyable {
    /// Where the writers put their lines.
    public var buffer: ByteBuffer
    /// What errors call it.
    public let path: String
    private let descriptor: Int32
    private let owns: Bool
    private let limit: Int

    /// Writes to `descriptor`, which somebody else closes.
    public init(descriptor: Int32, path: String, limit: Int = 1 << 16) {
        self.init(descriptor: descriptor, path: path, owns: false, limit: limit)
    }

    private init(descriptor: Int32, path: String, owns: Bool, limit: Int) {
        self.descriptor = descriptor
        self.path = path
        self.owns = owns
        self.limit = limit
        buffer = ByteBuffer(capacity: limit + 4096)
    }

    deinit {
        if owns { _ = Glibc.close(descriptor) }
    }

    /// Opens `path` for writing, `-` being standard output. A file that is made here can be read
    /// by its owner only; one that exists is emptied and keeps its mode.
    public static func open(path: String, limit: Int = 1 << 16) throws(OutputError) -> Sink {
        if path == "-" { return standardOutput(limit: limit) }
        // Twice: the file may appear, or go away, between the two ways to open it.
        for _ in 0..<2 {
            let made = retried { Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) }
            if made >= 0 {
                // A default ACL or an odd umask may have made something else of the mode.
                guard fchmod(made, 0o600) == 0 else {
                    let error = errno
                    _ = Glibc.close(made)
                    throw .cannotOpen(path: path, errno: error)
                }
                return Sink(descriptor: made, path: path, owns: true, limit: limit)
            }
            guard errno == EEXIST else { throw .cannotOpen(path: path, errno: errno) }
            let found = retried { Glibc.open(path, O_WRONLY | O_TRUNC | O_CLOEXEC) }
            if found >= 0 { return Sink(descriptor: found, path: path, owns: true, limit: limit) }
            guard errno == ENOENT else { throw .cannotOpen(path: path, errno: errno) }
        }
        throw .cannotOpen(path: path, errno: ENOENT)
    }

    public static func standardOutput(limit: Int = 1 << 16) -> Sink {
        Sink(descriptor: STDOUT_FILENO, path: "standard output", limit: limit)
    }

    /// Whether enough has gathered to be worth a system call.
    public var isFull: Bool { buffer.count >= limit }

    public mutating func flushIfFull() throws(OutputError) {
        if isFull { try flush() }
    }

    /// Writes all that is waiting. After an error the rest is still waiting.
    public mutating func flush() throws(OutputError) {
        var done = 0
        var failure: Int32 = 0
        let descriptor = descriptor
        buffer.withBytes { bytes in
            while done < bytes.count, failure == 0 {
                let wrote = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
                if wrote >= 0 {
                    done += wrote
                    continue
                }
                switch errno {
                case EINTR: break
                case EAGAIN:
                    // Somebody made the terminal or pipe non-blocking: wait, as blocking would.
                    var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&wait, 1, -1)
                default: failure = errno
                }
            }
        }
        buffer.dropFirst(done)
        switch failure {
        case 0: return
        case EPIPE: throw .closedPipe(path: path)
        default: throw .cannotWrite(path: path, errno: failure)
        }
    }

    /// Writes what is waiting and closes; errors that the file system kept for the end come out here.
    public consuming func finish() throws(OutputError) {
        try flush()
        guard owns else { return }
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        // Closing a copy makes file systems that write late (NFS) report; deinit closes ours.
        if copy >= 0, Glibc.close(copy) != 0, errno != EINTR {
            throw .cannotWrite(path: path, errno: errno)
        }
    }
}

private func retried(_ call: () -> Int32) -> Int32 {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}
