// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// A file descriptor with one owner: closed when that goes away.
public struct OwnedDescriptor: ~Copyable, Sendable {
    /// Borrowed: valid as long as the owner lives, never to be closed by others.
    public let descriptor: FileDescriptor

    /// Takes over an open descriptor.
    public init(adopting descriptor: FileDescriptor) {
        self.descriptor = descriptor
    }

    /// Opens `path` close-on-exec and without blocking on a FIFO or device.
    ///
    /// - Throws: `KernelError` with the code of open(2).
    public init(
        opening path: String, _ mode: FileDescriptor.AccessMode = .readOnly,
        options: FileDescriptor.OpenOptions = [], to action: String = "open"
    ) throws(KernelError) {
        do {
            descriptor = try FileDescriptor.open(
                FilePath(path), mode, options: options.union([.closeOnExec, .nonBlocking]))
        } catch {
            throw KernelError(action, path, code: error as? Errno)
        }
    }

    deinit {
        // Nothing here was written: a failing close loses nothing.
        try? descriptor.close()
    }

    /// The inode number of what is open: for a namespace its identity, for a cgroup its id.
    ///
    /// - Throws: `KernelError` with the code of fstat(2).
    public func inode(of subject: String) throws(KernelError) -> UInt64 {
        var status = stat()
        guard fstat(descriptor.rawValue, &status) == 0 else {
            throw .last("read the inode number of", subject)
        }
        return UInt64(status.st_ino)
    }

    /// When the inode of what is open was made or last changed, in ns since 1970.
    ///
    /// - Throws: `KernelError` with the code of fstat(2).
    public func changeTime(of subject: String) throws(KernelError) -> Int64 {
        var status = stat()
        guard fstat(descriptor.rawValue, &status) == 0 else {
            throw .last("read the age of", subject)
        }
        return Int64(status.st_ctim.tv_sec) * 1_000_000_000 + Int64(status.st_ctim.tv_nsec)
    }
}

/// Reading the small files of /proc and /sys.
enum SmallFile {
    /// All bytes of `path`, read until the end, since these files have no size.
    ///
    /// - Throws: `KernelError`, also when there are more than `limit` bytes.
    static func bytes(_ path: String, limit: Int = 16 << 20) throws(KernelError) -> [UInt8] {
        let file = try OwnedDescriptor(opening: path, to: "read")
        var content: [UInt8] = []
        while true {
            let got: [UInt8]
            do {
                got = try [UInt8](unsafeUninitializedCapacity: 16384) { buffer, count in
                    count = try file.descriptor.read(into: UnsafeMutableRawBufferPointer(buffer))
                }
            } catch {
                throw KernelError("read", path, code: error as? Errno)
            }
            if got.isEmpty { return content }
            content += got
            if content.count > limit {
                throw KernelError("read", path, cause: "it is longer than \(limit) bytes")
            }
        }
    }

    /// The text of `path` without the newline at its end; bytes that are no UTF-8 become U+FFFD.
    static func text(_ path: String) throws(KernelError) -> String {
        var content = try bytes(path)
        if content.last == UInt8(ascii: "\n") { content.removeLast() }
        return String(decoding: content, as: UTF8.self)
    }

    /// The text of `path`, nil when it cannot be read for whatever reason.
    static func textIfReadable(_ path: String) -> String? {
        do { return try text(path) } catch { return nil }
    }
}

/// The names in a directory, without `.` and `..` and names that are not UTF-8.
///
/// - Throws: `KernelError` with the code of opendir(3) or readdir(3).
func namesInDirectory(_ path: String) throws(KernelError) -> [String] {
    guard let directory = opendir(path) else { throw .last("list", path) }
    defer { closedir(directory) }
    var names: [String] = []
    while true {
        errno = 0
        guard let entry = readdir(directory) else {
            // A process that ends while its /proc directory is listed: as if it were empty.
            if errno != 0, !Errno.current.isGone { throw .last("list", path) }
            return names
        }
        guard let pointer = mps_dirent_name(entry), let name = String(validatingCString: pointer) else {
            continue
        }
        if name != "." && name != ".." { names.append(name) }
    }
}

/// Where a symbolic link points, as text; nil when it cannot be read.
func linkTarget(_ path: String) -> String? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
        guard let start = buffer.baseAddress else { return nil }
        let count = readlink(path, start, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: UnsafeRawBufferPointer(buffer)[0..<count], as: UTF8.self)
    }
}

/// The ids of all processes, ascending; empty when /proc cannot be listed.
func processIDs() -> [UInt32] {
    let names: [String]
    do { names = try namesInDirectory("/proc") } catch { return [] }
    return names.compactMap { UInt32($0) }.sorted()
}
