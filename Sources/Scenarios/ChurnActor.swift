// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Makes short connections over loopback as fast as it can: the load of the benchmark.
///
/// Each lane is one thread that is client and server in turn: connect() on loopback has driven
/// the whole handshake when it returns, so nothing waits for anything and the rate is steady.
enum ChurnActor {
    static func run(_ options: ActorOptions, _ parent: inout ParentLink) throws(ScenarioError) {
        let plan = try Plan(options)
        if options["new-netns"] != nil { try makeNamespace() }

        var lanes: [Lane] = []
        for place in 0..<plan.lanes {
            let share = plan.count / plan.lanes + (place < plan.count % plan.lanes ? 1 : 0)
            lanes.append(try Lane(plan, place: place, count: share))
        }
        let before = try Counters.ofThisThread()
        if options["wait"] != nil {
            try parent.say("ready")
            try parent.await("go")
        }
        let start = Deadline.now()
        try run(lanes)
        let wall = max(1, Deadline.now() - start)

        var failures = 0
        for lane in lanes { failures += lane.failures }
        let first = lanes.first { $0.failures > 0 }.map { " first_error=\"\($0.firstError)\"" } ?? ""
        let counted = try Counters.ofThisThread() - before
        let done = plan.count - failures
        try parent.say(
            "churn connections=\(done) failures=\(failures)\(first) wall_ns=\(wall)"
                + " per_second=\(UInt64(done) * 1_000_000_000 / wall) syntx=\(counted.synSent)"
                + " synrx=\(counted.synReceived) synackrx=\(counted.synackReceived)"
                + " ackrx=\(counted.ackReceived)"
                + " fallback=\(counted.fallbackAck + counted.fallbackSynack)")
        if options["hold"] != nil { try parent.await("close") }
        if failures > 0 { throw .usage("\(failures) of \(plan.count) connections failed") }
    }

    struct Plan {
        let count: Int
        let lanes: Int
        let family: Int
        let number: CInt
        /// Send a byte each way on each connection.
        let bytes: Bool
        let port: UInt16

        init(_ options: ActorOptions) throws(ScenarioError) {
            count = try options.requiredNumber("count")
            lanes = max(1, try options.number("concurrency") ?? 1)
            family = try options.number("family") ?? 4
            number = try options.protocolNumber()
            bytes = try options.number("bytes") ?? 1 != 0
            port = options["port"] == nil ? 7800 : try options.port()
            guard lanes <= 64, Int(port) + lanes <= 65_536 else {
                throw .usage("--concurrency \(lanes) --port \(port): at most 64 lanes, a port for each")
            }
        }
    }

    /// A namespace of this process's own.
    private static func makeNamespace() throws(ScenarioError) {
        var result = mps_netns_unshare()
        guard result == 0 else { throw .failed("unshare(CLONE_NEWNET)", on: "churn", result) }
        result = mps_link_up("lo")
        guard result == 0 else { throw .failed("SIOCSIFFLAGS", on: "lo", result) }
    }

    private static func run(_ lanes: [Lane]) throws(ScenarioError) {
        var threads: [pthread_t] = []
        var failure: CInt = 0
        for lane in lanes.dropFirst() where failure == 0 {
            var thread = pthread_t()
            failure = pthread_create(
                &thread, nil,
                { context in
                    if let context { Unmanaged<Lane>.fromOpaque(context).takeUnretainedValue().run() }
                    return nil
                }, Unmanaged.passUnretained(lane).toOpaque())
            if failure == 0 { threads.append(thread) }
        }
        if failure == 0 { lanes.first?.run() }
        for thread in threads { pthread_join(thread, nil) }
        guard failure == 0 else { throw .failed("pthread_create", on: "a lane", -failure) }
    }

    /// One thread's part.
    final class Lane {
        /// TIME_WAITs pile up for each destination; another one this often keeps the search for
        /// a free port short.
        private static let connectionsPerAddress = 1_000

        private let plan: Plan
        private let count: Int
        private let place: Int
        private let listener: CInt
        private let target: SocketAddress
        private(set) var failures = 0
        private var firstErrno: CInt = 0
        private var firstCall: StaticString = ""

        init(_ plan: Plan, place: Int, count: Int) throws(ScenarioError) {
            self.plan = plan
            self.count = count
            self.place = place
            let port = plan.port + UInt16(place)
            listener = try ActorSocket.listener(
                try SocketAddress(plan.family == 4 ? "0.0.0.0" : "::1", port: port), plan.number,
                dual: false, backlog: 16)
            target = try SocketAddress(plan.family == 4 ? "127.0.0.1" : "::1", port: port)
            // A connection that is never there to be accepted is a failure, not a standstill.
            var timeout = timeval(tv_sec: 5, tv_usec: 0)
            setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        }

        deinit { close(listener) }

        var firstError: String { "\(firstCall): \(String(cString: strerror(firstErrno)))" }

        func run() {
            var target = target
            for number in 0..<count {
                if plan.family == 4, number % Self.connectionsPerAddress == 0 {
                    let turn = UInt32(number / Self.connectionsPerAddress)
                    // 127.lane.x.y
                    target.setIPv4(0x7f00_0001 | UInt32(place) << 16 | (turn % 250) | (turn / 250 % 250) << 8)
                }
                if !connectOnce(target) { failures += 1 }
            }
        }

        private func connectOnce(_ target: borrowing SocketAddress) -> Bool {
            let client = socket(
                target.family, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), plan.number)
            guard client >= 0 else { return fail("socket") }
            defer { close(client) }
            guard target.withPointer({ connect(client, $0, $1) }) == 0 else { return fail("connect") }
            let server = accept(listener, nil, nil)
            guard server >= 0 else { return fail("accept") }
            defer { close(server) }
            if plan.bytes {
                guard exchange(client, server), exchange(server, client) else { return fail("exchange") }
            }
            // The client closes first, and has the TIME_WAIT.
            shutdown(client, CInt(SHUT_WR))
            return true
        }

        private func exchange(_ from: CInt, _ to: CInt) -> Bool {
            var byte: UInt8 = 1
            return send(from, &byte, 1, CInt(MSG_NOSIGNAL)) == 1 && recv(to, &byte, 1, 0) == 1
        }

        private func fail(_ call: StaticString) -> Bool {
            if firstErrno == 0 {
                firstErrno = errno
                firstCall = call
            }
            return false
        }
    }
}
