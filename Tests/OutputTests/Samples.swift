// SPDX-License-Identifier: Apache-2.0

import Handshake
import Output

/// Records for the tests: one of each type with all it can have, and with as little as it may.
enum Samples {
    /// 2025-11-22T15:40:00Z, less the start of the monotonic clock below.
    static let offset: Int64 = 1_763_826_000_000_000_000 - start
    static let start: Int64 = 7_200_000_000_000

    static func time(_ microseconds: UInt64) -> UInt64 { UInt64(start) + microseconds * 1000 }

    static let v4Local = Endpoint(Address(v4: 0x0a00_0001), 51234)
    static let v4Remote = Endpoint(Address(v4: 0x0a00_0002), 443)
    static let v6Local = Endpoint(Address(high: 0x2001_0db8_0001_0002, low: 0x0003_0004_0005_0006), 61234)
    static let v6Remote = Endpoint(Address(high: 0x2001_0db8_0000_0000, low: 1), 8443)

    static func owner(_ name: String, _ pid: UInt32, _ source: OwnerSource = .connect) -> Owner {
        Owner(pid: pid, tid: pid, uid: 33, comm: Comm(name.utf8), cgroup: 4242, source: source)
    }

    static func names(_ id: UInt64) -> CgroupName? {
        switch id {
        case 4242: CgroupName(path: "/system.slice/nginx.service", unit: Unit("nginx.service", .service))
        case 4243: CgroupName(path: "/a \"quoted\" \\ group\u{1b}")
        default: nil
        }
    }

    static func step(
        _ microseconds: UInt64, _ step: Step, _ hook: Hook, conn: UInt64 = 7, subflow: UInt32 = 0,
        option: PacketOption = .unknown, from: SubflowState, to: SubflowState, token: UInt32 = 0
    ) -> Record {
        var seen = Observation(time: time(microseconds), step: step, hook: hook, side: .client)
        seen.local = v4Local
        seen.remote = v4Remote
        seen.netns = 4_026_531_840
        seen.option = option
        seen.token = token
        seen.cpu = 1
        return .step(
            StepRecord(
                observation: seen, conn: conn, subflow: subflow, listener: 0, side: .client,
                owner: owner("curl", 812), from: from, to: to))
    }

    /// The steps of a handshake of conn 7.
    static let steps: [Record] = [
        step(0, .synSent, .inetSockSetState, from: .none, to: .synSent),
        step(52, .synSent, .skbEgress, option: .mpCapable, from: .synSent, to: .synSent),
        step(
            310, .synackReceived, .skbIngress, option: .mpCapable, from: .synSent, to: .synackReceived),
        step(331, .established, .inetSockSetState, from: .synackReceived, to: .tcpEstablished),
        step(
            335, .mptcpEstablished, .inetSockSetState, from: .tcpEstablished, to: .mptcpEstablished,
            token: 0x1a2b_3c4d),
    ]

    static var fullStep: Record {
        var seen = Observation(time: time(400), step: .joinSynackReceived, hook: .skbIngress, side: .client)
        seen.local = v6Local
        seen.remote = v6Remote
        seen.netns = 4_026_531_840
        seen.option = .mpJoin
        seen.token = 0x0000_00ff
        seen.remoteToken = 0xffff_ffff
        seen.error = 104
        seen.localID = 0
        seen.remoteID = 255
        seen.backup = true
        seen.cpu = 255
        return .step(
            StepRecord(
                observation: seen, conn: 7, subflow: 1, listener: 3, side: .client,
                owner: owner("curl", 812), from: .synSent, to: .synackReceived))
    }

    static var emptyStep: Record {
        .step(
            StepRecord(
                observation: Observation(time: time(401), step: .timer, hook: .clock), conn: 0, subflow: 0,
                listener: 0, side: nil, owner: nil, from: .none, to: .none))
    }

    static var success: HandshakeRecord {
        var record = HandshakeRecord(
            time: time(335), conn: 7, side: .client, outcome: .mptcp, local: v4Local, remote: v4Remote,
            family: 4, owner: owner("curl", 812), netns: 4_026_531_840)
        record.token = 0x1a2b_3c4d
        record.remoteToken = 0x00ab_cdef
        record.mptcpVersion = 1
        record.checksum = false
        record.timings = Timings(synToSynack: 310_999, synackToEstablished: 24_001, total: 335_000)
        record.synRetransmits = 0
        return record
    }

    static var served: HandshakeRecord {
        var record = HandshakeRecord(
            time: time(2_400_000), conn: 8, side: .server, outcome: .fallback, reason: .listenerIsTcp,
            local: v6Remote, remote: v6Local, family: 6, owner: owner("nginx: worker p", 4_194_304, .listen),
            netns: 4_026_532_999)
        record.listener = 3
        record.timings = Timings(total: 12_345_678)
        return record
    }

    static var unsent: HandshakeRecord {
        var record = success
        record.time = time(2_600_000)
        record.conn = 11
        record.outcome = .fallback
        record.reason = .md5SigFallback
        record.kernelReason = .md5SigFallback
        return record
    }

    static var bare: HandshakeRecord {
        HandshakeRecord(
            time: time(3_000_000), conn: 9, side: .client, outcome: .timeout, local: .unspecified,
            remote: v4Remote, family: 4, netns: 0)
    }

    static var failed: HandshakeRecord {
        var record = HandshakeRecord(
            time: time(3_100_000), conn: 10, side: .client, outcome: .aborted, reason: .connectFailed,
            local: .unspecified, remote: Endpoint(Address(v4: 0xffff_fffe), 65535), family: 4,
            owner: owner("wget", 77), netns: 4_026_531_840)
        record.error = 101
        record.timings = Timings(synackToEstablished: 1, total: 999)
        return record
    }

    static var join: JoinRecord {
        var record = JoinRecord(
            time: time(1_000_400), conn: 7, subflow: 1, side: .client, outcome: .joined,
            local: Endpoint(Address(v4: 0x0a00_0101), 40001), remote: v4Remote, token: 0x1a2b_3c4d)
        record.family = 4
        record.owner = owner("curl", 812)
        record.netns = 4_026_531_840
        record.localID = 1
        record.remoteID = 0
        record.backup = true
        record.timings = Timings(synToSynack: 200_000, total: 400_000)
        return record
    }

    /// The steps of that join.
    static let joinSteps: [Record] = [
        joinStep(1_000_000, .joinSynSent, .inetSockSetState, from: .none, to: .synSent),
        joinStep(1_000_010, .joinSynSent, .skbEgress, from: .synSent, to: .synSent) {
            $0.localID = 1
            $0.backup = true
        },
        joinStep(1_000_210, .joinSynackReceived, .skbIngress, from: .synSent, to: .synackReceived) {
            $0.remoteID = 0
            $0.backup = false
        },
        joinStep(
            1_000_400, .joinEstablished, .inetSockSetState, from: .synackReceived, to: .mptcpEstablished),
    ]

    private static func joinStep(
        _ microseconds: UInt64, _ step: Step, _ hook: Hook, from: SubflowState, to: SubflowState,
        _ change: (inout Observation) -> Void = { _ in }
    ) -> Record {
        var seen = Observation(time: time(microseconds), step: step, hook: hook, side: .client)
        seen.local = Endpoint(Address(v4: 0x0a00_0101), 40001)
        seen.remote = v4Remote
        seen.netns = 4_026_531_840
        if hook != .inetSockSetState { seen.option = .mpJoin }
        change(&seen)
        return .step(
            StepRecord(
                observation: seen, conn: 7, subflow: 1, listener: 0, side: .client,
                owner: owner("curl", 812), from: from, to: to))
    }

    static var rejected: JoinRecord {
        var record = JoinRecord(
            time: time(1_000_500), conn: 8, subflow: 2, side: .server, outcome: .rejected,
            reason: .mpJoinAckHMacFailure, local: v6Remote, remote: v6Local, token: 0)
        record.kernelReason = .joinAckHMacFailure
        record.localID = 0
        record.remoteID = 255
        return record
    }

    /// As little as a join may have.
    static var stray: JoinRecord {
        JoinRecord(
            time: time(1_000_600), conn: 0, subflow: 0, side: .server, outcome: .reset,
            reason: .mpJoinNoTokenFound, local: v4Remote, remote: v4Local, token: 0)
    }

    static var lostMptcp: FallbackRecord {
        var record = FallbackRecord(time: time(2_500_000), conn: 7, reason: .dssFallback)
        record.kernelReason = .dssFallback
        record.side = .client
        record.local = v4Local
        record.remote = v4Remote
        record.owner = owner("curl", 812)
        record.netns = 4_026_531_840
        return record
    }

    static let addresses: [AddressRecord] = [
        AddressRecord(
            time: time(1_100_000), conn: 7, netns: 4_026_531_840, change: .announced,
            address: Endpoint(Address(v4: 0x0a00_0201), 8443), id: 2),
        AddressRecord(
            time: time(1_100_001), conn: 7, netns: 0, change: .received,
            address: Endpoint(v6Remote.address, 0), id: 255),
        AddressRecord(time: time(1_100_002), conn: 7, netns: 0, change: .removed, id: 0),
        AddressRecord(
            time: time(1_100_003), conn: 0, netns: 4_026_531_840, change: .endpointAdded,
            address: Endpoint(Address(v4: 0x0a00_0201), 0), id: 2),
        AddressRecord(time: time(1_100_004), conn: 0, netns: 4_026_531_840, change: .limits),
    ]

    static var connection: ConnectionRecord {
        ConnectionRecord(
            time: time(0), conn: 1, side: .server, local: v4Remote, remote: v4Local, token: 1,
            owner: owner("nginx", 811, .holder), netns: 4_026_531_840, subflows: 2, state: .mptcp)
    }

    static var listener: ListenerRecord {
        ListenerRecord(
            time: time(0), listener: 3, state: .open, transport: .mptcp,
            local: Endpoint(.unspecified, 443), owner: owner("nginx", 811, .listen), netns: 4_026_531_840,
            enabledAtCreation: nil, origin: .snapshot)
    }

    static var opened: ListenerRecord {
        ListenerRecord(
            time: time(10), listener: 4, state: .open, transport: .mptcp,
            local: Endpoint(Address(v4: 0), 80), owner: nil, netns: 0, enabledAtCreation: true, origin: .seen)
    }

    static var anomaly: AnomalyRecord {
        AnomalyRecord(
            time: time(4_000_000), id: 1, kind: .listenerOutlivesDisable, state: .open, count: 1,
            severity: .warning,
            message: "net.mptcp.enabled is 0, but listener 3 (nginx) was opened before and accepts MPTCP.",
            advice: "Restart \"nginx\".", netns: 4_026_531_840, listener: 3, conn: 8,
            evidence: [.connection(8), .listener(3), .change(1), .refusal(9), .step(7)])
    }

    static var bareAnomaly: AnomalyRecord {
        AnomalyRecord(
            time: time(4_000_001), id: 2, kind: .mirrorDivergence, state: .repeated, count: 5,
            severity: .error, message: "The kernel did what it should not.\n", advice: "", netns: 0,
            listener: 0, conn: 0, evidence: [])
    }

    static let meta = MetaRecord(
        time: UInt64(start), tool: "mpscope 0.1.0", host: "büro", bootID: "a1b2", kernel: "6.1.0-37-amd64",
        arch: "x86_64", stack: .mainline, backend: "tracepoint", transport: .ringbuf,
        hooks: [
            HookStatus(name: "inet_sock_set_state", attach: .rawTracepoint, status: .attached),
            HookStatus(name: "cgroup/sysctl", attach: nil, status: .missing, error: "no \"such\" hook"),
        ])

    /// One of each type and variant, in an order that a trace could have.
    static let all: [Record] =
        [.listener(listener), .connection(connection), .listener(opened)] + steps + [
            .handshake(success), fullStep, emptyStep,
        ] + joinSteps + [.join(join), .join(rejected), .join(stray)] + addresses.map(Record.address) + [
            .handshake(served), .fallback(lostMptcp),
            .fallback(FallbackRecord(time: time(2_500_001), conn: 99, reason: nil)),
            .handshake(unsent), .handshake(bare), .handshake(failed), .anomaly(anomaly),
            .anomaly(bareAnomaly),
            .lost(LostRecord(time: time(5_000_000), hook: .skbIngress, count: 12, reason: .ringFull)),
            .close(CloseRecord(time: time(6_000_000), conn: 7, duration: 5_999_999_999, subflows: 2)),
            .close(CloseRecord(time: time(6_000_001), conn: 1, duration: nil, subflows: nil)),
        ]

    /// Names that nobody should be able to hurt a terminal, a log or a parser with.
    static let hostile: [[UInt8]] = [
        Array("\u{1b}[2J\u{1b}]0;x\u{7}".utf8),
        Array("\"},{\"v\":2,\\".utf8),
        [0xff, 0xfe, 0x80, 0xc3],
        Array("naïve-prögrä".utf8) + [0xc3],
        Array("日本語のな".utf8),
        [0xc2, 0x9b, 0x33, 0x31, 0x6d],
        Array("a\u{202e}b\u{200d}c".utf8),
        Array("\u{ef80}\u{efff}".utf8),
        Array("שלום".utf8),
        [0x7f, 0x0a, 0x0d, 0x09, 0x08],
        [0xed, 0xa0, 0x80, 0xc0, 0x80, 0xf4, 0x90, 0x80, 0x80],
        [0xf0, 0x9f, 0x92, 0xa9, 0xf0, 0x9f],
        Array("e\u{301}\u{301}\u{301}\u{301}".utf8),
        Array("0123456789abcdef".utf8),
        Array("0123456".utf8) + [0x1b] + Array("89abcde".utf8),
        [],
    ]

    /// A comparison of every kind.
    static var verified: VerifyResult {
        var verify = VerifyResult()
        for place in 0..<40 { verify.noteEqual(exactly: place > 0) }
        verify.note(
            .counter(
                CounterDifference(
                    netns: 4_026_531_840, counter: "MPCapableSYNTX", kernel: 12, seen: 9, unexplained: 2)))
        verify.note(
            .counter(
                CounterDifference(
                    netns: 4_026_532_462, name: "we\u{1b}b", counter: "MPJoinSynAckRx", kernel: 0, seen: -1,
                    unexplained: 1)))
        verify.note(
            .connection(
                ConnectionDifference(
                    netns: 4_026_532_462, name: "web", conn: 7, token: 0x8c99_96cb, local: v4Local,
                    remote: v4Remote, kernel: .fallback, seen: .mptcp)))
        verify.note(
            .connection(
                ConnectionDifference(
                    netns: 4_026_532_462, conn: 0, token: 0x2f, local: v6Local, remote: v6Remote,
                    kernel: .mptcp, seen: nil)))
        for (number, what) in VerifySkip.allCases.enumerated() { verify.skip(what, UInt64(number + 1)) }
        verify.lost = 12
        return verify
    }

    /// JSON Lines of `records`, between a meta record and a summary.
    static func json(_ records: [Record]) -> [UInt8] {
        var writer = RecordWriter(realtimeOffset: offset, names: names)
        var tally = Tally()
        var lines = ByteBuffer(capacity: 64)
        writer.write(meta, to: &lines)
        for record in records {
            tally.take(record)
            writer.write(record, to: &lines)
        }
        let summary = tally.summary(
            time: time(7_000_000), events: 1234, delivered: 1222,
            verify: verified)
        writer.write(summary, to: &lines)
        return lines.bytes()
    }

    static func text(
        _ records: [Record], width: Int, colour: Bool = false, steps: Bool = false,
        verify: VerifyResult? = nil
    ) -> [UInt8] {
        var writer = TextWriter(
            width: width, colour: colour, steps: steps, realtimeOffset: offset, utcOffset: 3600,
            names: names)
        var tally = Tally()
        var text = ByteBuffer(capacity: 64)
        writer.write(meta, to: &text)
        for record in records {
            tally.take(record)
            writer.write(record, to: &text)
        }
        let summary = tally.summary(
            time: time(7_000_000), events: 1234, delivered: 1222, verify: verify)
        writer.write(summary, to: &text)
        return text.bytes()
    }
}
