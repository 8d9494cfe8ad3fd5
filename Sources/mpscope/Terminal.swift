// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What standard output is.
struct Terminal {
    var isTerminal: Bool
    /// Columns; 100 when it is no terminal.
    var width: Int
    /// Colour only on a terminal, and not where NO_COLOR asks for none (https://no-color.org).
    var wantsColour: Bool

    static var standardOutput: Terminal {
        let isTerminal = isatty(STDOUT_FILENO) == 1
        var size = winsize()
        var width = 100
        if isTerminal, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 {
            width = Int(size.ws_col)
        }
        let noColour = getenv("NO_COLOR").map { $0.pointee != 0 } ?? false
        let dumb = getenv("TERM").map { String(cString: $0) == "dumb" } ?? false
        return Terminal(
            isTerminal: isTerminal, width: width, wantsColour: isTerminal && !noColour && !dumb)
    }
}
