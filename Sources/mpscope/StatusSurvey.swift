// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Kernel
import Output

/// What is open now, in which network namespace, and what could not be looked at.
struct StatusSurvey {
    let machine: Machine
    /// The stack of this kernel.
    let stack: MptcpStack
    /// CLOCK_MONOTONIC, when the first table was asked for.
    let time: UInt64
    /// The own one first, then as they were found.
    let namespaces: [StatusNamespace]
    /// One sentence for each thing that is missing.
    let problems: [String]
    let cgroupName: (UInt64) -> CgroupName?

    /// Looks at every namespace that can be found.
    /// - Parameter wanted: the one to look at instead, as `--netns` names it.
    init(only wanted: String?) throws(Failure) {
        let machine = Machine.read()
        let own: NetworkNamespace
        let found: [NetworkNamespace]
        do throws(KernelError) {
            own = try NetworkNamespaces.own()
            if let wanted {
                found = [try NetworkNamespaces.resolve(wanted)]
            } else {
                found = try NetworkNamespaces.all()
            }
        } catch {
            throw Failure("\(error)", wanted == nil ? .unavailable : .usage)
        }

        var problems: [String] = []
        var settings: [UInt32: MptcpSettings] = [:]
        var closed: [NetworkNamespace] = []
        for namespace in found {
            do throws(KernelError) {
                settings[namespace.inode] = try MptcpSettings.read(in: namespace)
            } catch {
                let refused = error.code == .notPermitted || error.code == .permissionDenied
                if wanted != nil { throw Failure("\(error)", refused ? .notPrivileged : .unavailable) }
                // One that has ended meanwhile has nothing open.
                if refused { closed.append(namespace) }
            }
        }
        let readable = found.filter { settings[$0.inode] != nil }
        let opening = takeSnapshot(of: readable)
        problems += opening.problems

        var all: [UInt32: StatusNamespace] = [:]
        for namespace in readable {
            let values = settings[namespace.inode] ?? MptcpSettings(values: [:])
            var status = StatusNamespace(
                inode: namespace.inode, name: namespace.name, isOwn: namespace.inode == own.inode,
                enabled: values.enabled)
            status.changed = StatusDefaults.changed(in: values)
            all[namespace.inode] = status
        }
        let time = opening.snapshot.time
        for (place, listener) in opening.snapshot.listeners.enumerated() {
            all[listener.netns]?.listeners.append(
                ListenerRecord(
                    time: time, listener: UInt64(place) + 1, state: .open, transport: listener.transport,
                    local: listener.local, owner: listener.owner, netns: listener.netns,
                    enabledAtCreation: nil, origin: .snapshot))
        }
        for (place, connection) in opening.snapshot.connections.enumerated() {
            all[connection.netns]?.connections.append(
                ConnectionRecord(
                    time: time, conn: UInt64(place) + 1, side: connection.side, local: connection.local,
                    remote: connection.remote, token: connection.token, owner: connection.owner,
                    netns: connection.netns, subflows: connection.subflows, state: connection.state))
        }

        self.machine = machine
        self.stack = settings[own.inode]?.stack ?? settings.values.first?.stack ?? .none
        self.time = time
        self.namespaces = readable.compactMap { all[$0.inode] }
        self.problems =
            problems
            + Self.hidden(opening.snapshot, closed: closed, machine: machine, onlyOne: wanted != nil)
        if let mount = try? CgroupMount.find() {
            let lookup = CgroupLookup(mount)
            cgroupName = { lookup.name(of: $0) }
        } else {
            cgroupName = { _ in nil }
        }
    }

    /// What these privileges hide, in one sentence.
    private static func hidden(
        _ snapshot: Snapshot, closed: [NetworkNamespace], machine: Machine, onlyOne: Bool
    ) -> [String] {
        var parts: [String] = []
        if machine.has(.sysPtrace) != true {
            let unowned =
                snapshot.listeners.count { $0.owner == nil }
                + snapshot.connections.count { $0.owner == nil }
            if unowned > 0 {
                parts.append("the processes of \(unowned) \(unowned == 1 ? "socket" : "sockets")")
            }
        }
        if !onlyOne {
            if !closed.isEmpty {
                let labels = closed.prefix(8).map(\.label).joined(separator: ", ")
                parts.append(
                    "what is open in \(closed.count) other network "
                        + (closed.count == 1 ? "namespace" : "namespaces")
                        + " (\(labels)\(closed.count > 8 ? ", …" : ""))")
            }
            if machine.has(.sysPtrace) != true {
                parts.append("network namespaces that only other users' processes are in")
            }
        }
        if parts.isEmpty { return [] }
        return ["not privileged, so not shown: \(parts.joined(separator: "; ")). Run it as root to see all."]
    }
}

/// How the kernel sets MPTCP in a new network namespace (Documentation/networking/mptcp-sysctl.rst).
enum StatusDefaults {
    private static let values = [
        "net.mptcp.add_addr_timeout": "120",
        "net.mptcp.allow_join_initial_addr_port": "1",
        "net.mptcp.blackhole_timeout": "3600",
        "net.mptcp.checksum_enabled": "0",
        "net.mptcp.close_timeout": "60",
        "net.mptcp.path_manager": "kernel",
        "net.mptcp.pm_type": "0",
        "net.mptcp.scheduler": "default",
        "net.mptcp.stale_loss_cnt": "4",
        "net.mptcp.syn_retrans_before_tcp_fallback": "2",
    ]

    /// Settings with another value than that, by name; `enabled` is told anyway.
    static func changed(in settings: MptcpSettings) -> [StatusNamespace.Setting] {
        settings.values.keys.sorted().compactMap { name in
            guard let usual = values[name], let value = settings.values[name], value != usual else {
                return nil
            }
            // Its newer name says the same.
            if name == "net.mptcp.pm_type", settings.values["net.mptcp.path_manager"] != nil { return nil }
            return StatusNamespace.Setting(name: name, value: value)
        }
    }
}
