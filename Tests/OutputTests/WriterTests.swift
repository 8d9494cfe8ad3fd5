// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Testing

@testable import Output

@Suite struct WriterTests {
    private func text(_ write: (inout ByteBuffer) -> Void) -> String {
        var buffer = ByteBuffer(capacity: 1)
        write(&buffer)
        return String(decoding: buffer.bytes(), as: UTF8.self)
    }

    @Test func decimals() {
        var edges: [UInt64] = [0, .max]
        var power: UInt64 = 1
        for _ in 0..<20 {
            edges += [power - 1, power, power + 1]
            power = power &* 10
        }
        var dice = Dice(seed: 1)
        for value in edges + (0..<20_000).map({ _ in dice.next() }) {
            #expect(text { $0.append(decimal: value) } == "\(value)")
        }
        for bit in 0..<64 {
            #expect(text { $0.append(decimal: UInt64(1) << UInt64(bit)) } == "\(UInt64(1) << UInt64(bit))")
        }
    }

    @Test func tokens() {
        var dice = Dice(seed: 2)
        for value in [0, 1, 0xff, .max] + (0..<2000).map({ _ in UInt32(truncatingIfNeeded: dice.next()) }) {
            let digits = String(value, radix: 16)
            #expect(
                text { $0.append(token: value) } == String(repeating: "0", count: 8 - digits.count) + digits)
        }
    }

    @Test func addressesAreThoseOfTheSystem() throws {
        var dice = Dice(seed: 3)
        let special = [
            Address.unspecified, Address(high: 0, low: 1), Address(high: 1 << 48, low: 0),
            Address(high: 0xfe80 << 48, low: 1), Address(high: 0, low: 0x0001_0000_0000),
        ]
        for address in special + (0..<20_000).map({ _ in dice.address() }) {
            let got = text { $0.append(address: address) }
            var name = [CChar](repeating: 0, count: 64)
            var back = Address.unspecified
            if address.isV4 {
                var raw = in_addr(s_addr: UInt32(truncatingIfNeeded: address.low).bigEndian)
                try #require(inet_ntop(AF_INET, &raw, &name, 64) != nil)
                var parsed = in_addr()
                try #require(inet_pton(AF_INET, got, &parsed) == 1)
                back = Address(v4: UInt32(bigEndian: parsed.s_addr))
            } else {
                var raw = (address.high.bigEndian, address.low.bigEndian)
                try #require(inet_ntop(AF_INET6, &raw, &name, 64) != nil)
                try #require(inet_pton(AF_INET6, got, &raw) == 1)
                back = Address(high: UInt64(bigEndian: raw.0), low: UInt64(bigEndian: raw.1))
            }
            #expect(got == OutputTests.text(of: name))
            #expect(back == address)
        }
    }

    @Test func timesAreThoseOfTheSystem() throws {
        var dice = Dice(seed: 4)
        var clock = TimeText()
        let edges: [UInt64] = [0, 951_782_399, 951_782_400, 951_868_800, 4_107_542_399, 4_107_542_400]
        // 18446744073 s, in the year 2554, is as far as 64 bits of ns go.
        for second in edges + (0..<20_000).map({ _ in dice.any() % 18_446_744_073 }) {
            let fraction = dice.any() % 1_000_000_000
            var time = time_t(second)
            var parts = tm()
            try #require(gmtime_r(&time, &parts) != nil)
            var wanted = [CChar](repeating: 0, count: 64)
            strftime(&wanted, 64, "%Y-%m-%dT%H:%M:%S.", &parts)
            let digits = "\(fraction)"
            let head = OutputTests.text(of: wanted)
            let got = text { clock.write(second * 1_000_000_000 + fraction, to: &$0) }
            #expect(got == head + String(repeating: "0", count: 9 - digits.count) + digits + "Z")
        }
    }

    @Test(
        arguments: [
            (0, "0 µs"), (999, "0 µs"), (999_999, "999 µs"), (1_000_000, "1.00 ms"), (9_999_999, "9.99 ms"),
            (10_000_000, "10.0 ms"), (123_456_789, "123 ms"), (999_999_999, "999 ms"),
            (1_000_000_000, "1.00 s"),
            (59_990_000_000, "59.9 s"), (3_600_000_000_000, "3600 s"),
        ] as [(UInt64, String)])
    func spans(ns: UInt64, wanted: String) {
        #expect(text { $0.append(span: ns) } == wanted)
    }

    @Test func namesComeBack() {
        var dice = Dice(seed: 5)
        let random = (0..<20_000).map { _ in
            (0..<Int(dice.any() % 17)).map { _ in
                // UTF-8 leads and continuations often, so that real characters come up.
                dice.any() & 3 == 0
                    ? UInt8(0xc2 + dice.any() % 0x33)
                    : dice.any() & 1 == 0
                        ? UInt8(0x80 + dice.any() % 0x40) : UInt8(1 + dice.any() % 255)
            }
        }
        for name in Samples.hostile + random {
            let comm = Comm(name)
            let encoded = text { $0.append(json: comm) }
            let values = encoded.unicodeScalars.map(\.value)
            #expect(values.allSatisfy { $0 >= 0x20 && !(0x7f...0x9f).contains($0) })
            #expect(KernelText.bytes(of: unescaped(encoded).utf8) == Array(name.prefix(16)))
        }
    }

    /// A JSON string without its escapes; only those that the writer uses.
    private func unescaped(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        var rest = text.unicodeScalars[...]
        while let next = rest.popFirst() {
            guard next == "\\", let kind = rest.popFirst() else {
                result.append(next)
                continue
            }
            guard kind == "u" else {
                result.append(kind)
                continue
            }
            let digits = String(String.UnicodeScalarView(rest.prefix(4)))
            rest = rest.dropFirst(4)
            if let value = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(value) {
                result.append(scalar)
            }
        }
        return String(result)
    }

    @Test func bufferGrowsAndShrinks() {
        var buffer = ByteBuffer(capacity: 1)
        for byte in 0..<1000 { buffer.append(UInt8(truncatingIfNeeded: byte)) }
        #expect(buffer.count == 1000)
        buffer.dropFirst(990)
        #expect(buffer.bytes() == (990..<1000).map { UInt8(truncatingIfNeeded: $0) })
        buffer.dropFirst(99)
        #expect(buffer.count == 0)
    }

    @Test func cgroupsAreLookedUpOnce() {
        var asked: [UInt64] = []
        do {
            var writer = RecordWriter(realtimeOffset: 0) { id in
                asked.append(id)
                return id % 2 == 0 ? nil : CgroupName(path: "/\(id)", unit: Unit("u\(id)", .scope))
            }
            var lines = ByteBuffer()
            for id: UInt64 in [1, 2, 1, 1, 2, 3, 0] {
                var record = Samples.success
                record.owner?.cgroup = id
                lines.clear()
                writer.write(.handshake(record), to: &lines)
                let line = String(decoding: lines.bytes(), as: UTF8.self)
                #expect(line.contains("\"cgroup\":\"/\(id)\",\"unit\":\"u\(id)\"") == (id % 2 == 1))
                #expect(line.contains("cgroup") == (id % 2 == 1))
            }
            for id: UInt64 in 10..<6000 {
                var record = Samples.success
                record.owner?.cgroup = id
                writer.write(.handshake(record), to: &lines)
            }
        }
        #expect(asked.prefix(3) == [1, 2, 3])
        #expect(asked.count == 3 + 5990)
    }

    /// What was not written is not claimed.
    @Test func evidenceIsWhatWasWritten() {
        var writer = RecordWriter(realtimeOffset: 0)
        var record = Samples.anomaly
        record.evidence = [.connection(8), .listener(4), .change(2), .refusal(9), .step(5)]
        var handshake = Samples.success
        handshake.conn = 8
        let change = SettingChange(
            time: 1, netns: 7, name: "net.mptcp.enabled", old: "1", new: "0", source: .bpf)
        var refused = Observation(time: 1, step: .socketRefused, hook: .initSock)
        refused.netns = 7
        let step = StepRecord(
            observation: refused, conn: 9, subflow: 0, listener: 0, side: .client, owner: nil, from: .none,
            to: .closed)
        let lines = text {
            writer.write(.anomaly(record), to: &$0)
            writer.write(.step(step), to: &$0)
            writer.write(.listener(Samples.opened), to: &$0)
            writer.write(.sysctl(SysctlRecord(change: change, sampledAt: .socket, number: 2)), to: &$0)
            writer.write(.handshake(handshake), to: &$0)
            writer.write(.anomaly(record), to: &$0)
        }.split(separator: "\n")
        #expect(!lines[0].contains("evidence"))
        #expect(lines[5].contains("\"evidence\":[2,3,4,5]}"))
        #expect(writer.sequence == 6)
    }
}
