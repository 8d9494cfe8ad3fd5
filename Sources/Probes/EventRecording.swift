// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake

/// The bytes of events as they came from the kernel, for tests that need no kernel.
///
/// Shape: the eight bytes `mpscope1`, then for each event its length (2 bytes, little endian) and
/// its bytes. Keys are secrets: each is replaced by the token that belongs to it.
public final class EventRecording {
    public static let magic: [UInt8] = Array("mpscope1".utf8)

    public private(set) var bytes = EventRecording.magic

    public init() {}

    /// What is wrong with a recording.
    public enum Problem: Error, Equatable {
        case noRecording
        /// It ends within an event that begins at this byte.
        case cut(at: Int)
    }

    /// Keeps one event, if it is of one of these namespaces.
    public func add(_ event: UnsafeRawBufferPointer, onlyOf namespaces: Set<UInt32>) {
        guard event.count >= MemoryLayout<mps_event>.size, let base = event.baseAddress else { return }
        var head = base.loadUnaligned(as: mps_event.self)
        guard namespaces.contains(head.netns) else { return }
        if head.remote_key != 0 {
            head.remote_token = token(ofKey: head.remote_key)
            head.remote_key = 0
            head.flags |= UInt16(MPS_F_REMOTE_TOKEN)
        }
        bytes.append(UInt8(truncatingIfNeeded: event.count))
        bytes.append(UInt8(truncatingIfNeeded: event.count >> 8))
        withUnsafeBytes(of: &head) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: event[MemoryLayout<mps_event>.size...])
    }

    /// The events of a recording, each as the decoder takes it.
    public static func events(in recording: [UInt8]) throws(Problem) -> [[UInt8]] {
        guard recording.starts(with: magic) else { throw .noRecording }
        var events: [[UInt8]] = []
        var at = magic.count
        while at < recording.count {
            guard at + 2 <= recording.count else { throw .cut(at: at) }
            let size = Int(recording[at]) | Int(recording[at + 1]) << 8
            guard at + 2 + size <= recording.count else { throw .cut(at: at) }
            events.append(Array(recording[at + 2..<at + 2 + size]))
            at += 2 + size
        }
        return events
    }
}
