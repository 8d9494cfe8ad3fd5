// SPDX-License-Identifier: Apache-2.0

import BPF
import Glibc
import Kernel
import Probes

/// What must hold before anything is attached; each failure is one sentence and its own status.
enum Requirements {
    /// The capabilities without which no program can be loaded and attached.
    static let capabilities: [Capability] = [.bpf, .perfmon, .netAdmin, .sysAdmin]

    /// What is to be traced here, and by which types.
    struct Subject {
        var stack: MptcpStack
        /// A file with the kernel's types; nil: the kernel carries them.
        var btf: String?
        /// Whose functions are hooked; nil: the kernel's own.
        var module: String?

        /// Of the out-of-tree stack, the functions that are there; nil: the stack is mainline's.
        func functions() throws -> Set<String>? {
            guard stack == .outOfTree else { return nil }
            do throws(KernelError) {
                return try KernelSymbols.present(HookTable.multipathFunctions, module: module)
            } catch {
                throw Failure("\(error)", .unavailable)
            }
        }
    }

    /// - Parameters:
    ///   - btf: a file with the kernel's types that was named; nil: none was.
    ///   - module: a kernel module that has the stack's functions; nil: the kernel has them.
    static func check(_ machine: Machine, btf: String? = nil, module: String? = nil) throws -> Subject {
        // CAP_SYS_ADMIN stands for the younger two as well, and before 5.8 there was no other.
        let implied: [Capability] = machine.has(.sysAdmin) == true ? [.bpf, .perfmon] : []
        let missing = capabilities.filter { machine.has($0) == false && !implied.contains($0) }
        if !missing.isEmpty {
            throw Failure(
                "not privileged: tracing needs \(missing.map(\.name).joined(separator: ", ")); run it as root",
                .notPrivileged)
        }
        let stack: MptcpStack
        do {
            stack = try MptcpStack.running(module: module)
        } catch {
            throw Failure("\(error)", .unavailable)
        }
        if stack == .none {
            throw Failure(
                "this kernel has no MPTCP: there is no net.mptcp.enabled; "
                    + "it takes Linux 5.6 or later built with CONFIG_MPTCP=y", .unavailable)
        }
        if btf != nil || machine.hasBTF { return Subject(stack: stack, btf: btf, module: module) }
        guard let found = TypesFile.find(release: machine.kernel) else {
            throw Failure(
                "this kernel carries no BTF (\(Machine.btfPath) is missing), by which the programs find "
                    + "its structures, and none was found in /boot, /lib/modules/\(machine.kernel) or "
                    + "/usr/lib/debug: make it with pahole --btf_encode_detached from the kernel's vmlinux (docs/btf.md "
                    + "says how), and name the file with --btf", .unavailable)
        }
        return Subject(stack: stack, btf: found, module: module)
    }
}
