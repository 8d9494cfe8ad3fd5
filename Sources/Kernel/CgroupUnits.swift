// SPDX-License-Identifier: Apache-2.0

import Handshake

/// What the path of a cgroup tells of the processes in it.
public struct CgroupUnits: Hashable, Sendable {
    /// The innermost container (Docker, containerd, CRI-O, Podman, LXC) or unit of systemd.
    public var unit: Unit?
    /// Its process is that systemd of this host, whose sockets are its units'.
    public var manager: SystemdManager?

    /// - Parameter path: below the mount of cgroup v2, `/system.slice/nginx.service`.
    public init(path: String) {
        let parts = path.split(separator: "/")
        unit = Self.unit(parts[...])
        if parts.last == "init.scope" { manager = Self.manager(parts.dropLast()) }
    }

    /// A systemd is in `init.scope`, at the root or below the service of its user.
    private static func manager(_ parents: ArraySlice<Substring>) -> SystemdManager? {
        guard let service = parents.last else { return .system }
        guard parents.first == "user.slice", parents.count == 3, let user = user(service) else { return nil }
        return .user(user)
    }

    /// 1000 of `user@1000.service`.
    private static func user(_ service: Substring) -> UInt32? {
        guard service.hasPrefix("user@"), service.hasSuffix(".service") else { return nil }
        return UInt32(service.dropFirst(5).dropLast(8))
    }

    private static func unit(_ parts: ArraySlice<Substring>) -> Unit? {
        for (place, part) in zip(parts.indices, parts).reversed() {
            let parents = parts[..<place]
            if let name = container(part, below: parents) { return Unit(name, .container) }
            // That of systemd itself: what it is in says more.
            if part == "init.scope" { continue }
            guard let (name, kind) = systemdUnit(part) else { continue }
            return Unit(
                name, kind, isUser: parents.contains { user($0) != nil },
                container: container(around: parents))
        }
        return nil
    }

    private static func container(around parts: ArraySlice<Substring>) -> String? {
        for (place, part) in zip(parts.indices, parts).reversed() {
            if let name = container(part, below: parts[..<place]) { return name }
        }
        return nil
    }

    // MARK: units

    private static let kinds: [(suffix: String, kind: Unit.Kind)] = [
        (".service", .service), (".socket", .socket), (".scope", .scope),
    ]

    private static func systemdUnit(_ part: Substring) -> (String, Unit.Kind)? {
        // systemd puts a _ before names that the kernel has a meaning for.
        let name = part.hasPrefix("_") ? part.dropFirst() : part
        guard let found = kinds.first(where: { name.hasSuffix($0.suffix) }),
            name.utf8.count > found.suffix.utf8.count, name.utf8.count < 256,
            // Anything else was made by somebody, not by systemd.
            name.utf8.allSatisfy(isUnitCharacter)
        else { return nil }
        return (String(name), found.kind)
    }

    private static func isUnitCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: ":"), UInt8(ascii: "-"), UInt8(ascii: "_"),
            UInt8(ascii: "."), UInt8(ascii: "\\"), UInt8(ascii: "@"):
            true
        default: false
        }
    }

    // MARK: containers

    private static let prefixes = ["docker-", "cri-containerd-", "crio-", "libpod-", "nerdctl-"]
    /// Below these a component that is nothing but an id is a container (cgroupfs driver).
    private static let parents = ["docker", "kubepods", "libpod_parent", "machine.slice", "ecs"]
    private static let hexDigits = Array("0123456789abcdef".utf8)

    /// The first 12 digits of its id; of LXC, which has none, its name.
    private static func container(_ part: Substring, below parts: ArraySlice<Substring>) -> String? {
        if let name = lxc(part, below: parts) { return name }
        if part.hasSuffix(".scope") {
            let id = part.dropLast(6)
            guard let prefix = prefixes.first(where: { id.hasPrefix($0) }) else { return nil }
            return short(id.dropFirst(prefix.count))
        }
        // `kubepods-x.slice:cri-containerd:ID`, where the drivers of systemd and cgroupfs were mixed.
        if part.contains(":") {
            let pieces = part.split(separator: ":", omittingEmptySubsequences: false)
            return pieces.count == 3 ? short(pieces[2]) : nil
        }
        guard parts.contains(where: { above in parents.contains { above.hasPrefix($0) } }) else { return nil }
        return short(part.hasPrefix("libpod-") ? part.dropFirst(7) : part)
    }

    private static func short(_ id: Substring) -> String? {
        guard id.utf8.count == 64, id.utf8.allSatisfy({ hexDigits.contains($0) }) else { return nil }
        return String(id.prefix(12))
    }

    /// `lxc.payload.NAME`, `lxc.payload/NAME`, before LXC 4 `lxc/NAME`.
    private static func lxc(_ part: Substring, below parts: ArraySlice<Substring>) -> String? {
        let name: Substring
        if part.hasPrefix("lxc.payload.") {
            name = part.dropFirst(12)
        } else if parts.last == "lxc.payload" || parts.last == "lxc" && parts.count == 1 {
            name = part
        } else {
            return nil
        }
        return name.isEmpty ? nil : String(name)
    }
}
