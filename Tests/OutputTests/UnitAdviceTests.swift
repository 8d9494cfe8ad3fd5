// SPDX-License-Identifier: Apache-2.0

import Handshake
import Testing

@testable import Output

@Suite struct UnitAdviceTests {
    @Test(
        arguments: [
            (Unit("nginx.service", .service), "and restart it (systemctl restart nginx.service)."),
            (
                Unit(#"a\x2db.service"#, .service, isUser: true),
                #"and restart it (systemctl --user restart 'a\x2db.service')."#
            ),
            (
                Unit("nginx.service", .service, container: "0123456789ab"),
                "and restart it (systemctl restart nginx.service in the container 0123456789ab)."
            ),
            (
                Unit("web.socket", .socket),
                "and restart it (SocketProtocol=mptcp in web.socket; systemctl restart web.socket)."
            ),
            (Unit("session-3.scope", .scope), "and restart it (it runs in session-3.scope)."),
            (Unit("0123456789ab", .container), "and restart the container 0123456789ab."),
        ])
    func restart(unit: Unit, end: String) {
        let advice = Reason.listenerIsTcp.advice(for: unit)
        #expect(advice.hasSuffix(end), "\(advice)")
        #expect(advice.hasPrefix("The client asked for MPTCP but this listener"))
        // In JSON it is put together from pieces.
        var record = Samples.served
        record.owner?.cgroup = 1
        var writer = RecordWriter(realtimeOffset: 0) { _ in CgroupName(path: "/a", unit: unit) }
        var line = ByteBuffer()
        writer.write(.handshake(record), to: &line)
        var wanted = ByteBuffer()
        wanted.append(json: advice)
        let text = String(decoding: line.bytes(), as: UTF8.self)
        #expect(text.contains("\"advice\":\"" + String(decoding: wanted.bytes(), as: UTF8.self) + "\","))
    }

    @Test func elsewhere() {
        let unit = Unit("curl.service", .service)
        #expect(Reason.closedByProcess.advice(for: unit).hasSuffix("connect timeout (curl.service)."))
        #expect(Reason.noSynack.advice(for: unit) == Reason.noSynack.advice)
        for reason in Reason.allCases {
            #expect(reason.advice.hasSuffix("."))
            #expect(reason.advice(for: nil) == reason.advice)
            // Wherever it says so, it says so last.
            #expect(reason.advice.contains("restart it") == (reason.unitPlace == .restart))
        }
    }

    /// What systemd listens on is a socket unit's; what is not found is asked for again.
    @Test func socketUnits() {
        var asked: [ManagedSocket] = []
        var known = false
        var record = Samples.served
        var lines: [String] = []
        do {
            var writer = RecordWriter(realtimeOffset: 0) { _ in
                CgroupName(path: "/init.scope", manager: .system)
            } sockets: { socket in
                asked.append(socket)
                return known ? Unit("web.socket", .socket) : nil
            }
            func write() {
                var line = ByteBuffer()
                writer.write(.handshake(record), to: &line)
                lines.append(String(decoding: line.bytes(), as: UTF8.self))
            }
            write()
            known = true
            write()
            write()
            record.side = .client
            write()
        }
        #expect(asked.count == 2)
        let question = ManagedSocket(
            manager: .system, local: Samples.v6Remote, netns: record.netns, isListener: false)
        #expect(asked.allSatisfy { $0 == question })
        #expect(lines.map { $0.contains(#""unit":"web.socket""#) } == [false, true, true, false])
        #expect(lines.allSatisfy { $0.contains(#""cgroup":"/init.scope""#) })
    }

    /// The text's advice is told again for another unit, and only then.
    @Test func toldForEachUnit() {
        var records: [Record] = []
        for cgroup: UInt64 in [1, 2, 1, 2, 0] {
            var record = Samples.served
            record.owner?.cgroup = cgroup
            records.append(.handshake(record))
        }
        var writer = TextWriter(
            width: 0, colour: false, realtimeOffset: 0, utcOffset: 0,
            names: { CgroupName(path: "/\($0)", unit: Unit("u\($0).service", .service)) })
        var text = ByteBuffer()
        for record in records { writer.write(record, to: &text) }
        let lines = String(decoding: text.bytes(), as: UTF8.self).split(separator: "\n")
        #expect(lines.filter { $0.contains("↳") }.count == 3)
        #expect(lines.filter { $0.contains("restart u2.service") }.count == 1)
    }

    /// A shell has to get the backslash as it is; what would hurt a terminal is escaped all the same.
    @Test func backslashes() {
        func told(_ unit: Unit) -> String {
            var record = Samples.served
            record.owner?.cgroup = 1
            var writer = TextWriter(
                width: 0, colour: false, realtimeOffset: 0, utcOffset: 0,
                names: { _ in CgroupName(path: "/a", unit: unit) })
            var text = ByteBuffer()
            writer.write(.handshake(record), to: &text)
            return String(decoding: text.bytes(), as: UTF8.self)
        }
        #expect(told(Unit(#"a\x2db.service"#, .service)).contains(#"restart 'a\x2db.service'"#))
        let hostile = told(Unit("a\u{1b}[2J", .container))
        #expect(hostile.contains(#"the container a\x1b[2J"#) && !hostile.contains("\u{1b}"))
    }
}
