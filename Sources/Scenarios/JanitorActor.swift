// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Waits until its parent lets go, then takes away the namespaces that are left (see
/// `NamespaceKeeper`). It ignores what is meant for its parent.
enum JanitorActor {
    static func run(names: [String], _ parent: inout ParentLink) {
        _ = mps_thread_name("mp-janitor")
        for number in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE] { signal(number, SIG_IGN) }
        do throws(ScenarioError) { try parent.say("ready") } catch { return }
        while parent.next() != nil {}
        for name in names { Namespace.remove(name) }
    }
}
