// SPDX-License-Identifier: Apache-2.0

/// When the kernel looks at a setting.
public enum SampledAt: String, Sendable, CaseIterable {
    /// When a socket is made.
    case socket
    /// In each handshake.
    case handshake
    /// Whenever it is needed.
    case use
}

/// What goes on by the value that it began with.
public struct LeftBehind: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let listeners = LeftBehind(rawValue: 1)
    /// MPTCP connections that are open.
    public static let connections = LeftBehind(rawValue: 2)
    /// MPTCP sockets that were made and have not connected.
    public static let sockets = LeftBehind(rawValue: 4)
}

/// One of MPTCP's settings.
public struct Setting: Sendable {
    public enum Stack: String, Sendable {
        case mainline
        case outOfTree = "multipath-tcp.org"
    }

    /// The whole name: `net.mptcp.enabled`.
    public var name: String
    public var stack: Stack
    /// The first that has it: of mainline, among Debian's 6.1, 6.12, 6.18 and 7.3.
    public var kernels: String
    public var sampledAt: SampledAt
    public var leavesBehind: LeftBehind
    /// Whether each network namespace has its own.
    public var isPerNamespace: Bool
    /// What exactly.
    public var note: String

    private init(
        _ name: String, _ kernels: String, _ sampledAt: SampledAt, leaves leavesBehind: LeftBehind = [],
        on stack: Stack = .mainline, _ note: String
    ) {
        self.name = "net.mptcp.\(name)"
        self.stack = stack
        self.kernels = kernels
        self.sampledAt = sampledAt
        self.leavesBehind = leavesBehind
        isPerNamespace = stack == .mainline
        self.note = note
    }

    /// Those that switch MPTCP as a whole, of either stack.
    public static let switches: Set<String> = ["net.mptcp.enabled", "net.mptcp.mptcp_enabled"]

    /// The path manager's, which are set by netlink.
    public static let limits = Setting(
        pathManager: "limits", .socket, leaves: [.connections, .sockets],
        "`ip mptcp limits`. Read when a connection's MPTCP socket is made: a client's in socket(), a server's in "
            + "its handshake.")
    public static let endpoints = Setting(
        pathManager: "endpoint", .use, leaves: [],
        "`ip mptcp endpoint`. One that is added is announced, or connected from, by open connections too; one "
            + "that is removed is taken back (RM_ADDR), and its subflows are closed.")

    private init(
        pathManager name: String, _ sampledAt: SampledAt, leaves leavesBehind: LeftBehind, _ note: String
    ) {
        self.name = name
        stack = .mainline
        kernels = "6.1"
        self.sampledAt = sampledAt
        self.leavesBehind = leavesBehind
        isPerNamespace = true
        self.note = note
    }

    /// By its whole name; nil: it is not known.
    public static func named(_ name: String) -> Setting? { all.first { $0.name == name } }

    /// Every setting, in one table.
    public static let all: [Setting] = [
        Setting(
            "enabled", "6.1", .socket, leaves: [.listeners, .connections, .sockets],
            "Read by socket() and nowhere else (`mptcp_init_sock`). After it went to 0, listeners go on taking "
                + "MPTCP, sockets that were made connect with it, and connections take further subflows, until they "
                + "are closed; new sockets get ENOPROTOOPT. After it went to 1, what is plain TCP stays so."),
        Setting(
            "checksum_enabled", "6.1", .handshake, leaves: [.connections, .sockets],
            "A server reads it for each SYN, and again at the third ACK. A client reads it in socket() for the "
                + "connection and in connect() for the SYN: of a socket made before a change the two may disagree."
        ),
        Setting(
            "allow_join_initial_addr_port", "6.1", .handshake, leaves: [.connections],
            "Read when a connection begins."),
        Setting(
            "pm_type", "6.1", .socket, leaves: [.connections, .sockets],
            "Read by socket(), and of a server's connection in its handshake: listeners follow."),
        Setting(
            "path_manager", "6.18", .socket, leaves: [.connections, .sockets], "The same, by name."),
        Setting(
            "scheduler", "6.12", .socket, leaves: [.listeners, .connections, .sockets],
            "Read by socket(); a server's connections have their listener's."),
        Setting(
            "add_addr_timeout", "6.1", .use, "Read when an ADD_ADDR is sent."),
        Setting(
            "add_addr_v6_port_drop_ts", "7.3", .use,
            "Read when an ADD_ADDR with an IPv6 address and a port is sent."),
        Setting(
            "stale_loss_cnt", "6.1", .use, "Read at each timeout."),
        Setting(
            "close_timeout", "6.12", .use,
            "Read when the last subflow of a connection that its process has not closed is gone."),
        Setting(
            "blackhole_timeout", "6.12", .use,
            "Read at connect() and when a SYN goes unanswered. Any write, of the same value too, ends the "
                + "blackhole state."),
        Setting(
            "syn_retrans_before_tcp_fallback", "6.18", .use, "Read at each timeout of a SYN."),
        Setting(
            "available_schedulers", "6.12", .use, "Can only be read."),
        Setting(
            "available_path_managers", "6.18", .use, "Can only be read."),

        Setting(
            "mptcp_enabled", "v0.90", .socket, leaves: [.listeners, .connections, .sockets], on: .outOfTree,
            "Read when a socket is made (`mptcp_init_tcp_sock`) and never again: a listener opened while it was 1 "
                + "goes on taking MPTCP after it went to 0, one opened while it was 0 stays plain. 2: only sockets "
                + "that ask for it by setsockopt. One for all network namespaces."),
        Setting(
            "mptcp_version", "v0.91", .socket, leaves: [.listeners, .connections, .sockets], on: .outOfTree,
            "Read when MPTCP is switched on for a socket."),
        Setting(
            "mptcp_checksum", "v0.90", .handshake, leaves: [.connections], on: .outOfTree,
            "Read in handshakes."),
        Setting("mptcp_debug", "v0.90", .use, on: .outOfTree, "Read whenever there is something to say."),
        Setting("mptcp_syn_retries", "v0.90", .use, on: .outOfTree, "Read at each timeout of a SYN."),
        Setting(
            "mptcp_path_manager", "v0.90", .handshake, leaves: [.connections], on: .outOfTree,
            "Read when a connection is made."),
        Setting(
            "mptcp_scheduler", "v0.90", .handshake, leaves: [.connections], on: .outOfTree,
            "Read when a connection is made."),
    ]
}

extension LeftBehind {
    /// Such as `listeners, sockets`.
    var words: String {
        let parts: [(LeftBehind, String)] = [
            (.listeners, "listeners"), (.connections, "connections"), (.sockets, "sockets"),
        ]
        let found = parts.filter { contains($0.0) }.map(\.1)
        return found.isEmpty ? "nothing" : found.joined(separator: ", ")
    }
}

extension Setting {
    /// All settings as Markdown: docs/sysctls.md is this text.
    public static var document: String {
        var text = """
            # Settings

            Made by `mpscope settings` from the one table in `Sources/Handshake/Settings.swift`; a test
            holds this page against it.

            When the kernel looks at each of MPTCP's settings, and what is open and goes on by the old value after a
            change: `sampled_at` and `affected` of a `sysctl` record. Mainline's are each network namespace's own, and
            a new namespace begins with the kernel's defaults, whatever its maker has.

            Kernels: the first that has it, of mainline among those that are tested (6.1, 6.12, 6.18, 7.3).

            | setting | kernels | read at | left behind | what exactly |
            |---|---|---|---|---|

            """
        for setting in all + [limits, endpoints] {
            let kernels = setting.stack == .mainline ? setting.kernels : "out-of-tree \(setting.kernels)"
            text +=
                "| `\(setting.name.hasPrefix("net.") ? "" : "ip mptcp ")\(setting.name)` | \(kernels) | `\(setting.sampledAt.rawValue)` | "
                + "\(setting.leavesBehind.words) | \(setting.note) |\n"
        }
        return text
    }
}
