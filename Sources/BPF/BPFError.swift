// SPDX-License-Identifier: Apache-2.0

import CLibbpf
import Glibc

/// What libbpf or the kernel refused: what failed, on what, why.
public struct BPFError: Error, CustomStringConvertible, Sendable {
    public enum Operation: String, Sendable {
        case open = "open the BPF object"
        case configure = "configure"
        case load = "load"
        case attach = "attach"
        case buffer = "make the event buffer"
        case read = "read the event buffer"
        case find = "find"
        case types = "read the kernel's types (BTF) in"
    }

    public var operation: Operation
    /// The object, program or map concerned.
    public var subject: String
    /// errno, positive.
    public var code: Int32
    /// What libbpf printed, for a load the verifier's words; may be empty.
    public var detail: String

    init(_ operation: Operation, _ subject: String, code: Int32) {
        self.operation = operation
        self.subject = subject
        self.code = code < 0 ? -code : code
        detail = String(cString: mps_libbpf_messages())
        mps_libbpf_forget()
    }

    /// The program that libbpf blames for a failed load; nil: it names none.
    public var program: String? {
        for line in detail.split(separator: "\n") where line.contains("': failed to load: ") {
            guard let begin = line.firstRange(of: "prog '")?.upperBound else { continue }
            return String(line[begin...].prefix { $0 != "'" })
        }
        return nil
    }

    /// errno in words.
    public var reason: String {
        // ENOTSUPP, which only the kernel knows, and libbpf's own.
        if code == 524 { return "not supported by this kernel" }
        if code >= 4000 { return "not in a form that libbpf knows (its error \(code))" }
        return String(cString: strerror(code))
    }

    /// The last line of `detail` that says something.
    public var lastDetail: String {
        let lines = detail.split(separator: "\n").filter { line in
            !line.hasPrefix("-- ") && !line.hasPrefix("processed ") && !line.hasPrefix("libbpf: ")
                && !line.hasPrefix("  mark_read ")
        }
        return lines.last.map(String.init) ?? ""
    }

    public var description: String {
        let text = "cannot \(operation.rawValue) \(subject): \(reason)"
        return detail.isEmpty ? text : text + "\n" + detail
    }
}
