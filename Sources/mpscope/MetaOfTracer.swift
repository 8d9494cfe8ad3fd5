// SPDX-License-Identifier: Apache-2.0

import Output
import Probes

// What a tracer says of itself, as the first record has it.
extension MetaRecord.Transport {
    init(_ transport: EventTransport) {
        self =
            switch transport {
            case .ringbuf: .ringbuf
            case .perfbuf: .perfbuf
            }
    }
}

extension HookStatus {
    init(_ report: HookReport) {
        self.init(
            name: report.plan.hook.name,
            attach: report.way.flatMap { Attach(rawValue: $0.attachment.rawValue) },
            status: Status(rawValue: report.status.rawValue) ?? .missing,
            error: report.error.isEmpty ? nil : report.error)
    }
}
