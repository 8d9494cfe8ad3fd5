// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Something that a kernel may lack. It is looked up where it would be; a version proves nothing.
public enum KernelFeature: Sendable, Hashable, CustomStringConvertible {
    /// A sysctl, as its path below /proc/sys.
    case sysctl(String)
    /// A counter, by its name in MPTcpExt.
    case counter(String)

    public var description: String {
        switch self {
        case .sysctl(let path): "sysctl \(path)"
        case .counter(let name): "counter MPTcpExt\(name)"
        }
    }
}

/// What the running kernel has.
public struct KernelFeatures: Sendable {
    /// What it counts about MPTCP.
    public let counters: Set<String>

    public init() throws(ScenarioError) { counters = Set(try Counters.allOfThisThread().keys) }

    public func has(_ feature: KernelFeature) -> Bool {
        switch feature {
        case .sysctl(let path): access("/proc/sys/\(path)", F_OK) == 0
        case .counter(let name): counters.contains(name)
        }
    }
}

extension Scenario {
    /// Why this kernel can't play it; nil: it can.
    public func obstacle(on kernel: KernelFeatures) -> String? {
        needs.first { !kernel.has($0) }.map { "this kernel has no \($0)" }
    }

    /// What may be seen on that kernel; the regular course comes first.
    public func candidates(on kernel: KernelFeatures) -> [Sides<Expectation>] {
        if let missing = expectedWithout.first(where: { !kernel.has($0.feature) }) {
            return [missing.expected]
        }
        return [expected] + alternatives
    }
}
