// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import SystemPackage

/// Which processes hold which sockets, from /proc.
public enum SocketHolders {
    /// Looks through the descriptors of all processes once, in the order of their ids, and stops
    /// when every inode in `wanted` is accounted for.
    ///
    /// - Returns: the holder with the lowest process id for each inode; no entry when nobody holds
    ///   it, or its holder may not be looked into (another user's, when not root).
    public static func find(_ wanted: Set<UInt32>) -> [UInt32: Owner] {
        var missing = wanted
        missing.remove(0)
        var holders: [UInt32: Owner] = [:]
        if missing.isEmpty { return holders }
        // Without the hierarchy the owner is known all the same, but for its cgroup.
        let mount: CgroupMount?
        do { mount = try CgroupMount.find() } catch { mount = nil }
        for pid in processIDs() {
            let held = sockets(of: pid).intersection(missing)
            if held.isEmpty { continue }
            guard let owner = owner(pid: pid, mount: mount) else { continue }
            for inode in held { holders[inode] = owner }
            missing.subtract(held)
            if missing.isEmpty { break }
        }
        return holders
    }

    /// Whether there is such a process, and it has not ended: whoever opened a socket holds it, as far as
    /// anyone can tell cheaply.
    public static func isHeld(by pid: UInt32) -> Bool {
        guard let text = SmallFile.textIfReadable("/proc/\(pid)/stat"),
            let end = text.lastIndex(of: ")")
        else { return false }
        // Ended, and not asked after yet.
        let state = text[end...].dropFirst(2).first
        return state != "Z" && state != "X"
    }

    /// The inodes of the sockets that a process holds; empty when it may not be looked into.
    static func sockets(of pid: UInt32) -> Set<UInt32> {
        let directory = "/proc/\(pid)/fd"
        let descriptors: [String]
        do { descriptors = try namesInDirectory(directory) } catch { return [] }
        return Set(descriptors.compactMap { linkTarget("\(directory)/\($0)").flatMap(socketInode) })
    }

    /// 4711 of `socket:[4711]`.
    static func socketInode(_ target: String) -> UInt32? {
        guard target.hasPrefix("socket:["), target.hasSuffix("]") else { return nil }
        return UInt32(target.dropFirst(8).dropLast())
    }

    /// A process as the owner of what it holds; nil when it has ended.
    ///
    /// - Parameter mount: where to look for its cgroup's id; nil: the id stays 0.
    public static func owner(pid: UInt32, mount: CgroupMount?) -> Owner? {
        guard let uid = SmallFile.textIfReadable("/proc/\(pid)/status").flatMap(realUser) else { return nil }
        var name: [UInt8]
        do { name = try SmallFile.bytes("/proc/\(pid)/comm") } catch { return nil }
        if name.last == UInt8(ascii: "\n") { name.removeLast() }
        let cgroup = SmallFile.textIfReadable("/proc/\(pid)/cgroup").flatMap(CgroupMount.cgroup)
        return Owner(
            pid: pid, tid: pid, uid: uid, comm: Comm(name),
            cgroup: cgroup.flatMap { mount?.id(ofCgroup: $0) } ?? 0, source: .holder)
    }

    /// The first number of the `Uid:` line of /proc/PID/status: the real user, as BPF reports it.
    static func realUser(status: String) -> UInt32? {
        for line in status.split(separator: "\n") where line.hasPrefix("Uid:") {
            return line.dropFirst(4).split(whereSeparator: \.isWhitespace).first.flatMap { UInt32($0) }
        }
        return nil
    }
}
