// SPDX-License-Identifier: Apache-2.0

import Handshake
import Output
import TestSupport
import Testing

@Suite struct StatusTests {
    /// A server with a bit of everything, an empty namespace, and what could not be seen.
    static var namespaces: [StatusNamespace] {
        var blue = StatusNamespace(inode: 4_026_532_531, name: "blue", isOwn: true, enabled: true)
        blue.settings = [
            .init(name: "net.mptcp.checksum_enabled", value: "1"),
            .init(name: "net.mptcp.enabled", value: "1"),
        ]
        blue.changed = [.init(name: "net.mptcp.checksum_enabled", value: "1")]
        var listener = Samples.listener
        listener.owner = Samples.owner("nginx", 811, .holder)
        listener.enabledAtCreation = true
        blue.listeners = [listener]
        var both = StatusConnection(
            conn: 1, local: Samples.v4Remote, remote: Samples.v4Local, state: .mptcp,
            tcpState: "established", netns: blue.inode)
        both.listener = 3
        both.side = .server
        both.owner = Samples.owner("nginx", 811, .holder)
        both.uid = 33
        both.token = 0x99e7_d462
        both.hasRemoteKey = true
        both.checksum = true
        both.enabledAtCreation = true
        both.subflows = 2
        var first = StatusSubflow(
            number: 0, local: Samples.v4Remote, remote: Samples.v4Local, tcpState: "established")
        first.localID = 0
        first.remoteID = 0
        first.backup = false
        first.flags = "Mec"
        first.token = both.token
        var second = StatusSubflow(
            number: 1, local: Samples.v6Remote, remote: Samples.v6Local, tcpState: "fin_wait_1")
        second.localID = 255
        second.remoteID = 7
        second.backup = true
        second.flags = "JBec"
        second.token = both.token
        second.remoteToken = 0x53a5_4b35
        both.list = [first, second]
        var fallen = StatusConnection(
            conn: 2, local: Samples.v6Local, remote: Samples.v6Remote, state: .fallback,
            tcpState: "close_wait", netns: blue.inode)
        fallen.side = .client
        fallen.hasRemoteKey = false
        fallen.enabledAtCreation = true
        fallen.subflows = 1
        fallen.list = [
            StatusSubflow(
                number: 0, local: Samples.v6Local, remote: Samples.v6Remote, tcpState: "close_wait")
        ]
        let plain = StatusConnection(
            conn: 3, local: Samples.v4Remote, remote: Endpoint(Address(v4: 0x0a00_0009), 5), state: .plain,
            tcpState: "established", netns: blue.inode)
        blue.connections = [both, fallen, plain]
        blue.otherTcp = 12
        return [blue, StatusNamespace(inode: 4_026_532_999, name: "\u{1b}[2J", isOwn: false, enabled: false)]
    }

    /// Where MPTCP was switched off and checksums on with all of that open, and a TCP listener.
    static var switchedOff: StatusNamespace {
        var red = namespaces[0]
        red.name = "red"
        red.enabled = false
        red.settings = [
            .init(name: "net.mptcp.checksum_enabled", value: "1"),
            .init(name: "net.mptcp.enabled", value: "0"),
        ]
        red.connections[0].checksum = false
        // A connection that fell back has none, and is no news.
        red.connections[1].checksum = false
        var tcp = Samples.listener
        tcp.transport = .tcp
        tcp.local.port = 80
        tcp.owner = Samples.owner("sshd\u{1b}", 9, .holder)
        red.listeners.append(tcp)
        return red
    }

    private func text(
        _ namespaces: [StatusNamespace] = Self.namespaces, width: Int, colour: Bool = false
    ) -> [UInt8] {
        var writer = StatusWriter(width: width, colour: colour, names: Samples.names)
        var text = ByteBuffer()
        writer.write(namespaces, to: &text)
        return text.bytes()
    }

    @Test(arguments: [0, 120, 100, 80, 60, 40])
    func table(width: Int) throws {
        let bytes = text(width: width)
        try expectGolden(bytes, "status-\(width).txt")
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where width > 0 {
            #expect(line.unicodeScalars.count <= width, "\(line)")
            #expect(line.last != " ")
        }
    }

    @Test(arguments: [0, 160, 120, 100, 80, 60, 40])
    func madeBefore(width: Int) throws {
        let bytes = text([Self.switchedOff], width: width)
        try expectGolden(bytes, "status-off-\(width).txt")
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where width > 0 {
            #expect(line.unicodeScalars.count <= width, "\(line)")
            #expect(line.last != " ")
        }
    }

    @Test func everyWidthFits() {
        for width in 40...200 {
            for namespace in [Self.namespaces[0], Self.switchedOff] {
                let lines = String(decoding: text([namespace], width: width), as: UTF8.self)
                    .split(separator: "\n")
                #expect(lines.allSatisfy { $0.unicodeScalars.count <= width }, "\(width)")
            }
        }
    }

    @Test func oldValuesAreYellow() {
        let coloured = String(decoding: text([Self.switchedOff], width: 80, colour: true), as: UTF8.self)
        #expect(coloured.contains("\u{1b}[33m1, now 0\u{1b}[0m"))
        let usual = String(decoding: text(width: 80, colour: true), as: UTF8.self)
        #expect(!usual.contains(", now") && !usual.contains("\u{1b}[33m1"))
    }

    /// The paragraphs below the table, as one line each.
    private func sentences(_ namespace: StatusNamespace) -> [String] {
        String(decoding: text([namespace], width: 0), as: UTF8.self).split(separator: "\n")
            .drop { !$0.hasPrefix("and 12 other") }.dropFirst().map(String.init)
    }

    @Test func whoLivesByAnOldValue() {
        var space = Self.switchedOff
        space.settings = []
        #expect(
            sentences(space) == [
                "1 listener and 1 connection were made while net.mptcp.enabled was 1, which is 0 now: they go on "
                    + "with MPTCP until they are closed. Restart nginx (pid 811)."
            ])
        space.connections.removeFirst()
        space.listeners[0].owner = nil
        #expect(
            sentences(space) == [
                "1 listener was made while net.mptcp.enabled was 1, which is 0 now: it goes on with MPTCP until "
                    + "it is closed."
            ])
        space.listeners.removeFirst()
        #expect(sentences(space) == [])
        // More than can be named; a name that would move the cursor.
        space.listeners = (1...10).map { number in
            var listener = Self.switchedOff.listeners[0]
            listener.owner = Samples.owner("a\u{1b}", UInt32(number), .holder)
            return listener
        }
        #expect(
            sentences(space).first?.hasSuffix(
                "Restart a\\x1b (pid 1), a\\x1b (pid 2), a\\x1b (pid 3), a\\x1b (pid 4), a\\x1b (pid 5), "
                    + "a\\x1b (pid 6), a\\x1b (pid 7), a\\x1b (pid 8) and 2 more.") == true)
        // On, or not known: nothing is old.
        for enabled in [true, nil] {
            space.enabled = enabled
            #expect(sentences(space) == [])
        }
    }

    @Test func ofSystemdTheSocketUnitIsNamed() {
        let space = Self.switchedOff
        for unit in [Unit("nginx.socket", .socket), nil] {
            var writer = StatusWriter(
                width: 0, colour: false,
                names: { _ in CgroupName(path: "/init.scope", manager: .system) }, sockets: { _ in unit })
            var bytes = ByteBuffer()
            writer.write([space], to: &bytes)
            let text = String(decoding: bytes.bytes(), as: UTF8.self)
            #expect(text.contains("Restart nginx.socket.") == (unit != nil))
            #expect(text.contains("Restart") == (unit != nil))
        }
    }

    @Test func checksumsThatAreOld() {
        var space = Self.switchedOff
        space.enabled = true
        #expect(
            sentences(space) == [
                "1 connection was made while net.mptcp.checksum_enabled was 0, which is 1 now: it goes on without "
                    + "checksums."
            ])
        space.settings = [.init(name: "net.mptcp.checksum_enabled", value: "0")]
        #expect(sentences(space) == [])
        space.connections[0].checksum = true
        space.connections.append(space.connections[0])
        #expect(
            sentences(space) == [
                "2 connections have checksums though net.mptcp.checksum_enabled is 0: they were made before, or "
                    + "their peers asked for them."
            ])
    }

    @Test func json() throws {
        var writer = RecordWriter(realtimeOffset: Samples.offset, names: Samples.names)
        var lines = ByteBuffer()
        writer.write(Samples.meta, to: &lines)
        for namespace in Self.namespaces + [Self.switchedOff] {
            writer.write(namespace, at: Samples.time(0), to: &lines)
        }
        for kind in StatusHidden.Kind.allCases {
            writer.write(
                StatusHidden(kind, count: kind == .owners ? 3 : nil, message: "the processes of 3 sockets"),
                at: Samples.time(0), to: &lines)
        }
        try expectGolden(lines.bytes(), "status.jsonl")
        try SchemaTests().validate(lines.bytes())
    }
}
