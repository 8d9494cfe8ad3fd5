// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The names of the running kernel's functions (/proc/kallsyms), built in or a module's.
public enum KernelSymbols {
    /// Which of `names` are functions.
    /// - Parameter module: only that module's; nil: any but modules'.
    /// - Throws: when they can't be read.
    public static func present(
        _ names: Set<String>, module: String? = nil
    ) throws(KernelError) -> Set<String> {
        guard let file = fopen("/proc/kallsyms", "re") else {
            throw .last("read", "/proc/kallsyms", remedy: "it takes CONFIG_KALLSYMS and a mounted /proc")
        }
        defer { fclose(file) }
        var found: Set<String> = []
        var line: UnsafeMutablePointer<CChar>?
        var room = 0
        defer { free(line) }
        while found.count < names.count {
            let length = getline(&line, &room, file)
            guard length > 0, let line else { break }
            let bytes = UnsafeRawBufferPointer(start: line, count: length)
            if let name = name(in: bytes, module: module), names.contains(name) { found.insert(name) }
        }
        return found
    }

    /// The name in `ffffffff81000000 T tcp_connect`, or `… t name\t[module]`, if it is a function.
    static func name(in line: UnsafeRawBufferPointer, module: String?) -> String? {
        let words = line.split(whereSeparator: { $0 == 0x20 || $0 == 0x09 || $0 == 0x0a })
        guard words.count >= 3, words[1].count == 1, let kind = words[1].first,
            "tTwW".utf8.contains(kind)
        else { return nil }
        if let module {
            guard words.count == 4, words[3].elementsEqual("[\(module)]".utf8) else { return nil }
        } else if words.count != 3 {
            return nil
        }
        return String(decoding: words[2], as: UTF8.self)
    }
}

extension MptcpStack {
    /// A function that only the out-of-tree stack has; the seed's walk goes through it.
    private static let outOfTreeFunction = "mptcp_rcv_synsent_state_process"

    /// Which implementation this kernel has. The out-of-tree stack's settings show in the first
    /// network namespace only, so its functions count as well.
    /// - Parameter module: whose functions count; nil: the kernel's own.
    public static func running(module: String? = nil) throws(KernelError) -> MptcpStack {
        let settings = try MptcpSettings.read(in: try NetworkNamespaces.own()).stack
        if module == nil, settings != .none { return settings }
        let found = try KernelSymbols.present([outOfTreeFunction], module: module)
        return found.isEmpty ? settings : .outOfTree
    }
}
