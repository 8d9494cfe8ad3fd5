// SPDX-License-Identifier: Apache-2.0

/// Turns a report of `doctor` into text for people: a line for each thing that was looked at, what
/// to do where something is wrong, and the verdict last.
public struct DoctorText: ~Copyable {
    private enum Mark {
        case good, missing, problem
        /// Neither good nor bad.
        case note

        var word: StaticString {
            switch self {
            case .good: "OK"
            case .missing: "missing"
            case .problem: "problem"
            case .note: "-"
            }
        }

        var style: Style {
            switch self {
            case .good: .green
            case .missing, .problem: .red
            case .note: .dim
            }
        }
    }

    private let width: Int
    private let colour: Bool
    private var cell = ByteBuffer(capacity: 512)
    private var subjectColumns = Self.subjectColumns

    private static let markColumns = 7
    private static let subjectColumns = 21
    /// Where the names of hooks are longer, and there is room.
    private static let wideSubjectColumns = 34
    /// How many names of namespaces are told.
    private static let nameLimit = 12

    /// - Parameters:
    ///   - width: columns of the terminal; 0: no limit.
    ///   - colour: whether colours are understood and wanted.
    public init(width: Int, colour: Bool) {
        self.width = width <= 0 ? 1_000_000 : max(width, 30)
        self.colour = colour
    }

    public mutating func write(_ report: DoctorReport, to text: inout ByteBuffer) {
        subjectColumns =
            report.stack == .outOfTree && width >= 80 ? Self.wideSubjectColumns : Self.subjectColumns
        say(.note, "kernel", "\(report.kernel), \(report.arch)", to: &text)
        stack(report.stack, to: &text)
        let isMainline = report.stack != .outOfTree
        enabled(report.namespaces, isMainline ? "net.mptcp.enabled" : "net.mptcp.mptcp_enabled", to: &text)
        if let path = report.btf {
            say(.good, "BTF", path, to: &text)
        } else {
            say(
                .missing, "BTF", "this kernel does not tell its types",
                advice: isMainline
                    ? "use a kernel built with CONFIG_DEBUG_INFO_BTF=y"
                    : "make a file of them with pahole --btf_encode_detached, see docs/btf.md", to: &text)
        }
        lockdown(report.lockdown, to: &text)
        capabilities(report.capabilities, to: &text)
        if isMainline { cgroup(report, to: &text) }
        table("sock_diag of TCP", report.listsTCP, module: "tcp_diag", to: &text)
        if isMainline {
            table("sock_diag of MPTCP", report.listsMPTCP, module: "mptcp_diag", to: &text)
            waysOfMainline(report, to: &text)
        } else {
            way(
                "kprobes", report.kprobe,
                advice: "boot a kernel built with CONFIG_KPROBE_EVENTS=y and CONFIG_BPF_EVENTS=y", to: &text)
        }
        let noFunctions = isMainline && report.fentry?.works == false && report.kprobe?.works == false
        for hook in report.hooks { write(hook, noFunctions, to: &text) }
        text.append("\n")
        verdict(report.verdict, to: &text)
    }

    /// How mainline's functions can be hooked, and what is found by trying there.
    private mutating func waysOfMainline(_ report: DoctorReport, to text: inout ByteBuffer) {
        way(
            "fentry", report.fentry,
            advice: report.kprobe?.works == true
                ? "kprobes stand in"
                : "boot without lockdown, with a kernel built with CONFIG_FUNCTION_TRACER=y and CONFIG_BPF_JIT=y",
            to: &text)
        way(
            "kprobes", report.kprobe,
            advice: report.fentry?.works == true
                ? "only needed where fentry can't be used"
                : "boot without lockdown, with a kernel built with CONFIG_KPROBE_EVENTS=y", to: &text)
        if let bit = report.fallbackBit {
            say(.good, "fallback flag", "bit \(bit) of an MPTCP socket's flags, found by trying", to: &text)
        } else {
            say(.note, "fallback flag", "not tried; taken from the kernel's version", to: &text)
        }
    }

    // MARK: one function for each thing

    private mutating func stack(_ stack: MetaRecord.Stack?, to text: inout ByteBuffer) {
        switch stack {
        case .mainline?: say(.good, "MPTCP", "the mainline stack", to: &text)
        case .outOfTree?:
            say(.good, "MPTCP", "the multipath-tcp.org stack", to: &text)
        case MetaRecord.Stack.none?:
            say(
                .missing, "MPTCP", "there is no net.mptcp.enabled",
                advice: "use Linux 5.6 or later, built with CONFIG_MPTCP=y", to: &text)
        case nil: say(.note, "MPTCP", "not told", to: &text)
        }
    }

    private mutating func enabled(
        _ namespaces: [DoctorReport.Namespace], _ setting: String, to text: inout ByteBuffer
    ) {
        let on = namespaces.filter { $0.enabled == true }
        let off = namespaces.filter { $0.enabled == false }
        let untold = namespaces.filter { $0.enabled == nil }
        if !on.isEmpty { say(.good, setting, "1 in \(Self.list(on))", to: &text) }
        if !off.isEmpty {
            say(
                .note, setting, "0 in \(Self.list(off))",
                advice: "no MPTCP can be made there until: sysctl -w \(setting)=1", to: &text)
        }
        if !untold.isEmpty {
            say(.note, setting, "not told in \(Self.list(untold))", to: &text)
        }
    }

    private static func list(_ namespaces: [DoctorReport.Namespace]) -> String {
        let names = namespaces.prefix(nameLimit).map { $0.name ?? "net:[\($0.inode)]" }
        return "\(namespaces.count) network \(namespaces.count == 1 ? "namespace" : "namespaces"): "
            + names.joined(separator: ", ")
            + (namespaces.count > nameLimit ? " and \(namespaces.count - nameLimit) more" : "")
    }

    private mutating func lockdown(_ mode: String?, to text: inout ByteBuffer) {
        switch mode {
        case nil:
            say(
                .note, "lockdown", "not told: this kernel has none, or securityfs is not mounted",
                to: &text)
        case "confidentiality"?:
            say(
                .problem, "lockdown", "confidentiality: BPF programs may not read the kernel",
                advice: "boot with lockdown=integrity, or without it", to: &text)
        case let mode?: say(.good, "lockdown", mode, to: &text)
        }
    }

    private mutating func capabilities(
        _ capabilities: [DoctorReport.Capability], to text: inout ByteBuffer
    ) {
        for capability in capabilities {
            switch capability.isHeld {
            case true?: say(.good, capability.name, capability.use, to: &text)
            case false?:
                say(
                    capability.isNeeded ? .missing : .note, capability.name,
                    capability.isNeeded ? capability.use : "not held: \(capability.use)",
                    advice: "run it as root", to: &text)
            case nil: say(.note, capability.name, "not told: \(capability.use)", to: &text)
            }
        }
    }

    private mutating func cgroup(_ report: DoctorReport, to text: inout ByteBuffer) {
        guard let path = report.cgroup2 else {
            say(
                .missing, "cgroup v2", "it is mounted nowhere",
                advice: "mount -t cgroup2 none /sys/fs/cgroup", to: &text)
            return
        }
        if let root = report.cgroup2Root, root != "/" {
            say(
                .problem, "cgroup v2", "\(path), with nothing above \(root)",
                advice: "what runs outside that cgroup is not traced: run mpscope on the host", to: &text)
        } else {
            say(.good, "cgroup v2", path, to: &text)
        }
    }

    private mutating func table(
        _ subject: String, _ isListed: Bool?, module: String, to text: inout ByteBuffer
    ) {
        switch isListed {
        case true?: say(.good, subject, "sockets that are open already can be listed", to: &text)
        case false?:
            say(
                .missing, subject, "sockets that are open already are not known",
                advice: "modprobe \(module)", to: &text)
        case nil: say(.note, subject, "not told", to: &text)
        }
    }

    private mutating func write(
        _ hook: DoctorReport.Hook, _ noFunctions: Bool, to text: inout ByteBuffer
    ) {
        let place = (hook.attach?.rawValue).map { "\($0): " } ?? ""
        switch hook.status {
        case .attached?:
            say(.good, hook.name, place + hook.tells, advice: hook.error.map { "not by \($0)" }, to: &text)
        case .missing? where hook.isFunction, .refused? where hook.isFunction:
            // Why, if it is the same for all of them, stands above.
            let why = noFunctions ? "not hooked" : hook.error ?? "no reason given"
            say(.note, hook.name, why, advice: hook.withoutIt, to: &text)
        case .missing?, .refused?:
            say(
                hook.status == .missing ? .missing : .problem, hook.name,
                place + (hook.error ?? "no reason given"), advice: "without it: \(hook.withoutIt)",
                to: &text)
        case .notNeeded?: say(.note, hook.name, "\(place)not needed here", to: &text)
        case nil: say(.note, hook.name, "\(place)not tried; tells \(hook.tells)", to: &text)
        }
    }

    private mutating func way(
        _ subject: String, _ way: DoctorReport.Way?, advice: String, to text: inout ByteBuffer
    ) {
        switch way {
        case nil: say(.note, subject, "not tried", to: &text)
        case let way? where way.works: say(.good, subject, "the kernel's functions can be hooked", to: &text)
        case let way?: say(.note, subject, way.error ?? "no reason given", advice: advice, to: &text)
        }
    }

    private mutating func verdict(_ verdict: DoctorReport.Verdict, to text: inout ByteBuffer) {
        if let detail = verdict.detail {
            for line in detail.split(separator: "\n") {
                cell.clear()
                cell.append("    ")
                cell.append(text: String(line))
                text.append(paragraph: cell, wide: width, indent: 6, style: colour ? .dim : .plain)
            }
            text.append("\n")
        }
        cell.clear()
        cell.append(verdict.canTrace ? "mpscope can" : "mpscope can't")
        cell.append(" trace this kernel: ")
        cell.append(text: verdict.reason)
        cell.append(".")
        let style: Style = verdict.canTrace ? .green : .red
        text.append(paragraph: cell, wide: width, indent: 4, style: colour ? style : .plain)
    }

    // MARK: a line

    private mutating func say(
        _ mark: Mark, _ subject: String, _ what: String, advice: String? = nil, to text: inout ByteBuffer
    ) {
        // On a narrow terminal the subject stands in the text.
        let isWide = width >= 72
        let indent = Self.markColumns + 1 + (isWide ? subjectColumns + 1 : 0)
        cell.clear()
        cell.append(mark.word)
        text.append(cell: cell, in: Self.markColumns, style: colour ? mark.style : .plain)
        text.append(" ")
        cell.clear()
        cell.append(text: subject)
        if isWide {
            text.append(cell: cell, in: subjectColumns)
            text.append(" ")
            cell.clear()
        } else {
            cell.append(": ")
        }
        cell.append(text: what)
        block(indent: indent, .plain, to: &text)
        guard let advice else { return }
        cell.clear()
        cell.append("↳ ")
        cell.append(text: advice)
        text.append(UInt8(ascii: " "), times: indent)
        block(indent: indent, .dim, to: &text)
    }

    /// Appends the cell where `indent` columns are taken already, its further lines below.
    private func block(indent: Int, _ wanted: Style, to text: inout ByteBuffer) {
        var lines = ByteBuffer(capacity: 512)
        lines.append(paragraph: cell, wide: width - indent, indent: 0, style: colour ? wanted : .plain)
        var isFirst = true
        for line in lines.bytes().split(separator: UInt8(ascii: "\n")) {
            if !isFirst { text.append(UInt8(ascii: " "), times: indent) }
            isFirst = false
            line.withUnsafeBufferPointer { text.append($0) }
            text.append("\n")
        }
    }
}
