// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Kernel
import Logging
import Output
import Probes

/// Looks at everything a trace needs, and tries every hook.
struct DoctorExamination {
    private(set) var report: DoctorReport
    /// With what the program ends.
    private(set) var status = ExitStatus.done

    /// What stands in the way of a trace.
    private struct Obstacle: Error {
        var text: String
        var status: ExitStatus
    }

    init() {
        let machine = Machine.read()
        report = DoctorReport(
            kernel: machine.kernel, arch: machine.architecture,
            verdict: DoctorReport.Verdict(canTrace: true, reason: ""))
        report.btf = machine.hasBTF ? Machine.btfPath : nil
        report.lockdown = machine.lockdown
        report.hasFentry = Self.hasFentry(machine)
        report.hasKprobes = Self.hasKprobes()
        report.capabilities = Self.uses.map { capability, use in
            DoctorReport.Capability(
                name: capability.name, isHeld: machine.has(capability),
                isNeeded: Requirements.capabilities.contains(capability), use: use)
        }
        if let mount = try? CgroupMount.find() {
            report.cgroup2 = mount.path
            report.cgroup2Root = mount.root
        }
        lookAtNamespaces()
        report.hooks = HookTable.all.map { Self.hook($0) }
        do throws(Obstacle) {
            let reports = try Self.attach(try Self.require(machine), machine)
            report.hooks = reports.map { Self.hook($0.plan, $0) }
            let lacking = reports.count { $0.status != .attached && $0.status != .notNeeded }
            report.verdict.reason =
                lacking == 0
                ? "every hook attaches"
                : "\(lacking) of \(reports.count) hooks can't be attached, and what they tell is missing"
        } catch {
            status = error.status
            let lines = error.text.split(separator: "\n", maxSplits: 1)
            report.verdict = DoctorReport.Verdict(
                canTrace: false, reason: lines.first.map(String.init) ?? "no reason was given",
                detail: lines.count > 1 ? String(lines[1]) : nil)
        }
    }

    /// What each capability is good for.
    private static let uses: [(Capability, String)] = [
        (.bpf, "loads BPF programs"),
        (.perfmon, "lets them read the kernel, and attaches them to tracepoints"),
        (.netAdmin, "attaches them to cgroups"),
        (.sysAdmin, "looks into other network namespaces, and names cgroups"),
        (.sysPtrace, "names the processes of other users"),
        (.dacReadSearch, "looks into the processes of other users, and names cgroups by their ids"),
    ]

    private mutating func lookAtNamespaces() {
        guard let own = try? NetworkNamespaces.own() else { return }
        let all = (try? NetworkNamespaces.all()) ?? [own]
        for namespace in all {
            let settings = try? MptcpSettings.read(in: namespace)
            if namespace.inode == own.inode {
                report.stack = settings.flatMap { MetaRecord.Stack(rawValue: $0.stack.rawValue) }
            }
            report.namespaces.append(
                DoctorReport.Namespace(
                    inode: namespace.inode, name: namespace.name, enabled: settings?.enabled))
        }
        report.listsTCP = Self.lists(.tcp, own)
        report.listsMPTCP = Self.lists(.mptcp, own)
    }

    /// Whether sock_diag has that table; nil: it did not answer.
    private static func lists(_ table: TransportProtocol, _ namespace: NetworkNamespace) -> Bool? {
        do throws(KernelError) {
            var tables = try SocketTables(of: namespace)
            return try tables.read(table, in: [.listening]) != nil
        } catch {
            return nil
        }
    }

    // MARK: what a trace needs

    /// The kernel first, then the privileges: who lacks only those can get them.
    private static func require(_ machine: Machine) throws(Obstacle) -> CgroupMount {
        var capable = machine
        capable.effective = .max
        for one in [capable, machine] {
            do {
                let mount = try Requirements.check(one)
                if one == machine { return mount }
            } catch let failure as Failure {
                throw Obstacle(text: failure.message, status: failure.status)
            } catch {
                throw Obstacle(text: "\(error)", status: .unavailable)
            }
        }
        throw Obstacle(text: "the machine was not looked at", status: .unavailable)
    }

    /// Attaches every hook; they are detached again before this returns.
    private static func attach(
        _ mount: CgroupMount, _ machine: Machine
    ) throws(Obstacle) -> [HookReport] {
        var options = Tracer.Options(cgroupRoot: mount.path)
        options.steps = true
        // No namespace has this number: the programs run but tell nothing.
        options.filters.netns = 1
        // What is refused is in the report.
        let log = Logger(label: "mpscope", factory: { _ in SwiftLogNoOpLogHandler() })
        let refusal: TracerError
        do throws(TracerError) {
            return try Tracer(options, log: log).reports
        } catch {
            refusal = error
        }
        // A program that only --steps needs must not be what all others fail for.
        options.steps = false
        do throws(TracerError) {
            let basic = try Tracer(options, log: log).reports
            return basic.map { report in
                guard report.status == .notNeeded else { return report }
                return HookReport(
                    plan: report.plan, way: report.way, status: .refused, error: firstLine("\(refusal)"))
            }
        } catch {
            switch error {
            case .notPossible(let text):
                throw Obstacle(text: text, status: .unavailable)
            case .notPermitted(let text) where machine.lockdown == "confidentiality":
                throw Obstacle(
                    text: "\(firstLine(text)) (kernel lockdown: confidentiality)", status: .unavailable)
            case .notPermitted(let text):
                // Whoever lacks a capability was told so before.
                throw Obstacle(
                    text: "the kernel refused BPF though the capabilities are held: this is a container, a "
                        + "user namespace or a seccomp filter; run it as root on the host itself\n\(text)",
                    status: .notPrivileged)
            }
        }
    }

    private static func firstLine(_ text: String) -> String {
        text.split(separator: "\n", maxSplits: 1).first.map(String.init) ?? text
    }

    private static func hook(_ plan: HookPlan, _ report: HookReport? = nil) -> DoctorReport.Hook {
        DoctorReport.Hook(
            name: plan.hook.name,
            attach: (report?.way ?? plan.ways.first).flatMap {
                HookStatus.Attach(rawValue: $0.attachment.rawValue)
            },
            status: report.flatMap { HookStatus.Status(rawValue: $0.status.rawValue) },
            error: report.flatMap { $0.error.isEmpty ? nil : $0.error }, tells: plan.tells,
            withoutIt: plan.withoutIt)
    }

    // MARK: what this version does not use

    /// fentry takes the kernel's types, and functions that ftrace can trace; nil: tracefs is not
    /// there to be asked, or may not be.
    private static func hasFentry(_ machine: Machine) -> Bool? {
        if !machine.hasBTF { return false }
        for root in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        where access("\(root)/trace", F_OK) == 0 {
            return access("\(root)/available_filter_functions", F_OK) == 0
        }
        return nil
    }

    /// A kernel with kprobes offers them to perf; nil: sysfs is not there to be asked.
    private static func hasKprobes() -> Bool? {
        let sources = "/sys/bus/event_source/devices"
        if access(sources, F_OK) != 0 { return nil }
        return access("\(sources)/kprobe", F_OK) == 0
    }
}
