// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Small files, mostly of /proc, as seen by the calling thread.
package enum SmallFile {
    package static func read(_ path: String) throws(ScenarioError) -> String {
        let raw = open(path, O_RDONLY | O_CLOEXEC)
        guard raw >= 0 else { throw .failed("open", on: path, -errno) }
        let descriptor = Descriptor(owning: raw)
        var bytes: [UInt8] = []
        while readOnce(descriptor.raw, &bytes) {}
        return String(decoding: bytes, as: UTF8.self)
    }

    /// - Parameter creates: it need not be there.
    package static func write(
        _ path: String, _ text: String, creates: Bool = false
    ) throws(ScenarioError) {
        let raw = open(path, O_WRONLY | O_CLOEXEC | (creates ? O_CREAT : 0), 0o600)
        guard raw >= 0 else { throw .failed("open", on: path, -errno) }
        let descriptor = Descriptor(owning: raw)
        var text = text
        let count = text.withUTF8 { Glibc.write(descriptor.raw, $0.baseAddress, $0.count) }
        guard count >= 0 else { throw .failed("write", on: path, -errno) }
    }
}
