// SPDX-License-Identifier: Apache-2.0

import BPF
import Glibc

/// Which way each hook is attached: the best that is not known to fail. What fails is only known by
/// trying, so the choice is made again, without it, until all of it works.
struct HookChoice {
    private struct Candidate {
        var plan: HookPlan
        /// The way that is next; `plan.ways.count`: none is left.
        var next = 0
        /// Why each way before that was not taken.
        var refusals: [(way: HookWay, reason: String, isMissing: Bool)] = []
        var isWanted = true
    }

    private var candidates: [Candidate]
    private let backend: Backend
    private let steps: Bool

    /// - Parameters:
    ///   - backend: which ways may be taken.
    ///   - types: the kernel's own description; by it a function that is not there costs no trial.
    ///   - functions: of the out-of-tree stack, those that the kernel has; nil: the stack is mainline.
    ///   - noCgroup: why there is no cgroup v2 root to attach to; nil: there is.
    init(
        _ backend: Backend, steps: Bool, types: borrowing KernelTypes, functions: Set<String>?,
        noCgroup: String?
    ) {
        let plans = HookTable.plans(backend, functions == nil ? .mainline : .multipath)
        self.backend = backend
        self.steps = steps
        candidates = plans.map { Candidate(plan: $0) }
        let hasFentry = plans.contains { $0.ways.contains { $0.attachment == .fentry } }
        let hasKprobe = plans.contains { $0.ways.contains { $0.attachment == .kprobe } }
        // Every kernel with TCP has this function.
        let noFentry = hasFentry ? Trial.fentry(on: "tcp_connect")?.reason : nil
        // Before 4.17 the kernel has kprobes that this trial does not find.
        let noKprobe =
            hasKprobe && functions == nil
            ? Trial.kprobe(on: "tcp_connect").map {
                $0.code == ENODEV ? "this kernel was built without them" : $0.reason
            } : nil
        for index in candidates.indices {
            let ways = candidates[index].plan.ways
            for way in ways {
                let refusal: (String, Bool)? =
                    switch way.attachment {
                    case .fentry, .fexit:
                        noFentry.map { ($0, false) } ?? Self.lacks(way, types).map { ($0, true) }
                    case .kprobe where functions != nil, .kretprobe where functions != nil:
                        functions?.contains(way.target) == true
                            ? nil : ("this kernel has no \(way.target), or it is inlined", true)
                    case .kprobe, .kretprobe:
                        noKprobe.map { ($0, false) } ?? Self.lacks(way, types).map { ($0, true) }
                    case .rawTracepoint: Self.lacks(way, types).map { ($0, true) }
                    // In no BTF: trying tells.
                    case .tracepoint: nil
                    case .cgroup: noCgroup.map { ($0, false) }
                    }
                guard let refusal else { break }
                refuse(index, refusal.0, isMissing: refusal.1)
            }
        }
    }

    /// What this kernel does not have of a way's place; nil: nothing.
    static func lacks(_ way: HookWay, _ types: borrowing KernelTypes) -> String? {
        let found =
            switch way.attachment {
            case .cgroup, .tracepoint: way.parameters
            case .rawTracepoint: types.parameters(ofTracepoint: way.target)
            case .fentry, .fexit, .kprobe, .kretprobe: types.parameters(ofFunction: way.target)
            }
        if way.attachment == .cgroup || way.attachment == .tracepoint { return nil }
        guard let found else { return "this kernel has no \(way.target), or it is inlined" }
        if let wanted = way.parameters, wanted != found {
            return "\(way.target) has \(found) parameters, not \(wanted)"
        }
        return nil
    }

    private mutating func refuse(_ index: Int, _ reason: String, isMissing: Bool) {
        let way = candidates[index].plan.ways[candidates[index].next]
        candidates[index].refusals.append((way, reason, isMissing))
        candidates[index].next += 1
    }

    /// What is to be loaded and attached: each hook with the way that is next.
    var chosen: [(plan: HookPlan, way: HookWay)] {
        candidates.compactMap { candidate in
            guard isWanted(candidate.plan), let way = Self.way(candidate) else { return nil }
            return (candidate.plan, way)
        }
    }

    private static func way(_ candidate: Candidate) -> HookWay? {
        candidate.next < candidate.plan.ways.count ? candidate.plan.ways[candidate.next] : nil
    }

    private func isWanted(_ plan: HookPlan) -> Bool {
        if !plan.onDemand, !plan.onlySteps || steps { return true }
        guard let other = plan.standsInFor else { return false }
        return !candidates.contains { $0.plan.hook == other && Self.way($0) != nil }
    }

    /// A way failed; the next one is tried.
    /// - Returns: false if the program belongs to none that was chosen.
    mutating func refuse(program: String, _ error: BPFError) -> Bool {
        guard
            let index = candidates.firstIndex(where: {
                Self.way($0)?.programs.contains(program) == true
            })
        else { return false }
        let last = error.operation == .load ? error.lastDetail : ""
        refuse(
            index, last.isEmpty ? error.reason : "\(error.reason): \(last)", isMissing: error.code == ENOENT)
        return true
    }

    /// Whether the program is that of a hook without which nothing can be traced.
    func isRequired(program: String) -> Bool {
        chosen.contains { $0.plan.isRequired && $0.way.programs.contains(program) }
    }

    /// Why nothing can be traced, or not in the way that was asked for; nil: it can.
    var obstacle: String? {
        if candidates.isEmpty {
            return "the functions of this kernel's MPTCP can be hooked by kprobes only; leave out --backend"
        }
        for candidate in candidates where candidate.plan.isRequired && Self.way(candidate) == nil {
            return "cannot attach \(candidate.plan.hook.name): \(Self.refusals(candidate))"
        }
        // Who asks for one way does not want another.
        if backend == .fentry || backend == .kprobe,
            !chosen.contains(where: { $0.way.attachment.isFunction }),
            let connect = candidates.first(where: { $0.plan.hook == .tcpConnect })
        {
            return "cannot attach by \(Self.refusals(connect)); leave out --backend to trace by what works"
        }
        return nil
    }

    /// What became of every hook, when all that was chosen is attached.
    var reports: [HookReport] {
        candidates.map { candidate in
            let way = Self.way(candidate)
            let status: HookReport.Status =
                if way != nil {
                    isWanted(candidate.plan) ? .attached : .notNeeded
                } else {
                    candidate.refusals.allSatisfy(\.isMissing) ? .missing : .refused
                }
            return HookReport(
                plan: candidate.plan, way: way ?? candidate.plan.ways.first, status: status,
                error: status == .notNeeded ? "" : Self.refusals(candidate))
        }
    }

    /// `fentry: Operation not permitted; kprobe: …`, each reason once.
    private static func refusals(_ candidate: Candidate) -> String {
        var told: Set<String> = []
        return candidate.refusals.compactMap { refusal in
            let text = "\(refusal.way.attachment.family): \(refusal.reason)"
            return told.insert(text).inserted ? text : nil
        }.joined(separator: "; ")
    }
}
