// SPDX-License-Identifier: Apache-2.0

/// What a process runs in, as its cgroup tells: a unit of systemd, or a container.
public struct Unit: Hashable, Sendable {
    public enum Kind: Sendable {
        case service, socket
        /// Made by some other program than systemd, which cannot start it anew.
        case scope
        /// The id's first 12 hex digits, or LXC's name.
        case container
    }

    /// `nginx.service`, `0123456789ab`.
    public var name: String
    public var kind: Kind
    /// It belongs to a user's manager (`systemctl --user`).
    public var isUser: Bool
    /// The container whose systemd has this unit; nil: the host's.
    public var container: String?

    public init(_ name: String, _ kind: Kind, isUser: Bool = false, container: String? = nil) {
        self.name = name
        self.kind = kind
        self.isUser = isUser
        self.container = container
    }
}

/// A systemd: what it listens on belongs to its socket units.
public enum SystemdManager: Hashable, Sendable {
    case system
    /// Of the user with that id.
    case user(UInt32)
}
