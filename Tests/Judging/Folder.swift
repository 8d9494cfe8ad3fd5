// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Owns a new folder under /tmp: it goes, with what is in it, when its owner ends.
package struct Folder: ~Copyable {
    package let path: String

    package init(mode: mode_t = 0o700) throws(Trouble) {
        var template = Array("/tmp/mpscope-live-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Trouble("mkdtemp: \(String(cString: strerror(errno)))") }
        path = String(decoding: template.dropLast().map(UInt8.init), as: UTF8.self)
        chmod(path, mode)
    }

    deinit { Self.remove(path) }

    /// Files, and folders that hold nothing but files and such folders.
    private static func remove(_ path: String) {
        if unlink(path) == 0 { return }
        if let folder = opendir(path) {
            while let entry = readdir(folder) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != ".", name != ".." { remove("\(path)/\(name)") }
            }
            closedir(folder)
        }
        rmdir(path)
    }
}

/// Whole files.
package enum File {
    package static func bytes(_ path: String) throws(Trouble) -> [UInt8] {
        let raw = open(path, O_RDONLY | O_CLOEXEC)
        guard raw >= 0 else { throw Trouble("\(path): \(String(cString: strerror(errno)))") }
        defer { close(raw) }
        var bytes: [UInt8] = []
        while true {
            let piece = [UInt8](unsafeUninitializedCapacity: 1 << 18) { buffer, count in
                count = max(0, read(raw, buffer.baseAddress, buffer.count))
            }
            if piece.isEmpty { return bytes }
            bytes += piece
        }
    }

    package static func text(_ path: String) throws(Trouble) -> String {
        String(decoding: try bytes(path), as: UTF8.self)
    }

    /// Creates an empty file to write into.
    package static func create(_ path: String, _ mode: mode_t = 0o600) throws(Trouble) -> Int32 {
        let raw = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard raw >= 0 else { throw Trouble("\(path): \(String(cString: strerror(errno)))") }
        return raw
    }
}
