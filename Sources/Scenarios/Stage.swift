// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Handshake
import Synchronization
import SystemPackage

/// Two network namespaces of our own, "client" and "server", joined by two veth pairs. Both go when
/// the stage ends, and when this process dies, whatever it dies of.
public struct Stage: ~Copyable {
    /// Counts the stages of this process, for their names and addresses.
    private static let made = Atomic<Int>(0)

    /// One end: where it is and what its addresses are.
    public struct End: Sendable {
        public let namespace: Namespace
        public let ipv4: Address
        public let ipv6: Address
        /// The same, as tools and actors read them.
        package let ipv4Text: String
        package let ipv6Text: String
        /// Of the second link, where connections begin by joining only.
        public let second: Place
        /// One more, on the second link.
        public let thirdIPv4: Address
        let thirdIPv4Text: String

        public struct Place: Sendable {
            public let ipv4: Address
            public let ipv6: Address
            package let ipv4Text: String
            let ipv6Text: String
        }

        fileprivate init(
            named name: String, _ plan: AddressPlan, _ second: AddressPlan, host: Int
        ) throws(ScenarioError) {
            namespace = try Namespace(named: name)
            ipv4 = plan.ipv4(host: host)
            ipv6 = plan.ipv6(host: host)
            ipv4Text = plan.ipv4Text(host: host)
            ipv6Text = plan.ipv6Text(host: host)
            self.second = Place(
                ipv4: second.ipv4(host: host), ipv6: second.ipv6(host: host),
                ipv4Text: second.ipv4Text(host: host), ipv6Text: second.ipv6Text(host: host))
            thirdIPv4 = second.ipv4(host: host + 10)
            thirdIPv4Text = second.ipv4Text(host: host + 10)
        }
    }

    public let client: End
    public let server: End
    /// On the client's link, by a fixed neighbour entry at the server's interface, but nobody's:
    /// what is sent there is dropped without an answer.
    package let nobodyText: String
    package let nobody: Address
    /// What runs the actors.
    let executable: String
    /// Readable: the caller wants an end. -1: none.
    let interruptedBy: CInt
    private var keeper: NamespaceKeeper

    /// Makes the namespaces. `executable`: a program that calls `Actor.run` when its first
    /// argument is `Actor.word`. `interruptedBy`: a descriptor that becomes readable (a signalfd,
    /// a pipe) when every wait on this stage shall end with `ScenarioError.interrupted`; it
    /// stays the caller's.
    public init(
        executable: String = OwnProgram.path, interruptedBy: FileDescriptor? = nil
    ) throws(ScenarioError) {
        guard geteuid() == 0 else {
            throw .usage("network namespaces can only be made by root; run as root")
        }
        let number = Self.made.add(1, ordering: .relaxed).newValue
        let names = Sides(
            client: "\(Self.prefix())c\(number)", server: "\(Self.prefix())s\(number)")
        let keeper = try NamespaceKeeper(names: [names.client, names.server], executable: executable)
        let plan = AddressPlan(stage: number, link: 1)
        let second = AddressPlan(stage: number, link: 2)
        try Tool.check(
            "ip", ["-batch", "-"],
            input: """
                netns add \(names.client)
                netns add \(names.server)
                link add name to-server address \(plan.clientHardware) netns \(names.client) type veth \
                peer name to-client address \(plan.serverHardware) netns \(names.server)
                link add name to-server-2 address \(second.clientHardware) netns \(names.client) type veth \
                peer name to-client-2 address \(second.serverHardware) netns \(names.server)

                """, inheriting: keeper.hold)
        let client = try End(named: names.client, plan, second, host: 1)
        let server = try End(named: names.server, plan, second, host: 2)
        let nobodyText = plan.ipv4Text(host: 99)
        try Self.configure(
            client, device: "to-server",
            extra: "neigh add \(nobodyText) lladdr \(plan.serverHardware) nud permanent dev to-server\n")
        try Self.configure(server, device: "to-client", extra: "")
        for device in ["to-server", "to-server-2"] { try Self.awaitLink(device, in: client.namespace) }
        for device in ["to-client", "to-client-2"] { try Self.awaitLink(device, in: server.namespace) }

        self.client = client
        self.server = server
        self.nobodyText = nobodyText
        nobody = plan.ipv4(host: 99)
        self.executable = executable
        self.interruptedBy = interruptedBy?.rawValue ?? -1
        self.keeper = keeper
    }

    public subscript(side: Side) -> End { side == .client ? client : server }

    /// The kernel's own counts so far at one end.
    public func counters(_ side: Side) throws(ScenarioError) -> Counters {
        try self[side].namespace.inside(Counters.ofThisThread)
    }

    /// Takes both namespaces away; nothing happens the second time. Happens by itself, without
    /// a word about failures, when the stage ends.
    public mutating func remove() throws(ScenarioError) {
        try keeper.remove()
    }

    /// Takes away whatever namespaces a process has left, this one or one that is no more: for
    /// the end of a program.
    public static func removeLeftovers(of pid: Int32 = getpid()) {
        for name in Namespace.names(prefix: prefix(pid)) { Namespace.remove(name) }
    }

    /// With which the names of all stages of a process begin.
    private static func prefix(_ pid: Int32 = getpid()) -> String { "mpscope-\(pid)-" }

    var janitorPID: Int32 { keeper.janitorPID }

    /// How many TCP and MPTCP sockets an end has, as the kernel counts them.
    func openSockets(_ side: Side) throws(ScenarioError) -> Int {
        try self[side].namespace.inside(OpenSockets.ofThisThread)
    }

    /// Waits until neither end has more TCP or MPTCP sockets than these (TIME_WAIT not counted), so
    /// that whatever the kernel counts about them has been counted.
    func awaitSilence(but remaining: Sides<Int> = Sides(client: 0, server: 0)) throws(ScenarioError) {
        for side in Side.allCases {
            let deadline = Deadline()
            let left = try self[side].namespace.inside { () throws(ScenarioError) -> Int in
                while true {
                    let left = try OpenSockets.ofThisThread() - remaining[side]
                    if left <= 0 || deadline.hasPassed { return left }
                    poll(nil, 0, 1)
                }
            }
            if left > 0 {
                throw .deadline(
                    awaited: "end of all sockets", from: "namespace \(self[side].namespace.name)",
                    seconds: deadline.seconds, diagnostics: "\(left) are left")
            }
        }
    }

    private static func configure(
        _ end: End, device: String, extra: String
    ) throws(ScenarioError) {
        // No link-local addresses: nothing moves on this link but what a scenario moves.
        // A kernel may have no IPv6 at all.
        let ipv6 = access("/proc/net/if_inet6", F_OK) == 0 ? "" : "#"
        try Tool.check(
            "ip", ["-n", end.namespace.name, "-batch", "-"],
            input: """
                link set lo up
                \(ipv6) link set \(device) addrgenmode none
                link set \(device) up
                addr add \(end.ipv4Text)/24 dev \(device)
                \(ipv6) addr add \(end.ipv6Text)/64 dev \(device) nodad
                \(ipv6) link set \(device)-2 addrgenmode none
                link set \(device)-2 up
                addr add \(end.second.ipv4Text)/24 dev \(device)-2
                addr add \(end.thirdIPv4Text)/24 dev \(device)-2
                \(ipv6) addr add \(end.second.ipv6Text)/64 dev \(device)-2 nodad

                """ + extra)
        // A new namespace may inherit the host's forwarding, and a forwarder answers for nobody.
        try end.namespace.inside { () throws(ScenarioError) in
            try SmallFile.write("/proc/sys/net/ipv4/ip_forward", "0")
        }
    }

    /// A link is usable a moment after it was set up, when the kernel has seen its carrier.
    private static func awaitLink(_ device: String, in namespace: Namespace) throws(ScenarioError) {
        let running = CInt(IFF_UP | IFF_RUNNING)
        let deadline = Deadline()
        try namespace.inside { () throws(ScenarioError) in
            while true {
                let flags = mps_link_flags(device)
                guard flags >= 0 else { throw .failed("SIOCGIFFLAGS", on: device, flags) }
                if flags & running == running { return }
                if deadline.hasPassed {
                    throw .deadline(
                        awaited: "link up", from: "\(namespace.name)/\(device)",
                        seconds: deadline.seconds, diagnostics: "")
                }
                poll(nil, 0, 1)
            }
        }
    }
}

/// The addresses of a stage. Stages may share them: each lives in namespaces of its own.
private struct AddressPlan {
    private let net: Int
    /// 1 or 2.
    private let link: Int

    init(stage: Int, link: Int) {
        net = (stage - 1) % 254 + 1
        self.link = link
    }

    func ipv4(host: Int) -> Address { Address(v4: UInt32(0x0a4c_0000 + link << 16 | net << 8 | host)) }
    func ipv4Text(host: Int) -> String { "10.\(76 + link).\(net).\(host)" }
    func ipv6(host: Int) -> Address {
        Address(high: 0xfd77_0000_0000_0000 | UInt64(link - 1) << 16 | UInt64(net), low: UInt64(host))
    }
    func ipv6Text(host: Int) -> String { "fd77:0:\(link - 1):\(String(net, radix: 16))::\(host)" }
    var clientHardware: String { hardware(1) }
    var serverHardware: String { hardware(2) }

    /// A locally administered address.
    private func hardware(_ host: Int) -> String { "02:77:00:0\(link):\(String(net, radix: 16)):0\(host)" }
}
