// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Says "ready", and once told "go" connects, has a byte echoed on each connection, says
/// "connected" and the local ports, or "failed" and the errno; ends all once told "close".
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
            try exchange(on: sockets)
            var ports: [String] = []
            for socket in sockets { ports.append("\(try SocketAddress.localPort(of: socket))") }
            try parent.say("connected \(ports.joined(separator: " "))")
        } else {
            try parent.say("failed \(failure) \(String(cString: strerror(failure)))")
        }

        try parent.await("close")
        // The peer ends when it sees this end; only then is nothing left to negotiate.
        for socket in sockets where failure == 0 { shutdown(socket, CInt(SHUT_WR)) }
        for socket in sockets where failure == 0 {
            var byte: UInt8 = 0
            repeat { wait(for: socket, POLLIN) } while recv(socket, &byte, 1, 0) > 0
        }
        for socket in sockets { close(socket) }
        try parent.say("done")
    }

    /// A byte there and back on each: after that neither end can be half-way.
    private static func exchange(on sockets: [CInt]) throws(ScenarioError) {
        var byte = UInt8(ascii: "m")
        for socket in sockets {
            guard send(socket, &byte, 1, CInt(MSG_NOSIGNAL)) == 1 else {
                throw .failed("send", on: "a new connection", -errno)
            }
        }
        for socket in sockets {
            wait(for: socket, POLLIN)
            let got = recv(socket, &byte, 1, 0)
            guard got == 1 else {
                throw got == 0
                    ? .usage("the server closed a connection before it answered")
                    : .failed("recv", on: "a new connection", -errno)
            }
        }
    }

    /// However long it takes: the parent keeps the time.
    private static func wait(for socket: CInt, _ events: CInt) {
        var entry = pollfd(fd: socket, events: Int16(events), revents: 0)
        while poll(&entry, 1, -1) < 0, errno == EINTR {}
    }
}
