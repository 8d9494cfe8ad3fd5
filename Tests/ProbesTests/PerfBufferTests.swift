// SPDX-License-Identifier: Apache-2.0

import CEvent
import CLibbpf
import Glibc
import Handshake
import TestSupport
import Testing

@testable import BPF
@testable import Probes

/// The perf buffer of this kernel, filled by programs that run on the CPU that a test says
/// (Programs/transport.bpf.c, built by `make test`). Needs root.
@Suite(.serialized) final class PerfBufferTests {
    private static let path =
        #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
        + "/Sources/CEvent/generated/transport.bpf.o"

    private let bytes: UnsafeMutableRawBufferPointer
    private let object: BPFObject
    private let program: Int32

    init() throws {
        let file = try #require(fopen(Self.path, "r"), "no \(Self.path): make \(Self.path)")
        defer { fclose(file) }
        bytes = .allocate(byteCount: 1 << 20, alignment: 16)
        let size = fread(bytes.baseAddress, 1, bytes.count, file)
        object = try BPFObject(UnsafeRawBufferPointer(rebasing: bytes[..<size]), name: "transport")
        try object.load()
        program = bpf_program__fd(try object.program("send_number").program)
    }

    deinit { bytes.deallocate() }

    private static let cpus = sysconf(Int32(_SC_NPROCESSORS_ONLN))

    /// Sends one event on that CPU.
    private static func send(_ number: UInt64, cpu: Int, _ program: Int32) -> Int32 {
        var number = number
        return withUnsafeBytes(of: &number) { argument in
            var options = bpf_test_run_opts()
            options.sz = MemoryLayout<bpf_test_run_opts>.size
            options.ctx_in = argument.baseAddress
            options.ctx_size_in = UInt32(argument.count)
            options.flags = UInt32(BPF_F_TEST_RUN_ON_CPU)
            options.cpu = UInt32(cpu)
            return bpf_prog_test_run_opts(program, &options)
        }
    }

    private func send(_ number: UInt64, cpu: Int) throws {
        try #require(Self.send(number, cpu: cpu, program) == 0, "\(errno)")
    }

    /// All that a trace has behind the programs.
    private struct Way {
        let buffer: any EventBuffer
        let reader = EventReader()
        let books: LossBooks
        let switches: ProgramSwitches

        init(_ object: borrowing BPFObject, size: Int) throws {
            buffer = try openEventBuffer(try object.map("events"), size: size, reader: reader)
            books = LossBooks(try ProgramCounters(object, nil), reader, buffer.perfEvents, of: [])
            switches = try ProgramSwitches(object, nil)
            try switches.setTracing(true)
        }

        func consume() throws { try buffer.consume(atMost: 4096) { books.noteSent() } }

        /// As `Session.end`.
        func end() throws {
            try switches.setTracing(false)
            buffer.awaitTurn()
            while case let before = reader.delivered, before >= 0 {
                try consume()
                if reader.delivered == before { break }
            }
            buffer.flush()
            books.settle()
        }

        func losses() -> [LostRecord] {
            var losses: [LostRecord] = []
            books.new(at: 1) { losses.append($0) }
            return losses
        }
    }

    @Test func theObjectIsAsOldKernelsTakeIt() throws {
        for section in [".bss", ".data", ".rodata"] {
            let isThere = object.hasMap(section)
            #expect(!isThere, "\(section)")
        }
        let way = try Way(object, size: 1 << 20)
        #expect(way.buffer.transport == .perfbuf)
        #expect(way.buffer.size <= 1 << 20)
        #expect(way.buffer.descriptor >= 0)
    }

    @Test func sizes() {
        let page = Int(getpagesize())
        #expect(PerfBuffer.pages(of: 1, cpus: 4) == 8)
        #expect(PerfBuffer.pages(of: 64 * page, cpus: 4) == 16)
        #expect(PerfBuffer.pages(of: 63 * page, cpus: 4) == 8)
        #expect(PerfBuffer.pages(of: 8 << 20, cpus: 2) * page == 4 << 20)
        #expect(PerfBuffer.pages(of: 8 << 20, cpus: 1024) == 8)
    }

    @Test func nothingComesBeforeTheSwitch() throws {
        let way = try Way(object, size: 1 << 20)
        try way.switches.setTracing(false)
        try send(1, cpu: 0)
        try way.end()
        #expect(way.reader.delivered == 0)
        #expect(way.books.totals() == (0, 0))
    }

    /// One event after the other, each on another CPU: they come in that order.
    @Test func eventsOfAllCPUsComeInOrder() throws {
        let way = try Way(object, size: 8 << 20)
        var numbers: [UInt64] = []
        way.reader.take = { numbers.append($0.socket) }
        var dice = Dice(1)
        let count: UInt64 = 20_000
        for number in 0..<count {
            try send(number, cpu: .random(in: 0..<Self.cpus, using: &dice))
            if .random(in: 0..<500, using: &dice) == 0 { try way.consume() }
        }
        try way.end()
        #expect(numbers == Array(0..<count))
        #expect(way.books.totals() == (count, 0))
        #expect(way.losses().isEmpty)
        #expect(way.reader.malformed == 0)
    }

    /// Every event either came or was counted as lost, once, though the kernel tells it both to the
    /// program and in the buffer.
    @Test func whatFindsNoRoomIsCountedOnce() throws {
        let way = try Way(object, size: 1)
        var numbers: [UInt64] = []
        var gaps: [UInt32] = []
        way.reader.take = {
            numbers.append($0.socket)
            gaps.append($0.losses)
        }
        var number: UInt64 = 0
        for round in 0..<3 {
            for _ in 0..<1000 {
                try send(number, cpu: Int(number) % Self.cpus)
                number += 1
            }
            way.buffer.awaitTurn()
            try way.consume()
            // The kernel tells it when there is a next event.
            #expect(way.reader.perfLost > 0 || round == 0)
        }
        let told = way.losses()
        #expect(told.allSatisfy { $0.reason == .perfLost && $0.hook == .inetSockSetState })
        #expect(told.reduce(0) { $0 + $1.count } == way.reader.perfLost)
        #expect(gaps == gaps.sorted())
        #expect(gaps.last.map(UInt64.init) == way.reader.perfLost)
        try way.end()
        let (events, lost) = way.books.totals()
        #expect(events == number)
        #expect(way.reader.delivered + lost == number)
        #expect(lost == way.reader.perfLost)
        #expect(numbers == numbers.sorted())
        #expect(Set(numbers).count == numbers.count)
        // The last round's loss had no event behind it.
        let rest = way.losses()
        #expect(told.reduce(0) { $0 + $1.count } + rest.reduce(0) { $0 + $1.count } == lost)
        #expect(!rest.isEmpty)
    }

    /// All CPUs at once, with a buffer that holds them and with one that does not.
    @Test(arguments: [8 << 20, 1]) func manyAtOnceAreAllThereOrCounted(size: Int) throws {
        let way = try Way(object, size: size)
        var seen: Set<UInt64> = []
        var times: [UInt64] = []
        way.reader.take = {
            seen.insert($0.socket)
            times.append($0.time)
        }
        let program = program
        let each: UInt64 = 50_000
        let running = Running()
        for cpu in 0..<Self.cpus {
            running.start {
                for number in 0..<each where Self.send(number << 8 | UInt64(cpu), cpu: cpu, program) != 0 {
                    Issue.record("a run failed")
                }
            }
        }
        while running.isAny {
            try way.consume()
            usleep(2000)
        }
        try way.end()
        let (events, lost) = way.books.totals()
        let late = way.reader.late.reduce(0, +)
        #expect(events == each * UInt64(Self.cpus))
        #expect(way.reader.delivered + lost == events)
        #expect(seen.count == way.reader.delivered)
        let told = way.losses()
        #expect(told.filter { $0.reason == .perfLost }.reduce(0) { $0 + $1.count } == lost)
        #expect(told.filter { $0.reason == .late }.reduce(0) { $0 + $1.count } == late)
        #expect(zip(times, times.dropFirst()).filter { $0 > $1 }.count <= late)
        print(
            "perf buffer of \(way.buffer.size) bytes: \(way.reader.delivered) came, \(lost) lost, \(late) late"
        )
    }

    /// A CPU without a buffer, as one that came later: only the program knows of its events.
    @Test func whatHasNoBufferIsCountedByTheProgram() throws {
        let way = try Way(object, size: 1 << 20)
        var key: UInt32 = 0
        let result = bpf_map_delete_elem(try object.map("events").descriptor, &key)
        try #require(result == 0)
        for number in 0..<100 as Range<UInt64> { try send(number, cpu: 0) }
        try way.end()
        #expect(way.reader.delivered == 0)
        #expect(way.books.totals() == (100, 100))
        let losses = way.losses()
        #expect(losses.map(\.count) == [100])
        #expect(losses.map(\.reason) == [.perfLost])
    }

    /// Threads that are counted while they run.
    private final class Running: @unchecked Sendable {
        private var lock = pthread_mutex_t()
        private var count = 0

        init() { pthread_mutex_init(&lock, nil) }
        deinit { pthread_mutex_destroy(&lock) }

        var isAny: Bool {
            pthread_mutex_lock(&lock)
            defer { pthread_mutex_unlock(&lock) }
            return count > 0
        }

        private func add(_ number: Int) {
            pthread_mutex_lock(&lock)
            count += number
            pthread_mutex_unlock(&lock)
        }

        func start(_ work: @escaping @Sendable () -> Void) {
            add(1)
            Task.detached { [self] in
                work()
                add(-1)
            }
        }
    }
}
