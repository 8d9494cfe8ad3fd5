// SPDX-License-Identifier: Apache-2.0

import CLinux

/// Makes a stage, says "ready" and its namespaces' names, and takes it away when its parent
/// lets go: a stage for scripts.
enum StageActor {
    static func run(_ parent: inout ParentLink) throws(ScenarioError) {
        _ = mps_thread_name("mp-stage")
        var stage = try Stage()
        try parent.say("ready \(stage.client.namespace.name) \(stage.server.namespace.name)")
        while parent.next() != nil {}
        try stage.remove()
    }
}
