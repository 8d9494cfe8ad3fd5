// SPDX-License-Identifier: Apache-2.0

import BPF

/// How events come from the programs.
public enum EventTransport: String, Sendable, CaseIterable {
    /// The BPF ring buffer, one for all CPUs.
    case ringbuf
    /// The perf buffer, one for each CPU, of kernels before 5.8.
    case perfbuf

    /// Which one a trace takes.
    /// - Parameters:
    ///   - wanted: nil: the best that this kernel has.
    ///   - offered: those for which there are programs.
    static func chosen(
        _ wanted: EventTransport?, of offered: Set<EventTransport>
    ) throws(TracerError) -> EventTransport {
        if let wanted {
            guard offered.contains(wanted) else {
                throw .notPossible(
                    "the programs for this kernel's MPTCP can't send by \(wanted.rawValue); leave out "
                        + "--transport")
            }
            guard wanted != .ringbuf || Trial.ringBuffer else {
                throw .notPossible(
                    "this kernel has no BPF ring buffer, which came with 5.8; leave out --transport")
            }
            return wanted
        }
        // Where there is nothing to choose, the load says best what is wrong.
        guard offered.contains(.perfbuf) else { return .ringbuf }
        return offered.contains(.ringbuf) && Trial.ringBuffer ? .ringbuf : .perfbuf
    }
}
