// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The names of the errors a connect() ends with: `ENETUNREACH`; `errno 999` for any other.
func errorName(_ error: UInt32) -> String {
    switch Int32(truncatingIfNeeded: error) {
    case EACCES: "EACCES"
    case EADDRINUSE: "EADDRINUSE"
    case EADDRNOTAVAIL: "EADDRNOTAVAIL"
    case EAFNOSUPPORT: "EAFNOSUPPORT"
    case EBADF: "EBADF"
    case ECONNABORTED: "ECONNABORTED"
    case ECONNREFUSED: "ECONNREFUSED"
    case ECONNRESET: "ECONNRESET"
    case EHOSTDOWN: "EHOSTDOWN"
    case EHOSTUNREACH: "EHOSTUNREACH"
    case EINTR: "EINTR"
    case EINVAL: "EINVAL"
    case ENETDOWN: "ENETDOWN"
    case ENETUNREACH: "ENETUNREACH"
    case ENOBUFS: "ENOBUFS"
    case ENOMEM: "ENOMEM"
    case ENOPROTOOPT: "ENOPROTOOPT"
    case EPERM: "EPERM"
    case EPIPE: "EPIPE"
    case EPROTONOSUPPORT: "EPROTONOSUPPORT"
    case ETIMEDOUT: "ETIMEDOUT"
    default: "errno \(error)"
    }
}
