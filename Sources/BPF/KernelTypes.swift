// SPDX-License-Identifier: Apache-2.0

import CLibbpf
import Glibc

/// The running kernel's own description of its types and functions (BTF).
public struct KernelTypes: ~Copyable {
    private let btf: OpaquePointer

    /// - Parameter path: a file with the kernel's BTF; nil: where the kernel keeps it.
    public init(path: String? = nil) throws(BPFError) {
        mps_libbpf_quiet()
        mps_libbpf_forget()
        errno = 0
        let found = path.map { btf__parse($0, nil) } ?? btf__load_vmlinux_btf()
        guard let btf = found else {
            throw BPFError(.types, path ?? "/sys/kernel/btf/vmlinux", code: errno)
        }
        self.btf = btf
    }

    deinit { btf__free(btf) }

    /// Of the library that reads it: `v1.1`.
    public static var readerVersion: String { String(cString: libbpf_version_string()) }

    /// How many parameters a function of the kernel has; nil: there is none of that name, or it was
    /// inlined wherever it is called.
    public func parameters(ofFunction name: String) -> Int? {
        let count = mps_btf_parameters(btf, name)
        return count < 0 ? nil : Int(count)
    }

    /// How many parameters a tracepoint hands on; nil: there is none of that name.
    public func parameters(ofTracepoint name: String) -> Int? {
        let count = mps_btf_tracepoint_parameters(btf, "btf_trace_" + name)
        return count < 0 ? nil : Int(count)
    }

    /// How far it is from one per-CPU variable of the kernel to another, in bytes; 0: not known.
    public func perCPUDistance(from: String, to: String) -> Int32 {
        mps_per_cpu_distance(btf, from, to)
    }
}
