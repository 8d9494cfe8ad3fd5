// SPDX-License-Identifier: Apache-2.0

import Testing

/// The program on this kernel: real hooks, real traffic, whole files. Needs root and says so.
///
/// One after the other: all of them look at the whole machine.
@Suite(.serialized) enum Live {}
