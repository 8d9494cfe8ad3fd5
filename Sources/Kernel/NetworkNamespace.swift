// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// A network namespace that could be found.
public struct NetworkNamespace: Hashable, Sendable {
    /// The inode number in nsfs: what `ip netns identify`, `lsns` and the records show.
    public var inode: UInt32
    /// Its name, if `ip netns` gave it one.
    public var name: String?
    /// Something that opens it: `/run/netns/NAME` or `/proc/PID/ns/net`.
    public var path: String

    public init(inode: UInt32, name: String?, path: String) {
        self.inode = inode
        self.name = name
        self.path = path
    }

    /// For messages: the name, or `net:[INODE]` as the kernel writes it.
    public var label: String { name ?? "net:[\(inode)]" }

    /// Runs `body` on the calling thread inside this namespace and comes back before returning or
    /// throwing. Only the calling thread moves; sockets made inside stay in the namespace and serve
    /// from anywhere. Ends the process if the way back fails: going on in a foreign namespace would
    /// make every later answer wrong.
    ///
    /// - Throws: `KernelError` when the namespace is gone or may not be entered; what `body` throws.
    public func inside<Result: ~Copyable>(
        _ body: () throws(KernelError) -> Result
    ) throws(KernelError) -> Result {
        let home = try OwnedDescriptor(opening: Self.homePath, to: "open the own network namespace")
        let homeInode = try home.inode(of: Self.homePath)
        if homeInode == UInt64(inode) { return try body() }
        let target = try open()
        guard mps_setns_net(target.descriptor.rawValue) == 0 else {
            throw .last(
                "enter the network namespace", label,
                remedy: "entering one takes CAP_SYS_ADMIN: run as root")
        }
        defer {
            if mps_setns_net(home.descriptor.rawValue) != 0 {
                fatalError("cannot return to the own network namespace from \(label): \(Errno.current)")
            }
        }
        return try body()
    }

    /// The calling thread's own; /proc/self would be the first thread's.
    static let homePath = "/proc/thread-self/ns/net"

    /// Opens the namespace and makes sure that it is the one meant. When the path has gone (its
    /// process ended, its name was removed) any other process in the namespace will do.
    ///
    /// - Throws: `KernelError` when nothing leads to it any more.
    public func open() throws(KernelError) -> OwnedDescriptor {
        let failure: KernelError
        do {
            let descriptor = try OwnedDescriptor(opening: path, to: "open the network namespace")
            if try descriptor.inode(of: path) == UInt64(inode) { return descriptor }
            failure = KernelError(
                "open the network namespace", label, cause: "\(path) is another one now",
                remedy: "nothing holds it any more; look for its successor with 'ip netns' or lsns")
        } catch {
            failure = error
        }
        guard let substitute = NetworkNamespaces.ofProcesses(only: inode).first else { throw failure }
        let descriptor = try OwnedDescriptor(
            opening: substitute.path, to: "open the network namespace")
        guard try descriptor.inode(of: substitute.path) == UInt64(inode) else { throw failure }
        return descriptor
    }
}

/// Finding network namespaces. What cannot be looked into (processes of others, when not root) is
/// passed over.
public enum NetworkNamespaces {
    /// Where `ip netns` keeps its names.
    static let nameDirectories = ["/run/netns", "/var/run/netns"]

    /// The calling thread's.
    ///
    /// - Throws: `KernelError` when /proc does not tell, as without /proc.
    public static func own() throws(KernelError) -> NetworkNamespace {
        let home = NetworkNamespace.homePath
        let descriptor = try OwnedDescriptor(opening: home, to: "open the own network namespace")
        let inode = UInt32(truncatingIfNeeded: try descriptor.inode(of: home))
        if let named = named().first(where: { $0.inode == inode }) { return named }
        // A path that means the same to every thread.
        let path = "/proc/\(getpid())/task/\(mps_gettid())/ns/net"
        return NetworkNamespace(inode: inode, name: nil, path: path)
    }

    /// Every one that can be found, each once: the own, those with names (in the order of their
    /// names), those of processes (in the order of the process ids).
    ///
    /// - Throws: `KernelError` when not even the own can be told.
    public static func all() throws(KernelError) -> [NetworkNamespace] {
        var seen: Set<UInt32> = []
        return ([try own()] + named() + ofProcesses()).filter { seen.insert($0.inode).inserted }
    }

    /// The one that `--netns NAME|PATH|INODE` means. A name wins over a number; `net:[INODE]` is
    /// understood as well.
    ///
    /// - Throws: `KernelError` that says which readings were tried.
    public static func resolve(_ text: String) throws(KernelError) -> NetworkNamespace {
        let action = "find the network namespace"
        if text.isEmpty {
            throw KernelError(
                action, "''", cause: "it is empty", remedy: "give a name, a path or an inode number")
        }
        let named = named()
        if text.contains("/") {
            let descriptor = try OwnedDescriptor(opening: text, to: action)
            guard mps_namespace_type(descriptor.descriptor.rawValue) == mps_clone_newnet() else {
                throw KernelError(
                    action, text, cause: "it is no network namespace",
                    remedy: "give /run/netns/NAME or /proc/PID/ns/net")
            }
            let inode = UInt32(truncatingIfNeeded: try descriptor.inode(of: text))
            return NetworkNamespace(
                inode: inode, name: named.first { $0.inode == inode }?.name, path: text)
        }
        if let match = named.first(where: { $0.name == text }) { return match }
        if let inode = inodeNumber(text) {
            if let match = named.first(where: { $0.inode == inode }) { return match }
            let own = try own()
            if own.inode == inode { return own }
            if let match = ofProcesses(only: inode).first { return match }
            throw KernelError(
                action, text, cause: "no process is in a network namespace of that inode number",
                remedy: "lsns -t net lists them; to see those of other users be root")
        }
        let names = named.compactMap(\.name)
        throw KernelError(
            action, text,
            cause: "'ip netns' knows " + (names.isEmpty ? "no names" : names.joined(separator: ", ")),
            remedy: "give one of its names, a path such as /proc/PID/ns/net, or an inode number")
    }

    /// `4026531840` or `net:[4026531840]`.
    static func inodeNumber(_ text: String) -> UInt32? {
        if text.hasPrefix("net:[") && text.hasSuffix("]") { return UInt32(text.dropFirst(5).dropLast()) }
        return text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            ? UInt32(text) : nil
    }

    /// Those with names, ordered by them, each namespace once.
    static func named() -> [NetworkNamespace] {
        var found: [NetworkNamespace] = []
        var seen: Set<UInt32> = []
        for directory in nameDirectories {
            let names: [String]
            // No directory: no names were ever given.
            do { names = try namesInDirectory(directory) } catch { continue }
            for name in names.sorted() {
                let path = "\(directory)/\(name)"
                guard let inode = inodeOfNetworkNamespace(path), seen.insert(inode).inserted else { continue }
                found.append(NetworkNamespace(inode: inode, name: name, path: path))
            }
        }
        return found
    }

    /// Those of processes, each once with the lowest process id; `only`: just that one.
    static func ofProcesses(only wanted: UInt32? = nil) -> [NetworkNamespace] {
        var found: [NetworkNamespace] = []
        var seen: Set<UInt32> = []
        for pid in processIDs() {
            let path = "/proc/\(pid)/ns/net"
            guard let target = linkTarget(path), let inode = inodeNumber(target),
                wanted == nil || wanted == inode, seen.insert(inode).inserted
            else { continue }
            found.append(NetworkNamespace(inode: inode, name: nil, path: path))
            if wanted != nil { break }
        }
        return found
    }

    /// nil for anything else: `ip netns` leaves plain files behind when it is interrupted.
    private static func inodeOfNetworkNamespace(_ path: String) -> UInt32? {
        do {
            let descriptor = try OwnedDescriptor(opening: path)
            guard mps_namespace_type(descriptor.descriptor.rawValue) == mps_clone_newnet() else { return nil }
            return UInt32(truncatingIfNeeded: try descriptor.inode(of: path))
        } catch {
            return nil
        }
    }
}
