// SPDX-License-Identifier: Apache-2.0

/// Which implementation of MPTCP a kernel has.
public enum MptcpStack: String, Sendable, CaseIterable {
    /// Linux 5.6 and later.
    case mainline
    /// The out-of-tree kernel.
    case outOfTree = "multipath-tcp.org"
    case none
}

/// The settings of MPTCP in a network namespace.
public struct MptcpSettings: Hashable, Sendable {
    /// Text without the newline, by the whole name: `net.mptcp.enabled` → `1`. Settings that may
    /// not be read are absent; empty when the kernel has no MPTCP.
    public var values: [String: String]

    public init(values: [String: String]) {
        self.values = values
    }

    /// Where the settings of the calling thread's namespace are.
    static let directory = "/proc/sys/net/mptcp"

    /// Reads all settings of `namespace`.
    ///
    /// - Throws: `KernelError` when the namespace cannot be entered. A kernel without MPTCP is no
    ///   error.
    public static func read(in namespace: NetworkNamespace) throws(KernelError) -> MptcpSettings {
        try namespace.inside { () throws(KernelError) in
            let names: [String]
            do throws(KernelError) {
                names = try namesInDirectory(directory)
            } catch {
                if error.code?.isGone == true { return MptcpSettings(values: [:]) }
                throw error
            }
            var values: [String: String] = [:]
            for name in names {
                values["net.mptcp.\(name)"] = SmallFile.textIfReadable("\(directory)/\(name)")
            }
            return MptcpSettings(values: values)
        }
    }

    /// One setting, by its whole name; nil: there is none, or it may not be read.
    ///
    /// - Throws: `KernelError` when the namespace cannot be entered.
    public static func read(_ name: String, in namespace: NetworkNamespace) throws(KernelError) -> String? {
        let prefix = "net.mptcp."
        guard name.hasPrefix(prefix), !name.contains("/") else { return nil }
        return try namespace.inside { () throws(KernelError) in
            SmallFile.textIfReadable("\(directory)/\(name.dropFirst(prefix.count))")
        }
    }

    /// Which implementation these are the settings of.
    public var stack: MptcpStack {
        if values["net.mptcp.mptcp_enabled"] != nil { return .outOfTree }
        return values["net.mptcp.enabled"] != nil ? .mainline : .none
    }

    /// Whether new MPTCP sockets can be made; nil: not told.
    public var enabled: Bool? {
        (values["net.mptcp.enabled"] ?? values["net.mptcp.mptcp_enabled"]).map { $0 != "0" }
    }
}
