// SPDX-License-Identifier: Apache-2.0

import Handshake
import Kernel
import Output

/// Paths and units of cgroups, by id.
final class CgroupLookup {
    private let mount: CgroupMount
    private var names: CgroupNames?

    init(_ mount: CgroupMount) {
        self.mount = mount
        names = try? CgroupNames()
    }

    func name(of id: UInt64) -> CgroupName? {
        guard let path = names?.path(of: id) else { return nil }
        return CgroupName(path: path, unit: CgroupNames.unit(fromCgroupPath: path).map { Unit($0, .scope) })
    }

    /// Whether an id is that cgroup or one below it; nil: there is no such cgroup.
    func filter(under path: String) -> ((UInt64) -> Bool)? {
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
