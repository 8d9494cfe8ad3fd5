// SPDX-License-Identifier: Apache-2.0

import Glibc
import Judging

/// The program under test.
enum Program {
    /// What MPSCOPE_BINARY says, else `mpscope` beside the test bundle.
    static func path() throws(Trouble) -> String {
        guard geteuid() == 0 else { throw Trouble("live tests trace the kernel: run them as root") }
        if let wanted = getenv("MPSCOPE_BINARY") {
            let path = String(cString: wanted)
            guard access(path, X_OK) == 0 else {
                throw Trouble("MPSCOPE_BINARY=\(path) is no executable file; correct it or unset it")
            }
            return path
        }
        guard let own = realpath("/proc/self/exe", nil) else {
            throw Trouble("/proc/self/exe cannot be read; set MPSCOPE_BINARY to the program")
        }
        defer { free(own) }
        let folder = String(cString: own).split(separator: "/").dropLast().joined(separator: "/")
        let path = "/\(folder)/mpscope"
        guard access(path, X_OK) == 0 else {
            throw Trouble("\(path) is missing; run `swift build` first or set MPSCOPE_BINARY")
        }
        return path
    }
}
