// SPDX-License-Identifier: Apache-2.0

import Handshake
import Testing

@testable import Kernel

/// Writes netlink as the kernel would, or as it never should.
struct Forge {
    var bytes: [UInt8] = []

    mutating func put<Number: FixedWidthInteger>(_ number: Number) {
        withUnsafeBytes(of: number) { bytes += $0 }
    }

    mutating func attribute(_ type: UInt16, _ payload: [UInt8]) {
        put(UInt16(payload.count + 4))
        put(type)
        bytes += payload
        while !bytes.count.isMultiple(of: 4) { bytes.append(0) }
    }

    /// A struct inet_diag_msg, 72 bytes.
    static func head(
        family: UInt8 = 2, state: UInt8 = 1, local: [UInt8] = [10, 0, 0, 1], remote: [UInt8] = [10, 0, 0, 2],
        cookie: UInt64 = 0x1_0000_0002
    ) -> Forge {
        var forge = Forge()
        forge.bytes = [family, state, 0, 0]
        forge.put(UInt16(443).bigEndian)
        forge.put(UInt16(50000).bigEndian)
        forge.bytes += local + [UInt8](repeating: 0, count: 16 - local.count)
        forge.bytes += remote + [UInt8](repeating: 0, count: 16 - remote.count)
        forge.put(UInt32(0))
        forge.put(UInt32(truncatingIfNeeded: cookie))
        forge.put(UInt32(truncatingIfNeeded: cookie >> 32))
        for _ in 0..<3 { forge.put(UInt32(0)) }
        forge.put(UInt32(33))
        forge.put(UInt32(4711))
        return forge
    }

    /// A struct mptcp_info of `length` bytes.
    static func info(length: Int, additional: UInt8 = 2, total: UInt8 = 2, flags: UInt8 = 0) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 96)
        bytes[0] = additional
        bytes[8] = flags
        bytes[12...15] = [0x78, 0x56, 0x34, 0x12]
        bytes[42] = 1
        bytes[80] = total
        return Array(bytes.prefix(length))
    }

    func socket(_ table: TransportProtocol) -> InetSocket? {
        InetSocket(bytes.span.bytes, payload: 0..<bytes.count, table: table)
    }
}

@Suite("Netlink messages")
struct NetlinkTests {
    @Test("an MPTCP connection, every field")
    func connection() throws {
        var forge = Forge.head()
        forge.attribute(2, Forge.info(length: 96, flags: 3))
        forge.attribute(21, [7, 0, 0, 0, 0, 0, 0, 0])
        let socket = try #require(forge.socket(.mptcp))
        #expect(socket.state == .established)
        #expect(socket.local == Endpoint(Address(v4: 0x0a00_0001), 443))
        #expect(socket.remote == Endpoint(Address(v4: 0x0a00_0002), 50000))
        #expect(socket.cookie == 0x1_0000_0002)
        #expect(socket.uid == 33)
        #expect(socket.inode == 4711)
        #expect(socket.cgroup == 7)
        #expect(socket.isSubflow == nil)
        let info = try #require(socket.mptcp)
        #expect(info.token == 0x1234_5678)
        #expect(info.subflows == 2)
        #expect(info.isFallback && info.hasRemoteKey && info.checksum)
    }

    @Test("a short mptcp_info of an old kernel: the first subflow is added, the rest is not made up")
    func oldInfo() throws {
        for length in [16, 43, 48, 80] {
            var forge = Forge.head()
            forge.attribute(2, Forge.info(length: length))
            let info = try #require(forge.socket(.mptcp)?.mptcp)
            #expect(info.subflows == 3)
            #expect(info.checksum == (length > 42))
            #expect(!info.isFallback)
        }
    }

    @Test("an IPv6 listener that is a subflow; a v4-mapped peer is the IPv4 address")
    func v6() throws {
        var forge = Forge.head(
            family: 10, state: 10, local: [0x20, 1] + [UInt8](repeating: 0, count: 13) + [9],
            remote: [UInt8](repeating: 0, count: 10) + [0xff, 0xff, 10, 0, 0, 2], cookie: .max)
        forge.attribute(11, [1])
        forge.attribute(15, [0, 0, 0, 0])
        var ulp = Forge()
        ulp.attribute(1, Array("mptcp\0".utf8))
        forge.attribute(19 | 0x8000, ulp.bytes)
        let socket = try #require(forge.socket(.tcp))
        #expect(socket.state == .listening)
        #expect(socket.local.address == Address(high: 0x2001 << 48, low: 9))
        #expect(socket.remote.address == Address(v4: 0x0a00_0002))
        #expect(socket.cookie == 0)
        #expect(socket.v6Only == true)
        #expect(socket.isSubflow == true)
        #expect(socket.mptcp == nil)
    }

    @Test("what is told of a subflow; of a listener nothing is")
    func subflow() throws {
        func number(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
        func forge(flags: [UInt8]) -> InetSocket? {
            var members = Forge()
            members.attribute(1, number(0x53a5_4b35))
            members.attribute(2, number(0x99e7_d462))
            if !flags.isEmpty { members.attribute(8, flags) }
            members.attribute(9, [0])
            members.attribute(10, [1])
            var ulp = Forge()
            ulp.attribute(1, Array("mptcp\0".utf8))
            ulp.attribute(3, members.bytes)
            var forge = Forge.head()
            forge.attribute(19, ulp.bytes)
            return forge.socket(.tcp)
        }
        #expect(forge(flags: [])?.subflow == nil)
        #expect(forge(flags: [])?.isSubflow == true)
        #expect(forge(flags: [1])?.subflow == nil)
        let subflow = try #require(forge(flags: number(0xec))?.subflow)
        #expect(subflow.flags.letters == "Jjbec")
        #expect((subflow.token, subflow.remoteToken) == (0x99e7_d462, 0x53a5_4b35))
        #expect((subflow.localID, subflow.remoteID) == (1, 0))
        #expect(SubflowInfo.Flags(rawValue: 0x1ff).letters == "MmJjBbecv")
    }

    @Test("whether it is a subflow is known only when everything was told")
    func notToldWhether() {
        var forge = Forge.head()
        #expect(forge.socket(.tcp)?.isSubflow == nil)
        forge.attribute(15, [0, 0, 0, 0])
        #expect(forge.socket(.tcp)?.isSubflow == false)
    }

    @Test("what is no such socket is refused")
    func refused() {
        #expect(Forge.head(family: 1).socket(.tcp) == nil)
        #expect(Forge.head(state: 0).socket(.tcp) == nil)
        #expect(Forge.head(state: 13).socket(.tcp) == nil)
        // An MPTCP socket without its information, and a raw socket.
        #expect(Forge.head().socket(.mptcp) == nil)
        var raw = Forge.head()
        raw.attribute(2, Forge.info(length: 96))
        raw.attribute(10, [255])
        #expect(raw.socket(.mptcp) == nil)
        var short = Forge.head()
        short.attribute(2, Forge.info(length: 15))
        #expect(short.socket(.mptcp) == nil)
    }

    @Test("every truncation and every flipped byte is survived, and no length is believed")
    func hostile() {
        var forge = Forge.head(family: 10, state: 10)
        forge.attribute(2, Forge.info(length: 96))
        var ulp = Forge()
        ulp.attribute(1, Array("mptcp".utf8))
        forge.attribute(19, ulp.bytes)
        forge.attribute(11, [])
        forge.attribute(21, [1, 2])
        let whole = forge.bytes
        for length in 0...whole.count {
            let cut = Array(whole.prefix(length))
            let tcp = InetSocket(cut.span.bytes, payload: 0..<length, table: .tcp)
            #expect((tcp != nil) == (length >= 72))
            _ = InetSocket(cut.span.bytes, payload: 0..<length, table: .mptcp)
            // A payload that claims more than there is.
            #expect(InetSocket(cut.span.bytes, payload: 0..<whole.count + 1, table: .tcp) == nil)
        }
        for place in whole.indices {
            for value: UInt8 in [0, 1, 3, 0x7f, 0x80, 0xff] {
                var bent = whole
                bent[place] = value
                _ = InetSocket(bent.span.bytes, payload: 0..<bent.count, table: .mptcp)
                _ = InetSocket(bent.span.bytes, payload: 0..<bent.count, table: .tcp)
            }
        }
    }

    @Test("messages: padding, an end that is not aligned, lengths that lie")
    func messages() {
        var forge = Forge()
        for (length, sequence) in [(17, 1), (16, 2), (18, 3)] {
            forge.put(UInt32(length))
            forge.put(UInt16(20))
            forge.put(UInt16(2))
            forge.put(UInt32(sequence))
            forge.put(UInt32(0))
            forge.bytes += [UInt8](repeating: 0xaa, count: sequence == 3 ? 2 : (length - 16 + 3) & ~3)
        }
        var cursor = NetlinkMessageCursor()
        var found: [NetlinkMessage] = []
        while let message = cursor.next(in: forge.bytes.span.bytes) { found.append(message) }
        #expect(found.map(\.sequence) == [1, 2, 3])
        #expect(found.map(\.payload) == [16..<17, 36..<36, 52..<54])
        #expect(!cursor.broken)
        for length: UInt32 in [0, 15, 55, 0x7fff_ffff, 0x8000_0010, .max] {
            var bent = forge.bytes
            withUnsafeBytes(of: length) { bent.replaceSubrange(0..<4, with: $0) }
            var cursor = NetlinkMessageCursor()
            #expect(cursor.next(in: bent.span.bytes) == nil)
            #expect(cursor.broken)
            #expect(cursor.next(in: bent.span.bytes) == nil)
        }
        var empty = NetlinkMessageCursor()
        let nothing: [UInt8] = []
        #expect(empty.next(in: nothing.span.bytes) == nil)
        #expect(!empty.broken)
    }
}

@Suite("Joining the tables")
struct JoinTests {
    private func socket(
        _ table: TransportProtocol, _ address: Address = Address(v4: 1), port: UInt16 = 80, inode: UInt32,
        cookie: UInt64, subflow: Bool? = nil, state: SocketState = .listening, v6Only: Bool? = nil
    ) -> InetSocket {
        InetSocket(
            table: table, state: state, local: Endpoint(address, port), remote: .unspecified, inode: inode,
            uid: 0, cookie: cookie, v6Only: v6Only, isSubflow: subflow, subflow: nil, cgroup: nil,
            mptcp: table == .mptcp ? MptcpInfo(subflows: 1, flags: 0, token: 1, checksum: false) : nil)
    }

    private func joined(_ mptcp: [InetSocket], _ tcp: [InetSocket]) -> [String] {
        var snapshot = Snapshot(time: 0)
        snapshot.add(mptcp: mptcp, tcp: tcp, netns: 5)
        return snapshot.listeners.map {
            "\($0.transport?.rawValue ?? "?") \($0.inode) \($0.cookie) \($0.mskCookie)"
        }
    }

    @Test("by inode, whatever the order, with and without privileges")
    func byInode() {
        for told: Bool? in [true, nil] {
            #expect(
                joined(
                    [socket(.mptcp, inode: 1, cookie: 11), socket(.mptcp, inode: 2, cookie: 12)],
                    [
                        socket(.tcp, inode: 3, cookie: 23, subflow: told == nil ? nil : false),
                        socket(.tcp, inode: 2, cookie: 22, subflow: told),
                        socket(.tcp, inode: 1, cookie: 21, subflow: told),
                    ]) == ["mptcp 1 21 11", "mptcp 2 22 12", "tcp 3 23 0"])
        }
    }

    @Test("without inodes in order, one to one")
    func inOrder() {
        #expect(
            joined(
                [socket(.mptcp, inode: 0, cookie: 11), socket(.mptcp, inode: 0, cookie: 12)],
                [
                    socket(.tcp, inode: 0, cookie: 21, subflow: true),
                    socket(.tcp, inode: 0, cookie: 22, subflow: true),
                    socket(.tcp, inode: 0, cookie: 23, subflow: true),
                ]) == ["mptcp 0 21 11", "mptcp 0 22 12", "mptcp 0 23 0"])
    }

    @Test("what does not belong together stays apart")
    func neverInvented() {
        #expect(
            joined(
                [socket(.mptcp, inode: 1, cookie: 11)],
                [
                    socket(.tcp, port: 81, inode: 1, cookie: 21, subflow: true),
                    socket(.tcp, inode: 2, cookie: 22, subflow: true),
                    socket(.tcp, Address(v4: 2), inode: 1, cookie: 23, subflow: false),
                ]) == ["mptcp 1 0 11", "mptcp 1 21 0", "mptcp 2 22 0", "tcp 1 23 0"])
    }

    @Test("the side is the server's where an MPTCP listener takes such connections")
    func side() {
        func side(_ listener: InetSocket, _ local: Address, port: UInt16 = 80) -> Side? {
            var snapshot = Snapshot(time: 0)
            let connection = socket(.mptcp, local, port: port, inode: 9, cookie: 9, state: .established)
            snapshot.add(mptcp: [listener, connection], tcp: [], netns: 5)
            return snapshot.connections.first?.side
        }
        let v4 = Address(v4: 0x7f00_0001)
        let v6 = Address(high: 0, low: 1)
        #expect(side(socket(.mptcp, v4, inode: 1, cookie: 1), v4) == .server)
        #expect(side(socket(.mptcp, v4, inode: 1, cookie: 1), v4, port: 81) == nil)
        #expect(side(socket(.mptcp, v4, inode: 1, cookie: 1), Address(v4: 1)) == nil)
        #expect(side(socket(.mptcp, Address(v4: 0), inode: 1, cookie: 1), v4) == .server)
        #expect(side(socket(.mptcp, Address(v4: 0), inode: 1, cookie: 1), v6) == nil)
        #expect(side(socket(.mptcp, .unspecified, inode: 1, cookie: 1), v6) == .server)
        #expect(side(socket(.mptcp, .unspecified, inode: 1, cookie: 1), v4) == .server)
        #expect(side(socket(.mptcp, .unspecified, inode: 1, cookie: 1, v6Only: true), v4) == nil)
    }

    @Test("only open connections")
    func openOnly() {
        for state in SocketState.allCases {
            var snapshot = Snapshot(time: 0)
            snapshot.add(mptcp: [socket(.mptcp, inode: 1, cookie: 1, state: state)], tcp: [], netns: 5)
            #expect(snapshot.connections.count == (SocketState.open.contains(state) ? 1 : 0))
        }
    }
}
