// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import SystemPackage
import Testing

@testable import Kernel

extension Tag {
    /// Needs root and this machine's kernel.
    @Tag static var live: Self
}

struct LiveError: Error, CustomStringConvertible {
    var description: String
}

/// A program that runs; killed at the end if it still does.
struct Child: ~Copyable {
    let pid: pid_t
    private var ended = false

    /// `descriptor` becomes the program's standard output.
    init(_ words: [String], output descriptor: Int32 = 1) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, descriptor, 1)
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        arguments.append(nil)
        defer { for pointer in arguments { free(pointer) } }
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, words[0], &actions, nil, &arguments, environ)
        guard code == 0 else { throw LiveError(description: "\(words): \(Errno(rawValue: code))") }
        self.pid = pid
    }

    /// Waits for the end; the status of waitpid().
    mutating func wait() -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        ended = true
        return status
    }

    deinit {
        if ended { return }
        kill(pid, SIGKILL)
        while waitpid(pid, nil, 0) < 0, errno == EINTR {}
    }
}

/// Runs a program to its end.
func run(_ words: String...) throws {
    var child = try Child(words)
    let status = child.wait()
    if status != 0 { throw LiveError(description: "\(words.joined(separator: " ")): status \(status)") }
}

/// A network namespace with its loopback up, gone at the end of `body`.
func withNamespace(_ body: (NetworkNamespace) throws -> Void) throws {
    guard geteuid() == 0 else { throw LiveError(description: "live tests need root") }
    let name = "mpsk-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    try run("ip", "netns", "add", name)
    defer {
        do { try run("ip", "netns", "del", name) } catch { Issue.record(error) }
    }
    try run("ip", "-n", name, "link", "set", "lo", "up")
    try body(try NetworkNamespaces.resolve(name))
}

/// One socket of these tests.
struct TestSocket: ~Copyable {
    let raw: Int32
    let inode: UInt32

    init(adopting raw: Int32) throws(KernelError) {
        guard raw >= 0 else { throw .last("make", "a socket") }
        self.raw = raw
        var status = stat()
        fstat(raw, &status)
        inode = UInt32(status.st_ino)
    }

    init(v6: Bool, mptcp: Bool) throws(KernelError) {
        try self.init(
            adopting: Glibc.socket(
                v6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue),
                mptcp ? 262 : 6))
    }

    deinit { close(raw) }

    /// Calls bind() or connect() with `end`.
    private func with(
        _ end: Endpoint, v6: Bool, _ call: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        if v6 {
            var name = sockaddr_in6()
            name.sin6_family = sa_family_t(AF_INET6)
            name.sin6_port = end.port.bigEndian
            withUnsafeMutableBytes(of: &name.sin6_addr) {
                $0.storeBytes(of: end.address.high.bigEndian, as: UInt64.self)
                $0.storeBytes(of: end.address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            return withUnsafePointer(to: &name) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    call(raw, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        }
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = end.port.bigEndian
        name.sin_addr.s_addr = UInt32(truncatingIfNeeded: end.address.low).bigEndian
        return withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                call(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    func listen(on end: Endpoint, v6: Bool, sharing: Bool = false) throws(KernelError) {
        var on: Int32 = 1
        if sharing {
            setsockopt(raw, SOL_SOCKET, SO_REUSEPORT, &on, socklen_t(MemoryLayout<Int32>.size))
        }
        guard with(end, v6: v6, Glibc.bind) == 0, Glibc.listen(raw, 16) == 0 else {
            throw .last("listen on", "\(end)")
        }
    }

    func connect(to end: Endpoint, v6: Bool) throws(KernelError) {
        guard with(end, v6: v6, Glibc.connect) == 0 else { throw .last("connect to", "\(end)") }
    }

    func accepted() throws(KernelError) -> TestSocket {
        try TestSocket(adopting: accept(raw, nil, nil))
    }

    /// The local port.
    func port() -> UInt16 {
        var name = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        _ = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(raw, $0, &length) }
        }
        // The port stands at the same place in both families.
        return UInt16(bigEndian: name.sin6_port)
    }

    /// SO_COOKIE of the application's socket.
    func cookie() -> UInt64 {
        var cookie: UInt64 = 0
        var length = socklen_t(MemoryLayout<UInt64>.size)
        getsockopt(raw, SOL_SOCKET, 57, &cookie, &length)
        return cookie
    }
}
