// SPDX-License-Identifier: Apache-2.0

import Handshake
import Output
import TestSupport
import Testing

@Suite struct GoldenTests {
    @Test func jsonOfEveryRecord() throws {
        try expectGolden(Samples.json(Samples.all), "records.jsonl")
    }

    @Test func jsonOfHostileNames() throws {
        try expectGolden(Samples.json(GoldenTests.hostileHandshakes), "hostile.jsonl")
    }

    @Test(arguments: [0, 160, 132, 100, 80, 60, 40])
    func table(width: Int) throws {
        try expectGolden(Samples.text(Samples.all, width: width), "table-\(width).txt")
    }

    @Test(arguments: [100, 60, 40])
    func ladder(width: Int) throws {
        try expectGolden(Samples.text(Samples.all, width: width, steps: true), "ladder-\(width).txt")
    }

    @Test func colour() throws {
        try expectGolden(Samples.text(Samples.all, width: 100, colour: true), "colour.txt")
    }

    @Test func hostileText() throws {
        try expectGolden(Samples.text(GoldenTests.hostileHandshakes, width: 100), "hostile.txt")
    }

    @Test(arguments: [100, 40])
    func verify(width: Int) throws {
        try expectGolden(Samples.text([], width: width, verify: Samples.verified), "verify-\(width).txt")
    }

    static let hostileHandshakes: [Record] = Samples.hostile.enumerated().map { place, name in
        var record = Samples.success
        record.conn = UInt64(place + 1)
        record.owner?.comm = Comm(name)
        record.owner?.cgroup = 4243
        return .handshake(record)
    }
}
