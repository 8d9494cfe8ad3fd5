// SPDX-License-Identifier: Apache-2.0

import Handshake
import Kernel

/// The settings' part of a trace: takes what programs saw and what looking finds to the mirror, each in its
/// place among the observations.
final class SettingsCourse {
    private let watch: SettingsWatch
    private var held = HeldBack()
    /// A program sees every write.
    private let seesWrites: Bool
    /// The namespace that was asked about last.
    private var lastLearnt: UInt32 = 0
    /// How many may wait.
    private static let heldLimit = 65_536

    /// - Parameters:
    ///   - only: the namespaces to look at; nil: all that can be found.
    ///   - seesWrites: a program sees every write.
    init(only: [NetworkNamespace]?, seesWrites: Bool) {
        watch = SettingsWatch(only: only)
        self.seesWrites = seesWrites
    }

    /// Whether MPTCP is switched off anywhere.
    var isOffAnywhere: Bool { watch.isOffAnywhere }

    /// ns, CLOCK_MONOTONIC, of the oldest that waits; nil: nothing does.
    var oldest: UInt64? { held.oldest }

    /// What they are as the trace begins.
    func begin(_ tracker: inout Tracker) { watch.tellBeginning(to: &tracker) }

    // MARK: in the order of events

    /// A write; what comes after it waits until it is known whether the kernel took it.
    func take(_ change: SettingChange, to tracker: inout Tracker) {
        let known = watch.take(change)
        if known.isRenewed { forget(change.netns, at: change.time, &tracker) }
        if let before = known.before { held.settle(before) }
        if held.isEmpty, let change = known.change {
            tracker.take(change)
        } else {
            held.append(.change(known.change ?? change, isSettled: known.change != nil))
        }
    }

    /// Whether an observation may go on to the mirror; else it waits behind a write.
    func passes(_ observation: Observation) -> Bool {
        if held.isEmpty { return true }
        held.append(.observation(observation))
        return false
    }

    /// The next that need not wait any longer; nil: there is none.
    func next() -> HeldBack.Item? { held.next() }

    /// What is known by now of writes that wait.
    /// - Parameter now: CLOCK_MONOTONIC; `.max`: the trace ends.
    func settle(at now: UInt64) {
        for change in watch.settle(at: held.count < Self.heldLimit ? now : .max) { held.settle(change) }
    }

    /// Before the mirror takes an observation: the settings of a namespace that is heard of for the first
    /// time. What a program sees written there it tells, so they have been that since it began.
    func learn(of observation: Observation, for tracker: inout Tracker) {
        switch observation.step {
        case .listening, .socketCreated, .socketRefused: break
        default: return
        }
        let netns = observation.netns
        watch.noteActivity(in: netns, at: observation.time)
        guard netns != lastLearnt else { return }
        lastLearnt = netns
        if let values = watch.learn(netns) { know(values, in: netns, &tracker) }
    }

    // MARK: by looking

    /// To be taken before the programs' events are: of what is another value by then, the write is among them.
    func look(at now: UInt64) -> SettingsWatch.Look? { watch.look(at: now) }

    /// And compared after: what no program saw.
    func compare(_ look: SettingsWatch.Look, for tracker: inout Tracker) {
        for netns in watch.gone(at: look) { forget(netns, at: look.time, &tracker) }
        for (netns, values) in watch.new(at: look) { know(values, in: netns, &tracker) }
        for change in watch.changes(since: look) {
            if change.name == Setting.limits.name {
                tracker.take(limits: change)
            } else {
                tracker.take(change)
            }
        }
        for change in watch.endpointChanges(since: look) {
            tracker.take(
                endpoint: change.endpoint.address, id: change.endpoint.id, change.change, in: change.netns,
                at: look.time)
        }
    }

    private func know(_ values: [String: String], in netns: UInt32, _ tracker: inout Tracker) {
        let since = seesWrites ? 0 : KernelClock.monotonic()
        for (name, value) in values { tracker.know(name, is: value, in: netns, since: since) }
    }

    private func forget(_ netns: UInt32, at time: UInt64, _ tracker: inout Tracker) {
        tracker.forget(netns: netns, at: time)
        if lastLearnt == netns { lastLearnt = 0 }
    }
}
