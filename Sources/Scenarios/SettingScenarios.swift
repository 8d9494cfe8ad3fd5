// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake

extension Scenario {
    /// Settings are turned, and sockets go on by the old value, or do not.
    package static let settings: [Scenario] = [
        listenerOutlivesDisable, listenerPredatesEnable, tcpServerFromOff, tcpServerFromOn,
        madeBeforeListensAfter, poolOutlivesDisable, poolAndChecksums, poolAndPathManager, twoValuesAtOnce,
        childNamespace, mptcpize, nginx, limitsChanged,
    ]

    private static func turn(_ side: Side, _ value: Int) -> Act {
        .set(side, "net/mptcp/enabled", "\(value)")
    }

    /// Refused sockets may be looked for only now and then, where functions can't be hooked.
    private static let moment = Act.pause(2_000)

    /// A new connection of a new client, which ends before the server's end of it does.
    private static func connection(_ number: Int, from client: String = "client") -> [Act] {
        [
            .ask(client, "socket c\(number) 4"), .ask(client, "connect c\(number) $server4 $port"),
            .ask("server", "accept a\(number) l"),
        ] + talk(number, client) + end(number, client)
    }

    private static func talk(_ number: Int, _ client: String = "client") -> [Act] {
        [
            .ask(client, "send c\(number) 10"), .ask("server", "receive a\(number) 10"),
            .ask("server", "send a\(number) 10"), .ask(client, "receive c\(number) 10"),
        ]
    }

    private static func end(_ number: Int, _ client: String = "client") -> [Act] {
        [
            .ask(client, "shut c\(number)"), .ask("server", "drain a\(number)", "ended"),
            .ask("server", "close a\(number)"), .ask(client, "drain c\(number)", "ended"),
            .ask(client, "close c\(number)"),
        ]
    }

    private static let cast: [Act] = [.start("server", .server), .start("client", .client)]

    private static func fellBack(_ count: UInt64) -> Expectation {
        Expectation(
            [ExpectedHandshake(.fallback, .synackWithoutMptcp, family: 4, count: Int(count))],
            Counters(synSent: count, fallbackSynack: count))
    }

    private static func tcpServer(_ count: Int, _ findings: [ExpectedFinding]) -> Expectation {
        Expectation(
            [ExpectedHandshake(.fallback, .listenerIsTcp, family: 4, count: count)], findings: findings)
    }

    private static func mptcpClient(_ count: UInt64, _ findings: [ExpectedFinding] = []) -> Expectation {
        Expectation(
            [ExpectedHandshake(.mptcp, family: 4, count: Int(count))], findings: findings,
            Counters(synSent: count, synackReceived: count))
    }

    private static func mptcpServer(_ count: UInt64, _ findings: [ExpectedFinding] = []) -> Expectation {
        Expectation(
            [ExpectedHandshake(.mptcp, family: 4, count: Int(count))], findings: findings,
            Counters(synReceived: count, ackReceived: count))
    }

    // MARK: the switch and listeners

    private static let listenerOutlivesDisable = Scenario(
        name: "listener-outlives-disable",
        summary: "MPTCP is switched off, and a listener goes on taking it until it is closed", port: 7810,
        inDemo: true,
        script: cast + [.ask("server", "listen l 0.0.0.0 $port 4")] + connection(1) + [turn(.server, 0)]
            + connection(2) + connection(3) + [.open, .ask("server", "close l"), turn(.server, 1)],
        expected: Sides(
            client: mptcpClient(3),
            server: mptcpServer(3, [ExpectedFinding(.listenerOutlivesDisable, .error, count: 3)])))

    /// It is closed by its being switched on again, opened by its going off.
    private static let listenerPredatesEnable = Scenario(
        name: "listener-predates-enable",
        summary: "a server is refused MPTCP, listens with TCP, and stays so when MPTCP is switched on",
        port: 7811, inDemo: true,
        script: cast + [
            turn(.server, 0), moment, .ask("server", "listen l 0.0.0.0 $port 4 willing", "ok tcp"),
        ]
            + connection(1) + [turn(.server, 1)] + connection(2) + [
                .open, .ask("server", "close l"),
                .ask("server", "listen l 0.0.0.0 $port 4 willing", "ok mptcp"),
            ] + connection(3),
        expected: Sides(
            client: Expectation(
                [
                    ExpectedHandshake(.fallback, .synackWithoutMptcp, family: 4, count: 2),
                    ExpectedHandshake(.mptcp, family: 4),
                ], Counters(synSent: 3, synackReceived: 1, fallbackSynack: 2)),
            server: Expectation(
                [
                    ExpectedHandshake(.fallback, .listenerIsTcp, family: 4, count: 2),
                    ExpectedHandshake(.mptcp, family: 4),
                ], findings: [ExpectedFinding(.listenerPredatesEnable, .error, count: 2)],
                Counters(synReceived: 1, ackReceived: 1))),
        seenByFunctions: Sides(
            client: FunctionSight(), server: FunctionSight(refusedSockets: 1, error: ENOPROTOOPT)))

    private static let tcpServerFromOff = Scenario(
        name: "tcp-server-from-off",
        summary: "a TCP listener that was opened while MPTCP was off: whether it wants MPTCP is not known",
        port: 7812,
        script: cast + [turn(.server, 0), .ask("server", "listen l 0.0.0.0 $port 4 tcp"), turn(.server, 1)]
            + connection(1) + [.open, .ask("server", "close l")],
        expected: Sides(
            client: fellBack(1),
            server: tcpServer(1, [ExpectedFinding(.listenerPredatesEnable, .warning)])))

    private static let tcpServerFromOn = Scenario(
        name: "tcp-server-from-on",
        summary: "a TCP listener that was opened while MPTCP was on only speaks TCP, whatever is switched",
        port: 7813,
        script: cast + [.ask("server", "listen l 0.0.0.0 $port 4 tcp"), turn(.server, 0), turn(.server, 1)]
            + connection(1) + [.open, .ask("server", "close l")],
        expected: Sides(client: fellBack(1), server: tcpServer(1, [])))

    private static let madeBeforeListensAfter = Scenario(
        name: "made-before-listens-after",
        summary: "an MPTCP socket is made, MPTCP is switched off, the socket listens", port: 7814,
        script: cast + [
            .ask("server", "socket l 4"), .ask("server", "bind l 0.0.0.0 $port"), turn(.server, 0),
            .ask("server", "attend l 4"),
        ] + connection(1) + [.open, .ask("server", "close l"), turn(.server, 1)],
        expected: Sides(
            client: mptcpClient(1),
            server: mptcpServer(1, [ExpectedFinding(.listenerOutlivesDisable, .error, count: 2)])))

    /// Each namespace has its own.
    private static let twoValuesAtOnce = Scenario(
        name: "two-values-at-once",
        summary: "MPTCP is off in one network namespace and on in the other, at both ends listeners",
        port: 7818,
        script: cast + [
            .ask("server", "listen l 0.0.0.0 $port 4"), .ask("client", "listen x 0.0.0.0 $port 4"),
            turn(.client, 0), turn(.server, 0), turn(.client, 1),
        ] + connection(1) + [.open, .ask("client", "close x"), .ask("server", "close l")],
        expected: Sides(
            client: mptcpClient(1, [ExpectedFinding(.listenerOutlivesDisable, .warning)]),
            server: mptcpServer(1, [ExpectedFinding(.listenerOutlivesDisable, .error, count: 2)])))

    /// It begins with MPTCP on, whatever its maker has.
    private static let childNamespace = Scenario(
        name: "child-namespace",
        summary: "a network namespace that is made while MPTCP is off has it on", port: 7819,
        script: [
            turn(.server, 0), .start("server", .server), .ask("server", "listen t 0.0.0.0 $port 4 tcp"),
            .ask("server", "child n"), .ask("server", "listen l 127.0.0.1 $port 4"),
            .ask("server", "socket c 4"), .ask("server", "connect c 127.0.0.1 $port"),
            .ask("server", "accept a l"), .open, .ask("server", "close c"), .ask("server", "close a"),
            .ask("server", "close l"), .ask("server", "close t"), .end("server"),
        ],
        expected: Sides(client: Expectation(), server: Expectation()))

    // MARK: the switch and clients

    private static let poolOutlivesDisable = Scenario(
        name: "pool-outlives-disable",
        summary: "sockets that were made before MPTCP was switched off connect with it", port: 7815,
        inDemo: true,
        script: cast + [
            .ask("server", "listen l 0.0.0.0 $port 4"), .ask("client", "socket c1 4"),
            .ask("client", "socket c2 4"), .ask("client", "socket c3 4"), turn(.client, 0),
        ]
            + [1, 2].flatMap { number -> [Act] in
                [
                    .ask("client", "connect c\(number) $server4 $port"),
                    .ask("server", "accept a\(number) l"),
                ] + talk(number) + end(number)
            } + [.open, .ask("client", "close c3"), .ask("server", "close l")],
        expected: Sides(
            client: mptcpClient(2, [ExpectedFinding(.socketOutlivesToggle, .warning, count: 2)]),
            server: mptcpServer(2)))

    private static let poolAndChecksums = Scenario(
        name: "pool-and-checksums",
        summary: "a socket that was made before checksums were switched on connects after", port: 7816,
        script: cast + [
            .ask("server", "listen l 0.0.0.0 $port 4"), .ask("client", "socket c1 4"),
            .set(.client, "net/mptcp/checksum_enabled", "1"), .ask("client", "connect c1 $server4 $port"),
            .ask("server", "accept a1 l"),
        ] + talk(1) + end(1) + connection(2) + [
            .open, .set(.client, "net/mptcp/checksum_enabled", "0"), .ask("server", "close l"),
        ],
        expected: Sides(
            client: mptcpClient(2, [ExpectedFinding(.socketOutlivesToggle, .warning)]), server: mptcpServer(2)
        ))

    // MARK: other settings

    private static let poolAndPathManager = Scenario(
        name: "pool-and-path-manager",
        summary: "the path manager is another one, sockets that were made before keep theirs", port: 7817,
        script: cast + [
            .ask("server", "listen l 0.0.0.0 $port 4"), .ask("client", "socket c1 4"),
            .ask("client", "socket c2 4"), .set(.client, "net/mptcp/pm_type", "1"),
            .ask("client", "connect c1 $server4 $port"), .ask("server", "accept a1 l"),
        ] + talk(1) + end(1) + connection(3) + [
            .open, .ask("client", "close c2"), .ask("server", "close l"),
            .set(.client, "net/mptcp/pm_type", "0"),
        ],
        expected: Sides(
            client: mptcpClient(2, [ExpectedFinding(.settingNeedsRestart, .warning, count: 2)]),
            server: mptcpServer(2)))

    private static let limitsChanged = Scenario(
        name: "limits-changed",
        summary: "the path manager's limits are others, a connection that is open keeps its own", port: 7822,
        script: cast + [
            .ask("server", "listen l 0.0.0.0 $port 4"), .ask("client", "socket c1 4"),
            .ask("client", "connect c1 $server4 $port"), .ask("server", "accept a1 l"),
        ] + talk(1) + [
            // They are looked at once a second.
            .pause(1_500), .limits(.client, subflows: 5, accepted: 3), .pause(2_500), .open,
        ] + end(1) + [.ask("server", "close l")],
        expected: Sides(
            client: mptcpClient(1, [ExpectedFinding(.settingNeedsRestart, .warning)]), server: mptcpServer(1))
    )

    // MARK: other people's programs

    /// What mptcpize makes MPTCP is told nothing of TCP.
    private static let mptcpize = Scenario(
        name: "mptcpize", summary: "a TCP server under mptcpize: outlives the switch, and is refused after",
        port: 7820, server: ServerPlan(transport: .tcp, family: .ipv4),
        script: [
            .listenUnder(["mptcpize", "run"]), turn(.server, 0), .connect, .open, .close, moment,
            .run(
                .server,
                [
                    "mptcpize", "run", "$self", "__actor", "server", "--protocol", "tcp", "--port",
                    "$port",
                    "--connections", "1",
                ], status: 1),
            turn(.server, 1),
        ],
        expected: Sides(
            client: mptcpClient(1),
            server: mptcpServer(1, [ExpectedFinding(.listenerOutlivesDisable, .error, count: 2)])),
        seenByFunctions: Sides(
            client: FunctionSight(), server: FunctionSight(refusedSockets: 1, error: ENOPROTOOPT)))

    private static let nginx = Scenario(
        name: "nginx",
        summary: "nginx under mptcpize: a reload keeps its listener, a restart makes another", port: 7821,
        script: [
            .file(
                "$folder/nginx.conf",
                """
                daemon on; worker_processes 1; pid $folder/pid; user root root; error_log $folder/error;
                events {}
                http {
                  access_log off; client_body_temp_path $folder/1; proxy_temp_path $folder/2;
                  fastcgi_temp_path $folder/3; uwsgi_temp_path $folder/4; scgi_temp_path $folder/5;
                  server { listen $server4:$port; return 204; }
                }

                """),
            .daemon(.server, ["mptcpize", "run"] + nginxCommand, pidFile: "$folder/pid"),
            // Whose its socket is by now is looked up a moment after listen().
            .start("client", .client), .pause(100),
        ] + visit(1) + [
            turn(.server, 0), .pause(100), .run(.server, nginxCommand + ["-s", "reload"]), .pause(300),
        ]
            + visit(2) + [
                .open, .run(.server, nginxCommand + ["-s", "quit"]), .gone("$folder/pid"),
                // Under mptcpize it gets no socket at all now; without, a plain one.
                .run(.server, ["mptcpize", "run"] + nginxCommand, status: 1),
                .daemon(.server, nginxCommand, pidFile: "$folder/pid"), .pause(100),
                turn(.server, 1),
            ] + visit(3) + [.run(.server, nginxCommand + ["-s", "quit"]), .gone("$folder/pid")],
        expected: Sides(
            client: Expectation(
                [
                    ExpectedHandshake(.mptcp, family: 4, count: 2),
                    ExpectedHandshake(.fallback, .synackWithoutMptcp, family: 4),
                ], Counters(synSent: 3, synackReceived: 2, fallbackSynack: 1)),
            server: Expectation(
                [
                    ExpectedHandshake(.mptcp, family: 4, count: 2),
                    ExpectedHandshake(.fallback, .listenerIsTcp, family: 4),
                ],
                findings: [
                    ExpectedFinding(.listenerOutlivesDisable, .error, count: 2),
                    ExpectedFinding(.listenerPredatesEnable, .warning),
                ], Counters(synReceived: 2, ackReceived: 2))),
        seenByFunctions: Sides(
            client: FunctionSight(), server: FunctionSight(refusedSockets: 1, error: ENOPROTOOPT)),
        // nginx calls listen() again with its backlog.
        overcounted: 1)

    private static let nginxCommand = ["nginx", "-c", "$folder/nginx.conf", "-e", "$folder/error"]

    /// A request, and the end of the connection.
    private static func visit(_ number: Int) -> [Act] {
        [
            .ask("client", "socket c\(number) 4"), .ask("client", "connect c\(number) $server4 $port"),
            .ask("client", "request c\(number)"), .ask("client", "receive c\(number) 10"),
            // The client's end first: the other's socket would stay for a while.
            .ask("client", "shut c\(number)"), .ask("client", "drain c\(number)", "ended"),
            .ask("client", "close c\(number)"),
        ]
    }
}
