// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Says "ready", and once told "go" connects, has a byte echoed on each connection, says
/// "connected" and the local ports, or "failed" and the errno; has N more echoed each time it is
/// told "exchange N"; ends all once told "close".
enum ClientActor {
    static func run(_ options: ActorOptions, _ parent: inout ParentLink) throws(ScenarioError) {
        let address = try SocketAddress(try options.required("address"), port: try options.port())
        let number = try options.protocolNumber()
        let count = try options.requiredNumber("connections")
        let blocking = options["connect"] != "nonblocking"
        try parent.say("ready")
        try parent.await("go")

        // All are started before any is waited for; a blocking one is waited for as it starts.
        var sockets: [CInt] = []
        var failure: CInt = 0
        for _ in 0..<count where failure == 0 {
            let socket = try ActorSocket.make(address, number, blocking: blocking)
            sockets.append(socket)
            if address.withPointer({ connect(socket, $0, $1) }) < 0, errno != EINPROGRESS { failure = errno }
        }
        if !blocking {
            for socket in sockets where failure == 0 {
                wait(for: socket, POLLOUT)
                var error: CInt = 0
                var length = socklen_t(MemoryLayout<CInt>.size)
                getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length)
                failure = error
            }
        }

        if failure == 0 {
            try exchange(on: sockets, 1)
            var ports: [String] = []
            for socket in sockets { ports.append("\(try SocketAddress.localPort(of: socket))") }
            try parent.say("connected \(ports.joined(separator: " "))")
        } else {
            try parent.say("failed \(failure) \(String(cString: strerror(failure)))")
        }

        while let word = parent.next(), word != "close" {
            let words = word.split(separator: " ")
            guard words.count == 2, words[0] == "exchange", let count = Int(words[1]) else {
                throw .usage("waiting for \"close\": the parent said \"\(word)\"")
            }
            try exchange(on: sockets, count)
            try parent.say("exchanged")
        }
        // The peer ends when it sees this end; only then is nothing left to negotiate.
        for socket in sockets where failure == 0 { shutdown(socket, CInt(SHUT_WR)) }
        for socket in sockets where failure == 0 {
            var byte: UInt8 = 0
            repeat { wait(for: socket, POLLIN) } while recv(socket, &byte, 1, 0) > 0
        }
        for socket in sockets { close(socket) }
        try parent.say("done")
    }

    /// Bytes there and back on each: after that neither end can be half-way.
    private static func exchange(on sockets: [CInt], _ count: Int) throws(ScenarioError) {
        let bytes = [UInt8](repeating: UInt8(ascii: "m"), count: count)
        var buffer = bytes
        for socket in sockets {
            var sent = 0
            while sent < count {
                wait(for: socket, POLLOUT)
                let now = bytes[sent...].withUnsafeBytes {
                    send(socket, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
                }
                guard now > 0 else { throw .failed("send", on: "a new connection", -errno) }
                sent += now
            }
        }
        for socket in sockets {
            var received = 0
            while received < count {
                wait(for: socket, POLLIN)
                let got = recv(socket, &buffer, count - received, 0)
                guard got > 0 else {
                    throw got == 0
                        ? .usage("the server closed a connection before it answered")
                        : .failed("recv", on: "a new connection", -errno)
                }
                received += got
            }
        }
    }

    /// However long it takes: the parent keeps the time.
    private static func wait(for socket: CInt, _ events: CInt) {
        var entry = pollfd(fd: socket, events: Int16(events), revents: 0)
        while poll(&entry, 1, -1) < 0, errno == EINTR {}
    }
}
