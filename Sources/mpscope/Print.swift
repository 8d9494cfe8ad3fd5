// SPDX-License-Identifier: Apache-2.0

import Output

enum Print {
    /// Writes text, with the exit status for an output that fails.
    static func standardOutput(_ text: String) throws {
        do throws(OutputError) {
            var sink = Sink.standardOutput()
            sink.buffer.append(text)
            if !text.hasSuffix("\n") { sink.buffer.append(0x0a) }
            try sink.flush()
        } catch {
            if error.isCleanEnd { return }
            throw Failure("\(error)", .outputFailed)
        }
    }
}
