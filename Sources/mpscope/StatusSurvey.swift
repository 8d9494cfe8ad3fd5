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
    /// What is missing.
    let hidden: [StatusHidden]
    let cgroupName: (UInt64) -> CgroupName?
    let socketUnit: (ManagedSocket) -> Unit?

    /// Looks at every namespace that can be found.
    /// - Parameters:
    ///   - wanted: the one to look at instead, as `--netns` names it.
    ///   - allTcp: list all of TCP.
    init(only wanted: String?, allTcp: Bool) throws(Failure) {
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
        let time = KernelClock.monotonic()
        let taken = takeSurvey(of: readable, ownersOfOthers: allTcp)

        var all: [UInt32: StatusNamespace] = [:]
        for namespace in readable {
            let values = settings[namespace.inode] ?? MptcpSettings(values: [:])
            var status = StatusNamespace(
                inode: namespace.inode, name: namespace.name, isOwn: namespace.inode == own.inode,
                enabled: values.enabled)
            status.settings = values.values.sorted { $0.key < $1.key }
                .map { StatusNamespace.Setting(name: $0.key, value: $0.value) }
            status.changed = StatusDefaults.changed(in: values)
            all[namespace.inode] = status
        }
        // The out-of-tree stack has its settings in one namespace only.
        let stack = settings.values.lazy.map(\.stack).first { $0 != .none } ?? .none
        var numbers = Numbers()
        for survey in taken.surveys {
            all[survey.netns]?.add(survey, of: stack, allTcp: allTcp, at: time, &numbers)
        }

        self.machine = machine
        self.stack = stack
        self.time = time
        self.namespaces = readable.compactMap { all[$0.inode] }
        hidden =
            taken.problems.map { StatusHidden(.failure, message: $0) }
            + Self.hidden(taken.surveys, closed: closed, machine: machine, onlyOne: wanted != nil)
        socketUnit = socketUnitLookup()
        if let mount = try? CgroupMount.find() {
            let lookup = CgroupLookup(mount)
            cgroupName = { lookup.name(of: $0) }
        } else {
            cgroupName = { _ in nil }
        }
    }

    /// What these privileges hide.
    private static func hidden(
        _ surveys: [SocketSurvey], closed: [NetworkNamespace], machine: Machine, onlyOne: Bool
    ) -> [StatusHidden] {
        var found: [StatusHidden] = []
        if machine.has(.sysPtrace) != true {
            let unowned = surveys.reduce(0) { count, survey in
                count + survey.listeners.count { $0.owner == nil }
                    + survey.connections.count { $0.owner == nil && $0.inode != 0 }
            }
            if unowned > 0 {
                found.append(
                    StatusHidden(
                        .owners, count: UInt64(unowned),
                        message: "the processes of \(unowned) \(unowned == 1 ? "socket" : "sockets")"))
            }
        }
        if machine.has(.netAdmin) != true, surveys.contains(where: { !$0.toldSubflows }) {
            found.append(
                StatusHidden(.subflows, message: "the address ids, tokens and backup bits of subflows"))
        }
        if onlyOne { return found }
        if !closed.isEmpty {
            let labels = closed.prefix(8).map(\.label).joined(separator: ", ")
            found.append(
                StatusHidden(
                    .namespaces, count: UInt64(closed.count),
                    message: "what is open in \(closed.count) other network "
                        + (closed.count == 1 ? "namespace" : "namespaces")
                        + " (\(labels)\(closed.count > 8 ? ", …" : ""))"))
        }
        if machine.has(.sysPtrace) != true {
            found.append(
                StatusHidden(
                    .unknownNamespaces,
                    message: "network namespaces that only other users' processes are in"))
        }
        return found
    }

    /// The same for people, one sentence for each cause.
    var sentences: [String] {
        let parts = hidden.filter { $0.kind != .failure }.map(\.message)
        let failures = hidden.filter { $0.kind == .failure }.map(\.message)
        if parts.isEmpty { return failures }
        return failures
            + ["not privileged, so not shown: \(parts.joined(separator: "; ")). Run it as root to see all."]
    }
}

/// The numbers given so far.
struct Numbers {
    var listeners: UInt64 = 0
    var connections: UInt64 = 0
}

extension StatusNamespace {
    fileprivate mutating func add(
        _ survey: SocketSurvey, of stack: MptcpStack, allTcp: Bool, at time: UInt64, _ numbers: inout Numbers
    ) {
        let first = numbers.listeners + 1
        for listener in survey.listeners {
            numbers.listeners += 1
            // There every socket is one of TCP.
            let transport = stack == .outOfTree ? nil : listener.transport
            listeners.append(
                ListenerRecord(
                    time: time, listener: numbers.listeners, state: .open, transport: transport,
                    local: listener.local, owner: listener.owner, netns: inode,
                    // The kernel makes MPTCP sockets only while it is switched on; a TCP socket may be
                    // what its process wanted.
                    enabledAtCreation: transport == .mptcp ? true : nil, origin: .snapshot))
        }
        for found in survey.connections + (allTcp ? survey.others : []) {
            numbers.connections += 1
            var connection = StatusConnection(found, conn: numbers.connections, netns: inode)
            if let place = found.listener { connection.listener = first + UInt64(place) }
            connections.append(connection)
        }
        otherTcp = allTcp ? 0 : survey.others.count
    }
}

extension StatusConnection {
    fileprivate init(_ found: SurveyedConnection, conn: UInt64, netns: UInt32) {
        let state: State =
            switch found.kind {
            case .mptcp: .mptcp
            case .fallback: .fallback
            case .plain: .plain
            }
        self.init(
            conn: conn, local: found.local, remote: found.remote, state: state,
            tcpState: found.tcpState.name, netns: netns)
        side = found.side
        owner = found.owner
        uid = found.uid
        token = found.mptcp?.token ?? 0
        hasRemoteKey = found.mptcp?.hasRemoteKey
        checksum = found.mptcp?.checksum
        enabledAtCreation = state == .plain ? nil : true
        subflows = found.mptcp?.subflows ?? UInt32(found.subflows.count)
        for (place, socket) in found.subflows.enumerated() {
            var subflow = StatusSubflow(
                number: UInt32(place) + (found.hasFirst ? 0 : 1), local: socket.local,
                remote: socket.remote, tcpState: socket.state.name)
            if let info = socket.subflow {
                subflow.localID = info.localID
                subflow.remoteID = info.remoteID
                subflow.backup = !info.flags.isDisjoint(with: [.backupByUs, .backupByPeer])
                subflow.flags = info.flags.letters
                subflow.token = info.token
                subflow.remoteToken = info.remoteToken
            }
            list.append(subflow)
        }
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
