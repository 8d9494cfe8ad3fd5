// SPDX-License-Identifier: Apache-2.0

import BPF
import Handshake

/// Takes the records of the ring buffer, in order, and hands on what they mean.
final class EventReader: RingBufferReader {
    /// Records that came, whatever they held.
    private(set) var delivered: UInt64 = 0
    /// Of these, such that are no event of this version.
    private(set) var malformed: UInt64 = 0
    /// How many more it takes before it has enough.
    var left = Int.max
    /// Who takes the observations.
    var take: (Observation) -> Void = { _ in }
    /// Who takes the bytes as well; nil: nobody.
    var tap: ((UnsafeRawBufferPointer) -> Void)?

    static let callback: @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, Int) -> Int32 = {
        context, data, size in
        guard let context else { return 0 }
        let reader = Unmanaged<EventReader>.fromOpaque(context).takeUnretainedValue()
        reader.record(UnsafeRawBufferPointer(start: data, count: size))
        reader.left -= 1
        return reader.left > 0 ? 0 : EventReader.enough
    }

    private func record(_ bytes: UnsafeRawBufferPointer) {
        delivered &+= 1
        tap?(bytes)
        do throws(Decoder.Problem) {
            take(try Decoder.decode(bytes))
        } catch {
            malformed &+= 1
        }
    }
}
