// SPDX-License-Identifier: Apache-2.0

import CLibbpf
import Glibc

/// Tries what a kernel can do, by a way of attaching with a program that does nothing, and takes it
/// back at once.
public enum Trial {
    /// - Returns: why fentry can't be used on this kernel; nil: it can.
    public static func fentry(on function: String) -> BPFError? {
        mps_libbpf_quiet()
        mps_libbpf_forget()
        let result = mps_try_fentry(function)
        return result == 0 ? nil : BPFError(.attach, "fentry/\(function)", code: result)
    }

    /// - Returns: why kprobes can't be used on this kernel; nil: they can.
    public static func kprobe(on function: String) -> BPFError? {
        mps_libbpf_quiet()
        mps_libbpf_forget()
        let result = mps_try_kprobe(function)
        return result == 0 ? nil : BPFError(.attach, "kprobe/\(function)", code: result)
    }

    /// Whether this kernel has the BPF ring buffer, and lets this process make one.
    public static var ringBuffer: Bool {
        mps_libbpf_quiet()
        defer { mps_libbpf_forget() }
        return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, nil) == 1
    }
}
