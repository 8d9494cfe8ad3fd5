// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Which record in the file shows what: findings name their evidence by number.
struct EvidenceBook {
    /// By listener; such as are open.
    private var listeners: [UInt64: UInt64] = [:]
    private var changes = BoundedTable<UInt64, UInt64>(limit: 4096)
    /// By `conn` of the step.
    private var refusals = BoundedTable<UInt64, UInt64>(limit: 4096)
    /// What was written last of a connection, and the last step.
    private var connection = (conn: UInt64(0), number: UInt64(0))
    private var step = (conn: UInt64(0), number: UInt64(0))

    /// A record was written.
    mutating func note(_ record: Record, _ number: UInt64) {
        switch record {
        case .step(let written):
            step = (written.conn, number)
            if written.observation.step == .socketRefused {
                refusals.update(written.conn, default: 0) { $0 = number }
            }
        case .handshake(let written): connection = (written.conn, number)
        case .join(let written): connection = (written.conn, number)
        case .close(let written): connection = (written.conn, number)
        case .listener(let written):
            listeners[written.listener] = written.state == .open ? number : nil
        case .sysctl(let written): changes.update(written.number, default: 0) { $0 = number }
        case .address(let written) where written.number != 0:
            changes.update(written.number, default: 0) { $0 = number }
        case .address, .fallback, .connection, .anomaly, .lost: break
        }
    }

    /// The numbers of those that were written, lowest first.
    func numbers(of evidence: [Evidence]) -> [UInt64] {
        evidence.compactMap { item in
            switch item {
            case .listener(let id): listeners[id]
            case .change(let number): changes[number]
            case .refusal(let conn): refusals[conn]
            case .connection(let conn): connection.conn == conn ? connection.number : nil
            case .step(let conn): step.conn == conn ? step.number : nil
            }
        }.sorted()
    }
}
