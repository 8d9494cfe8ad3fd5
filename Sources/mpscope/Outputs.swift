// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handshake
import Kernel
import Output

/// Records as JSON Lines, to one place.
private struct JSONOutput: ~Copyable {
    var sink: Sink
    var writer: RecordWriter

    mutating func write(_ record: Record) throws(OutputError) {
        writer.write(record, to: &sink.buffer)
        try sink.flushIfFull()
    }

    mutating func write(_ meta: MetaRecord) { writer.write(meta, to: &sink.buffer) }
    mutating func write(_ summary: SummaryRecord) { writer.write(summary, to: &sink.buffer) }
    mutating func flush() throws(OutputError) { try sink.flush() }
}

/// Records as text for people, to the terminal.
private struct TextOutput: ~Copyable {
    var sink: Sink
    var writer: TextWriter

    mutating func write(_ record: Record) throws(OutputError) {
        writer.write(record, to: &sink.buffer)
        try sink.flushIfFull()
    }

    mutating func write(_ meta: MetaRecord) { writer.write(meta, to: &sink.buffer) }
    mutating func write(_ summary: SummaryRecord) { writer.write(summary, to: &sink.buffer) }
    mutating func flush() throws(OutputError) { try sink.flush() }
}

/// Where the records of a trace go: JSON Lines, text for people, or both.
struct Outputs: ~Copyable {
    private var json: JSONOutput?
    private var text: TextOutput?
    private(set) var tally = Tally()

    init(
        _ options: LiveOptions, realtimeOffset: Int64, names: @escaping (UInt64) -> CgroupName?
    ) throws(OutputError) {
        let sockets = socketUnitLookup()
        let toFile = options.output.map { $0 != "-" } ?? false
        usesStandardOutput = !toFile || options.format != .json
        if options.format == .json || options.output != nil {
            json = JSONOutput(
                sink: try Sink.open(path: options.output ?? "-"),
                writer: RecordWriter(
                    realtimeOffset: realtimeOffset, names: names, sockets: sockets))
        }
        if options.format != .json, toFile || options.output == nil {
            let terminal = Terminal.standardOutput
            text = TextOutput(
                sink: .standardOutput(),
                writer: TextWriter(
                    width: terminal.width, colour: terminal.wantsColour, steps: options.steps,
                    realtimeOffset: realtimeOffset, names: names, sockets: sockets))
        }
    }

    /// Whether anything goes to standard output.
    let usesStandardOutput: Bool

    mutating func begin(_ meta: MetaRecord) throws(OutputError) {
        json?.write(meta)
        text?.write(meta)
        try flush()
    }

    /// A line for people, where there is text at all.
    mutating func say(_ line: String) throws(OutputError) {
        text?.sink.buffer.append(line)
        try flush()
    }

    mutating func write(_ record: Record) throws(OutputError) {
        tally.take(record)
        try json?.write(record)
        try text?.write(record)
    }

    mutating func end(_ summary: SummaryRecord) throws(OutputError) {
        json?.write(summary)
        text?.write(summary)
        try flush()
    }

    mutating func flush() throws(OutputError) {
        try json?.flush()
        try text?.flush()
    }
}
