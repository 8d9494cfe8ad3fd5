// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// A network namespace that has a name under /run/netns, as `ip netns` makes them. Who takes the
/// name away is `NamespaceKeeper`'s affair.
public struct Namespace: Sendable {
    static let folder = "/run/netns"

    public let name: String
    /// By which the kernel's records tell namespaces apart.
    public let inode: UInt32

    /// The namespace that `ip netns add` has made under this name.
    init(named name: String) throws(ScenarioError) {
        var attributes = stat()
        guard stat(Self.path(name), &attributes) == 0 else {
            throw .failed("stat", on: Self.path(name), -errno)
        }
        self.name = name
        inode = UInt32(truncatingIfNeeded: attributes.st_ino)
    }

    static func path(_ name: String) -> String { "\(folder)/\(name)" }

    /// Takes a name away; nothing happens when it is gone already. The namespace itself goes
    /// once no process is inside.
    static func remove(_ name: String) {
        _ = mps_netns_unname(path(name))
    }

    /// The names there are that begin with `prefix`.
    static func names(prefix: String) -> [String] {
        guard let folder = opendir(folder) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasPrefix(prefix) { names.append(name) }
        }
        return names.sorted()
    }

    /// Runs `body` inside, on a thread of its own, so that this thread never leaves its place.
    package func inside<Value>(
        _ body: @escaping () throws(ScenarioError) -> Value
    ) throws(ScenarioError) -> Value {
        var outcome: Result<Value, ScenarioError>?
        let call = Call {
            do throws(ScenarioError) {
                outcome = .success(try body())
            } catch {
                outcome = .failure(error)
            }
        }
        let result = mps_netns_call(
            Self.path(name),
            { context in
                guard let context else { return }
                Unmanaged<Call>.fromOpaque(context).takeUnretainedValue().body()
            }, Unmanaged.passUnretained(call).toOpaque())
        guard let outcome else {
            throw .failed("setns", on: Self.path(name), result, advice: "has the namespace been removed?")
        }
        return try outcome.get()
    }

    /// A closure that can pass through C.
    private final class Call {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }
}
