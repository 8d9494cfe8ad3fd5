// SPDX-License-Identifier: Apache-2.0

import Handshake

/// A value for each end of a path.
public struct Sides<Value> {
    public var client: Value
    public var server: Value

    public init(client: Value, server: Value) {
        self.client = client
        self.server = server
    }

    public subscript(side: Side) -> Value {
        get {
            switch side {
            case .client: client
            case .server: server
            }
        }
        set {
            switch side {
            case .client: client = newValue
            case .server: server = newValue
            }
        }
    }
}

extension Sides: Sendable where Value: Sendable {}
extension Sides: Equatable where Value: Equatable {}
