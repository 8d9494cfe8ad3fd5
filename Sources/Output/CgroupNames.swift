// SPDX-License-Identifier: Apache-2.0

/// What a cgroup id stands for.
public struct CgroupName: Hashable, Sendable {
    /// Path below the cgroup file system, `/system.slice/nginx.service`.
    public var path: String
    /// The systemd unit or container id read from it; nil: neither.
    public var unit: String?

    public init(path: String, unit: String? = nil) {
        self.path = path
        self.unit = unit
    }
}

/// The members `cgroup` and `unit`, encoded once for each cgroup.
struct CgroupNames: ~Copyable {
    private struct Place {
        var start: Int
        /// Length of `,"cgroup":"…"`.
        var path: Int
        /// Length of `,"unit":"…"`, which follows it.
        var unit: Int
    }

    private let names: (UInt64) -> CgroupName?
    private var text = ByteBuffer(capacity: 4096)
    private var places: [UInt64: Place] = [:]
    private var lastID: UInt64 = 0
    private var last = Place(start: 0, path: 0, unit: 0)

    init(_ names: @escaping (UInt64) -> CgroupName?) {
        self.names = names
    }

    /// Writes what is known of the cgroup `id`: its path (if `withPath`) and its unit.
    @inline(__always)
    mutating func write(_ id: UInt64, withPath: Bool, to line: inout ByteBuffer) {
        guard id != 0 else { return }
        if id != lastID { find(id) }
        if withPath {
            line.append(text, from: last.start, count: last.path &+ last.unit)
        } else {
            line.append(text, from: last.start &+ last.path, count: last.unit)
        }
    }

    @inline(never)
    private mutating func find(_ id: UInt64) {
        lastID = id
        if let known = places[id] {
            last = known
            return
        }
        // Ids are never used twice, so that a machine that makes many cgroups fills the table.
        if places.count >= 4096 || text.count > 1 << 20 {
            places.removeAll(keepingCapacity: true)
            text.clear()
        }
        var place = Place(start: text.count, path: 0, unit: 0)
        if let name = names(id) {
            text.append(",\"cgroup\":\"")
            text.append(json: name.path)
            text.append("\"")
            place.path = text.count - place.start
            if let unit = name.unit {
                text.append(",\"unit\":\"")
                text.append(json: unit)
                text.append("\"")
                place.unit = text.count - place.start - place.path
            }
        }
        // What is not found once (a cgroup already gone) is not looked for again.
        places[id] = place
        last = place
    }
}
