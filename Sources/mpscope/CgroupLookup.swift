// SPDX-License-Identifier: Apache-2.0

import Handshake
import Kernel
import Output

/// Paths and units of cgroups, by id.
final class CgroupLookup {
    private let mount: CgroupMount?
    private var names: CgroupNames?
    private var known: [UInt64: CgroupName?] = [:]

    /// - Parameter mount: nil: cgroup v2 is mounted nowhere, and no cgroup has a name.
    init(_ mount: CgroupMount?) {
        self.mount = mount
        names = mount == nil ? nil : try? CgroupNames()
    }

    func name(of id: UInt64) -> CgroupName? {
        if let known = known[id] { return known }
        let found = names?.path(of: id).map { path in
            let units = CgroupUnits(path: path)
            return CgroupName(path: path, unit: units.unit, manager: units.manager)
        }
        if known.count >= 4096 { known.removeAll(keepingCapacity: true) }
        known[id] = .some(found)
        return found
    }

    /// Whether an id is that cgroup or one below it; nil: there is no such cgroup.
    func filter(under path: String) -> ((UInt64) -> Bool)? {
        guard let mount else { return nil }
        var wanted = path
        if wanted.hasPrefix(mount.path) { wanted.removeFirst(mount.path.utf8.count) }
        while wanted.count > 1, wanted.hasSuffix("/") { wanted.removeLast() }
        if !wanted.hasPrefix("/") { wanted = "/" + wanted }
        guard mount.id(ofCgroup: wanted) != 0 else { return nil }
        let below = wanted == "/" ? "/" : wanted + "/"
        return { [self] id in
            guard let path = names?.path(of: id) else { return false }
            return path == wanted || path.hasPrefix(below)
        }
    }
}

/// Units of the sockets that systemd listens on, for the writers.
func socketUnitLookup() -> (ManagedSocket) -> Unit? {
    let units = SocketUnits()
    return { socket in
        units.unit(
            of: socket.manager, at: socket.local, isListener: socket.isListener, netns: socket.netns)
    }
}
