// SPDX-License-Identifier: Apache-2.0

/// Bytes on their way out: one growing piece of memory, used again for every line.
///
/// Writing never fails and never allocates once the buffer has found its size.
public struct ByteBuffer: ~Copyable {
    private var base: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    /// How many bytes are waiting.
    public private(set) var count = 0

    /// Room for `capacity` bytes before the first growth.
    public init(capacity: Int = 4096) {
        self.capacity = max(capacity, 64)
        base = .allocate(capacity: self.capacity)
    }

    deinit { base.deallocate() }

    public var isEmpty: Bool { count == 0 }

    /// The bytes, for as long as `body` runs.
    public borrowing func withBytes<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: base, count: count))
    }

    /// A copy of the bytes.
    public borrowing func bytes() -> [UInt8] {
        Array(UnsafeBufferPointer(start: base, count: count))
    }

    var last: UInt8? { count > 0 ? base[count - 1] : nil }

    /// Forgets the bytes, keeps the memory.
    public mutating func clear() { count = 0 }

    /// Forgets everything after the first `kept` bytes.
    public mutating func truncate(to kept: Int) { count = min(count, max(kept, 0)) }

    /// Forgets the first `taken` bytes.
    public mutating func dropFirst(_ taken: Int) {
        let taken = min(max(taken, 0), count)
        base.update(from: base + taken, count: count - taken)
        count -= taken
    }

    /// Makes sure that `extra` more bytes fit, and returns where they go.
    @inline(__always)
    mutating func room(for extra: Int) -> UnsafeMutablePointer<UInt8> {
        if extra > capacity &- count { grow(by: extra) }
        return base + count
    }

    /// Takes in `written` bytes that were put where `room(for:)` said.
    @inline(__always)
    mutating func advance(_ written: Int) { count &+= written }

    @inline(never)
    private mutating func grow(by extra: Int) {
        let larger = max(capacity * 2, count + extra)
        let fresh = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
        fresh.update(from: base, count: count)
        base.deallocate()
        base = fresh
        capacity = larger
    }

    @inline(__always)
    public mutating func append(_ byte: UInt8) {
        room(for: 1).pointee = byte
        advance(1)
    }

    /// ASCII or UTF-8 that needs no escape.
    @inline(__always)
    public mutating func append(_ text: StaticString) {
        let length = text.utf8CodeUnitCount
        room(for: length).update(from: text.utf8Start, count: length)
        advance(length)
    }

    /// Bytes as they are.
    @inline(__always)
    public mutating func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let start = bytes.baseAddress else { return }
        room(for: bytes.count).update(from: start, count: bytes.count)
        advance(bytes.count)
    }

    /// Words of our own, which need no escape.
    @inline(__always)
    public mutating func append(_ word: String) {
        var word = word
        word.withUTF8 { append($0) }
    }

    /// Part of another buffer.
    @inline(__always)
    mutating func append(_ other: borrowing ByteBuffer, from start: Int, count length: Int) {
        room(for: length).update(from: other.base + start, count: length)
        advance(length)
    }

    /// All of another buffer.
    mutating func append(_ other: borrowing ByteBuffer) {
        append(other, from: 0, count: other.count)
    }

    mutating func append(_ byte: UInt8, times: Int) {
        guard times > 0 else { return }
        room(for: times).update(repeating: byte, count: times)
        advance(times)
    }
}
