// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import SystemPackage
import Testing

@testable import Kernel

let v4Loopback = Address(v4: 0x7f00_0001)
let v6Loopback = Address(high: 0, low: 1)

/// Takes snapshots until one has so many connections, or 10 s have passed: connect() can return
/// before the server's end has taken in the third ACK.
private func snapshot(of namespace: NetworkNamespace, connections: Int) -> OpeningSnapshot {
    let deadline = KernelClock.monotonic() + 10_000_000_000
    while true {
        let result = takeSnapshot(of: [namespace])
        if result.snapshot.connections.count >= connections || KernelClock.monotonic() > deadline {
            return result
        }
    }
}

@Suite("Live: sockets", .tags(.live))
struct LiveSocketTests {
    /// This process, as /proc shows it to everybody.
    private func expectSelf(_ owner: Owner?) {
        #expect(owner?.pid == UInt32(getpid()))
        #expect(owner?.tid == UInt32(getpid()))
        #expect(owner?.uid == getuid())
        #expect(owner?.source == .holder)
        let name = (try? SmallFile.bytes("/proc/self/comm")) ?? []
        #expect(owner?.comm == Comm(name.dropLast()))
        #expect(owner.map { $0.cgroup != 0 } == true)
    }

    @Test("TCP and MPTCP listeners of both families, each once, with both cookies and the holder")
    func listeners() throws {
        try withNamespace { namespace in
            try namespace.inside { () throws(KernelError) in
                let any4 = Address(v4: 0)
                let tcp4 = try TestSocket(v6: false, mptcp: false)
                try tcp4.listen(on: Endpoint(v4Loopback, 1001), v6: false)
                let tcp6 = try TestSocket(v6: true, mptcp: false)
                try tcp6.listen(on: Endpoint(v6Loopback, 1002), v6: true)
                let mptcp4 = try TestSocket(v6: false, mptcp: true)
                try mptcp4.listen(on: Endpoint(any4, 1003), v6: false)
                let mptcp6 = try TestSocket(v6: true, mptcp: true)
                try mptcp6.listen(on: Endpoint(.unspecified, 1004), v6: true)
                // Made and bound, not listening: not there.
                let idle = try TestSocket(v6: false, mptcp: true)
                #expect(idle.inode != 0)

                let result = takeSnapshot(of: [namespace])
                #expect(result.problems == [])
                #expect(result.snapshot.time > 0 && result.snapshot.time <= KernelClock.monotonic())
                #expect(result.snapshot.connections.isEmpty)
                let found = result.snapshot.listeners.sorted { $0.local.port < $1.local.port }
                #expect(found.map(\.local.port) == [1001, 1002, 1003, 1004])
                #expect(found.map(\.local.address) == [v4Loopback, v6Loopback, any4, .unspecified])
                #expect(found.map(\.transport) == [.tcp, .tcp, .mptcp, .mptcp])
                #expect(found.map(\.inode) == [tcp4.inode, tcp6.inode, mptcp4.inode, mptcp6.inode])
                #expect(found.map(\.mskCookie) == [0, 0, mptcp4.cookie(), mptcp6.cookie()])
                #expect(found.prefix(2).map(\.cookie) == [tcp4.cookie(), tcp6.cookie()])
                // The first subflow's cookie is its own.
                #expect(found.allSatisfy { $0.cookie != 0 && $0.cookie != $0.mskCookie })
                #expect(Set(found.map(\.cookie)).count == 4)
                #expect(found.allSatisfy { $0.netns == namespace.inode })
                for listener in found { expectSelf(listener.owner) }
            }
        }
    }

    @Test("listeners that share a port are paired one to one")
    func reusePort() throws {
        try withNamespace { namespace in
            try namespace.inside { () throws(KernelError) in
                let end = Endpoint(v4Loopback, 2000)
                let first = try TestSocket(v6: false, mptcp: true)
                try first.listen(on: end, v6: false, sharing: true)
                let plain = try TestSocket(v6: false, mptcp: false)
                try plain.listen(on: end, v6: false, sharing: true)
                let second = try TestSocket(v6: false, mptcp: true)
                try second.listen(on: end, v6: false, sharing: true)

                let found = takeSnapshot(of: [namespace]).snapshot.listeners
                #expect(found.count == 3)
                #expect(Set(found.map(\.inode)) == [first.inode, plain.inode, second.inode])
                #expect(Set(found.map(\.cookie)).count == 3)
                for listener in found {
                    let expected =
                        listener.inode == first.inode
                        ? first.cookie() : listener.inode == second.inode ? second.cookie() : 0
                    #expect(listener.mskCookie == expected)
                    #expect(listener.transport == (listener.inode == plain.inode ? .tcp : .mptcp))
                }
            }
        }
    }

    @Test("MPTCP connections of both families, both ends, and one that fell back", arguments: [false, true])
    func connections(v6: Bool) throws {
        try withNamespace { namespace in
            try namespace.inside { () throws(KernelError) in
                let address = v6 ? v6Loopback : v4Loopback
                let end = Endpoint(address, 3000)
                let plainEnd = Endpoint(address, 3001)
                let listener = try TestSocket(v6: v6, mptcp: true)
                try listener.listen(on: end, v6: v6)
                let plain = try TestSocket(v6: v6, mptcp: false)
                try plain.listen(on: plainEnd, v6: v6)
                let client = try TestSocket(v6: v6, mptcp: true)
                try client.connect(to: end, v6: v6)
                let server = try listener.accepted()
                let fallen = try TestSocket(v6: v6, mptcp: true)
                try fallen.connect(to: plainEnd, v6: v6)
                let plainServer = try plain.accepted()
                #expect(plainServer.inode != 0)

                let snapshot = takeSnapshot(of: [namespace]).snapshot
                #expect(snapshot.listeners.count == 2)
                #expect(snapshot.connections.count == 3)
                let byInode = Dictionary(grouping: snapshot.connections, by: \.inode)
                let ofClient = byInode[client.inode]?.first
                #expect(ofClient?.local == Endpoint(address, client.port()))
                #expect(ofClient?.remote == end)
                #expect(ofClient?.state == .mptcp)
                #expect(ofClient?.side == nil)
                #expect(ofClient?.subflows == 1)
                #expect(ofClient?.cookie == client.cookie())
                let ofServer = byInode[server.inode]?.first
                #expect(ofServer?.local == end)
                #expect(ofServer?.remote == Endpoint(address, client.port()))
                #expect(ofServer?.state == .mptcp)
                #expect(ofServer?.side == .server)
                #expect(ofServer?.cookie == server.cookie())
                #expect(ofServer?.token != ofClient?.token)
                let ofFallen = byInode[fallen.inode]?.first
                #expect(ofFallen?.remote == plainEnd)
                #expect(ofFallen?.state == .fallback)
                #expect(ofFallen?.side == nil)
                #expect(ofFallen?.subflows == 1)
                for connection in snapshot.connections {
                    #expect(connection.token != 0)
                    #expect(connection.netns == namespace.inode)
                    expectSelf(connection.owner)
                }
            }
        }
    }

    @Test("additional subflows are counted with the first")
    func subflows() throws {
        try withNamespace { namespace in
            let name = try #require(namespace.name)
            try run("ip", "-n", name, "addr", "add", "10.99.0.2/32", "dev", "lo")
            try run("ip", "-n", name, "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "4")
            try run("ip", "-n", name, "mptcp", "endpoint", "add", "10.99.0.2", "dev", "lo", "subflow")
            try namespace.inside { () throws(KernelError) in
                let end = Endpoint(v4Loopback, 3000)
                let listener = try TestSocket(v6: false, mptcp: true)
                try listener.listen(on: end, v6: false)
                let client = try TestSocket(v6: false, mptcp: true)
                try client.connect(to: end, v6: false)
                let server = try listener.accepted()
                // The peer opens subflows once it knows that its handshake is done: at the first data.
                _ = write(server.raw, "x", 1)
                var byte: UInt8 = 0
                _ = recv(client.raw, &byte, 1, 0)
                _ = write(client.raw, "x", 1)
                _ = recv(server.raw, &byte, 1, 0)
                let deadline = KernelClock.monotonic() + 10_000_000_000
                var counts: [UInt32: UInt32] = [:]
                repeat {
                    for connection in takeSnapshot(of: [namespace]).snapshot.connections {
                        counts[connection.inode] = connection.subflows
                    }
                } while (counts[client.inode] != 2 || counts[server.inode] != 2)
                    && KernelClock.monotonic() < deadline
                #expect(counts == [client.inode: 2, server.inode: 2])
            }
        }
    }

    @Test("a connection that nobody has accepted has no inode, and no owner is invented")
    func notAccepted() throws {
        try withNamespace { namespace in
            try namespace.inside { () throws(KernelError) in
                let listener = try TestSocket(v6: false, mptcp: true)
                try listener.listen(on: Endpoint(v4Loopback, 3000), v6: false)
                let client = try TestSocket(v6: false, mptcp: true)
                try client.connect(to: Endpoint(v4Loopback, 3000), v6: false)
                let found = snapshot(of: namespace, connections: 2).snapshot.connections
                let pending = found.filter { $0.inode != client.inode }
                #expect(pending.count == 1)
                #expect(pending.first?.side == .server)
                #expect(pending.first?.inode == 0)
                #expect(pending.first?.owner == nil)
            }
        }
    }

    @Test("two thousand listeners and connections: every one, once, in more than one datagram")
    func many() throws {
        try withNamespace { namespace in
            try namespace.inside { () throws(KernelError) in
                var limit = rlimit()
                getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
                limit.rlim_cur = limit.rlim_max
                setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
                var raws: [Int32] = []
                defer { for raw in raws { close(raw) } }
                for port in UInt16(10000)..<11000 {
                    let listener = try TestSocket(v6: false, mptcp: true)
                    try listener.listen(on: Endpoint(v4Loopback, port), v6: false)
                    let client = try TestSocket(v6: false, mptcp: true)
                    try client.connect(to: Endpoint(v4Loopback, port), v6: false)
                    raws += [dup(listener.raw), dup(client.raw)]
                }
                let result = snapshot(of: namespace, connections: 2000)
                #expect(result.problems == [])
                #expect(Set(result.snapshot.listeners.map(\.local.port)) == Set(10000..<11000))
                #expect(result.snapshot.listeners.count == 1000)
                #expect(result.snapshot.listeners.allSatisfy { $0.cookie != 0 && $0.mskCookie != 0 })
                #expect(result.snapshot.connections.count == 2000)
                #expect(result.snapshot.connections.filter { $0.side == .server }.count == 1000)
            }
        }
    }
}

@Suite("Live: namespaces, settings, counters, cgroups, machine", .tags(.live))
struct LiveMachineTests {
    @Test("a named namespace is found by name, path and inode; the thread comes back")
    func namespaces() throws {
        try withNamespace { namespace in
            let name = try #require(namespace.name)
            #expect(try NetworkNamespaces.resolve("/run/netns/\(name)").inode == namespace.inode)
            #expect(try NetworkNamespaces.resolve("/run/netns/\(name)").name == name)
            #expect(try NetworkNamespaces.resolve("\(namespace.inode)") == namespace)
            #expect(try NetworkNamespaces.resolve("net:[\(namespace.inode)]") == namespace)
            let all = try NetworkNamespaces.all()
            #expect(all.contains(namespace))
            #expect(Set(all.map(\.inode)).count == all.count)
            let own = try NetworkNamespaces.own()
            #expect(all.first == own)
            #expect(own.inode != namespace.inode)
            let inside = try namespace.inside { () throws(KernelError) in try NetworkNamespaces.own().inode }
            #expect(inside == namespace.inode)
            #expect(try NetworkNamespaces.own() == own)
            #expect(throws: KernelError("x", "y")) {
                try namespace.inside { () throws(KernelError) in throw KernelError("x", "y") }
            }
            #expect(try NetworkNamespaces.own() == own)
        }
    }

    @Test("a namespace without a name is found by its process, and outlives the path it was found by")
    func processNamespace() throws {
        let ready = try FileDescriptor.pipe()
        defer { try? ready.readEnd.close() }
        // The helper says when it has its namespace, then waits until it is killed.
        let helper = try Child(
            ["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], output: ready.writeEnd.rawValue)
        let pid = helper.pid
        try ready.writeEnd.close()
        var byte: [UInt8] = [0]
        _ = try byte.withUnsafeMutableBytes { try ready.readEnd.read(into: $0) }

        let found = try NetworkNamespaces.resolve("/proc/\(pid)/ns/net")
        #expect(found.name == nil)
        #expect(try NetworkNamespaces.all().contains { $0.inode == found.inode })
        #expect(try NetworkNamespaces.resolve("\(found.inode)").path == "/proc/\(pid)/ns/net")
        // A path that leads elsewhere by now: another one is looked for.
        var moved = found
        moved.path = "/proc/self/ns/net"
        let reached = try moved.inside { () throws(KernelError) in try NetworkNamespaces.own().inode }
        #expect(reached == found.inode)
    }

    @Test(
        "what is no namespace is refused with words",
        arguments: ["", "no-such-name", "/etc/passwd", "/no/such", "1", "/proc/self/ns/mnt", "4294967295"])
    func refused(text: String) throws {
        let error = try #require(throws: KernelError.self) { try NetworkNamespaces.resolve(text) }
        #expect(error.description.hasPrefix("cannot find the network namespace"))
        #expect(error.code != nil || (error.cause != nil && error.remedy != nil))
    }

    @Test("a namespace that is gone is a problem of the snapshot, not its end")
    func gone() throws {
        var gone = NetworkNamespace(inode: 1, name: nil, path: "")
        try withNamespace { gone = $0 }
        let result = takeSnapshot(of: [gone, try NetworkNamespaces.own()])
        #expect(result.problems.count == 1)
        #expect(result.problems.first?.contains(gone.path) == true)
    }

    @Test("settings are the namespace's own")
    func settings() throws {
        try withNamespace { namespace in
            let before = try MptcpSettings.read(in: namespace)
            #expect(before.stack == .mainline)
            #expect(before.enabled == true)
            #expect(before.values["net.mptcp.add_addr_timeout"] == "120")
            let name = try #require(namespace.name)
            try run("ip", "netns", "exec", name, "sysctl", "-qw", "net.mptcp.enabled=0")
            let after = try MptcpSettings.read(in: namespace)
            #expect(after.enabled == false)
            #expect(after.values["net.mptcp.enabled"] == "0")
            #expect(try MptcpSettings.read(in: NetworkNamespaces.own()).enabled == true)
        }
    }

    @Test("counters are the namespace's own and count its handshakes")
    func counters() throws {
        try withNamespace { namespace in
            let before = try MptcpCounters.read(in: namespace)
            #expect(before["MPTcpExtMPCapableSYNTX"] == 0)
            #expect(before["TcpActiveOpens"] == 0)
            #expect(before["TcpMaxConn"] == nil)
            #expect(before["TcpExtListenDrops"] == 0)
            try namespace.inside { () throws(KernelError) in
                let listener = try TestSocket(v6: false, mptcp: true)
                try listener.listen(on: Endpoint(v4Loopback, 3000), v6: false)
                let client = try TestSocket(v6: false, mptcp: true)
                try client.connect(to: Endpoint(v4Loopback, 3000), v6: false)
                let after = try MptcpCounters.read(in: namespace)
                #expect(after["MPTcpExtMPCapableSYNTX"] == 1)
                #expect(after["MPTcpExtMPCapableSYNRX"] == 1)
                #expect(after["TcpActiveOpens"] == 1)
            }
        }
    }

    @Test("a cgroup's name by its id and back; unknown once it is removed")
    func cgroups() throws {
        let mount = try CgroupMount.find()
        var names = try CgroupNames(capacity: 2)
        #expect(names.mount == mount)
        #expect(names.path(of: mount.id(ofCgroup: "/")) == "/")
        let name = "/mpsk-\(getpid())-\(UInt32.random(in: 0 ... .max)).service"
        try #require(mkdir(mount.path + name, 0o755) == 0)
        defer { rmdir(mount.path + name) }
        let inner = name + "/in ner"
        try #require(mkdir(mount.path + inner, 0o755) == 0)
        defer { rmdir(mount.path + inner) }
        let id = mount.id(ofCgroup: name)
        let innerID = mount.id(ofCgroup: inner)
        #expect(id != 0 && innerID != 0 && id != innerID)
        #expect(names.path(of: id) == name)
        #expect(names.path(of: innerID) == inner)
        #expect(names.path(of: id) == name)
        #expect(CgroupUnits(path: inner).unit?.name == String(name.dropFirst()))
        #expect(names.path(of: 0) == nil)
        #expect(names.path(of: .max) == nil)
        for absent in UInt64.max - 5 ... .max { #expect(names.path(of: absent) == nil) }
        #expect(names.known.count <= 2)
        rmdir(mount.path + inner)
        var fresh = try CgroupNames()
        #expect(fresh.path(of: innerID) == nil)
        #expect(mount.id(ofCgroup: inner) == 0)
    }

    @Test("of several holders the one with the lowest process id")
    func holders() throws {
        let socket = try TestSocket(v6: false, mptcp: false)
        // The child inherits the socket.
        let child = try Child(["sleep", "600"], output: socket.raw)
        let pid = child.pid
        let inode = socket.inode
        #expect(SocketHolders.sockets(of: UInt32(pid)).contains(inode))
        let holders = SocketHolders.find([inode, 0, 1])
        #expect(holders.count == 1)
        #expect(holders[inode]?.pid == UInt32(min(pid, getpid())))
    }

    @Test("the machine")
    func machine() throws {
        let machine = Machine.read()
        #expect(machine.kernel == (try SmallFile.text("/proc/sys/kernel/osrelease")))
        #expect(machine.hostname == (try SmallFile.text("/proc/sys/kernel/hostname")))
        #expect(machine.bootID?.utf8.count == 36)
        #expect(!machine.architecture.isEmpty)
        for capability in Capability.allCases {
            #expect(machine.has(capability) == true, "\(capability.name)")
        }
        #expect(machine.hasBTF)
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let real = Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
        let computed = Int64(KernelClock.monotonic()) + KernelClock.realtimeOffset()
        #expect(abs(computed - real) < 1_000_000_000)
    }
}
