// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// SIGINT and SIGTERM as something that can be read.
struct Signals: ~Copyable {
    let descriptor: Int32

    init() throws(Failure) {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGINT)
        sigaddset(&set, SIGTERM)
        pthread_sigmask(SIG_BLOCK, &set, nil)
        descriptor = mps_signalfd(&set)
        guard descriptor >= 0 else {
            throw Failure("cannot wait for signals: \(String(cString: strerror(errno)))", .unavailable)
        }
    }

    deinit { close(descriptor) }
}
