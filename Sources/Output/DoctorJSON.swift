// SPDX-License-Identifier: Apache-2.0

extension DoctorReport {
    /// Appends all of it as one JSON object on one line. The names of its members stay.
    public func writeJSON(to line: inout ByteBuffer) {
        line.append("{\"kernel\":\"")
        line.append(json: kernel)
        line.append("\",\"arch\":\"")
        line.append(json: arch)
        line.append("\"")
        line.member(",\"stack\":", stack?.rawValue)
        line.append(",\"btf\":")
        line.append(btf == nil ? "false" : "true")
        line.member(",\"lockdown\":", lockdown)
        line.append(",\"capabilities\":{")
        var isFirst = true
        for capability in capabilities {
            guard let isHeld = capability.isHeld else { continue }
            if !isFirst { line.append(",") }
            isFirst = false
            line.append("\"")
            line.append(json: capability.name)
            line.append(isHeld ? "\":true" : "\":false")
        }
        line.append("}")
        line.member(",\"cgroup2\":", cgroup2)
        line.append(",\"sock_diag\":{")
        line.members(("\"tcp\":", listsTCP), ("\"mptcp\":", listsMPTCP))
        line.append("},\"ways\":{")
        var isFirstWay = true
        for (name, way) in [("fentry", fentry), ("kprobe", kprobe)] {
            guard let way else { continue }
            line.append(isFirstWay ? "\"" : ",\"")
            isFirstWay = false
            line.append(json: name)
            line.append(way.works ? "\":{\"works\":true" : "\":{\"works\":false")
            line.member(",\"error\":", way.error)
            line.append("}")
        }
        line.append("}")
        if let fallbackBit {
            line.append(",\"fallback_bit\":")
            line.append(decimal: UInt64(fallbackBit))
        }
        line.append(",\"namespaces\":[")
        for (place, namespace) in namespaces.enumerated() {
            line.append(place == 0 ? "{\"netns\":" : ",{\"netns\":")
            line.append(decimal: namespace.inode)
            line.member(",\"name\":", namespace.name)
            if let enabled = namespace.enabled {
                line.append(enabled ? ",\"enabled\":true" : ",\"enabled\":false")
            }
            line.append("}")
        }
        line.append("],\"hooks\":[")
        for (place, hook) in hooks.enumerated() {
            line.append(place == 0 ? "{\"name\":\"" : ",{\"name\":\"")
            line.append(json: hook.name)
            line.append("\"")
            line.member(",\"attach\":", hook.attach?.rawValue)
            line.member(",\"status\":", hook.status?.rawValue)
            line.member(",\"error\":", hook.error)
            line.member(",\"tells\":", hook.tells)
            line.member(",\"without_it\":", hook.withoutIt)
            line.append("}")
        }
        line.append("],\"verdict\":{\"can_trace\":")
        line.append(verdict.canTrace ? "true" : "false")
        line.member(",\"reason\":", verdict.reason)
        line.member(",\"detail\":", verdict.detail)
        line.append("}}\n")
    }
}

extension ByteBuffer {
    /// Nothing when there is no text.
    fileprivate mutating func member(_ key: StaticString, _ text: String?) {
        guard let text else { return }
        append(key)
        append("\"")
        append(json: text)
        append("\"")
    }

    /// Those that are known.
    fileprivate mutating func members(_ all: (key: StaticString, value: Bool?)...) {
        var isFirst = true
        for member in all {
            guard let value = member.value else { continue }
            if !isFirst { append(",") }
            isFirst = false
            append(member.key)
            append(value ? "true" : "false")
        }
    }
}
