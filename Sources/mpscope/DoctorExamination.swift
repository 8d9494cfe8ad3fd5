// SPDX-License-Identifier: Apache-2.0

import BPF
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

    /// - Parameters:
    ///   - btf: a file with the kernel's types that was named; nil: none was.
    ///   - module: a kernel module that has the out-of-tree stack's functions; nil: the kernel has them.
    init(btf: String? = nil, module: String? = nil) {
        let machine = Machine.read()
        report = DoctorReport(
            kernel: machine.kernel, arch: machine.architecture,
            verdict: DoctorReport.Verdict(canTrace: true, reason: ""))
        report.btf =
            btf ?? (machine.hasBTF ? Machine.btfPath : TypesFile.find(release: machine.kernel))
        report.lockdown = machine.lockdown
        report.fentry = Self.way(Trial.fentry(on: "tcp_connect"))
        report.kprobe = Self.way(Trial.kprobe(on: "tcp_connect"))
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
        if let stack = try? MptcpStack.running(module: module) {
            report.stack = MetaRecord.Stack(rawValue: stack.rawValue)
        }
        let isMainline = report.stack != .outOfTree
        // There the hooks themselves tell.
        if !isMainline {
            report.fentry = nil
            report.kprobe = nil
        }
        report.hooks = HookTable.plans(.auto, isMainline ? .mainline : .multipath).map { Self.hook($0) }
        do throws(Obstacle) {
            let subject = try Self.require(machine, btf, module)
            let trial = try Self.attach(subject, report.cgroup2, machine)
            report.hooks = trial.reports.map { Self.hook($0.plan, $0) }
            report.fallbackBit = trial.bit
            if !isMainline { report.kprobe = DoctorReport.Way(works: true) }
            report.verdict.reason =
                isMainline ? Self.reason(trial.reports) : Self.reasonOfFunctions(trial.reports)
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
    private static func require(
        _ machine: Machine, _ btf: String?, _ module: String?
    ) throws(Obstacle) -> Requirements.Subject {
        var capable = machine
        capable.effective = .max
        do {
            _ = try Requirements.check(capable, btf: btf, module: module)
            return try Requirements.check(machine, btf: btf, module: module)
        } catch let failure as Failure {
            throw Obstacle(text: failure.message, status: failure.status)
        } catch {
            throw Obstacle(text: "\(error)", status: .unavailable)
        }
    }

    /// Attaches every hook; they are detached again before this returns.
    private static func attach(
        _ subject: Requirements.Subject, _ cgroupRoot: String?, _ machine: Machine
    ) throws(Obstacle) -> (reports: [HookReport], bit: Int?) {
        var options = Tracer.Options(cgroupRoot: cgroupRoot)
        options.btf = subject.btf
        options.module = subject.module
        do {
            options.functions = try subject.functions()
        } catch {
            throw Obstacle(text: "\(error)", status: .unavailable)
        }
        options.steps = true
        options.calibrationTraffic = Session.calibrationTraffic
        // No namespace has this number: the programs run but tell nothing.
        options.filters.netns = 1
        // What is refused is in the report.
        let log = Logger(label: "mpscope", factory: { _ in SwiftLogNoOpLogHandler() })
        do throws(TracerError) {
            let tracer = try Tracer(options, log: log)
            return (tracer.reports, tracer.calibration?.bit)
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

    private static func reason(_ reports: [HookReport]) -> String {
        let lacking = reports.filter { $0.status != .attached && $0.status != .notNeeded }
        let functions = reports.filter { $0.plan.ways.allSatisfy(\.attachment.isFunction) }
        let unhooked = functions.filter { $0.status != .attached && $0.status != .notNeeded }
        let others = lacking.count - unhooked.count
        if lacking.isEmpty { return "every hook attaches" }
        if others > 0 {
            return
                "\(lacking.count) of \(reports.count) hooks can't be attached, and what they tell is missing"
        }
        return unhooked.count == functions.count
            ? "by tracepoints and cgroup programs; none of its functions can be hooked"
            : "\(unhooked.count) of \(functions.count) functions can't be hooked, and others stand in for them"
    }

    /// Where functions are all there is to hook.
    private static func reasonOfFunctions(_ reports: [HookReport]) -> String {
        let lacking = reports.filter { $0.status != .attached && $0.status != .notNeeded }
        return lacking.isEmpty
            ? "every hook attaches"
            : "\(lacking.count) of \(reports.count) functions can't be hooked, and what they tell is missing"
    }

    private static func way(_ obstacle: BPFError?) -> DoctorReport.Way {
        DoctorReport.Way(works: obstacle == nil, error: obstacle.map { "\($0.reason)" })
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
            withoutIt: plan.withoutIt, isFunction: plan.ways.allSatisfy(\.attachment.isFunction))
    }
}
