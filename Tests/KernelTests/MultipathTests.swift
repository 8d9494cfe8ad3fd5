// SPDX-License-Identifier: Apache-2.0

import Handshake
import Testing

@testable import Kernel

/// What tells of the out-of-tree stack without BPF.
@Suite struct MultipathTests {
    @Test func connectionsOfItsOwnTable() throws {
        let line: Substring =
            "   0: 9AC07BB4 848A51DC  0 0100000A:1F90                         0200000A:C350"
            + "                         01 02 00000000:00000000 31245"
        let found = try #require(MultipathTable.parse(line, netns: 7))
        #expect(found.local == Endpoint(Address(v4: 0x0a00_0001), 8080))
        #expect(found.remote == Endpoint(Address(v4: 0x0a00_0002), 50000))
        // As bytes of a packet: B4 7B C0 9A.
        #expect(found.token == 0xb47b_c09a)
        #expect(found.subflows == 2)
        #expect(found.inode == 31245)
        #expect(found.netns == 7)
    }

    @Test func connectionsOverIPv6() throws {
        let line: Substring =
            "   1: 00000001 00000002  1 B80D0120000000000000000001000000:0050 "
            + "B80D0120000000000000000002000000:1234 08 01 00000000:00000000 9"
        let found = try #require(MultipathTable.parse(line, netns: 1))
        #expect(found.local == Endpoint(Address(high: 0x2001_0db8_0000_0000, low: 1), 80))
        #expect(found.remote == Endpoint(Address(high: 0x2001_0db8_0000_0000, low: 2), 0x1234))
    }

    @Test(arguments: [
        "  sl  loc_tok  rem_tok  v6 local_address remote_address st ns tx_queue rx_queue inode",
        "", "   0:", "   0: 9AC07BB4 848A51DC  0 0100000A 0200000A:C350 01 02 0:0 31245",
        "   0: 9AC07BB4 848A51DC  0 0100000A:1F90 02000A:C350 01 02 0:0 31245",
        // It is closing.
        "   0: 9AC07BB4 848A51DC  0 0100000A:1F90 0200000A:C350 07 02 0:0 31245",
        "   0: 9AC07BB4 848A51DC  0 0100000A:1F90 0200000A:C350 01 02 0:0 99999999999999999999",
    ])
    func whatIsNoConnection(_ line: String) {
        #expect(MultipathTable.parse(line[...], netns: 1) == nil)
    }

    @Test func namesOfFunctions() {
        func name(_ line: String, module: String? = nil) -> String? {
            Array(line.utf8).withUnsafeBytes { KernelSymbols.name(in: $0, module: module) }
        }
        #expect(name("ffffffff81000000 T tcp_connect\n") == "tcp_connect")
        #expect(name("0000000000000000 t mptcp_reqsk_init\n") == "mptcp_reqsk_init")
        #expect(name("ffffffff81000000 D tcp_prot\n") == nil)
        #expect(name("ffffffffc0000000 t tcp_connect\t[stand_in]\n") == nil)
        #expect(name("ffffffffc0000000 t tcp_connect\t[stand_in]\n", module: "stand_in") == "tcp_connect")
        #expect(name("ffffffffc0000000 t tcp_connect\t[other]\n", module: "stand_in") == nil)
        #expect(name("ffffffff81000000 T tcp_connect\n", module: "stand_in") == nil)
        #expect(name("no\n") == nil)
    }

    /// Every kernel with TCP has this one.
    @Test func functionsOfThisKernel() throws {
        #expect(
            try KernelSymbols.present(["tcp_connect", "mptcp_update_metasocket"]) == ["tcp_connect"])
        #expect(try KernelSymbols.present(["tcp_connect"], module: "no_such_module").isEmpty)
        #expect(try MptcpStack.running() == .mainline)
    }

    /// A setting that is not in the table is told without what it does.
    @Test func everySettingOfThisKernelIsKnown() throws {
        let settings = try MptcpSettings.read(in: NetworkNamespaces.own())
        for name in settings.values.keys.sorted() { #expect(Setting.named(name) != nil, "\(name)") }
        #expect(try MptcpSettings.read("net.mptcp.enabled", in: NetworkNamespaces.own()) != nil)
        #expect(try MptcpSettings.read("net.mptcp.no_such", in: NetworkNamespaces.own()) == nil)
    }
}
