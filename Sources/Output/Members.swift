// SPDX-License-Identifier: Apache-2.0

import Handshake

/// Members of a JSON object. A key brings its comma, quotes and colon; where the value is a
/// string, its opening quote as well.
extension ByteBuffer {
    @inline(__always)
    mutating func member(_ key: StaticString, _ value: some FixedWidthInteger & UnsignedInteger) {
        append(key)
        append(decimal: value)
    }

    @inline(__always)
    mutating func member(
        _ key: StaticString, unlessZero value: some FixedWidthInteger & UnsignedInteger
    ) {
        if value != 0 { member(key, value) }
    }

    @inline(__always)
    mutating func member(_ key: StaticString, _ value: Bool) {
        append(key)
        if value { append("true") } else { append("false") }
    }

    /// A word of ours, which needs no escape.
    @inline(__always)
    mutating func member(_ key: StaticString, word: String) {
        append(key)
        append(word)
        append("\"")
    }

    mutating func member(_ key: StaticString, text: String?) {
        guard let text else { return }
        append(key)
        append(json: text)
        append("\"")
    }

    @inline(__always)
    mutating func member(_ key: StaticString, _ comm: Comm) {
        guard comm[0] != 0 else { return }
        append(key)
        append(json: comm)
        append("\"")
    }

    /// Nothing for 0, which is no token.
    @inline(__always)
    mutating func member(_ key: StaticString, token: UInt32) {
        guard token != 0 else { return }
        append(key)
        append(token: token)
        append("\"")
    }

    /// Nothing for an unspecified address with port 0, which is no end of anything.
    @inline(__always)
    mutating func member(_ key: StaticString, _ endpoint: Endpoint) {
        if endpoint.port == 0 && endpoint.address.isUnspecified { return }
        append(key)
        append(address: endpoint.address)
        append("\",\"port\":")
        append(decimal: endpoint.port)
        append("}")
    }

    @inline(__always)
    mutating func member(timings: Timings) {
        var isFirst = true
        if let time = timings.synToSynack {
            member(",\"timings_us\":{\"syn_to_synack\":", time / 1000)
            isFirst = false
        }
        if let time = timings.synackToEstablished {
            append(isFirst ? ",\"timings_us\":{" : ",")
            member("\"synack_to_established\":", time / 1000)
            isFirst = false
        }
        if let time = timings.total {
            append(isFirst ? ",\"timings_us\":{" : ",")
            member("\"total\":", time / 1000)
            isFirst = false
        }
        if !isFirst { append("}") }
    }

    mutating func member(_ key: StaticString, counts: [WordCount]) {
        append(key)
        for (place, item) in counts.enumerated() {
            append(place == 0 ? "\"" : ",\"")
            append(json: item.word)
            append("\":")
            append(decimal: item.count)
        }
        append("}")
    }
}
