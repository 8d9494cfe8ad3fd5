// SPDX-License-Identifier: Apache-2.0

/// A sysctl of a namespace, as its path below /proc/sys, and its value during a scenario.
struct Setting {
    let path: String
    let value: String

    /// One retransmission of the SYN, so that nobody's silence is known after 1 s + 2 s.
    static let fastConnectTimeout = [
        Setting(path: "net/ipv4/tcp_syn_retries", value: "1"),
        // Since Linux 6.5 these many come on top, one second apart.
        Setting(path: "net/ipv4/tcp_syn_linear_timeouts", value: "0"),
    ]
}

/// Owns changed settings: the old values come back when it ends.
struct ChangedSettings: ~Copyable {
    private let namespace: Namespace
    private let old: [Setting]

    /// A setting that this kernel does not have needs no change.
    init(_ settings: [Setting], in namespace: Namespace) throws(ScenarioError) {
        self.namespace = namespace
        old =
            settings.isEmpty
            ? []
            : try namespace.inside { () throws(ScenarioError) in
                var old: [Setting] = []
                for setting in settings {
                    let path = "/proc/sys/\(setting.path)"
                    do throws(ScenarioError) {
                        old.append(Setting(path: setting.path, value: try SmallFile.read(path)))
                    } catch .system(_, _, .noSuchFileOrDirectory, _) {
                        continue
                    }
                    try SmallFile.write(path, setting.value)
                }
                return old
            }
    }

    deinit {
        let old = old
        guard !old.isEmpty else { return }
        try? namespace.inside { () throws(ScenarioError) in
            for setting in old { try SmallFile.write("/proc/sys/\(setting.path)", setting.value) }
        }
    }
}
