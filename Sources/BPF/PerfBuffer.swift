// SPDX-License-Identifier: Apache-2.0

import CLibbpf
import Glibc

/// The reading end of a perf buffer: one buffer for each CPU that is online.
///
/// The reader gets each record as bytes that are valid during the call only: those of one CPU in the
/// order in which its programs sent them, CPU after CPU.
public struct PerfBuffer: ~Copyable {
    private let buffer: OpaquePointer
    private let context: Unmanaged<Context>
    /// What all of it holds, in bytes.
    public let size: Int

    /// Pages of each CPU's buffer: a few events have room however many CPUs there are.
    static let fewestPages = 8

    /// - Parameters:
    ///   - size: of all CPUs' buffers together, in bytes. Each is a power of two of pages, at least
    ///     `fewestPages`; so there may be somewhat less than asked for, or more on many CPUs.
    ///   - reader: is kept alive by this value.
    public init(_ map: BPFMap, size: Int, reader: any PerfBufferReader) throws(BPFError) {
        let pages = Self.pages(of: size, cpus: Self.onlineCPUs)
        let bytes = pages * Int(getpagesize())
        var attributes = perf_event_attr()
        attributes.size = UInt32(MemoryLayout<perf_event_attr>.size)
        attributes.type = UInt32(PERF_TYPE_SOFTWARE.rawValue)
        attributes.config = UInt64(PERF_COUNT_SW_BPF_OUTPUT.rawValue)
        attributes.sample_type = UInt64(PERF_SAMPLE_RAW.rawValue)
        attributes.sample_period = 1
        // The reader looks by itself; it is woken each time that a quarter has been written.
        attributes.watermark = 1
        attributes.wakeup_watermark = UInt32(clamping: bytes / 4)

        context = Unmanaged.passRetained(Context(reader))
        mps_libbpf_forget()
        errno = 0
        let made = perf_buffer__new_raw(
            map.descriptor, pages, &attributes, Context.callback, context.toOpaque(), nil)
        guard let made else {
            let error = BPFError(.buffer, "map \(map.name)", code: errno)
            context.release()
            throw error
        }
        buffer = made
        self.size = perf_buffer__buffer_cnt(made) * bytes
    }

    deinit {
        perf_buffer__free(buffer)
        context.release()
    }

    /// Pages of each CPU's buffer.
    static func pages(of size: Int, cpus: Int) -> Int {
        let wanted = size / max(1, cpus) / Int(getpagesize())
        var pages = fewestPages
        while pages * 2 <= wanted { pages *= 2 }
        return pages
    }

    private static var onlineCPUs: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    /// Becomes readable when a quarter of some CPU's buffer has been written.
    public var descriptor: Int32 { perf_buffer__epoll_fd(buffer) }

    /// Hands over what is there when it comes to each CPU, without waiting: at most `size` bytes.
    public borrowing func consume() throws(BPFError) {
        let result = perf_buffer__consume(buffer)
        if result < 0 { throw BPFError(.read, "events", code: result) }
    }

    /// What libbpf calls with.
    private final class Context {
        let reader: any PerfBufferReader

        init(_ reader: any PerfBufferReader) { self.reader = reader }

        static let callback: perf_buffer_event_fn = { context, cpu, header in
            guard let context, let header else { return LIBBPF_PERF_EVENT_ERROR }
            let reader = Unmanaged<Context>.fromOpaque(context).takeUnretainedValue().reader
            let record = UnsafeRawBufferPointer(start: header, count: Int(header.pointee.size))
            let head = MemoryLayout<perf_event_header>.size
            switch header.pointee.type {
            case UInt32(PERF_RECORD_SAMPLE.rawValue) where record.count >= head + 4:
                // PERF_SAMPLE_RAW: how many bytes, and the bytes.
                let size = Int(record.loadUnaligned(fromByteOffset: head, as: UInt32.self))
                guard head + 4 + size <= record.count else { return LIBBPF_PERF_EVENT_ERROR }
                reader.event(
                    cpu: Int(cpu), UnsafeRawBufferPointer(rebasing: record[(head + 4)..<(head + 4 + size)]))
            case UInt32(PERF_RECORD_LOST.rawValue) where record.count >= head + 16:
                // An id, and how many.
                reader.lost(
                    cpu: Int(cpu), record.loadUnaligned(fromByteOffset: head + 8, as: UInt64.self))
            default:
                break
            }
            return LIBBPF_PERF_EVENT_CONT
        }
    }
}

/// Who takes the records of a perf buffer.
public protocol PerfBufferReader: AnyObject {
    /// - Parameter bytes: what a program sent, and up to 7 bytes more: the kernel rounds up.
    func event(cpu: Int, _ bytes: UnsafeRawBufferPointer)

    /// So many events of that CPU found no room, after its last event and before its next.
    ///
    /// The kernel says so only when there is a next: what is lost at the very end is never told.
    func lost(cpu: Int, _ count: UInt64)
}
