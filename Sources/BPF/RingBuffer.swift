// SPDX-License-Identifier: Apache-2.0

import CLibbpf
import Glibc

/// The reading end of a BPF ring buffer.
///
/// `Reader` gets each record as bytes that are valid during the call only, in the order in which
/// the programs reserved them, whichever CPU they ran on.
public struct RingBuffer<Reader: RingBufferReader>: ~Copyable {
    private let ring: OpaquePointer
    private let context: Unmanaged<Reader>

    /// - Parameter reader: is kept alive by this value.
    public init(_ map: BPFMap, reader: Reader) throws(BPFError) {
        context = Unmanaged.passRetained(reader)
        let callback: ring_buffer_sample_fn = Reader.callback
        errno = 0
        guard let ring = ring_buffer__new(map.descriptor, callback, context.toOpaque(), nil) else {
            let error = BPFError(.buffer, "map \(map.name)", code: errno)
            context.release()
            throw error
        }
        self.ring = ring
    }

    deinit {
        ring_buffer__free(ring)
        context.release()
    }

    /// Becomes readable when a program asked for a wake-up.
    public var descriptor: Int32 { ring_buffer__epoll_fd(ring) }

    /// Hands over what is there, and what comes meanwhile, without waiting: until nothing is left
    /// or the reader has had enough.
    public borrowing func consume() throws(BPFError) {
        let result = ring_buffer__consume(ring)
        if result < 0, result != Reader.enough { throw BPFError(.read, "events", code: result) }
    }
}

/// Who takes the records of a ring buffer.
public protocol RingBufferReader: AnyObject {
    /// A C function that finds the reader behind its context (`UnmanagedReader`) and calls it. A
    /// generic type can't make one, so the reader brings it along. It returns 0, or `enough` when it
    /// wants no more for now.
    static var callback: @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, Int) -> Int32 {
        get
    }
}

extension RingBufferReader {
    /// What the callback returns to end `RingBuffer.consume`; the record it got is taken.
    public static var enough: Int32 { -ECANCELED }
}
