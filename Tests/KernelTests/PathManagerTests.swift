// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Testing

@testable import Kernel

private func number<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
    withUnsafeBytes(of: value) { Array($0) }
}

/// An answer to MPTCP_PM_CMD_GET_ADDR: its head, and one address with `members`.
private func answer(_ members: [(type: UInt16, payload: [UInt8])]) -> [UInt8] {
    var inner = Forge()
    for member in members { inner.attribute(member.type, member.payload) }
    var forge = Forge(bytes: [3, 1, 0, 0])
    forge.attribute(1 | 0x8000, inner.bytes)
    return forge.bytes
}

@Suite("The path manager's answers")
struct PathManagerAnswerTests {
    private static let v4: [(type: UInt16, payload: [UInt8])] = [
        (1, number(UInt16(2))), (2, [7]), (3, [10, 0, 0, 1]), (5, number(UInt16(8080))),
        (6, number(UInt32(5))), (7, number(Int32(3))),
    ]

    private func endpoint(_ bytes: [UInt8]) -> PathManagerEndpoint? {
        PathManagerEndpoint(bytes.span.bytes, payload: 0..<bytes.count)
    }

    private func limits(_ bytes: [UInt8]) -> PathManagerLimits? {
        PathManagerLimits(bytes.span.bytes, payload: 0..<bytes.count)
    }

    @Test("an endpoint, every field, and one with no more than it must have")
    func endpoints() {
        #expect(
            endpoint(answer(Self.v4))
                == PathManagerEndpoint(
                    address: Endpoint(Address(v4: 0x0a00_0001), 8080), id: 7, flags: 5, interface: 3))
        let v6: [UInt8] = [0x20, 1] + [UInt8](repeating: 0, count: 13) + [9]
        #expect(
            endpoint(answer([(2, [255]), (4, v6)]))
                == PathManagerEndpoint(
                    address: Endpoint(Address(high: 0x2001 << 48, low: 9), 0), id: 255, flags: 0, interface: 0
                ))
    }

    @Test("without an address or an id it is none")
    func incomplete() {
        #expect(endpoint(answer([(2, [7])])) == nil)
        #expect(endpoint(answer([(3, [10, 0, 0, 1])])) == nil)
        #expect(endpoint(answer([(2, []), (3, [10, 0, 0, 1])])) == nil)
        #expect(endpoint(answer([(2, [7]), (3, [10, 0, 0])])) == nil)
        #expect(endpoint([3, 1, 0, 0]) == nil)
    }

    @Test("limits: both or none")
    func bothLimits() {
        var forge = Forge(bytes: [6, 1, 0, 0])
        forge.attribute(2, number(UInt32(3)))
        #expect(limits(forge.bytes) == nil)
        forge.attribute(3, number(UInt32(8)))
        #expect(limits(forge.bytes) == PathManagerLimits(subflows: 8, addAddrAccepted: 3))
    }

    @Test("every truncation and every flipped byte is survived")
    func hostile() {
        let whole = answer(Self.v4)
        for length in 0..<whole.count {
            let cut = Array(whole.prefix(length))
            #expect(endpoint(cut) == nil)
            #expect(limits(cut) == nil)
            _ = genericFamily(cut.span.bytes, payload: 0..<length)
            // A payload that claims more than there is.
            #expect(PathManagerEndpoint(cut.span.bytes, payload: 0..<whole.count) == nil)
        }
        for place in whole.indices {
            for value: UInt8 in [0, 1, 3, 0x7f, 0x80, 0xff] {
                var bent = whole
                bent[place] = value
                _ = endpoint(bent)
                _ = limits(bent)
                _ = genericFamily(bent.span.bytes, payload: 0..<bent.count)
            }
        }
    }

    @Test("the number of a family")
    func family() {
        var forge = Forge(bytes: [1, 2, 0, 0])
        forge.attribute(2, Array("mptcp_pm\0".utf8))
        #expect(genericFamily(forge.bytes.span.bytes, payload: 0..<forge.bytes.count) == nil)
        forge.attribute(1, number(UInt16(0x1d)))
        #expect(genericFamily(forge.bytes.span.bytes, payload: 0..<forge.bytes.count) == 0x1d)
    }
}

/// Held against what `ip mptcp` shows. One after the other, as one of them forgets the family's number.
@Suite("Live: the path manager", .tags(.live), .serialized)
struct LivePathManagerTests {
    /// The lines of `ip mptcp … show`, in order.
    private func shown(_ what: String, in namespace: NetworkNamespace) throws -> [String] {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw LiveError(description: "no pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        var child = try Child(["ip", "-n", namespace.label, "mptcp", what, "show"], output: ends[1])
        close(ends[1])
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let got = read(ends[0], &chunk, chunk.count)
            if got <= 0 { break }
            text += chunk[..<got]
        }
        #expect(child.wait() == 0)
        return String(decoding: text, as: UTF8.self).split(separator: "\n")
            .map { $0.split(separator: " ").joined(separator: " ") }.sorted()
    }

    /// As `ip mptcp endpoint show` writes it.
    private func line(_ endpoint: PathManagerEndpoint) -> String {
        var raw = (endpoint.address.address.high.bigEndian, endpoint.address.address.low.bigEndian)
        var text = [CChar](repeating: 0, count: 64)
        withUnsafeBytes(of: &raw) {
            let isV4 = endpoint.address.address.isV4
            let start = isV4 ? $0.baseAddress?.advanced(by: 12) : $0.baseAddress
            inet_ntop(isV4 ? AF_INET : AF_INET6, start, &text, socklen_t(text.count))
        }
        var words = [String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)]
        if endpoint.address.port != 0 { words += ["port", "\(endpoint.address.port)"] }
        words += ["id", "\(endpoint.id)"]
        for (place, name) in ["signal", "subflow", "backup", "fullmesh", "implicit"].enumerated()
        where endpoint.flags & 1 << UInt32(place) != 0 {
            words.append(name)
        }
        // The only interface there is.
        if endpoint.interface == 1 { words += ["dev", "lo"] }
        return words.joined(separator: " ")
    }

    private func expectAsShown(_ namespace: NetworkNamespace) throws -> PathManagerState {
        let state = try #require(try PathManagerState.read(in: namespace))
        let (endpoints, limits) = (
            try shown("endpoint", in: namespace), try shown("limits", in: namespace)
        )
        #expect(state.endpoints.map(line).sorted() == endpoints)
        #expect(state.endpoints.map(\.id) == state.endpoints.map(\.id).sorted())
        #expect(
            limits
                == ["add_addr_accepted \(state.limits.addAddrAccepted) subflows \(state.limits.subflows)"])
        return state
    }

    private func add(_ namespace: NetworkNamespace, _ words: String) throws {
        var child = try Child(
            ["ip", "-n", namespace.label, "mptcp", "endpoint", "add"]
                + words.split(separator: " ").map(String.init))
        #expect(child.wait() == 0)
    }

    @Test("a new namespace has the kernel's limits and no endpoint")
    func none() throws {
        try withNamespace { namespace in
            let state = try expectAsShown(namespace)
            #expect(state.endpoints == [])
            #expect(state.limits == PathManagerLimits(subflows: 2, addAddrAccepted: 0))
        }
    }

    @Test("both families, a port, an interface, every flag; another namespace has its own")
    func endpoints() throws {
        try withNamespace { namespace in
            try run("ip", "-n", namespace.label, "addr", "add", "10.9.0.1/24", "dev", "lo")
            try run("ip", "-n", namespace.label, "mptcp", "limits", "set", "subflows", "3")
            try run("ip", "-n", namespace.label, "mptcp", "limits", "set", "add_addr_accepted", "5")
            try add(namespace, "10.9.0.7 id 200 subflow backup fullmesh dev lo")
            try add(namespace, "10.9.0.1 port 8080 id 9 signal")
            try add(namespace, "2001:db8::1 id 1 signal subflow")
            let state = try expectAsShown(namespace)
            #expect(state.limits == PathManagerLimits(subflows: 3, addAddrAccepted: 5))
            #expect(
                state.endpoints == [
                    PathManagerEndpoint(
                        address: Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), 0), id: 1, flags: 3,
                        interface: 0),
                    PathManagerEndpoint(
                        address: Endpoint(Address(v4: 0x0a09_0001), 8080), id: 9, flags: 1, interface: 0),
                    PathManagerEndpoint(
                        address: Endpoint(Address(v4: 0x0a09_0007), 0), id: 200, flags: 14, interface: 1),
                ])
            try withNamespace { other in
                let state = try expectAsShown(other)
                #expect(state.endpoints == [])
            }
            try run("ip", "-n", namespace.label, "mptcp", "endpoint", "flush")
            let flushed = try expectAsShown(namespace)
            #expect(flushed.endpoints == [])
        }
    }

    @Test("as many endpoints as the kernel takes")
    func many() throws {
        try withNamespace { namespace in
            var added = 0
            for place in 1...254 {
                var child = try Child(
                    [
                        "sh", "-c", "exec ip -n \"$0\" mptcp endpoint add \"$1\" subflow 2>/dev/null",
                        namespace.label, "10.8.0.\(place)",
                    ])
                if child.wait() != 0 { break }
                added += 1
            }
            #expect(added >= 8)
            let state = try expectAsShown(namespace)
            #expect(state.endpoints.count == added)
        }
    }

    @Test("a number that is no family's any more is asked for again")
    func staleNumber() throws {
        try withNamespace { namespace in
            let state = try #require(try PathManagerState.read(in: namespace))
            let known = PathManagerFamily.known.withLock { $0 }
            PathManagerFamily.known.withLock { $0 = .id(0x3ff) }
            let again = try PathManagerState.read(in: namespace)
            #expect(again == state)
            #expect(PathManagerFamily.known.withLock { $0 } == known)
        }
    }

    @Test("a namespace that is gone is an error")
    func gone() throws {
        let gone = NetworkNamespace(inode: 1, name: "gone", path: "/run/netns/mpsk-no-such-name")
        #expect(throws: KernelError.self) { try PathManagerState.read(in: gone) }
    }

    @Test("it is quick, and leaves no descriptor open")
    func quick() throws {
        try withNamespace { namespace in
            _ = try PathManagerState.read(in: namespace)
            let before = try namesInDirectory("/proc/self/fd").count
            let start = KernelClock.monotonic()
            for _ in 0..<200 { _ = try PathManagerState.read(in: namespace) }
            let each = (KernelClock.monotonic() - start) / 200
            #expect(each < 5_000_000, "\(each) ns")
            let after = try namesInDirectory("/proc/self/fd").count
            #expect(after == before)
        }
    }
}
