// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Output

/// `mpscope schema`: the JSON Schema of the records.
struct SchemaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema", abstract: "Print the JSON Schema of the records.")

    func run() throws {
        try Print.standardOutput(Schema.text)
    }
}
