// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Output that could not be written.
public enum OutputError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Nobody reads the pipe any more: a clean end.
    case closedPipe(path: String)
    case cannotOpen(path: String, errno: Int32)
    case cannotWrite(path: String, errno: Int32)

    /// Whether the run ended as it should.
    public var isCleanEnd: Bool {
        if case .closedPipe = self { true } else { false }
    }

    /// What the program exits with.
    public var exitStatus: Int32 { isCleanEnd ? 0 : 74 }

    public var description: String {
        switch self {
        case .closedPipe(let path):
            "\(path): the reader closed the pipe; the output ends here"
        case .cannotOpen(let path, let errno):
            "cannot open \(path) for the output: \(Errno(rawValue: errno)); \(Self.advice(errno))"
        case .cannotWrite(let path, let errno):
            "cannot write to \(path): \(Errno(rawValue: errno)); "
                + "what was written before is complete up to its last whole line; \(Self.advice(errno))"
        }
    }

    private static func advice(_ errno: Int32) -> String {
        switch Errno(rawValue: errno) {
        case .noSpace: "free some space or write to another file system"
        case .permissionDenied, .notPermitted, .readOnlyFileSystem: "choose a place where you may write"
        case .noSuchFileOrDirectory, .notDirectory: "make the directory first"
        case .isDirectory: "name a file, not a directory"
        case .ioError: "look at the kernel's log for errors of the disk"
        default: "choose another place with -o PATH"
        }
    }
}
