// SPDX-License-Identifier: Apache-2.0

import CEvent
import CLibbpf
import Glibc
import Testing

@testable import BPF
@testable import Probes

/// The layout that the BPF compiler saw, by the object's own BTF, against Swift's.
@Suite struct LayoutTests {
    /// The members of a struct in the object's BTF, with their offsets in bytes, and its size.
    private func members(_ name: String) throws -> (offsets: [String: Int], size: Int) {
        let object = try BPFObject(ProgramObject.mainline.bytes, name: "layout")
        let btf = bpf_object__btf(object.object)
        let id = btf__find_by_name_kind(btf, name, UInt32(BTF_KIND_STRUCT))
        try #require(id > 0, "no struct \(name) in the object's BTF")
        let type = try #require(btf__type_by_id(btf, UInt32(id)))
        var offsets: [String: Int] = [:]
        let first = try #require(btf_members(type))
        for place in 0..<Int(btf_vlen(type)) {
            let member = first[place]
            offsets[String(cString: btf__name_by_offset(btf, member.name_off))] = Int(member.offset) / 8
        }
        withExtendedLifetime(object) {}
        return (offsets, Int(type.pointee.size))
    }

    @Test func event() throws {
        let (offsets, size) = try members("mps_event")
        #expect(size == MemoryLayout<mps_event>.size)
        let swift: [String: Int?] = [
            "version": MemoryLayout<mps_event>.offset(of: \.version),
            "kind": MemoryLayout<mps_event>.offset(of: \.kind),
            "hook": MemoryLayout<mps_event>.offset(of: \.hook),
            "flags": MemoryLayout<mps_event>.offset(of: \.flags),
            "cpu": MemoryLayout<mps_event>.offset(of: \.cpu),
            "time": MemoryLayout<mps_event>.offset(of: \.time),
            "ssk": MemoryLayout<mps_event>.offset(of: \.ssk),
            "msk": MemoryLayout<mps_event>.offset(of: \.msk),
            "listener": MemoryLayout<mps_event>.offset(of: \.listener),
            "cookie": MemoryLayout<mps_event>.offset(of: \.cookie),
            "remote_key": MemoryLayout<mps_event>.offset(of: \.remote_key),
            "local": MemoryLayout<mps_event>.offset(of: \.local),
            "remote": MemoryLayout<mps_event>.offset(of: \.remote),
            "local_port": MemoryLayout<mps_event>.offset(of: \.local_port),
            "remote_port": MemoryLayout<mps_event>.offset(of: \.remote_port),
            "netns": MemoryLayout<mps_event>.offset(of: \.netns),
            "token": MemoryLayout<mps_event>.offset(of: \.token),
            "remote_token": MemoryLayout<mps_event>.offset(of: \.remote_token),
            "error": MemoryLayout<mps_event>.offset(of: \.error),
            "reset_reason": MemoryLayout<mps_event>.offset(of: \.reset_reason),
            "mib": MemoryLayout<mps_event>.offset(of: \.mib),
            "old_state": MemoryLayout<mps_event>.offset(of: \.old_state),
            "new_state": MemoryLayout<mps_event>.offset(of: \.new_state),
            "option": MemoryLayout<mps_event>.offset(of: \.option),
            "mptcp_version": MemoryLayout<mps_event>.offset(of: \.mptcp_version),
            "option_flags": MemoryLayout<mps_event>.offset(of: \.option_flags),
            "retransmits": MemoryLayout<mps_event>.offset(of: \.retransmits),
            "local_id": MemoryLayout<mps_event>.offset(of: \.local_id),
            "remote_id": MemoryLayout<mps_event>.offset(of: \.remote_id),
            "losses": MemoryLayout<mps_event>.offset(of: \.losses),
        ]
        #expect(Set(offsets.keys) == Set(swift.keys))
        for (name, offset) in swift { #expect(offsets[name] == offset, "\(name)") }
    }

    @Test func owner() throws {
        let (offsets, size) = try members("mps_owner")
        #expect(size == MemoryLayout<mps_owner>.size)
        #expect(
            offsets
                == [
                    "pid": MemoryLayout<mps_owner>.offset(of: \.pid),
                    "tid": MemoryLayout<mps_owner>.offset(of: \.tid),
                    "uid": MemoryLayout<mps_owner>.offset(of: \.uid),
                    "inode": MemoryLayout<mps_owner>.offset(of: \.inode),
                    "cgroup": MemoryLayout<mps_owner>.offset(of: \.cgroup),
                    "comm": MemoryLayout<mps_owner>.offset(of: \.comm),
                    "created": MemoryLayout<mps_owner>.offset(of: \.created),
                ].compactMapValues { $0 })
        let owned = try members("mps_owned_event")
        #expect(owned.size == MemoryLayout<mps_owned_event>.size)
        #expect(owned.offsets == ["event": 0, "owner": MemoryLayout<mps_event>.size])
    }

    @Test func counters() throws {
        let (offsets, size) = try members("mps_counter")
        #expect(size == MemoryLayout<mps_counter>.size)
        #expect(offsets["events"] == MemoryLayout<mps_counter>.offset(of: \.events))
        #expect(offsets["lost"] == MemoryLayout<mps_counter>.offset(of: \.lost))
        #expect(offsets["table_full"] == MemoryLayout<mps_counter>.offset(of: \.table_full))
    }

    @Test func configuration() throws {
        let (offsets, size) = try members("mps_config")
        #expect(size == MemoryLayout<mps_config>.size)
        #expect(offsets["netns"] == MemoryLayout<mps_config>.offset(of: \.netns))
        #expect(offsets["steps"] == MemoryLayout<mps_config>.offset(of: \.steps))
        #expect(offsets["address"] == MemoryLayout<mps_config>.offset(of: \.address))
        #expect(offsets["wake_bytes"] == MemoryLayout<mps_config>.offset(of: \.wake_bytes))
    }

    /// Every hook of the header has a name here, and the other way round.
    @Test func hooks() {
        let fromKernel = (0..<UInt8(MPS_HOOK_COUNT.rawValue)).map { Decoder.hook($0) }
        #expect(!fromKernel.contains(nil))
        #expect(Set(fromKernel).count == Int(MPS_HOOK_COUNT.rawValue))
        #expect(Decoder.hook(UInt8(MPS_HOOK_COUNT.rawValue)) == nil)
    }

    @Test func bytesThatAreNoObjectAreRefused() {
        let bytes = [UInt8](repeating: 0x7f, count: 512)
        bytes.withUnsafeBytes { bytes in
            do {
                _ = try BPFObject(bytes, name: "forged")
                Issue.record("opened")
            } catch {
                #expect("\(error)".contains("cannot open the BPF object forged"))
            }
        }
    }
}
