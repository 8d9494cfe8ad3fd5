// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Privileges that decide what can be traced, by their numbers (linux/capability.h).
public enum Capability: UInt8, Sendable, CaseIterable {
    case dacReadSearch = 2
    case netAdmin = 12
    case sysPtrace = 19
    case sysAdmin = 21
    case perfmon = 38
    case bpf = 39

    /// `CAP_BPF`.
    public var name: String {
        switch self {
        case .dacReadSearch: "CAP_DAC_READ_SEARCH"
        case .netAdmin: "CAP_NET_ADMIN"
        case .sysPtrace: "CAP_SYS_PTRACE"
        case .sysAdmin: "CAP_SYS_ADMIN"
        case .perfmon: "CAP_PERFMON"
        case .bpf: "CAP_BPF"
        }
    }
}

/// This machine and what this process may do on it.
public struct Machine: Hashable, Sendable {
    public var hostname: String
    /// `6.18.44-amd64`.
    public var kernel: String
    /// `x86_64`, `aarch64`.
    public var architecture: String
    /// Of this boot; nil: not told.
    public var bootID: String?
    /// The effective capabilities, a bit each; nil: not told.
    public var effective: UInt64?
    /// `none`, `integrity` or `confidentiality`; nil: no lockdown in this kernel, or securityfs is
    /// not mounted.
    public var lockdown: String?
    /// The kernel carries its types (/sys/kernel/btf/vmlinux).
    public var hasBTF: Bool

    /// Where a kernel carries its types.
    public static let btfPath = "/sys/kernel/btf/vmlinux"

    /// Looks at the machine; what cannot be read is absent.
    public static func read() -> Machine {
        var names = utsname()
        uname(&names)
        let youngest = SmallFile.textIfReadable("/proc/sys/kernel/cap_last_cap").flatMap { UInt8($0) }
        return Machine(
            hostname: text(names.nodename), kernel: text(names.release), architecture: text(names.machine),
            bootID: SmallFile.textIfReadable("/proc/sys/kernel/random/boot_id"),
            effective: SmallFile.textIfReadable("/proc/thread-self/status").flatMap(effectiveCapabilities)
                .map { withYounger($0, last: youngest) },
            lockdown: SmallFile.textIfReadable("/sys/kernel/security/lockdown").flatMap(lockdownMode),
            hasBTF: access(btfPath, F_OK) == 0)
    }

    /// Whether this process has `capability`; nil: not told.
    public func has(_ capability: Capability) -> Bool? {
        effective.map { $0 >> UInt64(capability.rawValue) & 1 == 1 }
    }

    /// The hexadecimal `CapEff:` line of /proc/PID/status.
    static func effectiveCapabilities(status: String) -> UInt64? {
        for line in status.split(separator: "\n") where line.hasPrefix("CapEff:") {
            let words = line.dropFirst(7).split(whereSeparator: \.isWhitespace)
            return words.first.flatMap { UInt64($0, radix: 16) }
        }
        return nil
    }

    /// A kernel that does not know a capability yet (CAP_BPF before 5.8) asks for CAP_SYS_ADMIN in its
    /// place.
    ///
    /// - Parameter last: the youngest that it knows; nil: not told.
    static func withYounger(_ effective: UInt64, last: UInt8?) -> UInt64 {
        guard let last, effective >> UInt64(Capability.sysAdmin.rawValue) & 1 == 1 else { return effective }
        return Capability.allCases.filter { $0.rawValue > last }
            .reduce(effective) { $0 | 1 << UInt64($1.rawValue) }
    }

    /// The word in brackets: `none [integrity] confidentiality`.
    static func lockdownMode(_ text: String) -> String? {
        for word in text.split(separator: " ") where word.hasPrefix("[") && word.hasSuffix("]") {
            return String(word.dropFirst().dropLast())
        }
        return nil
    }

    /// The bytes of a C array up to the first 0.
    private static func text<Field>(_ field: Field) -> String {
        withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
