// SPDX-License-Identifier: Apache-2.0

import Handshake
import Output
import TestSupport
import Testing

/// Reads the schema and the lines as strictly as JSON allows, and prints what does not fit.
private let validator = """
    import json, sys
    from jsonschema import Draft202012Validator

    def strict(pairs):
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), f"a key twice: {keys}"
        assert all(value is not None for _, value in pairs), f"null: {pairs}"
        return dict(pairs)

    def refuse(number):
        raise ValueError(f"not an integer: {number}")

    def load(text):
        value = json.loads(text, object_pairs_hook=strict, parse_float=refuse, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value

    schema = json.load(open(sys.argv[1], encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    types = {name["$ref"].rsplit("/", 1)[1] for name in schema["oneOf"]}
    failed = 0
    seen = 0
    want = sys.argv[3]
    for line in open(sys.argv[2], encoding="utf-8", errors="strict", newline="\\n"):
        seen += 1
        record = load(line)
        kind = record.get("type")
        part = dict(schema, **{"$ref": f"#/$defs/{kind}"}) if kind in types else schema
        part.pop("oneOf", None) if kind in types else None
        errors = [error.message for error in Draft202012Validator(part).iter_errors(record)]
        whole = Draft202012Validator(schema).is_valid(record)
        if want == "valid":
            if errors or not whole or record["seq"] != seen:
                failed += 1
                print(line.strip(), errors, file=sys.stderr)
        elif not errors or whole:
            failed += 1
            print("accepted:", line.strip(), file=sys.stderr)
    sys.exit(1 if failed or not seen else 0)
    """

@Suite struct SchemaTests {
    func validate(_ lines: [UInt8], _ want: String = "valid") throws {
        try withDirectory { directory in
            try write(Array(Schema.text.utf8), to: directory + "/schema.json")
            try write(lines, to: directory + "/lines.jsonl")
            let status = try run(
                "/usr/bin/python3",
                ["-c", validator, directory + "/schema.json", directory + "/lines.jsonl", want])
            #expect(status == 0, "python3-jsonschema must be installed, and every line be \(want)")
        }
    }

    @Test func everyRecordIsValid() throws {
        try validate(Samples.json(Samples.all))
    }

    @Test func hostileNamesAreValid() throws {
        try validate(Samples.json(GoldenTests.hostileHandshakes))
    }

    @Test func everyWordIsValid() throws {
        var records: [Record] = []
        for reason in Reason.allCases {
            var record = Samples.served
            record.reason = reason
            records.append(.handshake(record))
        }
        for outcome in Outcome.allCases {
            var record = Samples.served
            record.outcome = outcome
            records.append(.handshake(record))
        }
        for step in Step.allCases {
            records.append(Samples.step(1, step, .skbIngress, from: .none, to: .none))
        }
        for state in SubflowState.allCases {
            records.append(Samples.step(1, .closed, .skbIngress, from: state, to: state))
        }
        for hook in Hook.allCases {
            records.append(Samples.step(1, .closed, hook, option: .other, from: .none, to: .none))
        }
        for reason in LossReason.allCases {
            records.append(.lost(LostRecord(time: 0, hook: .tracker, count: .max, reason: reason)))
        }
        for outcome in JoinOutcome.allCases {
            var record = Samples.join
            record.outcome = outcome
            records.append(.join(record))
        }
        for reason in KernelReason.allCases {
            var record = Samples.lostMptcp
            record.kernelReason = reason
            records.append(.fallback(record))
        }
        for change in AddressChange.allCases {
            records.append(.address(AddressRecord(time: 1, conn: 1, netns: 0, change: change)))
        }
        for kind in AnomalyKind.allCases {
            var record = Samples.anomaly
            record.kind = kind
            records.append(.anomaly(record))
        }
        try validate(Samples.json(records))
    }

    @Test func recordsOfAnyNumbersAreValid() throws {
        var dice = Dice(seed: 7)
        var records: [Record] = []
        for _ in 0..<500 {
            var record = Samples.success
            record.time = dice.next()
            record.conn = max(1, dice.next())
            record.local = Endpoint(dice.address(), UInt16(truncatingIfNeeded: dice.next()))
            record.remote = Endpoint(dice.address(), UInt16(truncatingIfNeeded: dice.next()))
            record.token = UInt32(truncatingIfNeeded: dice.next())
            record.netns = UInt32(truncatingIfNeeded: dice.next())
            record.owner?.comm = Comm(first: dice.next(), second: dice.next())
            record.timings.total = dice.next() & 1 == 0 ? nil : dice.next()
            record.timings.synToSynack = dice.next() & 1 == 0 ? nil : dice.next()
            records.append(.handshake(record))
        }
        try validate(Samples.json(records))
    }

    /// Records of types that other parts write, by hand.
    @Test func otherTypes() throws {
        func line(_ number: Int, _ type: String, _ members: String...) -> String {
            #"{"v":1,"type":"\#(type)","seq":\#(number),"mono_ns":1,"#
                + #""time":"2025-11-22T15:40:00.000000001Z","# + members.joined(separator: ",") + "}"
        }
        let ok = [
            line(
                1, "address", #""conn":1,"change":"received","id":1"#, #""addr":{"addr":"::1","port":0}"#),
            line(2, "address", #""netns":1,"change":"endpoint_added","addr":{"addr":"10.0.0.1"}"#),
            line(
                3, "sysctl", #""name":"net.mptcp.enabled","old":"1","new":"0","pid":1,"comm":"sysctl""#,
                #""uid":0,"netns":4026531840,"source":"bpf","accepted":true,"sampled_at":"socket""#,
                #""affected":{"listeners":[1],"connections":[],"sockets":[]}"#),
        ]
        try validate(Array((ok.joined(separator: "\n") + "\n").utf8))
    }

    @Test func refuses() throws {
        let joined = #""type":"join","conn":1,"seq":1,"subflow":1,"side":"client","outcome":"joined","#
        let summary =
            #""type":"summary","seq":1,"events":0,"delivered":0,"lost_total":0,"handshakes":{},"joins":{},"#
            + #""reasons":{},"anomalies":{},"verify":{"checked":1,"equal":0,"differences":"#
        let bad = [
            #""type":"close","seq":1,"#,  // no conn
            summary + "1},",
            summary + #"[{"netns":1,"counter":"X","kernel":1,"seen":0}]},"#,
            summary + #"[{"netns":1,"field":"state","kernel":"plain","seen":"mptcp"}]},"#,
            summary + #"[],"skipped":{"others":1}},"#,
            #""type":"close","conn":0,"seq":1,"#,
            #""type":"close","conn":1,"seq":0,"#,
            #""type":"close","conn":1,"seq":1,"more":1,"#,
            #""type":"close","conn":1,"seq":1,"duration_us":-1,"#,
            #""type":"close","conn":1,"seq":1,"duration_us":"1","#,
            #""type":"nothing","conn":1,"seq":1,"#,
            #""type":"join","conn":1,"seq":1,"subflow":1,"side":"client","outcome":"mptcp","#,
            joined + #""token":"1A2B3C4D","#,
            joined + #""token":"12345","#,
            joined + #""local":"10.0.0.1","#,
            joined + #""local":{"addr":"10.0.0.1"},"#,
        ]
        let lines = bad.map { #"{"v":1,\#($0)"mono_ns":1,"time":"2025-11-22T15:40:00.000000001Z"}"# }
        try validate(Array((lines.joined(separator: "\n") + "\n").utf8), "refused")
    }
}
