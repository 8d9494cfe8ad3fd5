// SPDX-License-Identifier: Apache-2.0

import Handshake

/// What `status` writes beside the records of a trace.
extension RecordWriter {
    /// Appends a namespace, then its listeners, then its connections, each with its subflows.
    public mutating func write(_ namespace: StatusNamespace, at time: UInt64, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"namespace\",\"seq\":", time, &line)
        line.member(",\"netns\":", namespace.inode)
        line.member(",\"name\":\"", text: namespace.name)
        line.member(",\"own\":", namespace.isOwn)
        if let enabled = namespace.enabled { line.member(",\"enabled\":", enabled) }
        line.append(",\"settings\":{")
        for (place, setting) in namespace.settings.enumerated() {
            line.append(place == 0 ? "\"" : ",\"")
            line.append(json: setting.name)
            line.member("\":\"", text: setting.value)
        }
        line.append("}")
        line.member(",\"other_tcp\":", UInt64(namespace.otherTcp))
        line.append("}\n")
        for listener in namespace.listeners { write(listener, enabledNow: namespace.enabled, to: &line) }
        for connection in namespace.connections {
            write(connection, enabledNow: namespace.enabled, at: time, to: &line)
            for subflow in connection.list {
                write(subflow, of: connection, at: time, to: &line)
            }
        }
    }

    private mutating func write(
        _ connection: StatusConnection, enabledNow: Bool?, at time: UInt64, to line: inout ByteBuffer
    ) {
        begin("{\"v\":1,\"type\":\"connection\",\"seq\":", time, &line)
        line.member(",\"conn\":", connection.conn)
        if let side = connection.side { line.member(",\"side\":\"", word: side.rawValue) }
        line.member(",\"local\":{\"addr\":\"", connection.local)
        line.member(",\"remote\":{\"addr\":\"", connection.remote)
        line.member(",\"token\":\"", token: connection.token)
        names.find(
            connection.owner.map {
                OwnedSocket(
                    owner: $0, local: connection.local, netns: connection.netns, side: connection.side)
            })
        write(holder: connection.owner, to: &line)
        if let uid = connection.uid { line.member(",\"uid\":", uid) }
        line.member(",\"netns\":", unlessZero: connection.netns)
        line.member(",\"listener\":", unlessZero: connection.listener)
        if let checksum = connection.checksum { line.member(",\"checksum\":", checksum) }
        if let known = connection.hasRemoteKey { line.member(",\"remote_key\":", known) }
        if let enabled = connection.enabledAtCreation { line.member(",\"enabled_at_creation\":", enabled) }
        if let enabled = enabledNow { line.member(",\"enabled_now\":", enabled) }
        line.member(",\"subflows\":", unlessZero: connection.subflows)
        line.member(",\"tcp_state\":\"", word: connection.tcpState)
        line.member(",\"state\":\"", word: connection.state.rawValue)
        line.append("}\n")
    }

    private mutating func write(
        _ subflow: StatusSubflow, of connection: StatusConnection, at time: UInt64,
        to line: inout ByteBuffer
    ) {
        begin("{\"v\":1,\"type\":\"subflow\",\"seq\":", time, &line)
        line.member(",\"conn\":", connection.conn)
        line.member(",\"subflow\":", subflow.number)
        line.member(",\"local\":{\"addr\":\"", subflow.local)
        line.member(",\"remote\":{\"addr\":\"", subflow.remote)
        if let id = subflow.localID { line.member(",\"local_id\":", id) }
        if let id = subflow.remoteID { line.member(",\"remote_id\":", id) }
        if let backup = subflow.backup { line.member(",\"backup\":", backup) }
        line.member(",\"token\":\"", token: subflow.token)
        line.member(",\"remote_token\":\"", token: subflow.remoteToken)
        line.member(",\"flags\":\"", text: subflow.flags)
        line.member(",\"netns\":", unlessZero: connection.netns)
        line.member(",\"tcp_state\":\"", word: subflow.tcpState)
        line.append("}\n")
    }

    /// Appends what could not be seen.
    public mutating func write(_ hidden: StatusHidden, at time: UInt64, to line: inout ByteBuffer) {
        begin("{\"v\":1,\"type\":\"hidden\",\"seq\":", time, &line)
        line.member(",\"what\":\"", word: hidden.kind.rawValue)
        if let count = hidden.count { line.member(",\"count\":", count) }
        line.member(",\"message\":\"", text: hidden.message)
        line.append("}\n")
    }
}
