// SPDX-License-Identifier: Apache-2.0

import Glibc
import Kernel

/// What must hold before anything is attached; each failure is one sentence and its own status.
enum Requirements {
    /// The capabilities without which no program can be loaded and attached.
    static let capabilities: [Capability] = [.bpf, .perfmon, .netAdmin, .sysAdmin]

    /// - Parameter hasTypes: a file with the kernel's types was given.
    static func check(_ machine: Machine, hasTypes: Bool = false) throws {
        // CAP_SYS_ADMIN stands for the younger two as well, and before 5.8 there was no other.
        let implied: [Capability] = machine.has(.sysAdmin) == true ? [.bpf, .perfmon] : []
        let missing = capabilities.filter { machine.has($0) == false && !implied.contains($0) }
        if !missing.isEmpty {
            throw Failure(
                "not privileged: tracing needs \(missing.map(\.name).joined(separator: ", ")); run it as root",
                .notPrivileged)
        }
        let own: NetworkNamespace
        let stack: MptcpStack
        do {
            own = try NetworkNamespaces.own()
            stack = try MptcpSettings.read(in: own).stack
        } catch {
            throw Failure("\(error)", .unavailable)
        }
        switch stack {
        case .mainline: break
        case .outOfTree:
            throw Failure(
                "this kernel has the multipath-tcp.org stack, which mpscope can't trace yet", .unavailable)
        case .none:
            throw Failure(
                "this kernel has no MPTCP: there is no net.mptcp.enabled; "
                    + "it takes Linux 5.6 or later built with CONFIG_MPTCP=y", .unavailable)
        }
        if !machine.hasBTF, !hasTypes {
            throw Failure(
                "this kernel carries no BTF (\(Machine.btfPath) is missing), by which the programs find "
                    + "its structures; it takes a kernel built with CONFIG_DEBUG_INFO_BTF=y, or --btf with a file that "
                    + "has them", .unavailable)
        }
    }
}
