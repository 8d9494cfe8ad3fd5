// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Turns records into JSON Lines. docs/records.md says what each field means; what is not known
/// is left out.
///
/// The keys are written with the comma before and the quotes around them, in one copy.
public struct RecordWriter: ~Copyable {
    /// Number of the last record written, 0: none yet.
    public private(set) var sequence: UInt64 = 0
    private let realtimeOffset: UInt64
    private var clock = TimeText()
    var names: CgroupNames
    private let reasons = ReasonText()
    private var evidence = EvidenceBook()

    /// - Parameters:
    ///   - realtimeOffset: ns to add to CLOCK_MONOTONIC for CLOCK_REALTIME.
    ///   - names: what a cgroup id stands for; asked once for each id.
    ///   - sockets: which unit systemd listens for; asked about each of its sockets.
    public init(
        realtimeOffset: Int64, names: @escaping (UInt64) -> CgroupName? = { _ in nil },
        sockets: @escaping (ManagedSocket) -> Unit? = { _ in nil }
    ) {
        self.realtimeOffset = UInt64(bitPattern: realtimeOffset)
        self.names = CgroupNames(names, sockets: sockets)
    }

    /// Appends `record` to `line`, with the newline, and gives it the next number.
    public mutating func write(_ record: Record, to line: inout ByteBuffer) {
        switch record {
        case .step(let step): write(step, to: &line)
        case .handshake(let handshake): write(handshake, to: &line)
        case .join(let join): write(join, to: &line)
        case .fallback(let fallback): write(fallback, to: &line)
        case .address(let address): write(address, to: &line)
        case .connection(let connection): write(connection, to: &line)
        case .close(let close): write(close, to: &line)
        case .listener(let listener): write(listener, to: &line)
        case .sysctl(let sysctl): write(sysctl, to: &line)
        case .anomaly(let anomaly): write(anomaly, to: &line)
        case .lost(let lost): write(lost, to: &line)
        }
        evidence.note(record, sequence)
    }

    /// Appends the first line of a file.
    public mutating func write(_ meta: MetaRecord, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"meta\",\"seq\":", meta.time, &line)
        line.member(",\"tool\":\"", text: meta.tool)
        line.member(",\"host\":\"", text: meta.host)
        line.member(",\"boot_id\":\"", text: meta.bootID)
        line.member(",\"kernel\":\"", text: meta.kernel)
        line.member(",\"arch\":\"", text: meta.arch)
        line.member(",\"stack\":\"", text: meta.stack?.rawValue)
        line.member(",\"backend\":\"", text: meta.backend)
        line.member(",\"transport\":\"", text: meta.transport?.rawValue)
        line.append(",\"hooks\":[")
        for (place, hook) in meta.hooks.enumerated() {
            line.member(place == 0 ? "{\"name\":\"" : ",{\"name\":\"", text: hook.name)
            line.member(",\"attach\":\"", text: hook.attach?.rawValue)
            line.member(",\"status\":\"", text: hook.status.rawValue)
            line.member(",\"error\":\"", text: hook.error)
            line.append("}")
        }
        line.append("]}\n")
    }

    /// Appends the last line of a file.
    public mutating func write(_ summary: SummaryRecord, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"summary\",\"seq\":", summary.time, &line)
        line.member(",\"events\":", summary.events)
        line.member(",\"delivered\":", summary.delivered)
        line.member(",\"lost_total\":", summary.lostTotal)
        line.member(",\"handshakes\":{", counts: summary.handshakes)
        line.member(",\"joins\":{", counts: summary.joins)
        line.member(",\"reasons\":{", counts: summary.reasons)
        line.member(",\"anomalies\":{", counts: summary.anomalies)
        if let latency = summary.latency {
            line.member(",\"latency_us\":{\"p50\":", latency.p50)
            line.member(",\"p90\":", latency.p90)
            line.member(",\"p99\":", latency.p99)
            line.member(",\"max\":", latency.max)
            line.append("}")
        }
        if let verify = summary.verify { Self.write(verify, to: &line) }
        line.append("}\n")
    }

    // MARK: one function for each type

    private mutating func write(_ step: StepRecord, to line: inout ByteBuffer) {
        let seen = step.observation
        begin("{\"v\":1,\"type\":\"step\",\"seq\":", seen.time, &line)
        line.member(",\"step\":\"", word: seen.step.name)
        line.member(",\"hook\":\"", word: seen.hook.name)
        if let side = step.side { line.member(",\"side\":\"", word: side.rawValue) }
        if step.conn != 0 {
            line.member(",\"conn\":", step.conn)
            line.member(",\"subflow\":", step.subflow)
        }
        line.member(",\"local\":{\"addr\":\"", seen.local)
        line.member(",\"remote\":{\"addr\":\"", seen.remote)
        let family = seen.family
        if family != 0 { line.member(",\"family\":", family) }
        if let owner = step.owner {
            line.member(",\"pid\":", unlessZero: owner.pid)
            line.member(",\"tid\":", unlessZero: owner.tid)
            line.member(",\"comm\":\"", owner.comm)
            line.member(",\"uid\":", owner.uid)
            names.find(
                OwnedSocket(
                    owner: owner, local: seen.local, netns: seen.netns, side: step.side,
                    isListener: seen.step == .listening))
            names.write(withPath: true, to: &line)
        }
        line.member(",\"netns\":", unlessZero: seen.netns)
        switch seen.hook {
        case .snapshot, .clock, .tracker: break  // not on any one CPU
        default: line.member(",\"cpu\":", seen.cpu)
        }
        line.member(",\"token\":\"", token: seen.token)
        line.member(",\"remote_token\":\"", token: seen.remoteToken)
        line.member(",\"listener\":", unlessZero: step.listener)
        line.member(",\"error\":", unlessZero: seen.error)
        if let option = seen.option.name { line.member(",\"option\":\"", word: option) }
        if let id = seen.localID { line.member(",\"local_id\":", id) }
        if let id = seen.remoteID { line.member(",\"remote_id\":", id) }
        if let backup = seen.backup { line.member(",\"backup\":", backup) }
        line.member(",\"from\":\"", word: step.from.name)
        line.member(",\"to\":\"", word: step.to.name)
        line.append("}\n")
    }

    private mutating func write(_ handshake: HandshakeRecord, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"handshake\",\"seq\":", handshake.time, &line)
        line.member(",\"conn\":", handshake.conn)
        line.member(",\"side\":\"", word: handshake.side.rawValue)
        line.member(",\"outcome\":\"", word: handshake.outcome.rawValue)
        names.find(
            handshake.owner.map {
                OwnedSocket(
                    owner: $0, local: handshake.local, netns: handshake.netns, side: handshake.side)
            })
        reasons.write(handshake.reason, handshake.kernelReason, names, to: &line)
        line.member(",\"local\":{\"addr\":\"", handshake.local)
        line.member(",\"remote\":{\"addr\":\"", handshake.remote)
        if handshake.family != 0 { line.member(",\"family\":", handshake.family) }
        write(owner: handshake.owner, to: &line)
        line.member(",\"netns\":", unlessZero: handshake.netns)
        line.member(",\"listener\":", unlessZero: handshake.listener)
        line.member(",\"token\":\"", token: handshake.token)
        line.member(",\"remote_token\":\"", token: handshake.remoteToken)
        if let version = handshake.mptcpVersion { line.member(",\"mptcp_version\":", version) }
        if let checksum = handshake.checksum { line.member(",\"checksum\":", checksum) }
        line.member(timings: handshake.timings)
        if let retransmits = handshake.synRetransmits { line.member(",\"syn_retransmits\":", retransmits) }
        line.append("}\n")
    }

    private mutating func write(_ join: JoinRecord, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"join\",\"seq\":", join.time, &line)
        if join.conn != 0 {
            line.member(",\"conn\":", join.conn)
            line.member(",\"subflow\":", join.subflow)
        }
        line.member(",\"side\":\"", word: join.side.rawValue)
        line.member(",\"outcome\":\"", word: join.outcome.rawValue)
        names.find(
            join.owner.map {
                OwnedSocket(owner: $0, local: join.local, netns: join.netns, side: join.side)
            })
        reasons.write(join.reason, join.kernelReason, names, to: &line)
        line.member(",\"local\":{\"addr\":\"", join.local)
        line.member(",\"remote\":{\"addr\":\"", join.remote)
        if join.family != 0 { line.member(",\"family\":", join.family) }
        if let id = join.localID { line.member(",\"local_id\":", id) }
        if let id = join.remoteID { line.member(",\"remote_id\":", id) }
        if let backup = join.backup { line.member(",\"backup\":", backup) }
        write(owner: join.owner, to: &line)
        line.member(",\"netns\":", unlessZero: join.netns)
        line.member(",\"token\":\"", token: join.token)
        line.member(timings: join.timings)
        line.append("}\n")
    }

    private mutating func write(_ fallback: FallbackRecord, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"fallback\",\"seq\":", fallback.time, &line)
        line.member(",\"conn\":", fallback.conn)
        names.find(
            fallback.owner.map {
                OwnedSocket(
                    owner: $0, local: fallback.local, netns: fallback.netns, side: fallback.side)
            })
        reasons.write(fallback.reason, fallback.kernelReason, names, to: &line)
        if let side = fallback.side { line.member(",\"side\":\"", word: side.rawValue) }
        line.member(",\"local\":{\"addr\":\"", fallback.local)
        line.member(",\"remote\":{\"addr\":\"", fallback.remote)
        line.member(",\"netns\":", unlessZero: fallback.netns)
        line.append("}\n")
    }

    private mutating func write(_ address: AddressRecord, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"address\",\"seq\":", address.time, &line)
        line.member(",\"conn\":", unlessZero: address.conn)
        line.member(",\"netns\":", unlessZero: address.netns)
        line.member(",\"change\":\"", word: address.change.rawValue)
        if let given = address.address {
            line.append(",\"addr\":{\"addr\":\"")
            line.append(address: given.address)
            line.append("\"")
            line.member(",\"port\":", unlessZero: given.port)
            line.append("}")
        }
        if let id = address.id { line.member(",\"id\":", id) }
        if let old = address.old { line.member(",\"old\":\"", text: old) }
        if let new = address.new { line.member(",\"new\":\"", text: new) }
        if let source = address.source { line.member(",\"source\":\"", word: source.rawValue) }
        if let sampled = address.sampledAt { line.member(",\"sampled_at\":\"", word: sampled.rawValue) }
        if let affected = address.affected { Self.write(affected, to: &line) }
        line.append("}\n")
    }

    private static func write(_ affected: Affected, to line: inout ByteBuffer) {
        line.append(",\"affected\":{\"listeners\":[")
        line.append(list: affected.listeners.ids)
        line.append("],\"connections\":[")
        line.append(list: affected.connections.ids)
        line.append("],\"sockets\":[")
        line.append(list: affected.sockets.ids)
        line.append("]")
        func total(_ key: StaticString, _ some: Affected.Some) {
            if some.count > some.ids.count { line.member(key, UInt64(some.count)) }
        }
        total(",\"listeners_total\":", affected.listeners)
        total(",\"connections_total\":", affected.connections)
        total(",\"sockets_total\":", affected.sockets)
        line.append("}")
    }

    private mutating func write(_ connection: ConnectionRecord, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"connection\",\"seq\":", connection.time, &line)
        line.member(",\"conn\":", connection.conn)
        if let side = connection.side { line.member(",\"side\":\"", word: side.rawValue) }
        line.member(",\"local\":{\"addr\":\"", connection.local)
        line.member(",\"remote\":{\"addr\":\"", connection.remote)
        line.member(",\"token\":\"", token: connection.token)
        names.find(
            connection.owner.map {
                OwnedSocket(
                    owner: $0, local: connection.local, netns: connection.netns, side: connection.side)
            })
        write(holder: connection.owner, to: &line)
        line.member(",\"netns\":", unlessZero: connection.netns)
        line.member(",\"subflows\":", unlessZero: connection.subflows)
        line.member(",\"state\":\"", word: connection.state.rawValue)
        line.append("}\n")
    }

    private mutating func write(_ close: CloseRecord, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"close\",\"seq\":", close.time, &line)
        line.member(",\"conn\":", close.conn)
        if let duration = close.duration { line.member(",\"duration_us\":", duration / 1000) }
        if let subflows = close.subflows { line.member(",\"subflows\":", subflows) }
        line.append("}\n")
    }

    /// - Parameter enabledNow: for `status`, the switch's value as it is.
    mutating func write(_ listener: ListenerRecord, enabledNow: Bool? = nil, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"listener\",\"seq\":", listener.time, &line)
        line.member(",\"listener\":", listener.listener)
        line.member(",\"state\":\"", word: listener.state.rawValue)
        if let transport = listener.transport { line.member(",\"protocol\":\"", word: transport.rawValue) }
        line.member(",\"local\":{\"addr\":\"", listener.local)
        names.find(
            listener.owner.map {
                OwnedSocket(
                    owner: $0, local: listener.local, netns: listener.netns, side: .server,
                    isListener: true)
            })
        write(holder: listener.owner, to: &line)
        line.member(",\"netns\":", unlessZero: listener.netns)
        if let enabled = listener.enabledAtCreation { line.member(",\"enabled_at_creation\":", enabled) }
        if let enabled = enabledNow { line.member(",\"enabled_now\":", enabled) }
        line.member(",\"origin\":\"", word: listener.origin.rawValue)
        line.append("}\n")
    }

    private mutating func write(_ sysctl: SysctlRecord, to line: inout ByteBuffer) {
        let change = sysctl.change
        begin("{\"v\":1,\"type\":\"sysctl\",\"seq\":", change.time, &line)
        line.member(",\"name\":\"", text: change.name)
        if let old = change.old { line.member(",\"old\":\"", text: old) }
        line.member(",\"new\":\"", text: change.new)
        if let owner = change.owner {
            line.member(",\"pid\":", unlessZero: owner.pid)
            line.member(",\"comm\":\"", owner.comm)
            line.member(",\"uid\":", UInt64(owner.uid))
        }
        line.member(",\"netns\":", unlessZero: change.netns)
        line.member(",\"source\":\"", word: change.source.rawValue)
        if let accepted = change.accepted { line.member(",\"accepted\":", accepted) }
        if let sampled = sysctl.sampledAt { line.member(",\"sampled_at\":\"", word: sampled.rawValue) }
        Self.write(sysctl.affected, to: &line)
        line.append("}\n")
    }

    private mutating func write(_ anomaly: AnomalyRecord, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"anomaly\",\"seq\":", anomaly.time, &line)
        line.member(",\"id\":", anomaly.id)
        line.member(",\"kind\":\"", word: anomaly.kind.rawValue)
        line.member(",\"state\":\"", word: anomaly.state.rawValue)
        line.member(",\"count\":", anomaly.count)
        line.member(",\"severity\":\"", word: anomaly.severity.rawValue)
        line.member(",\"message\":\"", text: anomaly.message)
        if !anomaly.advice.isEmpty { line.member(",\"advice\":\"", text: anomaly.advice) }
        line.member(",\"netns\":", unlessZero: anomaly.netns)
        line.member(",\"listener\":", unlessZero: anomaly.listener)
        line.member(",\"conn\":", unlessZero: anomaly.conn)
        if let sysctl = anomaly.sysctl { line.member(",\"sysctl\":\"", text: sysctl) }
        let numbers = evidence.numbers(of: anomaly.evidence)
        if !numbers.isEmpty {
            line.append(",\"evidence\":[")
            line.append(list: numbers)
            line.append("]")
        }
        line.append("}\n")
    }

    private mutating func write(_ lost: LostRecord, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"lost\",\"seq\":", lost.time, &line)
        line.member(",\"hook\":\"", word: lost.hook.name)
        line.member(",\"count\":", lost.count)
        line.member(",\"reason\":\"", word: lost.reason.rawValue)
        line.append("}\n")
    }

    // MARK: what types have in common

    /// The members of every record, after `opening` with its version, type and the key of `seq`.
    @inline(__always)
    mutating func begin(_ opening: StaticString, _ time: UInt64, _ line: inout ByteBuffer) {
        sequence &+= 1
        line.append(opening)
        line.append(decimal: sequence)
        line.append(",\"mono_ns\":")
        line.append(decimal: time)
        line.append(",\"time\":\"")
        clock.write(time &+ realtimeOffset, to: &line)
        line.append("\"")
    }

    /// Who made an attempt; `names` has found the owner's.
    @inline(__always)
    private borrowing func write(owner: Owner?, to line: inout ByteBuffer) {
        guard let owner else { return }
        line.member(",\"pid\":", unlessZero: owner.pid)
        line.member(",\"pid_source\":\"", word: owner.source.rawValue)
        line.member(",\"comm\":\"", owner.comm)
        line.member(",\"uid\":", owner.uid)
        names.write(withPath: true, to: &line)
    }

    /// Who holds a socket that is no attempt of this moment; `names` has found the holder's.
    borrowing func write(holder: Owner?, to line: inout ByteBuffer) {
        guard let holder else { return }
        line.member(",\"pid\":", unlessZero: holder.pid)
        line.member(",\"comm\":\"", holder.comm)
        names.write(withPath: false, to: &line)
    }
}

extension ByteBuffer {
    /// Numbers with commas between.
    fileprivate mutating func append(list numbers: [UInt64]) {
        for (place, number) in numbers.enumerated() {
            if place > 0 { append(UInt8(ascii: ",")) }
            append(decimal: number)
        }
    }
}
