// SPDX-License-Identifier: Apache-2.0

import Handshake

/// The JSON Schema (draft 2020-12) of one line, for every type of record. Lists of words are
/// taken from where the words are defined.
public enum Schema {
    /// The whole schema, with a newline at its end.
    public static let text: String = """
        {
          "$schema": "https://json-schema.org/draft/2020-12/schema",
          "$id": "urn:mpscope:records:1",
          "title": "mpscope records, version 1",
          "description": "One line of a trace. Unknown values are absent.",
          "oneOf": [
            \(types.map { "{\"$ref\": \"#/$defs/\($0.name)\"}" }.joined(separator: ",\n    "))
          ],
          "$defs": {
            \(words),
            \(types.map(definition).joined(separator: ",\n    "))
          }
        }

        """

    // MARK: types

    private struct RecordType {
        var name: String
        var description: String
        /// Members beyond those every record has, as the inside of a JSON object.
        var members: String
        var required: [String]
    }

    private static func definition(_ type: RecordType) -> String {
        let required = (["v", "type", "seq", "mono_ns", "time"] + type.required).map { "\"\($0)\"" }
        return """
            "\(type.name)": {
                  "description": "\(type.description)",
                  "type": "object",
                  "additionalProperties": false,
                  "required": [\(required.joined(separator: ", "))],
                  "properties": {
                    "v": {"const": 1},
                    "type": {"const": "\(type.name)"},
                    "seq": {"$ref": "#/$defs/id"},
                    "mono_ns": {"$ref": "#/$defs/count"},
                    "time": {"$ref": "#/$defs/time"},
                    \(type.members)
                  }
                }
            """
    }

    private static func list(_ words: [String]) -> String {
        "{\"enum\": [" + words.map { "\"\($0)\"" }.joined(separator: ", ") + "]}"
    }

    private static func list<Word: CaseIterable & RawRepresentable>(_: Word.Type) -> String
    where Word.RawValue == String {
        list(Word.allCases.map(\.rawValue))
    }

    private static let words = """
        "count": {"type": "integer", "minimum": 0},
            "id": {"type": "integer", "minimum": 1},
            "u8": {"type": "integer", "minimum": 0, "maximum": 255},
            "u16": {"type": "integer", "minimum": 0, "maximum": 65535},
            "u32": {"type": "integer", "minimum": 0, "maximum": 4294967295},
            "pid": {"type": "integer", "minimum": 1, "maximum": 4294967295},
            "netns": {"type": "integer", "minimum": 1, "maximum": 4294967295},
            "text": {"type": "string"},
            "word": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
            "time": {
              "type": "string",
              "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\\\.[0-9]{9}Z$"
            },
            "token": {"type": "string", "pattern": "^[0-9a-f]{8}$"},
            "ip": {"type": "string", "pattern": "^([0-9]{1,3}(\\\\.[0-9]{1,3}){3}|[0-9a-f:]*:[0-9a-f:.]*)$"},
            "endpoint": {
              "type": "object",
              "additionalProperties": false,
              "required": ["addr", "port"],
              "properties": {"addr": {"$ref": "#/$defs/ip"}, "port": {"$ref": "#/$defs/u16"}}
            },
            "ip_and_port": {
              "type": "object",
              "additionalProperties": false,
              "required": ["addr"],
              "properties": {"addr": {"$ref": "#/$defs/ip"}, "port": {"$ref": "#/$defs/u16"}}
            },
            "family": {"enum": [4, 6]},
            "side": \(list(Side.self)),
            "kernel_reason": {"type": "string", "pattern": "^[A-Za-z0-9]+$"},
            "reason": \(list(Reason.self)),
            "state": \(list(SubflowState.allCases.map(\.name))),
            "timings": {
              "type": "object",
              "additionalProperties": false,
              "minProperties": 1,
              "properties": {
                "syn_to_synack": {"$ref": "#/$defs/count"},
                "synack_to_established": {"$ref": "#/$defs/count"},
                "total": {"$ref": "#/$defs/count"}
              }
            },
            "counts": {
              "type": "object",
              "propertyNames": {"$ref": "#/$defs/word"},
              "additionalProperties": {"$ref": "#/$defs/count"}
            },
            "ids": {"type": "array", "items": {"$ref": "#/$defs/id"}},
            "affected": {
              "type": "object",
              "additionalProperties": false,
              "properties": {
                "listeners": {"$ref": "#/$defs/ids"},
                "connections": {"$ref": "#/$defs/ids"},
                "sockets": {"$ref": "#/$defs/ids"},
                "listeners_total": {"$ref": "#/$defs/count"},
                "connections_total": {"$ref": "#/$defs/count"},
                "sockets_total": {"$ref": "#/$defs/count"}
              }
            }
        """

    /// `"name": {"$ref": …}` for each, in one line.
    private static func refs(_ members: KeyValuePairs<String, String>) -> String {
        members.map { "\"\($0.key)\": {\"$ref\": \"#/$defs/\($0.value)\"}" }
            .joined(separator: ",\n        ")
    }

    private static func type(
        _ name: String, _ description: String, required: [String],
        _ members: KeyValuePairs<String, String>, _ more: String...
    ) -> RecordType {
        let all = (members.isEmpty ? [] : [refs(members)]) + more
        return RecordType(
            name: name, description: description, members: all.joined(separator: ",\n        "),
            required: required)
    }

    private static let options: [PacketOption] = [.absent, .mpCapable, .mpJoin, .dss, .other]

    private static let types: [RecordType] = [
        type(
            "meta", "First line of a file: what made it, on what.", required: ["tool"],
            [
                "tool": "text", "host": "text", "boot_id": "text", "kernel": "text", "arch": "text",
                "backend": "text",
            ],
            "\"stack\": \(list(MetaRecord.Stack.self))",
            "\"transport\": \(list(MetaRecord.Transport.self))",
            """
            "hooks": {
                      "type": "array",
                      "items": {
                        "type": "object",
                        "additionalProperties": false,
                        "required": ["name", "status"],
                        "properties": {
                          "name": {"type": "string"},
                          "attach": \(list(HookStatus.Attach.self)),
                          "status": \(list(HookStatus.Status.self)),
                          "error": {"type": "string"}
                        }
                      }
                    }
            """),
        type(
            "step", "One observation, and every other input of the state machine.",
            required: ["step", "hook"],
            [
                "hook": "text", "side": "side", "conn": "id", "subflow": "count", "local": "endpoint",
                "remote": "endpoint", "family": "family", "pid": "pid", "tid": "pid", "comm": "text",
                "uid": "u32", "cgroup": "text", "unit": "text", "netns": "netns", "cpu": "count",
                "token": "token", "remote_token": "token", "listener": "id", "local_id": "u8",
                "remote_id": "u8", "reset_reason": "u8", "from": "state", "to": "state",
            ],
            "\"step\": \(list(Step.allCases.map(\.name)))",
            "\"error\": {\"type\": \"integer\", \"minimum\": 1}",
            "\"option\": \(list(options.compactMap(\.name)))",
            "\"backup\": {\"type\": \"boolean\"}"),
        type(
            "handshake", "One connection, once decided.", required: ["conn", "side", "outcome"],
            [
                "conn": "id", "side": "side", "reason": "reason", "kernel_reason": "kernel_reason",
                "advice": "text", "local": "endpoint", "remote": "endpoint", "family": "family",
                "pid": "pid", "comm": "text", "uid": "u32", "cgroup": "text", "unit": "text",
                "netns": "netns", "listener": "id", "token": "token", "remote_token": "token",
                "mptcp_version": "u8", "timings_us": "timings", "syn_retransmits": "count",
            ],
            "\"outcome\": \(list(Outcome.self))",
            "\"pid_source\": \(list(OwnerSource.self))",
            "\"checksum\": {\"type\": \"boolean\"}"),
        type(
            "join", "One additional subflow, once decided.", required: ["side", "outcome"],
            [
                "conn": "id", "subflow": "count", "side": "side", "reason": "reason",
                "kernel_reason": "kernel_reason", "advice": "text", "local": "endpoint",
                "remote": "endpoint", "family": "family", "local_id": "u8", "remote_id": "u8",
                "pid": "pid", "comm": "text", "uid": "u32", "cgroup": "text", "unit": "text",
                "netns": "netns", "token": "token", "timings_us": "timings",
            ],
            "\"outcome\": \(list(JoinOutcome.self))",
            "\"pid_source\": \(list(OwnerSource.self))",
            "\"backup\": {\"type\": \"boolean\"}"),
        type(
            "fallback", "A connection that lost MPTCP after its handshake.", required: ["conn"],
            [
                "conn": "id", "reason": "reason", "kernel_reason": "kernel_reason", "advice": "text",
                "side": "side", "local": "endpoint", "remote": "endpoint", "netns": "netns",
            ]),
        type(
            "address", "ADD_ADDR, RM_ADDR, a change of endpoints or of limits.", required: ["change"],
            [
                "conn": "id", "netns": "netns", "addr": "ip_and_port", "id": "u8", "old": "text",
                "new": "text", "affected": "affected",
            ],
            "\"change\": \(list(AddressChange.self))",
            "\"source\": \(list(ChangeSource.self))",
            "\"sampled_at\": \(list(SampledAt.self))"),
        type(
            "connection", "A connection that was open when the trace began, or is (status).",
            required: ["conn", "state"],
            [
                "conn": "id", "side": "side", "local": "endpoint", "remote": "endpoint",
                "token": "token", "pid": "pid", "comm": "text", "uid": "u32", "unit": "text",
                "netns": "netns", "listener": "id", "subflows": "count", "tcp_state": "word",
            ],
            "\"checksum\": {\"type\": \"boolean\"}",
            "\"remote_key\": {\"type\": \"boolean\"}",
            "\"enabled_at_creation\": {\"type\": \"boolean\"}",
            "\"enabled_now\": {\"type\": \"boolean\"}",
            "\"state\": \(list(StatusConnection.State.self))"),
        type(
            "subflow", "One subflow of an open connection (status).",
            required: ["conn", "subflow", "local", "remote", "tcp_state"],
            [
                "conn": "id", "subflow": "count", "local": "endpoint", "remote": "endpoint",
                "local_id": "u8", "remote_id": "u8", "token": "token", "remote_token": "token",
                "netns": "netns", "tcp_state": "word",
            ],
            "\"backup\": {\"type\": \"boolean\"}",
            "\"flags\": {\"type\": \"string\", \"pattern\": \"^[MmJjBbecv]*$\"}"),
        type(
            "namespace", "A network namespace and how MPTCP is set there (status).",
            required: ["netns", "own", "settings", "other_tcp"],
            ["netns": "netns", "name": "text", "other_tcp": "count"],
            "\"own\": {\"type\": \"boolean\"}",
            "\"enabled\": {\"type\": \"boolean\"}",
            """
            "settings": {
                      "type": "object",
                      "propertyNames": {"pattern": "^net\\\\.mptcp\\\\."},
                      "additionalProperties": {"$ref": "#/$defs/text"}
                    }
            """),
        type(
            "hidden", "Something that could not be seen (status).", required: ["what", "message"],
            ["count": "count", "message": "text"], "\"what\": \(list(StatusHidden.Kind.self))"),
        type(
            "close", "A connection that ended.", required: ["conn"],
            ["conn": "id", "duration_us": "count", "subflows": "count"]),
        type(
            "listener", "A listening socket, at the start and as they open and close.",
            required: ["listener", "state", "origin"],
            [
                "listener": "id", "local": "endpoint", "pid": "pid", "comm": "text", "unit": "text",
                "netns": "netns",
            ],
            "\"state\": \(list(ListenerState.self))",
            "\"protocol\": \(list([TransportProtocol.mptcp, .tcp].map(\.rawValue)))",
            "\"enabled_at_creation\": {\"type\": \"boolean\"}",
            "\"enabled_now\": {\"type\": \"boolean\"}",
            "\"origin\": \(list(ListenerOrigin.self))"),
        type(
            "sysctl", "A write to a net.mptcp setting.", required: ["name", "source"],
            [
                "old": "text", "new": "text", "pid": "pid", "comm": "text", "uid": "u32",
                "netns": "netns",
            ],
            "\"name\": {\"type\": \"string\", \"pattern\": \"^net\\\\.mptcp\\\\.\"}",
            "\"source\": \(list(["bpf", "poll"]))",
            "\"accepted\": {\"type\": \"boolean\"}",
            "\"sampled_at\": \(list(["socket", "handshake", "use"]))",
            "\"affected\": {\"$ref\": \"#/$defs/affected\"}"),
        type(
            "anomaly", "A finding, and again when it grows or ends.",
            required: ["id", "kind", "state", "count", "severity", "message"],
            [
                "id": "id", "count": "id", "message": "text", "advice": "text", "netns": "netns",
                "listener": "id", "conn": "id", "evidence": "ids",
            ],
            "\"kind\": \(list(AnomalyKind.self))",
            "\"state\": \(list(AnomalyState.self))",
            "\"severity\": \(list(Severity.self))",
            "\"sysctl\": {\"type\": \"string\", \"pattern\": \"^net\\\\.mptcp\\\\.\"}"),
        type(
            "lost", "A gap in what was seen, where it happened in the stream.",
            required: ["hook", "count", "reason"],
            ["hook": "text", "count": "id", "reason": "word"]),
        type(
            "summary", "Last line of a file.",
            required: [
                "events", "delivered", "lost_total", "handshakes", "joins", "reasons", "anomalies",
            ],
            [
                "events": "count", "delivered": "count", "lost_total": "count",
                "handshakes": "counts", "joins": "counts", "reasons": "counts", "anomalies": "counts",
            ],
            """
            "latency_us": {
                      "type": "object",
                      "additionalProperties": false,
                      "required": ["p50", "p90", "p99", "max"],
                      "properties": {
                        \(refs(["p50": "count", "p90": "count", "p99": "count", "max": "count"]))
                      }
                    }
            """,
            """
            "verify": {
                      "type": "object",
                      "additionalProperties": false,
                      "required": ["checked", "equal", "differences"],
                      "properties": {
                        \(refs(["checked": "count", "equal": "count", "within_bounds": "id", "lost": "id"])),
                        "skipped": {
                          "type": "object",
                          "propertyNames": \(list(VerifySkip.self)),
                          "additionalProperties": {"$ref": "#/$defs/id"},
                          "minProperties": 1
                        },
                        "differences": {
                          "type": "array",
                          "maxItems": \(VerifyResult.limit),
                          "items": {"anyOf": [\(counterDifference), \(connectionDifference)]}
                        }
                      }
                    }
            """),
    ]

    private static let counterDifference = """
        {
                            "type": "object",
                            "additionalProperties": false,
                            "required": ["netns", "counter", "kernel", "seen", "unexplained"],
                            "properties": {
                              \(refs(["netns": "netns", "counter": "kernel_reason", "kernel": "count", "unexplained": "id"])),
                              "seen": {"type": "integer"}
                            }
                          }
        """

    private static let connectionDifference = """
        {
                            "type": "object",
                            "additionalProperties": false,
                            "required": ["netns", "field", "kernel", "seen"],
                            "properties": {
                              \(refs(["netns": "netns", "conn": "id", "token": "token", "local": "endpoint", "remote": "endpoint"])),
                              "field": {"enum": ["state"]},
                              "kernel": {"enum": ["mptcp", "fallback", "none"]},
                              "seen": {"enum": ["mptcp", "fallback", "none"]}
                            }
                          }
        """
}
