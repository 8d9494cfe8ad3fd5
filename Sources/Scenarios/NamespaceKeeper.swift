// SPDX-License-Identifier: Apache-2.0

/// Owns the names of network namespaces and takes them away in the end, whatever the end is: a
/// child process waits for this process to let go of a socket, by a call or by dying of anything
/// (SIGKILL too), and then removes what is left.
struct NamespaceKeeper: ~Copyable {
    let names: [String]
    private var janitor: ActorProcess

    /// To be made before the namespaces are.
    init(names: [String], executable: String) throws(ScenarioError) {
        var janitor = try ActorProcess(role: "janitor", executable: executable, arguments: names)
        _ = try janitor.expect(["ready"], interruptedBy: -1)
        self.names = names
        self.janitor = janitor
    }

    var janitorPID: Int32 { janitor.pid }

    /// A descriptor that holds the janitor back as long as a copy is open: for tools that make
    /// the namespaces, so that one that outlives this process is outlived by the janitor.
    var hold: Int32 { janitor.commandDescriptor }

    /// Takes the names away and ends the janitor; nothing happens the second time.
    mutating func remove() throws(ScenarioError) {
        for name in names { Namespace.remove(name) }
        try janitor.finish()
    }

    deinit {
        for name in names { Namespace.remove(name) }
    }
}
