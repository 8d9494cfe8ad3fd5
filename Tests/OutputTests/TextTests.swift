// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Testing

@testable import Output

@Suite struct TextTests {
    /// Every line fits, and holds nothing that a terminal would obey.
    private func check(_ bytes: [UInt8], width: Int) {
        let text = String(validating: bytes, as: UTF8.self)
        #expect(text != nil, "not UTF-8")
        for line in (text ?? "").split(separator: "\n") {
            var wide = 0
            for character in line.unicodeScalars {
                let columns = columns(character.value)
                #expect(columns != nil, "U+\(String(character.value, radix: 16)) in \(line)")
                wide += columns ?? 0
            }
            #expect(wide <= width, "\(wide) columns: \(line)")
            #expect(line.last != " ", "space at the end: \(line)|")
        }
    }

    @Test(
        arguments: [300, 160, 130, 129, 115, 100, 99, 80, 78, 77, 60, 52, 51, 40, 32, 31, 20], [false, true])
    func neverWiderThanAsked(width: Int, steps: Bool) {
        check(Samples.text(Samples.all, width: width, steps: steps), width: width)
        check(Samples.text(GoldenTests.hostileHandshakes, width: width, steps: steps), width: width)
    }

    @Test func randomNames() {
        var dice = Dice(seed: 6)
        var records: [Record] = []
        for _ in 0..<2000 {
            var record = Samples.served
            record.owner?.comm = Comm(first: dice.any(), second: dice.any())
            record.local = Endpoint(dice.address(), UInt16(truncatingIfNeeded: dice.next()))
            record.remote = Endpoint(dice.address(), UInt16(truncatingIfNeeded: dice.next()))
            record.timings.total = dice.next()
            records.append(.handshake(record))
        }
        for width in [100, 80, 60, 40] {
            check(Samples.text(records, width: width), width: width)
            check(Samples.text(records, width: width, steps: true), width: width)
        }
    }

    @Test func adviceIsGivenOnce() {
        let twice = Samples.text([.handshake(Samples.served), .handshake(Samples.served)], width: 0)
        let text = String(decoding: twice, as: UTF8.self)
        #expect(text.split(separator: "\n").filter { $0.contains("↳ listener_is_tcp") }.count == 1)
        #expect(text.split(separator: "\n").filter { $0.hasSuffix(" listener_is_tcp") }.count == 2)
    }

    @Test func laddersAreBounded() {
        var writer = TextWriter(width: 100, colour: false, steps: true, realtimeOffset: 0, utcOffset: 0)
        var text = ByteBuffer()
        for conn in 1...5000 as ClosedRange<UInt64> {
            for _ in 0..<3 {
                writer.write(
                    Samples.step(0, .synSent, .skbEgress, conn: conn, from: .none, to: .synSent), to: &text)
            }
        }
        for _ in 0..<200 {
            writer.write(
                Samples.step(0, .synSent, .skbEgress, conn: 5001, from: .none, to: .synSent), to: &text)
        }
        #expect(text.count == 0)
        func lines(of conn: UInt64) -> Int {
            var record = Samples.success
            record.conn = conn
            text.clear()
            writer.write(.handshake(record), to: &text)
            return text.bytes().filter { $0 == UInt8(ascii: "\n") }.count
        }
        #expect(lines(of: 1) == 2)  // forgotten: heading and empty line
        #expect(lines(of: 5000) == 5)
        #expect(lines(of: 5001) == 2 + 1 + 64)
    }

    @Test func boundedTableForgetsTheOldest() {
        var table = BoundedTable<Int, Int>(limit: 3)
        for round in 0..<50 {
            table.update(round, default: 0) { $0 += round }
            if round % 5 == 0 { _ = table.remove(round) }
            #expect(table.count <= 3)
        }
        #expect(table[49] == 49 && table[48] == 48 && table[47] == 47 && table[46] == nil)
    }

    @Test func localTimeFollowsTheSystem() throws {
        var clock = LocalTime(fixed: nil)
        var dice = Dice(seed: 8)
        for _ in 0..<2000 {
            var second = time_t(dice.any() % 4_000_000_000)
            var parts = tm()
            try #require(localtime_r(&second, &parts) != nil)
            var wanted = [CChar](repeating: 0, count: 32)
            strftime(&wanted, 32, "%H:%M:%S", &parts)
            var text = ByteBuffer()
            clock.append(UInt64(second) * 1_000_000_000, milliseconds: false, to: &text)
            #expect(text.bytes() == wanted.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) })
        }
    }
}
