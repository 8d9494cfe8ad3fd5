// SPDX-License-Identifier: Apache-2.0

import CLibbpf
import Glibc

/// An opened BPF object: its maps and programs. Closing it unloads whatever nothing else holds.
public struct BPFObject: ~Copyable {
    let object: OpaquePointer
    public let name: String

    /// Opens the ELF object in `bytes`, which must live as long as this value.
    /// - Parameter btf: a file with the kernel's BTF; nil: where the kernel keeps it.
    public init(_ bytes: UnsafeRawBufferPointer, name: String, btf: String? = nil) throws(BPFError) {
        mps_libbpf_quiet()
        mps_libbpf_forget()
        errno = 0
        guard let object = mps_bpf_open(bytes.baseAddress, bytes.count, name, btf) else {
            throw BPFError(.open, name, code: errno)
        }
        self.object = object
        self.name = name
    }

    deinit { bpf_object__close(object) }

    /// Loads everything that is set to be loaded into the kernel.
    public borrowing func load() throws(BPFError) {
        mps_libbpf_forget()
        let result = bpf_object__load(object)
        if result != 0 { throw BPFError(.load, name, code: result) }
    }

    /// Lets this process lock as much memory as it likes: before 5.11 programs and maps count as such.
    public static func raiseMemoryLimit() {
        // Who may not do it gets an error from what needs it.
        _ = mps_raise_memory_limit()
    }

    /// How many CPUs the kernel may ever use; their numbers are below it.
    public static var possibleCPUs: Int { max(1, Int(libbpf_num_possible_cpus())) }

    /// The names of all its programs.
    public borrowing func programNames() -> [String] {
        var names: [String] = []
        var program = bpf_object__next_program(object, nil)
        while let found = program {
            names.append(String(cString: bpf_program__name(found)))
            program = bpf_object__next_program(object, found)
        }
        return names
    }

    /// The program of that name in the object.
    public borrowing func program(_ name: String) throws(BPFError) -> BPFProgram {
        guard let program = bpf_object__find_program_by_name(object, name) else {
            throw BPFError(.find, "program \(name)", code: ENOENT)
        }
        return BPFProgram(program: program, name: name)
    }

    public borrowing func map(_ name: String) throws(BPFError) -> BPFMap {
        guard let map = bpf_object__find_map_by_name(object, name) else {
            throw BPFError(.find, "map \(name)", code: ENOENT)
        }
        return BPFMap(map: map, name: name)
    }

    public borrowing func hasMap(_ name: String) -> Bool {
        bpf_object__find_map_by_name(object, name) != nil
    }
}

extension BPFObject {
    /// Sets what a global variable starts with. To be called before the load.
    /// - Parameter section: `.bss`, `.data` or `.rodata`.
    public borrowing func set<Value: BitwiseCopyable>(
        _ name: String, in section: String, to value: Value
    ) throws(BPFError) {
        let place = try place(of: name, in: section)
        let globals = try map(section).initialGlobals
        guard place.count == MemoryLayout<Value>.size, place.upperBound <= globals.count else {
            throw BPFError(.find, "variable \(name)", code: ERANGE)
        }
        globals.storeBytes(of: value, toByteOffset: place.lowerBound, as: Value.self)
    }

    /// The memory of a section's variables, as the loaded programs write it.
    public borrowing func memory(ofSection section: String) throws(BPFError) -> BPFMemory {
        let map = try map(section)
        return try BPFMemory(map, size: map.initialGlobals.count)
    }

    /// Where in its section's memory a global variable is.
    public borrowing func place(of name: String, in section: String) throws(BPFError) -> Range<Int> {
        var offset = 0
        var size = 0
        let result = mps_bpf_variable(object, section, name, &offset, &size)
        if result != 0 { throw BPFError(.find, "variable \(name)", code: result) }
        return offset..<offset + size
    }
}

/// A program of an object, valid as long as the object is.
public struct BPFProgram {
    let program: OpaquePointer
    public let name: String

    /// Whether `BPFObject.load` loads it. To be set before.
    public func setLoaded(_ wanted: Bool) throws(BPFError) {
        let result = bpf_program__set_autoload(program, wanted)
        if result != 0 { throw BPFError(.configure, "program \(name)", code: result) }
    }

    public func attach(rawTracepoint: String) throws(BPFError) -> BPFLink {
        mps_libbpf_forget()
        errno = 0
        guard let link = bpf_program__attach_raw_tracepoint(program, rawTracepoint) else {
            throw BPFError(.attach, "raw_tracepoint/\(rawTracepoint)", code: errno)
        }
        return BPFLink(link)
    }

    /// - Parameters: as below tracefs' `events`: `syscalls`, `sys_exit_socket`.
    public func attach(tracepoint name: String, of category: String) throws(BPFError) -> BPFLink {
        mps_libbpf_forget()
        let event = mps_open_tracepoint(category, name)
        if event < 0 { throw BPFError(.attach, "tracepoint/\(category)/\(name)", code: event) }
        errno = 0
        // The link closes the event with itself.
        guard let link = bpf_program__attach_perf_event(program, event) else {
            let error = BPFError(.attach, "tracepoint/\(category)/\(name)", code: errno)
            close(event)
            throw error
        }
        return BPFLink(link)
    }

    /// Attaches a fentry or fexit program to the function that its section names.
    public func attachToFunction() throws(BPFError) -> BPFLink {
        mps_libbpf_forget()
        errno = 0
        guard let link = bpf_program__attach_trace(program) else {
            throw BPFError(.attach, sectionName, code: errno)
        }
        return BPFLink(link)
    }

    /// - Parameter atReturn: a kretprobe.
    public func attach(kprobe function: String, atReturn: Bool) throws(BPFError) -> BPFLink {
        mps_libbpf_forget()
        errno = 0
        guard let link = bpf_program__attach_kprobe(program, atReturn, function) else {
            throw BPFError(.attach, sectionName, code: errno)
        }
        return BPFLink(link)
    }

    /// - Parameter cgroup: a descriptor of a cgroup v2 directory.
    public func attach(cgroup: Int32) throws(BPFError) -> BPFLink {
        mps_libbpf_forget()
        errno = 0
        guard let link = bpf_program__attach_cgroup(program, cgroup) else {
            throw BPFError(.attach, "\(sectionName) to the cgroup v2 root", code: errno)
        }
        return BPFLink(link)
    }

    public var sectionName: String { String(cString: bpf_program__section_name(program)) }

    /// How often the kernel skipped it, because it was already running on that CPU.
    public var recursionMisses: UInt64 {
        var misses: UInt64 = 0
        return mps_bpf_recursion_misses(bpf_program__fd(program), &misses) == 0 ? misses : 0
    }

    /// Time and runs (only counted while kernel.bpf_stats_enabled is 1), and the number of
    /// instructions that the verifier went through.
    public var statistics: (nanoseconds: UInt64, runs: UInt64, verified: UInt32)? {
        var stats = mps_bpf_run_stats()
        guard mps_bpf_stats(bpf_program__fd(program), &stats) == 0 else { return nil }
        return (stats.nanoseconds, stats.runs, stats.instructions)
    }
}

/// A map of an object, valid as long as the object is.
public struct BPFMap {
    let map: OpaquePointer
    public let name: String

    public var descriptor: Int32 { bpf_map__fd(map) }

    /// To be set before the object is loaded.
    public func setMaxEntries(_ entries: UInt32) throws(BPFError) {
        let result = bpf_map__set_max_entries(map, entries)
        if result != 0 { throw BPFError(.configure, "map \(name)", code: result) }
    }

    /// Whether it is the perf buffers' (`PerfBuffer`); else a ring buffer is `RingBuffer`'s.
    public var isPerfBuffer: Bool { bpf_map__type(map) == BPF_MAP_TYPE_PERF_EVENT_ARRAY }

    /// Sets one entry of an array.
    public func set<Value: BitwiseCopyable>(_ index: UInt32, to value: Value) throws(BPFError) {
        let result = withUnsafeBytes(of: value) { bytes in
            withUnsafeBytes(of: index) { key in
                bpf_map__update_elem(map, key.baseAddress, key.count, bytes.baseAddress, bytes.count, 0)
            }
        }
        if result != 0 { throw BPFError(.configure, "map \(name)", code: result) }
    }

    /// Reads the first entry of an array of which each CPU has its own: of all possible CPUs, one after
    /// the other, each rounded up to 8 bytes.
    /// - Returns: whether that worked; `bytes` must be of that size.
    public func readPerCPU(into bytes: UnsafeMutableRawBufferPointer) -> Bool {
        var key: UInt32 = 0
        return bpf_map__lookup_elem(
            map, &key, MemoryLayout<UInt32>.size, bytes.baseAddress, bytes.count, 0) == 0
    }

    /// The bytes of a map of global variables, as the programs start with them. To be set before
    /// the load; the programs' own memory is `BPFMemory`.
    var initialGlobals: UnsafeMutableRawBufferPointer {
        var size = 0
        let bytes = bpf_map__initial_value(map, &size)
        return UnsafeMutableRawBufferPointer(
            start: UnsafeMutableRawPointer(mutating: bytes), count: bytes == nil ? 0 : size)
    }
}

/// The memory of a map of global variables, shared with the programs that write it.
public struct BPFMemory: ~Copyable {
    public let bytes: UnsafeMutableRawBufferPointer

    fileprivate init(_ map: BPFMap, size: Int) throws(BPFError) {
        guard let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, map.descriptor, 0),
            memory != MAP_FAILED
        else {
            throw BPFError(.configure, "map \(map.name)", code: errno)
        }
        bytes = UnsafeMutableRawBufferPointer(start: memory, count: size)
    }

    deinit { munmap(bytes.baseAddress, bytes.count) }
}

/// An attachment. It ends with this value, and with the process however that ends.
public struct BPFLink: ~Copyable {
    private let link: OpaquePointer

    init(_ link: OpaquePointer) { self.link = link }

    deinit { bpf_link__destroy(link) }
}
