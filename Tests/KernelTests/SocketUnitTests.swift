// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Testing

@testable import Kernel

/// A root of files of its own.
private struct Root: ~Copyable {
    let path: String

    init() throws {
        var template = Array("/tmp/mpscope-root-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw LiveError(description: "mkdtemp") }
        path = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func write(_ name: String, _ text: String) throws {
        try makeFolder(of: name)
        guard let file = fopen(path + name, "w") else { throw LiveError(description: name) }
        fputs(text, file)
        fclose(file)
    }

    func link(_ name: String, to target: String) throws {
        try makeFolder(of: name)
        guard symlink(target, path + name) == 0 else { throw LiveError(description: name) }
    }

    private func makeFolder(of name: String) throws {
        var folder = path
        for part in name.split(separator: "/").dropLast() {
            folder += "/" + part
            mkdir(folder, 0o755)
        }
    }

    deinit {
        do { try run("rm", "-rf", path) } catch {}
    }
}

@Suite struct SocketUnitTests {
    private func ask(
        _ root: borrowing Root, _ local: Endpoint, connection: Bool = false, netns: UInt32 = 0,
        of manager: SystemdManager = .system
    ) -> String? {
        SocketUnits(root: root.path).unit(of: manager, at: local, isListener: !connection, netns: netns)?.name
    }

    private static let lib = "/usr/lib/systemd/system/"
    private static let etc = "/etc/systemd/system/"
    private static let v4 = Address(v4: 0x0a00_0001)
    private static let any4 = Address(v4: 0)

    private func socket(_ lines: String...) -> String {
        "[Unit]\nListenStream=1\n[Socket]\n" + lines.joined(separator: "\n") + "\n[Install]\nListenStream=2\n"
    }

    @Test func byPortAndAddress() throws {
        let root = try Root()
        try root.write(
            Self.lib + "web.socket",
            socket("# ListenStream=81", "ListenStream = 80 ", "ListenStream=/run/x", "ListenStream=vsock::9"))
        try root.write(Self.lib + "inner.socket", socket("ListenStream=10.0.0.1:80"))
        try root.write(Self.lib + "six.socket", socket("ListenStream=[::1]:82", "ListenDatagram=80"))
        try root.write(
            Self.lib + "only6.socket", socket("ListenStream=83", "BindIPv6Only=ipv6-only"))
        try root.write(Self.lib + "four.socket", socket("ListenStream=0.0.0.0:84"))
        #expect(ask(root, Endpoint(.unspecified, 80)) == "web.socket")
        #expect(ask(root, Endpoint(Self.any4, 80)) == "web.socket")
        #expect(ask(root, Endpoint(Self.v4, 80)) == "inner.socket")
        #expect(ask(root, Endpoint(Self.v4, 80), connection: true) == "inner.socket")
        #expect(ask(root, Endpoint(Address(v4: 0x0a00_0002), 80), connection: true) == "web.socket")
        #expect(ask(root, Endpoint(Address(v4: 0x0a00_0002), 80)) == nil)
        #expect(ask(root, Endpoint(Address(high: 0, low: 1), 82)) == "six.socket")
        #expect(ask(root, Endpoint(Self.v4, 83), connection: true) == nil)
        #expect(ask(root, Endpoint(Address(high: 1, low: 1), 83), connection: true) == "only6.socket")
        #expect(ask(root, Endpoint(Self.any4, 84)) == "four.socket")
        #expect(ask(root, Endpoint(.unspecified, 84)) == nil)
        #expect(ask(root, Endpoint(Address(high: 1, low: 1), 84), connection: true) == nil)
        for port: UInt16 in [1, 2, 9, 81, 85] { #expect(ask(root, Endpoint(.unspecified, port)) == nil) }
    }

    @Test func earlierFoldersAndDropIns() throws {
        let root = try Root()
        try root.write(Self.lib + "web-a.socket", socket("ListenStream=80"))
        try root.write(Self.etc + "web-a.socket.d/20-more.conf", socket("ListenStream=81 \\\n ", "Accept=no"))
        try root.write(Self.lib + "web-.socket.d/10-port.conf", socket("ListenFIFO=", "ListenStream=82"))
        try root.write(Self.lib + "web-a.socket.d/30-gone.conf", socket("ListenStream=83"))
        try root.link(Self.etc + "web-a.socket.d/30-gone.conf", to: "/dev/null")
        #expect(
            [80, 81, 82, 83].map { ask(root, Endpoint(.unspecified, $0)) } == [
                nil, "web-a.socket", "web-a.socket", nil,
            ])
        // The administrator's file in place of the distribution's.
        try root.write(Self.etc + "web-a.socket", socket("ListenStream=90"))
        #expect(ask(root, Endpoint(.unspecified, 90)) == nil, "10-port.conf takes it back")
        #expect(ask(root, Endpoint(.unspecified, 82)) == "web-a.socket")
        // Masked.
        try root.write(Self.lib + "off.socket", socket("ListenStream=91"))
        try root.link(Self.etc + "off.socket", to: "/dev/null")
        #expect(ask(root, Endpoint(.unspecified, 91)) == nil)
    }

    @Test func aliasesAndTemplates() throws {
        let root = try Root()
        try root.write(Self.lib + "web.socket", socket("ListenStream=80"))
        try root.link(Self.etc + "www.socket", to: Self.lib + "web.socket")
        try root.link(Self.etc + "sockets.target.wants/web.socket", to: Self.lib + "web.socket")
        #expect(ask(root, Endpoint(.unspecified, 80)) == "web.socket")
        try root.write(
            Self.lib + "in@.socket", socket("ListenStream=%i", "ListenStream=%H:5", "ListenStream=[%I]:7"))
        #expect(ask(root, Endpoint(.unspecified, 8080)) == nil)
        try root.link(Self.etc + "sockets.target.wants/in@8080.socket", to: Self.lib + "in@.socket")
        #expect(ask(root, Endpoint(.unspecified, 8080)) == "in@8080.socket")
        // As active only in systemd's own list.
        try root.link("/run/systemd/units/invocation:in@9090.socket", to: "00ff")
        #expect(ask(root, Endpoint(.unspecified, 9090)) == "in@9090.socket")
        #expect(ask(root, Endpoint(.unspecified, 80)) == nil, "not active")
        try root.link("/run/systemd/units/invocation:web.socket", to: "00ff")
        #expect(ask(root, Endpoint(.unspecified, 80)) == "web.socket")
    }

    @Test func ambiguous() throws {
        let root = try Root()
        try root.write(Self.lib + "a.socket", socket("ListenStream=80"))
        try root.write(Self.lib + "b.socket", socket("ListenStream=80"))
        #expect(ask(root, Endpoint(.unspecified, 80)) == nil)
        // One of them is enabled.
        try root.link(Self.etc + "sockets.target.wants/b.socket", to: Self.lib + "b.socket")
        #expect(ask(root, Endpoint(.unspecified, 80)) == "b.socket")
        try root.link(
            Self.etc + "sockets.target.wants/a.socket", to: "../../../../usr/lib/systemd/system/a.socket")
        #expect(ask(root, Endpoint(.unspecified, 80)) == nil)
    }

    @Test func namespaces() throws {
        let root = try Root()
        try root.link("/proc/1/ns/net", to: "net:[4026531840]")
        try root.write(Self.lib + "web.socket", socket("ListenStream=80"))
        try root.write("/run/netns/blue", "")
        try root.write(
            Self.lib + "blue.socket", socket("ListenStream=80", "NetworkNamespacePath=/run/netns/blue"))
        var status = stat()
        #expect(stat(root.path + "/run/netns/blue", &status) == 0)
        #expect(ask(root, Endpoint(.unspecified, 80), netns: 4_026_531_840) == "web.socket")
        #expect(
            ask(root, Endpoint(.unspecified, 80), netns: UInt32(truncatingIfNeeded: status.st_ino))
                == "blue.socket")
        #expect(ask(root, Endpoint(.unspecified, 80), netns: 7) == nil)
    }

    @Test func users() throws {
        let root = try Root()
        try root.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nada:x:1000:1000:Ada:/home/ada:/bin/sh\n")
        try root.write("/home/ada/.config/systemd/user/web.socket", socket("ListenStream=8080"))
        try root.write(Self.lib + "web.socket", socket("ListenStream=80"))
        #expect(ask(root, Endpoint(.unspecified, 8080), of: .user(1000)) == "web.socket")
        #expect(ask(root, Endpoint(.unspecified, 80), of: .user(1000)) == nil)
        #expect(ask(root, Endpoint(.unspecified, 8080), of: .user(1001)) == nil)
        #expect(ask(root, Endpoint(.unspecified, 8080)) == nil)
    }

    @Test func looksAgain() throws {
        let root = try Root()
        var now: UInt64 = 1
        let units = SocketUnits(root: root.path) { now }
        func ask() -> String? {
            units.unit(of: .system, at: Endpoint(.unspecified, 80), isListener: true, netns: 0)?.name
        }
        #expect(ask() == nil)
        try root.write(Self.lib + "web.socket", socket("ListenStream=80"))
        #expect(ask() == nil)
        now += 6_000_000_000
        #expect(ask() == "web.socket")
    }
}
