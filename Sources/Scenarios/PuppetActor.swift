// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Does one thing after another with sockets, as it is told, a line each, and answers each with
/// "ok …", "failed ERRNO …", or "ended" (nothing more to read).
///
///     listen N ADDRESS PORT BACKLOG [tcp|willing]   socket, bind, listen; willing: with TCP, if
///                                         MPTCP is refused; ok PROTOCOL
///     child N                             goes to a network namespace of its own
///     attend N BACKLOG                    listen on a socket that is bound
///     socket N FAMILY [nowait]            MPTCP
///     patience N MILLISECONDS             SO_SNDTIMEO: connect() gives up
///     linger N                            SO_LINGER 0: close() resets
///     bind N ADDRESS PORT
///     connect N ADDRESS PORT              ok LOCAL-PORT; with nowait: before it is connected
///     connected N                         waits for it
///     accept N LISTENER                   ok
///     request N                           an HTTP request
///     send N COUNT | receive N COUNT | shut N | drain N | close N
///     give N | take N                     to and from another puppet
///     forge N ADDRESS PORT ADDRESS PORT TOKEN   a SYN that joins; ok synack, ok rst
///     forge-ack N                         its third ACK, with a wrong HMAC
///     fork N                              a child process accepts one and echoes; ok PID
enum PuppetActor {
    static func run(_ options: ActorOptions, _ parent: inout ParentLink) throws(ScenarioError) {
        if let comm = options["comm"] { _ = mps_thread_name(comm) }
        var hand = PuppetHand()
        try parent.say("ready")
        while let line = parent.next() {
            try parent.say(try hand.obey(line.split(separator: " ").map(String.init)))
        }
    }
}

private struct PuppetHand: ~Copyable {
    /// The descriptor that leads to another puppet.
    private static let passage: CInt = 3

    private var sockets: [String: CInt] = [:]
    private var forger: Forger?

    mutating func obey(_ words: [String]) throws(ScenarioError) -> String {
        guard words.count > 1 else { throw .usage("a command and a name, not \"\(words)\"") }
        let name = words[1]
        switch words[0] {
        case "listen":
            let address = try address(words)
            let backlog = CInt(try number(words, 4))
            func listen(_ protocolNumber: CInt) throws(ScenarioError) -> String {
                sockets[name] = try ActorSocket.listener(
                    address, protocolNumber, dual: false, backlog: backlog)
                return "ok \(protocolNumber == 262 ? "mptcp" : "tcp")"
            }
            if words.last == "tcp" { return try listen(CInt(IPPROTO_TCP)) }
            guard words.last == "willing" else { return try listen(262) }
            do throws(ScenarioError) {
                return try listen(262)
            } catch .system(_, _, .protocolNotAvailable, _) {
                return try listen(CInt(IPPROTO_TCP))
            }
        case "child":
            let result = Self.enterChild()
            return result == 0 ? "ok" : Self.failed(-result)
        case "socket":
            let some = try SocketAddress(words.count > 2 && words[2] == "6" ? "::" : "0.0.0.0", port: 0)
            let made = ActorSocket.open(some, 262, blocking: words.last != "nowait")
            guard made >= 0 else { return Self.failed(errno) }
            sockets[name] = made
            return "ok"
        case "forge":
            guard words.count == 7, let local = UInt16(words[3]), let remote = UInt16(words[5]),
                let token = UInt32(words[6], radix: 16)
            else { throw .usage("\(words): two ends and a token") }
            var forger = try Forger(from: (words[2], local), to: (words[4], remote))
            let answer = try forger.join(token: token)
            self.forger = consume forger
            return "ok \(answer)"
        case "forge-ack":
            guard let answer = try forger?.acknowledge() else { throw .usage("nothing was forged") }
            return "ok \(answer)"
        case "take":
            let got = mps_take_descriptor(Self.passage)
            guard got >= 0 else { return Self.failed(-got) }
            sockets[name] = got
            return "ok"
        default: break
        }
        if words[0] == "accept" {
            guard words.count == 3, let listener = sockets[words[2]] else {
                throw .usage("accept from whom?")
            }
            let accepted = accept(listener, nil, nil)
            guard accepted >= 0 else { return Self.failed(errno) }
            sockets[name] = accepted
            return "ok"
        }
        guard let socket = sockets[name] else { throw .usage("there is no socket \(name)") }
        switch words[0] {
        case "patience":
            let time = try number(words, 2)
            var patience = timeval(tv_sec: time / 1000, tv_usec: time % 1000 * 1000)
            return Self.answer(
                setsockopt(
                    socket, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size)))
        case "attend": return Self.answer(listen(socket, CInt(try number(words, 2))))
        case "linger":
            var value = linger(l_onoff: 1, l_linger: 0)
            return Self.answer(
                setsockopt(socket, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size)))
        case "bind":
            return Self.answer(try address(words).withPointer { bind(socket, $0, $1) })
        case "connect":
            if try address(words).withPointer({ connect(socket, $0, $1) }) < 0,
                fcntl(socket, F_GETFL) & O_NONBLOCK == 0 || errno != EINPROGRESS
            {
                return Self.failed(errno)
            }
            return "ok \(try SocketAddress.localPort(of: socket))"
        case "connected":
            Self.wait(socket, POLLOUT)
            var error: CInt = 0
            var length = socklen_t(MemoryLayout<CInt>.size)
            getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length)
            return error == 0 ? "ok" : Self.failed(error)
        case "send":
            let bytes = [UInt8](repeating: UInt8(ascii: "m"), count: try number(words, 2))
            return Self.answer(CInt(clamping: send(socket, bytes, bytes.count, CInt(MSG_NOSIGNAL))))
        case "receive": return Self.receive(socket, atMost: try number(words, 2))
        case "request":
            let text = Array("GET / HTTP/1.1\r\nHost: server\r\n\r\n".utf8)
            return Self.answer(CInt(clamping: send(socket, text, text.count, CInt(MSG_NOSIGNAL))))
        case "drain": return Self.receive(socket, atMost: .max)
        case "shut": return Self.answer(shutdown(socket, CInt(SHUT_WR)))
        case "close":
            sockets[name] = nil
            return Self.answer(close(socket))
        case "give":
            let sent = mps_give_descriptor(Self.passage, socket)
            return sent == 0 ? "ok" : Self.failed(-sent)
        case "fork":
            let child = mps_fork_echo(socket)
            return child > 0 ? "ok \(child)" : Self.failed(-child)
        default: throw .usage("what is \"\(words[0])\"?")
        }
    }

    /// A namespace with nothing but its own loopback.
    private static func enterChild() -> CInt {
        let result = mps_netns_unshare()
        return result == 0 ? mps_link_up("lo") : result
    }

    private static func receive(_ socket: CInt, atMost count: Int) -> String {
        var left = count
        var buffer = [UInt8](repeating: 0, count: 4096)
        while left > 0 {
            wait(socket, POLLIN)
            let got = recv(socket, &buffer, min(left, buffer.count), 0)
            if got == 0 { return "ended" }
            if got < 0 { return failed(errno) }
            left -= got
        }
        return "ok"
    }

    /// However long it takes: the parent keeps the time.
    private static func wait(_ socket: CInt, _ events: CInt) {
        var entry = pollfd(fd: socket, events: Int16(events), revents: 0)
        while poll(&entry, 1, -1) < 0, errno == EINTR {}
    }

    private static func answer(_ result: CInt) -> String { result < 0 ? failed(errno) : "ok" }

    private static func failed(_ error: CInt) -> String {
        "failed \(error) \(String(cString: strerror(error)))"
    }

    private func number(_ words: [String], _ place: Int) throws(ScenarioError) -> Int {
        guard words.count > place, let number = Int(words[place]) else {
            throw .usage("\(words): a number is missing")
        }
        return number
    }

    private func address(_ words: [String]) throws(ScenarioError) -> SocketAddress {
        guard words.count > 3, let port = UInt16(words[3]) else {
            throw .usage("\(words): an address is missing")
        }
        return try SocketAddress(words[2], port: port)
    }
}
