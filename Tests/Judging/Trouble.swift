// SPDX-License-Identifier: Apache-2.0

/// What a test cannot go on after.
package struct Trouble: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
