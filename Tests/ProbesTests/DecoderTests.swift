// SPDX-License-Identifier: Apache-2.0

import CEvent
import Handshake
import Testing

@testable import Probes

/// Bytes may come from a file: nothing in them is trusted.
@Suite struct DecoderTests {
    private func decode(_ bytes: [UInt8]) -> Result<Observation, Decoder.Problem> {
        bytes.withUnsafeBytes { bytes in
            do throws(Decoder.Problem) {
                return .success(try Decoder.decode(bytes))
            } catch {
                return .failure(error)
            }
        }
    }

    private func problem(_ bytes: [UInt8]) -> Decoder.Problem? {
        if case .failure(let problem) = decode(bytes) { problem } else { nil }
    }

    @Test func sizesAreExact() throws {
        let event = try #require(Recordings.events("refused").first)
        for count in 0..<event.count { #expect(problem(Array(event[..<count])) == .size(count)) }
        #expect(problem(event + [0]) == .size(event.count + 1))
        #expect(problem(event) == nil)
    }

    @Test func versionKindAndHookAreChecked() throws {
        var event = try #require(Recordings.events("refused").first)
        event[0] = UInt8(MPS_EVENT_VERSION) + 1
        #expect(problem(event) == .version(UInt16(MPS_EVENT_VERSION) + 1))
        event[0] = UInt8(MPS_EVENT_VERSION)
        let kind = event[2]
        event[2] = 0
        #expect(problem(event) == .kind(0))
        event[2] = UInt8(MPS_KIND_COUNT.rawValue)
        #expect(problem(event) == .kind(UInt8(MPS_KIND_COUNT.rawValue)))
        event[2] = kind
        event[3] = 200
        #expect(problem(event) == .hook(200))
    }

    /// Any bytes behind a valid head: an observation or a problem, never a crash.
    @Test func forgedBytes() throws {
        var generator = SystemRandomNumberGenerator()
        let events = try Recordings.names.flatMap { try Recordings.events($0) }
        var tracker = Tracker()
        for _ in 0..<20_000 {
            var event = try #require(events.randomElement())
            for _ in 0..<Int.random(in: 1...20, using: &generator) {
                event[Int.random(in: 0..<event.count, using: &generator)] = .random(
                    in: 0...255, using: &generator)
            }
            if case .success(let observation) = decode(event) { tracker.take(observation) }
        }
    }

    /// A key and its token, from RFC 8684's reference to SHA-256; checked with `openssl dgst -sha256`.
    @Test func tokenOfAKey() {
        // printf '\x01\x02\x03\x04\x05\x06\x07\x08' | openssl dgst -sha256
        #expect(token(ofKey: 0x0102_0304_0506_0708) == 0x6684_0dda)
    }

    @Test func aNameOfSixteenBytesIsKept() throws {
        var event = try #require(try Recordings.events("refused").first { $0.count == 168 })
        for place in 0..<16 { event[120 + 24 + place] = UInt8(ascii: "a") + UInt8(place) }
        guard case .success(let observation) = decode(event) else {
            Issue.record("not decoded")
            return
        }
        #expect(observation.owner?.comm.count == 16)
        #expect(observation.owner?.comm == Comm("abcdefghijklmnop".utf8))
    }

    // MARK: what each field means

    /// An event of `kind`, observed at `hook`.
    private func event(
        _ kind: mps_kind, _ hook: mps_hook, _ flags: Int32, _ change: (inout mps_event) -> Void = { _ in }
    ) throws -> Observation {
        var event = mps_event()
        event.version = UInt16(MPS_EVENT_VERSION)
        event.kind = UInt8(kind.rawValue)
        event.hook = UInt8(hook.rawValue)
        event.flags = UInt16(flags)
        event.option = UInt8(MPS_OPTION_UNKNOWN)
        event.mptcp_version = 0xff
        event.local_id = 0xff
        event.remote_id = 0xff
        change(&event)
        return try withUnsafeBytes(of: event) { try Decoder.decode($0) }
    }

    @Test func aConfirmedJoin() throws {
        let o = try event(
            MPS_JOIN_CONFIRMED, MPS_HOOK_DATA_AVAIL, MPS_F_MPTCP | MPS_F_REQUEST_JOIN | MPS_F_MP_JOIN
        ) {
            $0.local_id = 3
            $0.remote_id = 4
            $0.token = 7
            $0.remote_token = 8
        }
        #expect(o.step == .joinEstablished)
        #expect(o.side == .client)
        #expect(o.hook == .dataAvailable)
        #expect(o.facts == [.mptcpSocket, .requestsJoin])
        #expect(o.localID == 3)
        #expect(o.remoteID == 4)
        #expect(o.token == 7)
        #expect(o.remoteToken == 8)
        #expect(o.backup == nil)
    }

    @Test func aChildThatJoins() throws {
        let o = try event(
            MPS_CHILD_ESTABLISHED, MPS_HOOK_SET_STATE,
            MPS_F_MPTCP | MPS_F_MP_JOIN | MPS_F_BACKUP | MPS_F_REMOTE_TOKEN
        ) {
            $0.remote_id = 0
            $0.remote_token = 9
        }
        #expect(o.step == .joinEstablished)
        #expect(o.side == .server)
        #expect(o.localID == nil)
        #expect(o.remoteID == 0)
        #expect(o.backup == true)
        #expect(o.remoteToken == 9)
    }

    /// An id in a packet is that of the end it comes from, a token that of the end it goes to.
    @Test func idsAndTokensOfPackets() throws {
        let flags = MPS_F_PACKET | MPS_F_MPTCP
        let join = { (event: inout mps_event) in
            event.option = UInt8(MPS_OPTION_MP_JOIN)
            event.remote_id = 5
            event.option_flags = 1
            event.remote_token = 0xabcd
        }
        let out = try event(MPS_SYN_OUT, MPS_HOOK_SKB_EGRESS, flags, join)
        #expect(out.step == .joinSynSent)
        #expect(out.localID == 5)
        #expect(out.remoteID == nil)
        #expect(out.backup == true)
        #expect(out.token == 0)
        #expect(out.remoteToken == 0xabcd)

        let into = try event(MPS_SYN_IN, MPS_HOOK_SKB_INGRESS, flags, join)
        #expect(into.step == .joinSynReceived)
        #expect(into.localID == nil)
        #expect(into.remoteID == 5)
        #expect(into.token == 0xabcd)
        #expect(into.remoteToken == 0)

        let synackOut = try event(MPS_SYNACK_OUT, MPS_HOOK_SKB_EGRESS, flags, join)
        #expect(synackOut.step == .joinSynackSent)
        #expect(synackOut.localID == 5)
        let synackIn = try event(MPS_SYNACK_IN, MPS_HOOK_SKB_INGRESS, flags) {
            join(&$0)
            $0.option_flags = 0xfe
        }
        #expect(synackIn.step == .joinSynackReceived)
        #expect(synackIn.remoteID == 5)
        #expect(synackIn.backup == false)
    }

    @Test func aResetOfOurs() throws {
        for (mib, fact, counter) in [
            (MPS_MIB_JOIN_NO_TOKEN, Facts.noToken, KernelReason.joinNoTokenFound),
            (MPS_MIB_JOIN_REJECTED, .joinRejected, .joinRejected),
            (MPS_MIB_JOIN_ACK_HMAC, .ackHMac, .joinAckHMacFailure),
            (MPS_MIB_JOIN_SYNACK_HMAC, .synackHMac, .joinSynAckHMacFailure),
            (MPS_MIB_MISMATCH_PORT_SYN, .mismatchPort, .mismatchPortSynRx),
            (MPS_MIB_MISMATCH_PORT_ACK, .mismatchPort, .mismatchPortAckRx),
        ] {
            let o = try event(MPS_RESET_OUT, MPS_HOOK_SEND_RESET, MPS_F_MPTCP | MPS_F_RESET_REASON) {
                $0.mib = UInt8(mib.rawValue)
                $0.reset_reason = 3
            }
            #expect(o.step == .reset)
            #expect(o.side == .server)
            #expect(o.hook == .tcpSendReset)
            #expect(o.facts == [.mptcpSocket, .sentByUs, .rstProhibited, fact])
            #expect(o.resetReason == 3)
            #expect(o.kernelReason == counter)
        }
        for (mib, fact, counter) in [
            (MPS_MIB_SYNTX_DISABLED, Facts.blackhole, KernelReason.synTxDisabled),
            (MPS_MIB_MD5SIG_FALLBACK, .md5, .md5SigFallback),
            (MPS_MIB_TOKEN_INIT, .tokensGone, .tokenFallbackInit),
        ] {
            let o = try event(MPS_CONNECT, MPS_HOOK_SET_STATE, MPS_F_MPTCP) { $0.mib = UInt8(mib.rawValue) }
            #expect(o.facts == [.mptcpSocket, fact])
            #expect(o.kernelReason == counter)
        }
        let unknown = try event(MPS_RESET_OUT, MPS_HOOK_SEND_RESET, MPS_F_MPTCP) { $0.mib = 200 }
        #expect(unknown.facts == [.mptcpSocket, .sentByUs])
        #expect(unknown.kernelReason == nil)
        #expect(unknown.resetReason == nil)
    }

    @Test func aResetThatCame() throws {
        for (reason, fact) in [
            (1, Facts.rstMptcp), (2, .rstResources), (3, .rstProhibited), (6, .rstMiddlebox), (4, []),
            (0, []),
        ] as [(UInt8, Facts)] {
            let o = try event(MPS_RESET_IN, MPS_HOOK_RECEIVE_RESET, MPS_F_MPTCP | MPS_F_RESET_REASON) {
                $0.reset_reason = reason
            }
            #expect(o.facts == [.mptcpSocket, fact])
            #expect(o.resetReason == reason)
            #expect(o.side == nil)
        }
        // Without the flag, the field says nothing; nor does it of anything but a RST.
        let none = try event(MPS_RESET_IN, MPS_HOOK_RECEIVE_RESET, MPS_F_MPTCP) { $0.reset_reason = 1 }
        #expect(none.facts == [.mptcpSocket])
        #expect(none.resetReason == nil)
        let closed = try event(MPS_SUBFLOW_CLOSED, MPS_HOOK_SET_STATE, MPS_F_MPTCP | MPS_F_RESET_REASON) {
            $0.reset_reason = 1
            $0.old_state = 2
        }
        #expect(closed.resetReason == nil)
        #expect(closed.facts == [.mptcpSocket])
        // A packet to a listener: of a half-open handshake.
        let halfOpen = try event(MPS_RESET_IN, MPS_HOOK_SKB_INGRESS, MPS_F_MPTCP | MPS_F_PACKET)
        #expect(halfOpen.facts == [.mptcpSocket, .halfOpen])
    }

    @Test func aFallback() throws {
        for (mapping, fact, counter) in [
            (MPS_MAPPING_NODSS, Facts.noMapping, KernelReason.dssFallback),
            (MPS_MAPPING_INVALID, .noMapping, .dssFallback),
            (MPS_MAPPING_BAD_CSUM, .badChecksum, .dssFallback), (MPS_MAPPING_MP_FAIL, .mpFail, nil),
            (MPS_MAPPING_DUMMY, [], nil),
        ] as [(Int32, Facts, KernelReason?)] {
            let flags = MPS_F_MPTCP | MPS_F_FALLBACK | MPS_F_FULL
            let o = try event(MPS_FALLBACK, MPS_HOOK_DATA_AVAIL, flags) { $0.option_flags = UInt8(mapping) }
            #expect(o.step == .fallback)
            #expect(o.side == nil)
            #expect(o.facts == [.mptcpSocket, .fellBack, .fullyEstablished, fact])
            #expect(o.kernelReason == counter)
            let closed = try event(MPS_MSK_CLOSED, MPS_HOOK_SET_STATE, flags) {
                $0.option_flags = UInt8(mapping)
            }
            #expect(closed.step == .closed)
            #expect(closed.facts == [.mptcpSocket, .msk, .fellBack, .fullyEstablished, fact])
            #expect(closed.kernelReason == nil)
        }
    }

    @Test func anAddress() throws {
        let o = try event(MPS_ADDRESS, MPS_HOOK_SKB_INGRESS, MPS_F_MPTCP | MPS_F_PACKET) {
            $0.option = UInt8(MPS_OPTION_ADD_ADDR)
            $0.remote_id = 9
            $0.remote_port = 7799
            withUnsafeMutableBytes(of: &$0.remote) { bytes in
                bytes[10] = 0xff
                bytes[11] = 0xff
                bytes[12] = 10
                bytes[15] = 2
            }
        }
        #expect(o.step == .addressed)
        #expect(o.option == .addAddr)
        #expect(o.remoteID == 9)
        #expect(o.remote == Endpoint(Address(v4: 0x0a00_0002), 7799))
        #expect(o.localID == nil)
        let removed = try event(MPS_ADDRESS, MPS_HOOK_SKB_EGRESS, MPS_F_MPTCP | MPS_F_PACKET) {
            $0.option = UInt8(MPS_OPTION_RM_ADDR)
            $0.remote_id = 1
        }
        #expect(removed.option == .rmAddr)
        #expect(removed.remoteID == 1)
        #expect(removed.remote == Endpoint(Address(high: 0, low: 0), 0))
    }

    @Test func theCountOfLossesIsInEveryEvent() throws {
        var bytes = try #require(Recordings.events("mptcp-ipv4").last)
        let place = try #require(MemoryLayout<mps_event>.offset(of: \.losses))
        bytes[place] = 0x21
        bytes[place + 1] = 0x43
        guard case .success(let observation) = decode(bytes) else {
            Issue.record("not decoded")
            return
        }
        #expect(observation.losses == 0x4321)
    }
}
