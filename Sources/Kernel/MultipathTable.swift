// SPDX-License-Identifier: Apache-2.0

import Handshake

/// The out-of-tree stack's own table of its connections, /proc/net/mptcp: one line each, with both
/// tokens, the ends of the meta socket, its state and its inode.
///
/// ```
///   sl  loc_tok  rem_tok  v6 local_address     remote_address     st ns tx_queue rx_queue inode
///    0: 9AC07BB4 848A51DC  0 0100000A:1F90     0200000A:C350      01 02 00000000:00000000 31245
/// ```
enum MultipathTable {
    static let path = "/proc/net/mptcp"

    /// - Throws: `KernelError` when the namespace can't be entered. No such table is no error.
    static func read(in namespace: NetworkNamespace) throws(KernelError) -> [SnapshotConnection] {
        let text = try namespace.inside { () throws(KernelError) in SmallFile.textIfReadable(path) }
        return (text ?? "").split(separator: "\n").compactMap { parse($0, netns: namespace.inode) }
    }

    /// nil: a heading, a line that makes no sense, or a connection that is not (or no longer) open.
    static func parse(_ line: Substring, netns: UInt32) -> SnapshotConnection? {
        let words = line.split(separator: " ")
        guard words.count >= 10, words[0].hasSuffix(":"),
            let token = UInt32(words[1], radix: 16), let remote = UInt32(words[2], radix: 16), remote != 0,
            let here = endpoint(words[4]), let there = endpoint(words[5]),
            let state = UInt8(words[6], radix: 16), let subflows = UInt32(words[7], radix: 16),
            let inode = UInt32(words[words.count - 1])
        else { return nil }
        // TCP_ESTABLISHED, and CLOSE_WAIT: the peer has nothing more to say.
        guard state == 1 || state == 8 else { return nil }
        // The table prints the bytes of a token as a number of this machine's.
        return SnapshotConnection(
            local: here, remote: there, netns: netns, token: UInt32(bigEndian: token), inode: inode,
            cookie: 0, subflows: subflows, state: .mptcp, side: nil, owner: nil)
    }

    /// `0100000A:1F90`: an address as the words it has in memory, and a port.
    private static func endpoint(_ text: Substring) -> Endpoint? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1], radix: 16) else { return nil }
        if parts[0].count == 8 {
            guard let word = UInt32(parts[0], radix: 16) else { return nil }
            return Endpoint(Address(v4: UInt32(bigEndian: word)), port)
        }
        guard parts[0].count == 32 else { return nil }
        var words: [UInt64] = []
        var rest = parts[0]
        while !rest.isEmpty {
            guard let word = UInt32(rest.prefix(8), radix: 16) else { return nil }
            words.append(UInt64(UInt32(bigEndian: word)))
            rest = rest.dropFirst(8)
        }
        return Endpoint(Address(high: words[0] << 32 | words[1], low: words[2] << 32 | words[3]), port)
    }
}
