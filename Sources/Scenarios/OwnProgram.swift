// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// How this program can be started again, by itself.
public enum OwnProgram {
    /// What starts it: the launcher of an archive that `make dist` made, which gives the program its
    /// loader and libraries; else the program's own file.
    public static let path: String = takeLauncher() ?? "/proc/self/exe"

    /// Set by Tools/dist/launcher.c, and by nothing else.
    static let launcherVariable = "MPSCOPE_LAUNCHER"
    /// Before the names of variables that the launcher hid from the loader.
    static let hiddenPrefix = "MPSCOPE_HIDDEN_"

    /// To be called first, before there are threads: makes the environment what it was before the
    /// launcher, for every process that is started from here.
    public static func restoreEnvironment() {
        _ = path
    }

    private static func takeLauncher() -> String? {
        guard let value = getenv(launcherVariable) else { return nil }
        let launcher = String(cString: value)
        // A program that is started from here may be another mpscope.
        unsetenv(launcherVariable)
        // Each in its place: their names begin a few bytes later.
        let length = hiddenPrefix.utf8.count
        var place = environ
        while let entry = place.pointee {
            if strncmp(entry, hiddenPrefix, length) == 0 { place.pointee = entry + length }
            place += 1
        }
        // The kernel named the process after the loader, which is what it executed.
        _ = mps_thread_name("mpscope")
        return launcher
    }
}
