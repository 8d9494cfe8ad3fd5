// SPDX-License-Identifier: Apache-2.0

/// What a kernel, the privileges of a process and a machine allow to trace. What is nil is not known.
public struct DoctorReport: Sendable {
    public struct Capability: Sendable {
        /// `CAP_BPF`
        public var name: String
        public var isHeld: Bool?
        /// Nothing can be traced without it.
        public var isNeeded: Bool
        /// What it gives.
        public var use: String

        public init(name: String, isHeld: Bool?, isNeeded: Bool, use: String) {
            self.name = name
            self.isHeld = isHeld
            self.isNeeded = isNeeded
            self.use = use
        }
    }

    /// A way to hook functions.
    public struct Way: Sendable {
        public var works: Bool
        /// Why not.
        public var error: String?

        public init(works: Bool, error: String? = nil) {
            self.works = works
            self.error = error
        }
    }

    public struct Namespace: Sendable {
        public var inode: UInt32
        public var name: String?
        /// net.mptcp.enabled
        public var enabled: Bool?

        public init(inode: UInt32, name: String?, enabled: Bool?) {
            self.inode = inode
            self.name = name
            self.enabled = enabled
        }
    }

    public struct Hook: Sendable {
        public var name: String
        public var attach: HookStatus.Attach?
        /// nil: it was not tried.
        public var status: HookStatus.Status?
        /// Why it is not attached, or why no better way was taken.
        public var error: String?
        /// What is known through it.
        public var tells: String
        /// What is not known when it is missing, or what stands in for it.
        public var withoutIt: String
        /// A function of the kernel: without it less is known, but no outcome is missing.
        public var isFunction: Bool

        public init(
            name: String, attach: HookStatus.Attach?, status: HookStatus.Status? = nil,
            error: String? = nil, tells: String, withoutIt: String, isFunction: Bool = false
        ) {
            self.name = name
            self.attach = attach
            self.status = status
            self.error = error
            self.tells = tells
            self.withoutIt = withoutIt
            self.isFunction = isFunction
        }
    }

    public struct Verdict: Sendable {
        public var canTrace: Bool
        /// One sentence without a capital and a full stop.
        public var reason: String
        /// What the kernel said beyond that, of several lines.
        public var detail: String?

        public init(canTrace: Bool, reason: String, detail: String? = nil) {
            self.canTrace = canTrace
            self.reason = reason
            self.detail = detail
        }
    }

    public var kernel: String
    public var arch: String
    public var stack: MetaRecord.Stack?
    /// Where its BTF is; nil: it has none.
    public var btf: String?
    /// `none`, `integrity`, `confidentiality`.
    public var lockdown: String?
    public var capabilities: [Capability] = []
    /// Where cgroup v2 is mounted; nil: it is not.
    public var cgroup2: String?
    /// The cgroup that is mounted there, `/` being all of them.
    public var cgroup2Root: String?
    /// The kernel lists the sockets of TCP, of MPTCP.
    public var listsTCP: Bool?
    public var listsMPTCP: Bool?
    /// Whether functions can be hooked, by fentry and by kprobes; nil: not tried.
    public var fentry: Way?
    public var kprobe: Way?
    /// The bit of an MPTCP socket's flags that tells a fallback, found by trying; nil: not found.
    public var fallbackBit: Int?
    public var namespaces: [Namespace] = []
    public var hooks: [Hook] = []
    public var verdict: Verdict

    public init(kernel: String, arch: String, verdict: Verdict) {
        self.kernel = kernel
        self.arch = arch
        self.verdict = verdict
    }
}
