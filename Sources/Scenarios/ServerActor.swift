// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Listens, says "ready" and its port, accepts, echoes whatever comes on each connection, and,
/// once told "close", ends when every peer has.
enum ServerActor {
    static func run(_ options: ActorOptions, _ parent: inout ParentLink) throws(ScenarioError) {
        let wanted = try options.requiredNumber("connections")
        let family = options["family"] ?? "4"
        let address = try SocketAddress(
            options["address"] ?? (family == "4" ? "0.0.0.0" : "::"), port: try options.port())
        let backlog = try options.number("backlog") ?? wanted + 1
        let listener = try ActorSocket.listener(
            address, try options.protocolNumber(), dual: family == "6+4", backlog: CInt(clamping: backlog))
        try parent.say("ready \(SocketAddress.localPort(of: listener))")

        var connections: [CInt] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        var toldToClose = false
        while !(toldToClose && connections.isEmpty) {
            var entries = [
                pollfd(fd: ParentLink.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: toldToClose ? -1 : listener, events: Int16(POLLIN), revents: 0),
            ]
            entries += connections.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            guard poll(&entries, nfds_t(entries.count), -1) > 0 else { continue }

            for entry in entries.dropFirst(2) where entry.revents != 0 {
                let got = recv(entry.fd, &buffer, buffer.count, 0)
                // A peer that is gone takes nothing.
                if got > 0, Self.send(buffer[..<got], to: entry.fd) {
                    continue
                } else {
                    close(entry.fd)
                    connections.removeAll { $0 == entry.fd }
                }
            }
            if entries[1].revents != 0 {
                let accepted = accept(listener, nil, nil)
                guard accepted >= 0 else { throw .failed("accept", on: "the server's socket", -errno) }
                connections.append(accepted)
            }
            if entries[0].revents != 0 {
                try parent.await("close")
                toldToClose = true
            }
        }
        close(listener)
        try parent.say("done")
    }

    private static func send(_ bytes: ArraySlice<UInt8>, to socket: CInt) -> Bool {
        var bytes = bytes
        while !bytes.isEmpty {
            let sent = bytes.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard sent > 0 else { return false }
            bytes = bytes.dropFirst(sent)
        }
        return true
    }
}
