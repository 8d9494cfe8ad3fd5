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

    private func text(width: Int) -> [UInt8] {
        var writer = StatusWriter(width: width, colour: false, names: Samples.names)
        var text = ByteBuffer()
        writer.write(Self.namespaces, to: &text)
        return text.bytes()
    }

    @Test(arguments: [0, 120, 80, 60, 40])
    func table(width: Int) throws {
        let bytes = text(width: width)
        try expectGolden(bytes, "status-\(width).txt")
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where width > 0 {
            #expect(line.unicodeScalars.count <= width, "\(line)")
            #expect(line.last != " ")
        }
    }

    @Test func json() throws {
        var writer = RecordWriter(realtimeOffset: Samples.offset, names: Samples.names)
        var lines = ByteBuffer()
        writer.write(Samples.meta, to: &lines)
        for namespace in Self.namespaces { writer.write(namespace, at: Samples.time(0), to: &lines) }
        for kind in StatusHidden.Kind.allCases {
            writer.write(
                StatusHidden(kind, count: kind == .owners ? 3 : nil, message: "the processes of 3 sockets"),
                at: Samples.time(0), to: &lines)
        }
        try expectGolden(lines.bytes(), "status.jsonl")
        try SchemaTests().validate(lines.bytes())
    }
}
