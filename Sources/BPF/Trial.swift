// SPDX-License-Identifier: Apache-2.0

import CLibbpf
import Glibc

/// Tries a way of attaching with a program that does nothing, and takes it back at once.
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
}
