// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Handshake

@Suite struct SelectionTests {
    private func records(steps: Bool = true) -> [Record] {
        var options = Tracker.Options()
        options.steps = steps
        var tracker = Tracker(options)
        var walk = Walk()
        var found = tracker.feed([
            walk.listen(), walk.connect(), walk.synackIn(), walk.verdict(true), walk.mskClosed(),
        ])
        walk.next()
        found += tracker.feed([
            walk.connect(), walk.synackIn(.optionAbsent), walk.verdict(false), walk.mskClosed(),
        ])
        return found
    }

    private func select(_ change: (inout Selection) -> Void) -> [Record] {
        var selection = Selection()
        change(&selection)
        var out: ContiguousArray<Record> = []
        for record in records() { selection.pass(record, to: &out) }
        return Array(out)
    }

    @Test func stepsWaitForTheVerdict() {
        let out = select { $0.outcomes = [.fallback] }
        #expect(out.handshakes.map(\.outcome) == [.fallback])
        #expect(out.closes.map(\.conn) == out.handshakes.map(\.conn))
        let conn = out.handshakes.first?.conn
        #expect(out.steps.filter { $0.conn != 0 }.allSatisfy { $0.conn == conn })
        #expect(out.steps.filter { $0.conn != 0 }.count == 4)
        #expect(out.listeners.count == 1)
    }

    @Test func otherProcessesAreLeftOut() {
        #expect(select { $0.pid = 1 }.handshakes.isEmpty)
        #expect(select { $0.pid = 812 }.handshakes.count == 2)
        #expect(select { $0.comm = Comm("nginx".utf8) }.handshakes.count == 2)
        #expect(select { $0.comm = Comm("ngin".utf8) }.handshakes.isEmpty)
        #expect(select { $0.cgroup = { $0 == 9 } }.handshakes.count == 2)
        #expect(select { $0.cgroup = { $0 == 8 } }.handshakes.isEmpty)
    }

    @Test func endsAreHeldAgainstBothAddresses() {
        #expect(select { $0.port = 443 }.handshakes.count == 2)
        #expect(select { $0.port = 40_001 }.handshakes.count == 1)
        #expect(select { $0.localPort = 443 }.handshakes.isEmpty)
        #expect(select { $0.remotePort = 443 }.handshakes.count == 2)
        #expect(select { $0.family = 6 }.handshakes.isEmpty)
        #expect(
            select {
                $0.address = Address(v4: 0x0a00_0000)
                $0.prefixLength = 96 + 8
            }.handshakes.count == 2)
        #expect(
            select {
                $0.address = Address(v4: 0x0b00_0000)
                $0.prefixLength = 96 + 8
            }.handshakes.isEmpty)
        #expect(select { $0.namespaces = [78] }.isEmpty)
    }

    @Test func aRefusedSocketIsNobodysHandshake() {
        var tracker = Tracker(Self.withSteps)
        var refused = Observation(time: 5, step: .socketRefused, hook: .initSock, side: .client)
        refused.netns = 77
        refused.owner = Walk.owner
        tracker.take(refused)
        for (namespaces, count) in [(Set<UInt32>([77]), 1), ([78], 0)] {
            var selection = Selection()
            selection.namespaces = namespaces
            var out: ContiguousArray<Record> = []
            for record in tracker.records { selection.pass(record, to: &out) }
            #expect(Array(out).steps.count == count)
        }
    }

    private static var withSteps: Tracker.Options {
        var options = Tracker.Options()
        options.steps = true
        return options
    }

    @Test func findingsPassWithoutTheirConnection() {
        var tracker = Tracker()
        var walk = Walk()
        let found = tracker.feed([walk.connect(), walk.synackIn(), walk.verdict(false)])
        var selection = Selection()
        selection.pid = 1
        var out: ContiguousArray<Record> = []
        for record in found { selection.pass(record, to: &out) }
        #expect(Array(out).anomalies.count == 1)
        #expect(Array(out).steps.isEmpty)
    }
}
