// SPDX-License-Identifier: Apache-2.0

// Settings change: what is open and goes by the old value.
extension Tracker {
    /// Takes a change of a setting, in its place among the observations.
    public mutating func take(_ change: SettingChange) {
        let setting = Setting.named(change.name)
        var record = SysctlRecord(change: change, sampledAt: setting?.sampledAt)
        // What was refused, or is the same value, leaves nobody behind; nor does MPTCP's being switched on, of
        // those that have it.
        let isSwitchedOn = Outliving.switches.contains(change.name) && change.new != "0"
        if let setting, change.accepted != false, change.old != change.new, !isSwitchedOn {
            let left = setting.leavesBehind
            let everywhere = !setting.isPerNamespace
            func concerns(_ netns: UInt32) -> Bool { everywhere || netns == change.netns }
            if left.contains(.listeners) {
                record.listeners = listeners.ids { $0.transport != .tcp && concerns($0.netns) }
            }
            if !left.isDisjoint(with: [.connections, .sockets]) {
                for connection in connections.slots
                where connection.serial != 0 && !connection.isJoin && concerns(connection.netns) {
                    switch connection.state {
                    case .created where left.contains(.sockets): record.sockets.append(connection.id)
                    case .mptcpEstablished, .subflowClosed:
                        if left.contains(.connections), connection.decided, connection.hadMptcp,
                            !connection.fellBack
                        {
                            record.connections.append(connection.id)
                        }
                    default: break
                    }
                }
            }
        }
        records.append(.sysctl(record))
        switched(change)
    }
}

extension Listeners {
    /// The ids of those that fit, lowest first.
    func ids(where fits: (Listener) -> Bool) -> [UInt64] { everyone.filter(fits).map(\.id).sorted() }
}
