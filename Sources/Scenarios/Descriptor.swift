// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Owns a file descriptor: it is closed once, when its owner ends.
package struct Descriptor: ~Copyable {
    package let raw: CInt

    package init(owning raw: CInt) { self.raw = raw }

    deinit { close(raw) }
}

/// The two ends of a pipe, or of a socket pair.
package struct DescriptorPair: ~Copyable {
    /// Of a pipe: the end to read from. Of a socket pair: what a child is to get.
    package let reading: Descriptor
    package let writing: Descriptor

    /// A pipe, close-on-exec.
    package static func pipe() throws(ScenarioError) -> DescriptorPair {
        try DescriptorPair(mps_pipe, "pipe2")
    }

    /// A stream socket pair, close-on-exec. Unlike a pipe it can be written to without SIGPIPE.
    package static func sockets() throws(ScenarioError) -> DescriptorPair {
        try DescriptorPair(mps_socketpair, "socketpair")
    }

    private init(_ make: (UnsafeMutablePointer<CInt>?) -> CInt, _ name: String) throws(ScenarioError) {
        var ends: [CInt] = [-1, -1]
        let result = make(&ends)
        guard result == 0 else { throw .failed(name, on: "a child's standard streams", result) }
        reading = Descriptor(owning: ends[0])
        writing = Descriptor(owning: ends[1])
    }
}
