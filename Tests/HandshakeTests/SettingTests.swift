// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Handshake

/// Changes of settings, and the listeners that go on by the old value.
@Suite struct SettingTests {
    private static let netns: UInt32 = 7

    private func listening(_ pointer: UInt64, mptcp: Bool = true, at time: UInt64, netns: UInt32 = netns)
        -> Observation
    {
        var observation = Observation(time: time, step: .listening, hook: .inetSockSetState, side: .server)
        observation.socket = pointer
        observation.netns = netns
        observation.local = Endpoint(Address(v4: 0), UInt16(8000 + pointer))
        observation.facts = mptcp ? .mptcpSocket : .plainSocket
        observation.owner = Owner(
            pid: 812, tid: 812, uid: 0, comm: Comm("nginx".utf8), cgroup: 0, source: .listen)
        return observation
    }

    private func closed(_ pointer: UInt64, at time: UInt64) -> Observation {
        var observation = listening(pointer, at: time)
        observation.step = .closed
        observation.listener = pointer
        return observation
    }

    private func write(_ old: String, _ new: String, at time: UInt64, accepted: Bool? = true) -> SettingChange
    {
        SettingChange(
            time: time, netns: Self.netns, name: "net.mptcp.enabled", old: old, new: new, source: .bpf,
            accepted: accepted)
    }

    private func accepted(_ tracker: inout Tracker, _ port: UInt16, listener: UInt64, at time: UInt64) {
        var observation = Observation(time: time, step: .established, hook: .inetSockSetState, side: .server)
        observation.socket = UInt64(port) << 8
        observation.msk = observation.socket + 1
        observation.token = UInt32(port)
        observation.listener = listener
        observation.netns = Self.netns
        observation.local = Endpoint(Address(v4: 0x0a00_0001), 8001)
        observation.remote = Endpoint(Address(v4: 0x0a00_0002), port)
        observation.facts = [.mptcpSocket, .capable]
        tracker.take(observation)
    }

    private func findings(_ tracker: Tracker) -> [AnomalyRecord] {
        tracker.records.compactMap { if case .anomaly(let it) = $0 { it } else { nil } }
    }

    private func sysctls(_ tracker: Tracker) -> [SysctlRecord] {
        tracker.records.compactMap { if case .sysctl(let it) = $0 { it } else { nil } }
    }

    @Test func oneFindingForEachListener() throws {
        var tracker = Tracker()
        tracker.take(listening(1, at: 1))
        tracker.take(listening(2, mptcp: false, at: 2))
        tracker.take(listening(3, at: 3))
        tracker.take(listening(4, at: 4, netns: 8))
        tracker.take(write("1", "0", at: 10))
        #expect(sysctls(tracker).map(\.affected.listeners) == [[1, 3]])
        var found = findings(tracker)
        #expect(found.map(\.listener) == [1, 3])
        #expect(found.map(\.severity) == [.warning, .warning])
        #expect(found.map(\.evidence) == [[.listener(1), .change(1)], [.listener(3), .change(1)]])
        #expect(found[0].message.contains("nginx (pid 812)"))
        #expect(found[0].advice.hasPrefix("Restart nginx (pid 812)"))
        // Ten connections in a moment: told once, then at most once a second.
        for port in UInt16(0)..<10 { accepted(&tracker, 40_000 + port, listener: 1, at: 20 + UInt64(port)) }
        accepted(&tracker, 41_000, listener: 1, at: 2_000_000_000)
        found = findings(tracker)
        #expect(found.dropFirst(2).map(\.state) == [.repeated, .repeated])
        #expect(found.dropFirst(2).map(\.count) == [2, 12])
        #expect(found.dropFirst(2).allSatisfy { $0.severity == .error && $0.id == found[0].id })
        // One closes, the other ends with the switch.
        tracker.take(closed(1, at: 2_000_000_001))
        tracker.take(write("0", "1", at: 2_000_000_002))
        found = findings(tracker)
        #expect(found.suffix(2).map(\.listener) == [1, 3])
        #expect(found.suffix(2).map(\.state) == [.closed, .closed])
        #expect(found.suffix(2).map(\.severity) == [.error, .warning])
    }

    @Test func whatChangesNothingLeavesNobodyBehind() {
        var tracker = Tracker()
        tracker.take(listening(1, at: 1))
        tracker.take(write("1", "1", at: 10))
        tracker.take(write("1", "7", at: 11, accepted: false))
        tracker.take(write("1", "0", at: 12, accepted: false))
        #expect(findings(tracker).isEmpty)
        #expect(sysctls(tracker).map(\.affected.listeners) == [[], [], []])
        accepted(&tracker, 40_000, listener: 1, at: 20)
        #expect(findings(tracker).isEmpty)
    }

    /// A connection proves it, also of a listener that nobody saw.
    @Test func aConnectionIsProof() throws {
        var tracker = Tracker()
        tracker.know("net.mptcp.enabled", is: "0", in: Self.netns)
        tracker.know("net.mptcp.enabled", is: "1", in: 9)
        accepted(&tracker, 40_000, listener: 0, at: 5)
        let found = try #require(findings(tracker).first)
        #expect(found.severity == .error && found.listener == 0 && found.conn == 1)
        #expect(findings(tracker).count == 1)
    }

    /// A socket that was made before, and listens after.
    @Test func aListenerThatOpensWhileItIsOff() {
        var tracker = Tracker()
        tracker.know("net.mptcp.enabled", is: "0", in: Self.netns)
        tracker.take(listening(1, at: 1))
        tracker.take(listening(2, mptcp: false, at: 2))
        #expect(findings(tracker).map(\.listener) == [1])
    }

    /// The out-of-tree stack has one switch for all.
    @Test func oneSwitchForAllNamespaces() {
        var tracker = Tracker()
        tracker.take(listening(1, at: 1))
        tracker.take(listening(2, at: 2, netns: 8))
        tracker.take(
            SettingChange(
                time: 3, netns: 1, name: "net.mptcp.mptcp_enabled", old: "1", new: "0", source: .poll,
                accepted: true))
        #expect(findings(tracker).map(\.listener) == [1, 2])
    }

    @Test func everySettingOnce() {
        #expect(Set(Setting.all.map(\.name)).count == Setting.all.count)
        #expect(Setting.all.allSatisfy { $0.name.hasPrefix("net.mptcp.") && !$0.note.isEmpty })
    }
}
