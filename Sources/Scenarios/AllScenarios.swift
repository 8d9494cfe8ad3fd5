// SPDX-License-Identifier: Apache-2.0

import Handshake

extension Scenario {
    /// Every scenario there is. The live tests run these.
    public static let all: [Scenario] = basic + path + joins + endings + fallbacks + settings

    /// Short and instructive ones: what `mpscope demo` runs.
    public static let demo: [Scenario] = all.filter(\.inDemo)
}
