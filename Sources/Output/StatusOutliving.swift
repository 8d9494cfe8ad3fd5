// SPDX-License-Identifier: Apache-2.0

import Handshake

/// The sentences of `status` about what goes on by a setting's old value.
struct StatusOutliving {
    private(set) var sentences: [String] = []
    /// How many holders are named.
    private static let nameLimit = 8

    /// - Parameters:
    ///   - listener, connection: whom to restart, as text that is safe on a terminal; nil: not known.
    init(
        in namespace: StatusNamespace, listener: (ListenerRecord) -> String?,
        connection: (StatusConnection) -> String?
    ) {
        if namespace.enabled == false {
            let listeners = namespace.listeners.filter { $0.enabledAtCreation == true }
            // One that fell back goes on as TCP, whatever it was made with.
            let connections = namespace.connections
                .filter { $0.enabledAtCreation == true && $0.state == .mptcp }
            tellSwitch(
                listeners.count, connections.count,
                holders: listeners.map(listener) + connections.map(connection))
        }
        if let isOn = namespace.checksumEnabled {
            tellChecksums(
                namespace.connections.count { $0.state == .mptcp && $0.checksum == !isOn }, now: isOn)
        }
    }

    private mutating func tellSwitch(_ listeners: Int, _ connections: Int, holders: [String?]) {
        let counts = [Self.count(listeners, "listener"), Self.count(connections, "connection")]
        let what = counts.compactMap(\.self).joined(separator: " and ")
        if what.isEmpty { return }
        let isOne = listeners + connections == 1
        var sentence =
            "\(what) \(isOne ? "was" : "were") made while net.mptcp.enabled was 1, which is 0 now: "
            + (isOne
                ? "it goes on with MPTCP until it is closed."
                : "they go on with MPTCP until they are closed.")
        var seen: Set<String> = []
        let names = holders.compactMap(\.self).filter { seen.insert($0).inserted }
        if !names.isEmpty {
            let more = names.count - Self.nameLimit
            sentence +=
                " Restart \(names.prefix(Self.nameLimit).joined(separator: ", "))"
                + "\(more > 0 ? " and \(more) more" : "")."
        }
        sentences.append(sentence)
    }

    private mutating func tellChecksums(_ connections: Int, now isOn: Bool) {
        guard let what = Self.count(connections, "connection") else { return }
        let isOne = connections == 1
        if isOn {
            sentences.append(
                "\(what) \(isOne ? "was" : "were") made while net.mptcp.checksum_enabled was 0, which is 1 "
                    + "now: \(isOne ? "it goes" : "they go") on without checksums.")
        } else {
            // One end's wish is enough.
            sentences.append(
                "\(what) \(isOne ? "has" : "have") checksums though net.mptcp.checksum_enabled is 0: "
                    + (isOne
                        ? "it was made before, or its peer asked for them."
                        : "they were made before, or their peers asked for them."))
        }
    }

    /// nil: none.
    private static func count(_ count: Int, _ noun: String) -> String? {
        count == 0 ? nil : "\(count) \(noun)\(count == 1 ? "" : "s")"
    }
}
