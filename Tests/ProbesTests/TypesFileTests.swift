// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import BPF

/// Where the types of a kernel are found that carries none.
@Suite struct TypesFileTests {
    /// A folder of its own, with this kernel's types in a file below it.
    private func found(_ files: [(path: String, isTypes: Bool)]) throws -> String? {
        var template = Array("/tmp/mpscope-types-XXXXXX".utf8CString)
        let isMade = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) } != nil
        }
        try #require(isMade)
        let root = String(decoding: template.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
        var made: [String] = []
        defer {
            for path in made.reversed() + [root] { remove(path) }
        }
        for file in files {
            let path = root + file.path
            made += try makeFolders(above: path, below: root) + [path]
            try write(file.isTypes ? Self.types : Array("no types".utf8), to: path)
        }
        return TypesFile.find(release: "4.19.105-mptcp", root: root).map { String($0.dropFirst(root.count)) }
    }

    /// The least there is of BTF: a header, no types, an empty string.
    private static let types: [UInt8] = [
        0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0,
    ]

    /// - Returns: those that were not there.
    private func makeFolders(above path: String, below root: String) throws -> [String] {
        var made: [String] = []
        var folder = root
        for part in path.dropFirst(root.count).split(separator: "/").dropLast() {
            folder += "/" + part
            if mkdir(folder, 0o700) == 0 { made.append(folder) }
        }
        return made
    }

    private func write(_ bytes: [UInt8], to path: String) throws {
        let file = try #require(fopen(path, "w"))
        defer { fclose(file) }
        #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    }

    @Test func nowhere() throws {
        #expect(try found([]) == nil)
        #expect(try found([("/boot/vmlinux-4.19.106-mptcp.btf", true)]) == nil)
    }

    @Test(arguments: [
        "/boot/vmlinux-4.19.105-mptcp.btf", "/boot/btf-4.19.105-mptcp", "/boot/vmlinux-4.19.105-mptcp",
        "/lib/modules/4.19.105-mptcp/vmlinux.btf", "/lib/modules/4.19.105-mptcp/build/vmlinux",
        "/usr/lib/debug/boot/vmlinux-4.19.105-mptcp.debug",
        "/usr/lib/debug/lib/modules/4.19.105-mptcp/vmlinux",
    ])
    func inEachPlace(_ place: String) throws {
        #expect(try found([(place, true)]) == place)
    }

    /// A vmlinux without types is no reason to give up.
    @Test func whatHoldsNoneIsPassedOver() throws {
        #expect(
            try found([
                ("/boot/vmlinux-4.19.105-mptcp", false),
                ("/usr/lib/debug/boot/vmlinux-4.19.105-mptcp", true),
            ]) == "/usr/lib/debug/boot/vmlinux-4.19.105-mptcp")
    }
}
