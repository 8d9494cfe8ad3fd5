// SPDX-License-Identifier: Apache-2.0

import Handshake

/// What happens in a scenario. In texts `$server4`, `$server6`, `$client4`, `$client6` are the
/// ends' addresses, `$server4b` and so on those of the second link, `$port` is the scenario's port; in
/// commands `$token` is that of the server's one connection.
enum Act: Sendable {
    // The regular course, with one server and one client process.
    /// Starts the server of the plan.
    case listen
    /// Starts the client of the plan and lets it connect, which ends as the plan says.
    case connect
    /// Has that many bytes echoed on each of the client's connections.
    case exchange(Int)
    /// The caller's `whileOpen`. Once in every script.
    case open
    /// Starts the server of the plan by this command, its own in the end: `mptcpize run`.
    case listenUnder([String])
    /// Ends the client's connections and the client.
    case hangUp
    /// Ends the client's connections, the client and the server.
    case close

    // Processes that do as they are told, see `PuppetActor`.
    /// Starts one under this name.
    case start(String, Side)
    /// Gives it a command, whose answer must begin so; with "" any will do.
    case ask(String, String, String = "ok")
    /// Gives it a command and does not wait.
    case tell(String, String)
    /// Waits for the answer to the command that was told, which must begin so.
    case hear(String, String = "ok")
    /// Lets it end in good order, and with it whatever it has open.
    case end(String)
    /// SIGKILL.
    case kill(String)

    // Programs that are none of ours; `$folder` is a folder of the scenario's.
    /// Writes a file.
    case file(String, String)
    /// Runs a command to its end, which must be that status.
    case run(Side, [String], status: Int32 = 0)
    /// Runs a command that leaves a daemon, whose process id is in that file; it is killed in the end.
    case daemon(Side, [String], pidFile: String)
    /// Waits until nobody has the process id in that file.
    case gone(String)

    // What is around them; all is undone in the end.
    /// A sysctl, as its path below /proc/sys, and its value.
    case set(Side, String, String)
    /// nft rules for packets that arrive at that end, before its sockets.
    case filter(Side, [String])
    /// nft rules for packets that leave that end.
    case filterSent(Side, [String])
    /// No more rules at that end.
    case unfilter(Side)
    /// `ip mptcp endpoint add`: address, flags.
    case endpoint(Side, String, String)
    /// `ip mptcp endpoint delete` of that id.
    case removeEndpoint(Side, Int)
    /// `ip mptcp limits set`.
    case limits(Side, subflows: Int, accepted: Int)
    /// `ss -K`: ends the TCP sockets that its filter selects.
    case destroy(Side, String)

    // Waiting.
    /// So many milliseconds: for what looks now and then.
    case pause(Int32)
    /// Until that counter has grown by so many since the scenario began.
    case await(Side, String, UInt64)
    /// Until that end has begun so many TCP connections since the scenario began, further subflows
    /// included.
    case connects(Side, UInt64)
    /// Until so many TCP sockets pass this filter of `ss`.
    case sockets(Side, String, Int)
}
