// SPDX-License-Identifier: Apache-2.0

import Handshake
import SystemPackage
import Testing

@testable import Kernel

@Suite("What is read from text")
struct TextTests {
    @Test("mountinfo: the cgroup2 mount of a hybrid, a unified and a nested system")
    func mounts() {
        let hybrid = """
            31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
            40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
            """
        #expect(
            CgroupMount.parse(mountinfo: hybrid) == CgroupMount(path: "/sys/fs/cgroup/unified", root: "/"))
        let unified = "30 23 0:26 / /sys/fs/cgroup rw shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate"
        #expect(CgroupMount.parse(mountinfo: unified) == CgroupMount(path: "/sys/fs/cgroup", root: "/"))
        let nested = "30 23 0:26 /docker/ab\\040c /a\\134b rw - cgroup2 none rw"
        #expect(CgroupMount.parse(mountinfo: nested) == CgroupMount(path: "/a\\b", root: "/docker/ab c"))
    }

    @Test(
        "mountinfo: nothing where there is no cgroup2",
        arguments: [
            "", "\n\n", "1 2 0:1 / / rw - cgroup cgroup rw", "1 2 0:1 / / rw -", "1 2 0:1 / / rw cgroup2",
            "- - - - - - - cgroup", "cgroup2",
        ])
    func noMount(text: String) {
        #expect(CgroupMount.parse(mountinfo: text) == nil)
    }

    @Test("a process's cgroup, and the directory it means")
    func cgroups() {
        let file = "9:name=systemd:/x\n0::/system.slice/a b.service\n"
        #expect(CgroupMount.cgroup(inProcessFile: file) == "/system.slice/a b.service")
        #expect(CgroupMount.cgroup(inProcessFile: "4:memory:/a\n10::/b") == nil)
        let whole = CgroupMount(path: "/sys/fs/cgroup", root: "/")
        #expect(whole.directory(ofCgroup: "/") == "/sys/fs/cgroup")
        #expect(whole.directory(ofCgroup: "/a/b") == "/sys/fs/cgroup/a/b")
        #expect(whole.directory(ofCgroup: "/../a") == nil)
        #expect(whole.directory(ofCgroup: "") == nil)
        let part = CgroupMount(path: "/sys/fs/cgroup", root: "/pod")
        #expect(part.directory(ofCgroup: "/pod") == "/sys/fs/cgroup")
        #expect(part.directory(ofCgroup: "/pod/a") == "/sys/fs/cgroup/a")
        #expect(part.directory(ofCgroup: "/podium") == nil)
    }

    @Test("netstat: pairs of lines, other groups and odd lines left out")
    func counters() {
        let text = """
            TcpExt: SyncookiesSent ListenDrops
            TcpExt: 0 7
            IpExt: InNoRoutes
            IpExt: 5
            MPTcpExt: MPCapableSYNRX MPCapableSYNTX
            MPTcpExt: 18446744073709551615 3
            Tcp: RtoAlgorithm MaxConn ActiveOpens Missing
            Tcp: 1 -1 12
            """
        #expect(
            MptcpCounters.parse(text) == [
                "TcpExtSyncookiesSent": 0, "TcpExtListenDrops": 7,
                "MPTcpExtMPCapableSYNRX": .max, "MPTcpExtMPCapableSYNTX": 3,
                "TcpRtoAlgorithm": 1, "TcpActiveOpens": 12,
            ])
        #expect(MptcpCounters.parse("").isEmpty)
        #expect(MptcpCounters.parse("Tcp: A B\nUdp: 1 2\nTcp: 1 2\n:\n\n Tcp").isEmpty)
    }

    @Test("the stack by its settings")
    func stack() {
        #expect(MptcpSettings(values: ["net.mptcp.enabled": "1"]).stack == .mainline)
        #expect(MptcpSettings(values: ["net.mptcp.mptcp_enabled": "1"]).stack == .outOfTree)
        #expect(MptcpSettings(values: [:]).stack == .none)
        #expect(MptcpSettings(values: ["net.mptcp.enabled": "0"]).enabled == false)
        #expect(MptcpSettings(values: [:]).enabled == nil)
    }

    @Test("numbers in /proc")
    func numbers() {
        #expect(SocketHolders.socketInode("socket:[4711]") == 4711)
        #expect(SocketHolders.socketInode("socket:[99999999999]") == nil)
        #expect(SocketHolders.socketInode("pipe:[4711]") == nil)
        #expect(SocketHolders.socketInode("socket:[") == nil)
        #expect(SocketHolders.realUser(status: "Name:\tUid:\nUid:\t33\t0\t0\t0\n") == 33)
        #expect(SocketHolders.realUser(status: "Uid:") == nil)
        #expect(NetworkNamespaces.inodeNumber("net:[4026531840]") == 4_026_531_840)
        #expect(NetworkNamespaces.inodeNumber("4026531840") == 4_026_531_840)
        #expect(NetworkNamespaces.inodeNumber("+5") == nil)
        #expect(NetworkNamespaces.inodeNumber("99999999999") == nil)
        let status = "CapPrm:\t1\nCapEff:\t000001ffffffffff\n"
        #expect(Machine.effectiveCapabilities(status: status) == 0x1ff_ffff_ffff)
        #expect(Machine.effectiveCapabilities(status: "CapEff:\tzz") == nil)
        // What a kernel does not know yet, root of that time has.
        let root = Machine.effectiveCapabilities(status: "CapEff:\t0000003fffffffff\n") ?? 0
        #expect(Machine.withYounger(root, last: 37) == 0xff_ffff_ffff)
        #expect(Machine.withYounger(root, last: 40) == root)
        #expect(Machine.withYounger(root, last: nil) == root)
        #expect(Machine.withYounger(0x1000, last: 37) == 0x1000)
        #expect(Machine.lockdownMode("none [integrity] confidentiality") == "integrity")
        #expect(Machine.lockdownMode("none") == nil)
    }

    @Test("an error says what, on what, why and what to do")
    func error() {
        let error = KernelError("enter", "x", code: .noSuchFileOrDirectory, cause: "gone", remedy: "look")
        #expect("\(error)" == "cannot enter x: No such file or directory (gone); look")
        #expect("\(KernelError("enter", "x", cause: "gone"))" == "cannot enter x: gone")
    }
}
