// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Handshake
import Kernel
import Output
import Probes

enum Format: String, ExpressibleByArgument, CaseIterable { case text, json }
enum FailOn: String, ExpressibleByArgument, CaseIterable { case fallback, anomaly, lost, difference }

extension Side: ExpressibleByArgument {}
extension Backend: ExpressibleByArgument {}
extension EventTransport: ExpressibleByArgument {}

/// A comma-separated list of words.
struct Words<Word: RawRepresentable & CaseIterable & Hashable & Sendable>: ExpressibleByArgument, Sendable
where Word.RawValue == String {
    var words: Set<Word>

    init?(argument: String) {
        words = []
        for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
            guard let word = Word(rawValue: String(part)) else { return nil }
            words.insert(word)
        }
    }

    static var allValueStrings: [String] { Word.allCases.map(\.rawValue) }
}

/// An address with the length of its prefix: `10.0.0.0/8`, `fd00::/8`, or one address.
struct CIDR: ExpressibleByArgument, Sendable {
    var address: Address
    /// Of the 128 bits, an IPv4 address being v4-mapped.
    var prefixLength: Int

    init?(argument: String) {
        let parts = argument.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let text = parts.first else { return nil }
        var v4 = in_addr()
        var v6 = in6_addr()
        let bits: Int
        if inet_pton(AF_INET, String(text), &v4) == 1 {
            address = Address(v4: UInt32(bigEndian: v4.s_addr))
            bits = 32
        } else if inet_pton(AF_INET6, String(text), &v6) == 1 {
            (address, bits) = withUnsafeBytes(of: &v6) {
                (
                    Address(
                        high: UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                        low: UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))), 128
                )
            }
        } else {
            return nil
        }
        prefixLength = 128
        if parts.count == 2 {
            guard let length = Int(parts[1]), (0...bits).contains(length) else { return nil }
            prefixLength = 128 - bits + length
        }
    }
}

/// What every command that watches the running kernel understands.
struct LiveOptions: ParsableArguments {
    @Option(help: "text for people, json for JSON Lines.")
    var format: Format?

    @Option(
        name: [.short, .long],
        help: ArgumentHelp(
            "Where the records go, as JSON Lines (created mode 0600); text still goes to the terminal.",
            valueName: "path"))
    var output: String?

    @Flag(help: "Every step of each handshake: `step` records (json), a ladder (text).")
    var steps = false

    @Option(name: [.short, .long], help: "Only sockets of this process.")
    var pid: UInt32?

    @Option(help: "Only sockets of processes with this name.")
    var comm: String?

    @Option(help: ArgumentHelp("Only sockets of processes in this cgroup.", valueName: "path"))
    var cgroup: String?

    @Option(help: ArgumentHelp("Only this network namespace.", valueName: "name|path|inode"))
    var netns: String?

    @Option(name: [.customShort("P"), .long], help: "Only this port, on either end.")
    var port: UInt16?

    @Option(help: "Only this port on this end.")
    var localPort: UInt16?

    @Option(help: "Only this port on the other end.")
    var remotePort: UInt16?

    @Option(help: ArgumentHelp("Only these addresses, on either end.", valueName: "cidr"))
    var addr: CIDR?

    @Flag(name: .customShort("4"), help: "Only IPv4.")
    var ipv4 = false

    @Flag(name: .customShort("6"), help: "Only IPv6.")
    var ipv6 = false

    @Option(help: "Only this end's view: client or server.")
    var side: Side?

    @Option(
        help: ArgumentHelp(
            "Only handshakes that ended so: mptcp, fallback, refused, reset, timeout, aborted.",
            valueName: "list"))
    var outcome: Words<Outcome>?

    @Option(name: [.short, .long], help: "Stop after so many seconds.")
    var duration: Double?

    @Option(name: [.short, .long], help: "Stop after so many handshakes and joins were written.")
    var count: UInt64?

    @Option(
        help: ArgumentHelp(
            "Exit status 1 if one was seen: fallback, anomaly, lost, difference.", valueName: "list"))
    var failOn: Words<FailOn>?

    @Option(help: "How to attach: auto (the best that works), fentry, kprobe or tracepoint.")
    var backend = Backend.auto

    @Option(help: ArgumentHelp("BTF of this kernel, if it carries none.", valueName: "path"))
    var btf: String?

    /// What is best is found by trying; for tests.
    @Option(help: ArgumentHelp("How events come: ringbuf or perfbuf.", visibility: .hidden))
    var transport: EventTransport?

    @Option(
        help: ArgumentHelp(
            "Hook the out-of-tree stack's functions of this kernel module; for tests.", valueName: "name",
            visibility: .hidden))
    var module: String?

    @Option(help: ArgumentHelp("Size of the event buffer.", valueName: "bytes"))
    var bufferSize = 8 << 20

    @Option(
        help: ArgumentHelp(
            "Created once every hook is attached and the opening snapshot is done.", valueName: "path"))
    var readyFile: String?

    @Flag(help: "Handshakes that have nothing to do with MPTCP as well.")
    var allTcp = false

    @Flag(
        help: "At the end, hold what was seen against the kernel's own counters and socket tables.")
    var verify = false

    mutating func validate() throws {
        if failOn?.words.contains(.difference) ?? false, !verify {
            throw ValidationError("--fail-on difference needs --verify, which looks for differences.")
        }
        if ipv4, ipv6 { throw ValidationError("-4 and -6 exclude each other; leave both out for both.") }
        if let duration, !(duration > 0 && duration < 1e9) {
            throw ValidationError("--duration must be a positive number of seconds.")
        }
        if port == 0 || localPort == 0 || remotePort == 0 {
            throw ValidationError("a port is a number from 1 to 65535; leave the option out for any.")
        }
        if pid == 0 { throw ValidationError("--pid takes the number of a process; leave it out for all.") }
        if count == 0 { throw ValidationError("--count must be at least 1.") }
        if bufferSize < 1 || bufferSize > 1 << 30 {
            throw ValidationError("--buffer-size must be between 1 and 1073741824 bytes.")
        }
        if let comm, comm.isEmpty || comm.utf8.count > 15 {
            throw ValidationError("--comm takes a process name of 1 to 15 bytes, as the kernel keeps it.")
        }
    }

    /// Text on the terminal, or JSON, and where.
    var resolvedFormat: Format { format ?? .text }

    /// What the kernel can leave out by itself.
    func filters(netns: NetworkNamespace?) -> Filters {
        var filters = Filters()
        filters.netns = netns?.inode ?? 0
        filters.port = port ?? 0
        filters.localPort = localPort ?? 0
        filters.remotePort = remotePort ?? 0
        filters.family = ipv4 ? 4 : ipv6 ? 6 : 0
        filters.side = side
        if let addr {
            filters.address = addr.address
            filters.prefixLength = UInt8(clamping: addr.prefixLength)
        }
        return filters
    }

    /// What is decided of a handshake once it is known whose it is.
    func selection(inCgroup: ((UInt64) -> Bool)?) -> Selection {
        var selection = Selection()
        selection.pid = pid
        selection.comm = comm.map { Comm($0.utf8) }
        selection.cgroup = inCgroup
        selection.outcomes = outcome?.words ?? []
        selection.side = side
        selection.family = ipv4 ? 4 : ipv6 ? 6 : 0
        selection.port = port ?? 0
        selection.localPort = localPort ?? 0
        selection.remotePort = remotePort ?? 0
        if let addr {
            selection.address = addr.address
            selection.prefixLength = addr.prefixLength
        }
        return selection
    }
}
