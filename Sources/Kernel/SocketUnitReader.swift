// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Finds the socket units of a systemd in its folders: their files, drop-ins and instances.
struct SocketUnitReader {
    private let root: String
    private let manager: SystemdManager
    /// Those of systemd.unit(5); what stands in an earlier one hides its namesake in a later one.
    private let folders: [String]
    /// What is in each folder, unit files and folders of drop-ins and wants.
    private let names: [Set<String>]

    init(root: String, manager: SystemdManager) {
        self.root = root
        self.manager = manager
        let folders = Self.folders(of: manager, root: root).map { root + $0 }
        self.folders = folders
        names = folders.map { Set((try? namesInDirectory($0)) ?? []) }
    }

    /// Every unit that may be active, by its name.
    func read() -> [SocketUnitFile] {
        let wanted = wantedNames()
        let active = activeNames()
        var candidates = Set(names.joined().filter { $0.hasSuffix(".socket") }).union(wanted)
        if let active { candidates = active }
        return candidates.sorted().compactMap { name in
            guard var unit = unit(name) else { return nil }
            unit.isWanted = wanted.contains(name)
            return unit
        }
    }

    private static func folders(of manager: SystemdManager, root: String) -> [String] {
        guard case .user(let user) = manager else {
            return [
                "/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient",
                "/run/systemd/generator.early", "/etc/systemd/system", "/etc/systemd/system.attached",
                "/run/systemd/system", "/run/systemd/system.attached", "/run/systemd/generator",
                "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
                "/run/systemd/generator.late",
            ]
        }
        let run = "/run/user/\(user)/systemd"
        let home = home(of: user, root: root)
        return (home.map { ["\($0)/.config/systemd/user.control"] } ?? [])
            + ["\(run)/user.control", "\(run)/transient", "\(run)/generator.early"]
            + (home.map { ["\($0)/.config/systemd/user"] } ?? [])
            + ["/etc/systemd/user", "\(run)/user", "/run/systemd/user", "\(run)/generator"]
            + (home.map { ["\($0)/.local/share/systemd/user"] } ?? [])
            + [
                "/usr/local/share/systemd/user", "/usr/share/systemd/user", "/usr/local/lib/systemd/user",
                "/usr/lib/systemd/user", "/lib/systemd/user", "\(run)/generator.late",
            ]
    }

    private static func home(of user: UInt32, root: String) -> String? {
        for line in (SmallFile.textIfReadable(root + "/etc/passwd") ?? "").split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count >= 6, UInt32(fields[2]) == user, fields[5].hasPrefix("/") {
                return String(fields[5])
            }
        }
        return nil
    }

    /// What the system's manager tells journald of: its active units. nil: it tells nothing.
    private func activeNames() -> Set<String>? {
        guard manager == .system, let entries = try? namesInDirectory(root + "/run/systemd/units") else {
            return nil
        }
        let prefix = "invocation:"
        let found = entries.filter { $0.hasPrefix(prefix) && $0.hasSuffix(".socket") }
        return found.isEmpty ? nil : Set(found.map { String($0.dropFirst(prefix.count)) })
    }

    /// What stands in a `.wants` or `.requires` of some unit, instances of templates included.
    private func wantedNames() -> Set<String> {
        var found: Set<String> = []
        for (folder, names) in zip(folders, names) {
            for name in names where name.hasSuffix(".wants") || name.hasSuffix(".requires") {
                found.formUnion(
                    ((try? namesInDirectory("\(folder)/\(name)")) ?? []).filter { $0.hasSuffix(".socket") })
            }
        }
        return found
    }

    // MARK: one unit

    /// nil: there is none of that name, or it is a template, masked, or another's name.
    private func unit(_ name: String) -> SocketUnitFile? {
        if name.hasSuffix("@.socket") { return nil }
        guard let text = fragment(name) else { return nil }
        var unit = SocketUnitFile(name: name)
        unit.take(text)
        for text in dropIns(name) { unit.take(text) }
        return unit
    }

    private func fragment(_ name: String) -> String? {
        if let own = file(name, in: folders, holding: names) {
            switch own {
            case .text(let text): return text
            case .link(let target) where target != name:
                // An instance may be a link to its template; anything else is an alias, and the unit
                // is known by its own name.
                guard target == template(name) else { return nil }
            case .link, .masked: return nil
            }
        }
        guard let template = template(name),
            case .text(let text)? = file(template, in: folders, holding: names)
        else { return nil }
        return text
    }

    /// `foo@.socket` of `foo@bar.socket`.
    private func template(_ name: String) -> String? {
        name.firstIndex(of: "@").map { name[...$0] + ".socket" }
    }

    private enum Content {
        case text(String)
        /// Another name of what is called so.
        case link(String)
        case masked
    }

    private func file(_ name: String, in folders: [String], holding names: [Set<String>]) -> Content? {
        for (folder, names) in zip(folders, names) where names.contains(name) {
            return content("\(folder)/\(name)", named: name)
        }
        return nil
    }

    /// Follows links by hand: an absolute one means the root that we were given.
    private func content(_ path: String, named name: String) -> Content? {
        var path = path
        for _ in 0..<8 {
            guard let target = linkTarget(path) else {
                guard let text = SmallFile.textIfReadable(path) else { return nil }
                return text.isEmpty ? .masked : .text(text)
            }
            if target == "/dev/null" { return .masked }
            let last = String(target.split(separator: "/").last ?? "")
            if last.hasSuffix(".socket"), last != name { return .link(last) }
            path = target.hasPrefix("/") ? root + target : path.folder + "/" + target
        }
        return nil
    }

    /// The drop-ins of a unit in the order they count: by file name, each name once.
    private func dropIns(_ name: String) -> [String] {
        var places = [name + ".d"]
        if let template = template(name) { places.append(template + ".d") }
        // foo-bar.socket: foo-.socket.d, too.
        let stem = name.dropLast(".socket".count)
        for dash in stem.indices.reversed() where stem[dash] == "-" {
            places.append(stem[...dash] + ".socket.d")
        }
        places.append("socket.d")
        var found: [String: String?] = [:]
        for place in places {
            for (folder, names) in zip(folders, names) where names.contains(place) {
                for file in (try? namesInDirectory("\(folder)/\(place)")) ?? []
                where file.hasSuffix(".conf") && found[file] == nil {
                    guard case .text(let text)? = content("\(folder)/\(place)/\(file)", named: file) else {
                        found[file] = .some(nil)
                        continue
                    }
                    found[file] = text
                }
            }
        }
        return found.sorted { $0.key < $1.key }.compactMap(\.value)
    }
}

extension String {
    /// All before the last slash.
    fileprivate var folder: String { lastIndex(of: "/").map { String(self[..<$0]) } ?? "." }
}
