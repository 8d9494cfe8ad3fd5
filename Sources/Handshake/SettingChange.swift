// SPDX-License-Identifier: Apache-2.0

/// How a change of a setting became known.
public enum ChangeSource: String, Sendable, CaseIterable {
    /// A program saw the write.
    case bpf
    /// The value was another one than before.
    case poll
}

/// A write to one of MPTCP's settings, or its trace.
public struct SettingChange: Sendable {
    /// ns, CLOCK_MONOTONIC.
    public var time: UInt64
    /// The same: it happened after that, and not after `time`.
    public var earliest: UInt64
    /// Whose setting it is, which need not be the writer's; 0: not known.
    public var netns: UInt32
    /// The whole name: `net.mptcp.enabled`.
    public var name: String
    /// As in /proc without the newline; nil: not known.
    public var old: String?
    public var new: String
    public var source: ChangeSource
    /// Whether the kernel took it; nil: not known.
    public var accepted: Bool?
    /// Who wrote; nil: not known.
    public var owner: Owner?

    public init(
        time: UInt64, netns: UInt32, name: String, old: String?, new: String, source: ChangeSource,
        accepted: Bool? = nil, owner: Owner? = nil, earliest: UInt64? = nil
    ) {
        self.time = time
        self.earliest = earliest ?? time
        self.netns = netns
        self.name = name
        self.old = old
        self.new = new
        self.source = source
        self.accepted = accepted
        self.owner = owner
    }
}

/// What goes on by the old value of a setting.
public struct Affected: Sendable {
    /// Ids of listeners and connections, and of connections of which there is only the socket.
    public var listeners = Some()
    public var connections = Some()
    public var sockets = Some()

    /// The first of them, and how many there are.
    public struct Some: Sendable, Equatable, ExpressibleByArrayLiteral {
        public private(set) var ids: [UInt64] = []
        public private(set) var count = 0
        /// How many are named.
        public static let limit = 256

        public init(arrayLiteral elements: UInt64...) {
            for element in elements { append(element) }
        }

        public mutating func append(_ id: UInt64) {
            count += 1
            if ids.count < Self.limit { ids.append(id) }
        }
    }

    public init() {}
}

/// A change of a setting, and what does not follow it.
public struct SysctlRecord: Sendable {
    public var change: SettingChange
    /// nil: a setting that is not known.
    public var sampledAt: SampledAt?
    public var affected = Affected()

    /// Under which evidence names it (`Evidence.change`); not written.
    public var number: UInt64

    public init(change: SettingChange, sampledAt: SampledAt?, number: UInt64 = 0) {
        self.change = change
        self.sampledAt = sampledAt
        self.number = number
    }
}
