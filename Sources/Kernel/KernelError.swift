// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// Something that was asked of the kernel and not done.
public struct KernelError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was attempted, after "cannot": `enter the network namespace`.
    public var action: String
    /// On what: a path, a name, a number.
    public var subject: String
    /// The kernel's own answer; nil when the kernel was not the one to object.
    public var code: Errno?
    /// Why, in words, when the code alone does not say it.
    public var cause: String?
    /// What a person can do about it.
    public var remedy: String?

    public init(
        _ action: String, _ subject: String, code: Errno? = nil, cause: String? = nil, remedy: String? = nil
    ) {
        self.action = action
        self.subject = subject
        self.code = code
        self.cause = cause
        self.remedy = remedy
    }

    /// `cannot ACTION SUBJECT: CODE (CAUSE); REMEDY`, without what is absent.
    public var description: String {
        var text = "cannot \(action)"
        if !subject.isEmpty { text += " \(subject)" }
        switch (code, cause) {
        case (let code?, let cause?): text += ": \(code) (\(cause))"
        case (let code?, nil): text += ": \(code)"
        case (nil, let cause?): text += ": \(cause)"
        case (nil, nil): break
        }
        if let remedy { text += "; \(remedy)" }
        return text
    }

    /// The same with what `errno` says now: call it before anything else can change it.
    static func last(
        _ action: String, _ subject: String, cause: String? = nil, remedy: String? = nil
    ) -> KernelError {
        KernelError(action, subject, code: Errno.current, cause: cause, remedy: remedy)
    }
}

extension Errno {
    /// What the last failed call of this thread left.
    static var current: Errno { Errno(rawValue: errno) }

    /// ESRCH, ENOENT: the process or file went away, which in /proc is no error.
    var isGone: Bool { self == .noSuchProcess || self == .noSuchFileOrDirectory }
}
