// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// Where the cgroup v2 hierarchy is mounted.
public struct CgroupMount: Hashable, Sendable {
    /// The mount point: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on hybrid systems.
    public var path: String
    /// The cgroup that is mounted there; `/` unless only a part is, as in some containers.
    public var root: String

    public init(path: String, root: String) {
        self.path = path
        self.root = root
    }

    /// The first cgroup2 mount of this process's mount namespace, from /proc/self/mountinfo.
    ///
    /// - Throws: `KernelError` when there is none.
    public static func find() throws(KernelError) -> CgroupMount {
        let source = "/proc/self/mountinfo"
        guard let mount = parse(mountinfo: try SmallFile.text(source)) else {
            throw KernelError(
                "find the cgroup v2 hierarchy", "", cause: "\(source) has no mount of type cgroup2",
                remedy: "mount it: mount -t cgroup2 none /sys/fs/cgroup (inside `ip netns exec` it is "
                    + "hidden: run mpscope outside, with --netns NAME)")
        }
        return mount
    }

    /// Lines are `ID PARENT DEVICE ROOT MOUNTPOINT OPTIONS… - TYPE SOURCE OPTIONS` (proc(5)).
    static func parse(mountinfo: String) -> CgroupMount? {
        for line in mountinfo.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 6, let dash = fields[6...].firstIndex(of: "-"),
                dash + 1 < fields.endIndex, fields[dash + 1] == "cgroup2"
            else { continue }
            return CgroupMount(path: unescape(fields[4]), root: unescape(fields[3]))
        }
        return nil
    }

    /// `\040` and its like stand for a space, tab, newline and backslash.
    private static func unescape(_ text: Substring) -> String {
        let bytes = Array(text.utf8)
        var plain: [UInt8] = []
        var place = 0
        while place < bytes.count {
            if bytes[place] == UInt8(ascii: "\\"), place + 3 < bytes.count,
                let value = UInt8(String(decoding: bytes[place + 1...place + 3], as: UTF8.self), radix: 8)
            {
                plain.append(value)
                place += 4
            } else {
                plain.append(bytes[place])
                place += 1
            }
        }
        return String(decoding: plain, as: UTF8.self)
    }

    /// The directory of a cgroup named as in /proc/PID/cgroup; nil when it lies outside the mount.
    func directory(ofCgroup name: String) -> String? {
        guard name.hasPrefix("/"), !name.split(separator: "/").contains("..") else { return nil }
        if root == "/" { return name == "/" ? path : path + name }
        if name == root { return path }
        return name.hasPrefix(root + "/") ? path + name.dropFirst(root.count) : nil
    }

    /// The id (the inode number of its directory) of a cgroup named as in /proc/PID/cgroup or
    /// relative to the mount; 0 when there is none.
    public func id(ofCgroup name: String) -> UInt64 {
        guard let directory = directory(ofCgroup: name) else { return 0 }
        var status = stat()
        return stat(directory, &status) == 0 ? UInt64(status.st_ino) : 0
    }

    /// The cgroup v2 line (`0::PATH`) of a /proc/PID/cgroup.
    static func cgroup(inProcessFile text: String) -> String? {
        text.split(separator: "\n").first { $0.hasPrefix("0::") }.map { String($0.dropFirst(3)) }
    }
}

/// Names of cgroups by their ids, with a bounded memory of those asked for before.
public struct CgroupNames: ~Copyable {
    /// Where the hierarchy is mounted.
    public let mount: CgroupMount
    private let directory: OwnedDescriptor
    private let capacity: Int
    private(set) var known: [UInt64: String?] = [:]

    /// - Parameter capacity: how many names to remember; all are forgotten when that is reached.
    /// - Throws: `KernelError` when there is no cgroup v2 hierarchy or it cannot be opened.
    public init(capacity: Int = 4096) throws(KernelError) {
        let mount = try CgroupMount.find()
        let directory = try OwnedDescriptor(
            opening: mount.path, options: .directory, to: "open the cgroup v2 hierarchy")
        self.mount = mount
        self.directory = directory
        self.capacity = max(1, capacity)
    }

    /// The path relative to the mount: `/`, `/system.slice/nginx.service`.
    ///
    /// - Returns: nil when there is no such cgroup any more, or the caller lacks
    ///   CAP_DAC_READ_SEARCH, which finding one by its id takes.
    public mutating func path(of id: UInt64) -> String? {
        if id == 0 { return nil }
        if let answer = known[id] { return answer }
        if known.count >= capacity { known.removeAll(keepingCapacity: true) }
        let answer = look(up: id)
        known[id] = answer
        return answer
    }

    private func look(up id: UInt64) -> String? {
        let raw = mps_open_cgroup(directory.descriptor.rawValue, id)
        guard raw >= 0 else { return nil }
        let cgroup = OwnedDescriptor(adopting: FileDescriptor(rawValue: raw))
        guard let target = linkTarget("/proc/self/fd/\(cgroup.descriptor.rawValue)") else { return nil }
        if target == mount.path { return "/" }
        guard target.hasPrefix(mount.path + "/"), !target.hasSuffix(" (deleted)") else { return nil }
        return String(target.dropFirst(mount.path.count))
    }
}
