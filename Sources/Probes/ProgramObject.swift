// SPDX-License-Identifier: Apache-2.0

import CEvent

/// The compiled BPF programs in this executable.
enum ProgramObject {
    /// For mainline; by the ring buffer.
    case mainline
    /// For the out-of-tree stack.
    case multipath(EventTransport)

    /// Those by which an object of that stack can send.
    static func transports(of stack: HookTable.Stack) -> Set<EventTransport> {
        stack == .mainline ? [.ringbuf] : [.ringbuf, .perfbuf]
    }

    init(_ stack: HookTable.Stack, _ transport: EventTransport) {
        self = stack == .mainline ? .mainline : .multipath(transport)
    }

    /// The ELF file; it lives as long as the program.
    var bytes: UnsafeRawBufferPointer {
        var size = 0
        let start =
            switch self {
            case .mainline: mps_object_mainline(&size)
            case .multipath(.ringbuf): mps_object_multipath(&size)
            case .multipath(.perfbuf): mps_object_multipath_perf(&size)
            }
        return UnsafeRawBufferPointer(start: start, count: size)
    }
}
