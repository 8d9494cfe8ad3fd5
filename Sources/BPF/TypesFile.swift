// SPDX-License-Identifier: Apache-2.0

import CLibbpf
import Glibc

/// Files with the types (BTF) of a kernel that carries none itself.
public enum TypesFile {
    /// Where distributions and pahole put them; `%` stands for the kernel's release. Either BTF alone,
    /// or an ELF file with a section `.BTF`.
    static let places = [
        "/boot/vmlinux-%.btf", "/boot/btf-%", "/boot/vmlinux-%",
        "/lib/modules/%/vmlinux.btf", "/lib/modules/%/vmlinux", "/lib/modules/%/build/vmlinux",
        "/lib/modules/%/kernel/vmlinux",
        "/usr/lib/debug/boot/vmlinux-%.btf", "/usr/lib/debug/boot/vmlinux-%",
        "/usr/lib/debug/boot/vmlinux-%.debug", "/usr/lib/debug/lib/modules/%/vmlinux.btf",
        "/usr/lib/debug/lib/modules/%/vmlinux",
    ]

    /// The first that is there and can be read as BTF.
    /// - Parameters:
    ///   - release: as `uname -r` says it.
    ///   - root: before each place; for tests.
    public static func find(release: String, root: String = "") -> String? {
        paths(release: release, root: root).first { access($0, R_OK) == 0 && isReadable($0) }
    }

    static func paths(release: String, root: String) -> [String] {
        places.map { place in
            let parts = place.split(separator: "%", omittingEmptySubsequences: false)
            return root + parts.joined(separator: release)
        }
    }

    private static func isReadable(_ path: String) -> Bool {
        mps_libbpf_quiet()
        mps_libbpf_forget()
        guard let btf = btf__parse(path, nil) else { return false }
        btf__free(btf)
        return true
    }
}
