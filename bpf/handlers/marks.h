/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * marks.h - which of the kernel's own counters rose between two of its steps on one CPU: that is
 * how it tells why it refused or did not ask, where no function can be hooked.
 */
#ifndef MPSCOPE_HANDLERS_MARKS_H
#define MPSCOPE_HANDLERS_MARKS_H

#include "socket.h"

struct mps_marks {
	__u64 offset; /* mps_this_cpu_offset(), found once */
	__u64 whose; /* a socket, or MPS_MARK_SOFTIRQ; 0: nothing is marked */
	__u64 then[MPS_MIBS];
	__u64 now[MPS_MIBS];
};

/* What a softirq handles, it handles without a pause: no more is needed to know whose it is. */
#define MPS_MARK_SOFTIRQ 1

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_marks);
} marks SEC(".maps");

static __always_inline struct mps_marks *mps_marks_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&marks, &zero);
}

/* Keeps this CPU's counters of the namespace of `sk`. */
static __noinline int mps_mark(struct sock *sk, __u64 whose)
{
	struct mps_marks *m = mps_marks_here();

	if (!m || !config.per_cpu_distance)
		return 0;
	if (!m->offset)
		m->offset = mps_this_cpu_offset((__s32)config.per_cpu_distance);
	m->whose = mps_copy_mibs(m->then, BPF_CORE_READ(sk, __sk_common.skc_net.net), m->offset) ? whose : 0;
	return 0;
}

static __always_inline _Bool mps_rose(const struct mps_marks *m, __u64 place)
{
	return place < MPS_MIBS && m->then[place] != m->now[place];
}

/* The counter that rose since mps_mark(sk, whose) on this CPU: enum mps_mib. */
static __noinline int mps_marked(struct sock *sk, __u64 whose)
{
	struct mps_marks *m = mps_marks_here();

	if (!m || m->whose != whose)
		return MPS_MIB_NONE;
	m->whose = 0;
	if (!mps_copy_mibs(m->now, BPF_CORE_READ(sk, __sk_common.skc_net.net), m->offset))
		return MPS_MIB_NONE;
	if (mps_rose(m, MPS_MIB_PLACE(MPTCP_MIB_MPCAPABLEACTIVEDISABLED)))
		return MPS_MIB_SYNTX_DISABLED;
	if (mps_rose(m, MPS_MIB_PLACE(MPTCP_MIB_MD5SIGFALLBACK)))
		return MPS_MIB_MD5SIG_FALLBACK;
	if (mps_rose(m, MPS_MIB_PLACE(MPTCP_MIB_TOKENFALLBACKINIT)))
		return MPS_MIB_TOKEN_INIT;
	if (mps_rose(m, MPS_MIB_PLACE(MPTCP_MIB_JOINNOTOKEN)))
		return MPS_MIB_JOIN_NO_TOKEN;
	if (mps_rose(m, MPS_MIB_PLACE(MPTCP_MIB_JOINREJECTED)))
		return MPS_MIB_JOIN_REJECTED;
	if (mps_rose(m, MPS_MIB_PLACE(MPTCP_MIB_JOINACKMAC)))
		return MPS_MIB_JOIN_ACK_HMAC;
	if (mps_rose(m, MPS_MIB_PLACE(MPTCP_MIB_JOINSYNACKMAC)))
		return MPS_MIB_JOIN_SYNACK_HMAC;
	if (mps_rose(m, MPS_MIB_PLACE(MPTCP_MIB_MISMATCHPORTSYNRX)))
		return MPS_MIB_MISMATCH_PORT_SYN;
	if (mps_rose(m, MPS_MIB_PLACE(MPTCP_MIB_MISMATCHPORTACKRX)))
		return MPS_MIB_MISMATCH_PORT_ACK;
	return MPS_MIB_NONE;
}

#endif
