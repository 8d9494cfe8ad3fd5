// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake

/// Which socket unit systemd listens for, found without asking it: by the unit files, whose
/// ListenStream= must match the socket, and by its list of what is active.
public final class SocketUnits {
    /// How long a list of units is good for, in ns, when something was not found in it.
    private static let patience: UInt64 = 5_000_000_000

    private let root: String
    private let clock: () -> UInt64
    private var lists: [SystemdManager: (read: UInt64, units: [SocketUnitFile])] = [:]

    /// - Parameters:
    ///   - root: of the file system; tests have one of their own. Without a slash at its end.
    ///   - clock: ns, CLOCK_MONOTONIC.
    public init(root: String = "", clock: @escaping () -> UInt64 = KernelClock.monotonic) {
        self.root = root
        self.clock = clock
    }

    /// The unit for which `manager` listens at `local` (or listened for a connection that has
    /// `local` as its own end). nil: none that can be found, or more than one that would match.
    ///
    /// - Parameter netns: where; 0: not known.
    public func unit(
        of manager: SystemdManager, at local: Endpoint, isListener: Bool, netns: UInt32
    ) -> Unit? {
        var now = clock()
        let known = lists[manager]
        if let known, let name = name(in: known.units, at: local, isListener: isListener, netns: netns) {
            return Unit(name, .socket, isUser: manager != .system)
        }
        if let known, now &- known.read < Self.patience { return nil }
        let units = SocketUnitReader(root: root, manager: manager).read()
        now = clock()
        lists[manager] = (now, units)
        return name(in: units, at: local, isListener: isListener, netns: netns).map {
            Unit($0, .socket, isUser: manager != .system)
        }
    }

    private func name(
        in units: [SocketUnitFile], at local: Endpoint, isListener: Bool, netns: UInt32
    ) -> String? {
        let ranked = units.compactMap { unit -> (unit: SocketUnitFile, rank: Int)? in
            guard let rank = unit.rank(of: local, isListener: isListener) else { return nil }
            if netns != 0, let place = namespace(of: unit), place != netns { return nil }
            return (unit, rank)
        }
        guard let best = ranked.map(\.rank).max() else { return nil }
        var matches = ranked.filter { $0.rank == best }.map(\.unit)
        if matches.count > 1 { matches = matches.filter(\.isWanted) }
        return matches.count == 1 ? matches.first?.name : nil
    }

    /// Where a unit's sockets are: systemd's own network namespace, if it names no other.
    private func namespace(of unit: SocketUnitFile) -> UInt32? {
        if let path = unit.namespacePath {
            var status = stat()
            guard stat(root + path, &status) == 0 else { return 0 }
            return UInt32(truncatingIfNeeded: status.st_ino)
        }
        return linkTarget(root + "/proc/1/ns/net").flatMap(NetworkNamespaces.inodeNumber)
    }
}

/// What a socket unit says of the TCP sockets it has.
struct SocketUnitFile: Equatable {
    struct Listen: Equatable {
        /// nil: given as a port only, which is any address.
        var address: Address?
        var port: UInt16
    }

    var name: String
    var listens: [Listen] = []
    /// BindIPv6Only=ipv6-only: an IPv6 socket takes no IPv4.
    var v6Only = false
    var namespacePath: String?
    /// Some other unit wants or requires it: it is enabled.
    var isWanted = false

    /// How well a socket fits: 2 by its address, 1 by any address; nil: not at all.
    func rank(of local: Endpoint, isListener: Bool) -> Int? {
        listens.compactMap { listen -> Int? in
            guard listen.port == local.port else { return nil }
            guard let address = listen.address, !address.isUnspecified else {
                if isListener {
                    // By a port only it is [::], or 0.0.0.0 where there is no IPv6.
                    guard local.address.isUnspecified else { return nil }
                    return listen.address.map { $0 == local.address } ?? true ? 1 : nil
                }
                let takesV4 = listen.address?.isV4 == true || !v6Only
                let takesV6 = listen.address?.isV4 != true
                return local.address.isV4 ? (takesV4 ? 1 : nil) : (takesV6 ? 1 : nil)
            }
            return address == local.address ? 2 : nil
        }.max()
    }
}

extension SocketUnitFile {
    /// Takes the lines of a unit file or a drop-in into account.
    mutating func take(_ text: String) {
        var section = ""
        var pending = ""
        for raw in text.split(separator: "\n", omittingEmptySubsequences: false) {
            let line = raw.trimmed
            // A comment may stand between the lines of a value.
            if line.hasPrefix("#") || line.hasPrefix(";") { continue }
            if line.hasSuffix("\\") {
                pending += line.dropLast() + " "
                continue
            }
            let whole = pending + line
            pending = ""
            if whole.hasPrefix("["), whole.hasSuffix("]") {
                section = whole
            } else if section == "[Socket]", let equals = whole.firstIndex(of: "=") {
                let key = whole[..<equals].trimmed
                let value = whole[whole.index(after: equals)...].trimmed
                take(key, value)
            }
        }
    }

    private mutating func take(_ key: Substring, _ value: Substring) {
        switch key {
        case "ListenStream":
            if value.isEmpty {
                listens = []
            } else if let listen = expand(value).flatMap(Listen.init) {
                listens.append(listen)
            }
        case "ListenDatagram", "ListenSequentialPacket", "ListenFIFO", "ListenSpecial", "ListenNetlink",
            "ListenMessageQueue", "ListenUSBFunction":
            // An empty value takes back those of every kind.
            if value.isEmpty { listens = [] }
        case "BindIPv6Only": v6Only = value == "ipv6-only"
        case "NetworkNamespacePath": namespacePath = value.isEmpty ? nil : expand(value)
        default: break
        }
    }

    /// `value` with its specifiers replaced (systemd.unit(5)); nil: one that only systemd knows.
    private func expand(_ value: Substring) -> String? {
        guard value.contains("%") else { return String(value) }
        let stem = name.dropLast(".socket".count)
        let at = stem.firstIndex(of: "@")
        let prefix = stem[..<(at ?? stem.endIndex)]
        let instance = at.map { stem[stem.index(after: $0)...] } ?? ""
        var result = ""
        var rest = value
        while let next = rest.popFirst() {
            guard next == "%" else {
                result.append(next)
                continue
            }
            switch rest.popFirst() {
            case "%": result.append("%")
            case "n": result += name
            case "N": result += stem
            case "p": result += prefix
            case "i": result += instance
            case "I": result += Self.unescape(instance)
            default: return nil
            }
        }
        return result
    }

    /// Undoes systemd-escape: `-` is a slash, `\x2d` a byte.
    private static func unescape(_ text: Substring) -> String {
        let bytes = Array(text.utf8)
        var plain: [UInt8] = []
        var place = 0
        while place < bytes.count {
            if place + 3 < bytes.count, bytes[place] == UInt8(ascii: "\\"),
                bytes[place + 1] == UInt8(ascii: "x"),
                let value = UInt8(String(decoding: bytes[place + 2...place + 3], as: UTF8.self), radix: 16)
            {
                plain.append(value)
                place += 4
            } else {
                plain.append(bytes[place] == UInt8(ascii: "-") ? UInt8(ascii: "/") : bytes[place])
                place += 1
            }
        }
        return String(decoding: plain, as: UTF8.self)
    }
}

extension SocketUnitFile.Listen {
    /// `8080`, `10.0.0.1:8080`, `[::1]:8080`; nil for paths, vsock and the like.
    init?(_ text: String) {
        if let port = UInt16(text) {
            if port == 0 { return nil }
            self.init(address: nil, port: port)
            return
        }
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
            port != 0
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("[") && host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            // Of a link-local address: which interface.
            if let percent = host.firstIndex(of: "%") { host = host[..<percent] }
            var raw = (UInt64(0), UInt64(0))
            guard inet_pton(AF_INET6, String(host), &raw) == 1 else { return nil }
            self.init(
                address: Address(high: UInt64(bigEndian: raw.0), low: UInt64(bigEndian: raw.1)), port: port)
        } else {
            var raw = in_addr()
            guard inet_pton(AF_INET, String(host), &raw) == 1 else { return nil }
            self.init(address: Address(v4: UInt32(bigEndian: raw.s_addr)), port: port)
        }
    }
}

extension StringProtocol {
    fileprivate var trimmed: SubSequence {
        guard let first = firstIndex(where: { !$0.isWhitespace }),
            let last = lastIndex(where: { !$0.isWhitespace })
        else { return self[startIndex..<startIndex] }
        return self[first...last]
    }
}
