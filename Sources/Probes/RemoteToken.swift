// SPDX-License-Identifier: Apache-2.0

import CNettle

/// The token that belongs to a key: the first 32 bits of its SHA-256 (RFC 8684, section 3.2;
/// mptcp_crypto_key_sha()).
///
/// - Parameter key: as the kernel keeps it, in host byte order; it goes no further than here.
func token(ofKey key: UInt64) -> UInt32 {
    var context = sha256_ctx()
    nettle_sha256_init(&context)
    var bytes = key.bigEndian
    withUnsafeBytes(of: &bytes) { key in
        nettle_sha256_update(&context, key.count, key.bindMemory(to: UInt8.self).baseAddress)
    }
    var digest: UInt32 = 0
    withUnsafeMutableBytes(of: &digest) { digest in
        nettle_sha256_digest(&context, digest.count, digest.bindMemory(to: UInt8.self).baseAddress)
    }
    return UInt32(bigEndian: digest)
}
