/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* fallback.h - the kernel gives MPTCP up for a connection, and says which of its counters that is. */
#ifndef MPSCOPE_HANDLERS_FALLBACK_H
#define MPSCOPE_HANDLERS_FALLBACK_H

#include "follow.h"

#define MPS_IS_MIB(mib, name)                                                                  \
	(bpf_core_enum_value_exists(enum linux_mptcp_mib_field, name) &&                        \
	 (mib) == bpf_core_enum_value(enum linux_mptcp_mib_field, name))

/* The running kernel's number of a counter, as ours. */
static __always_inline __u8 mps_fallback_mib(__u64 mib)
{
	return MPS_IS_MIB(mib, MPTCP_MIB_MPCAPABLEACTIVEFALLBACK) ? MPS_MIB_FALLBACK_SYNACK :
	       MPS_IS_MIB(mib, MPTCP_MIB_MPCAPABLEACTIVEDROP)	  ? MPS_MIB_SYNTX_DROP :
	       MPS_IS_MIB(mib, MPTCP_MIB_MPCAPABLEACTIVEDISABLED) ? MPS_MIB_SYNTX_DISABLED :
	       MPS_IS_MIB(mib, MPTCP_MIB_TOKENFALLBACKINIT)	  ? MPS_MIB_TOKEN_INIT :
	       MPS_IS_MIB(mib, MPTCP_MIB_MD5SIGFALLBACK)	  ? MPS_MIB_MD5SIG_FALLBACK :
	       MPS_IS_MIB(mib, MPTCP_MIB_MPCAPABLEDATAFALLBACK)	  ? MPS_MIB_DATA_FALLBACK :
	       MPS_IS_MIB(mib, MPTCP_MIB_DSSFALLBACK)		  ? MPS_MIB_DSS_FALLBACK :
	       MPS_IS_MIB(mib, MPTCP_MIB_DSSCORRUPTIONFALLBACK)	  ? MPS_MIB_DSS_CORRUPTION :
	       MPS_IS_MIB(mib, MPTCP_MIB_SIMULTCONNFALLBACK)	  ? MPS_MIB_SIMULT_CONNECT :
	       MPS_IS_MIB(mib, MPTCP_MIB_INFINITEMAPTX)		  ? MPS_MIB_INFINITE_MAP_TX :
								    MPS_MIB_OTHER_FALLBACK;
}

/* A connection that was MPTCP is no more. */
static __noinline int mps_tell_fallback(struct mptcp_sock *msk, __u32 mib)
{
	struct sock *ssk = BPF_CORE_READ(msk, first);
	__u8 *known, told = 0, cause = 0;
	__u64 key = (__u64)msk;
	struct mps_event *e;
	struct mps_ends ends;

	if (!ssk || mps_read_ends(&ends, ssk) || !mps_join_wanted(&ends.t))
		return 0;
	known = bpf_map_lookup_elem(&fallen, &key);
	if (known)
		cause = *known;
	any_fallen = 1;
	if (bpf_map_update_elem(&fallen, &key, &told, BPF_ANY))
		mps_count_table_full(MPS_HOOK_TRY_FALLBACK);
	e = mps_reserve(sizeof(*e), MPS_FALLBACK, MPS_HOOK_TRY_FALLBACK);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = (__u64)ssk;
	mps_fill_context(e, ssk);
	mps_fill_msk(e, msk);
	e->remote_key = 0;
	e->option_flags = cause;
	e->mib = mib;
	mps_submit(e);
	return 0;
}

/*
 * __mptcp_try_fallback() begins. In a handshake it only keeps the reason: the verdict, which
 * comes next, tells it.
 */
static __always_inline int mps_on_try_fallback(struct mptcp_sock *msk, int number)
{
	__u8 mib = mps_fallback_mib(number), state;
	__u64 key = (__u64)msk;

	/* Already, or it may not: data out of order forbid it (6.18, and stable kernels since). */
	if (mps_fell_back(BPF_CORE_READ(msk, flags)) || !BPF_CORE_READ(msk, allow_infinite_fallback) ||
	    BPF_CORE_READ(msk, out_of_order_queue.rb_node))
		return 0;
	state = BPF_CORE_READ(msk, sk.icsk_inet.sk.__sk_common.skc_state);
	if (state != TCP_CLOSE && state != TCP_SYN_SENT)
		return mps_tell_fallback(msk, mib);
	any_why = 1;
	if (bpf_map_update_elem(&why, &key, &mib, BPF_ANY))
		mps_count_table_full(MPS_HOOK_TRY_FALLBACK);
	return 0;
}

#endif
