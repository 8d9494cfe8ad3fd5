/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* data.h - data came on a subflow whose place in the connection can't be told: MPTCP is over. */
#ifndef MPSCOPE_HANDLERS_DATA_H
#define MPSCOPE_HANDLERS_DATA_H

#include "follow.h"

/*
 * subflow_check_data_avail() of a packet without a usable mapping. It falls back next, if the
 * connection may; it has already (DUMMY) when an earlier packet or our own side made it.
 */
static __noinline int mps_on_bad_mapping(struct sock *ssk, __u32 status)
{
	struct mptcp_subflow_context *context;
	struct mptcp_sock *msk;
	struct mps_event *e;
	struct mps_ends ends;
	__u8 before = 0, *known;
	__u64 key;

	if (!ssk || !mps_is_mptcp(ssk) || mps_read_ends(&ends, ssk))
		return 0;
	if (!mps_join_wanted(&ends.t))
		return 0;
	context = mps_context(ssk);
	if (!context)
		return 0;
	msk = (struct mptcp_sock *)BPF_CORE_READ(context, conn);
	key = (__u64)msk;
	known = bpf_map_lookup_elem(&fallen, &key);
	if (known && !*known)
		return 0;
	if (status == MPS_MAPPING_DUMMY) {
		/* It fell back in its handshake, without the peer's key: nothing was lost later. */
		if (!known && !BPF_CORE_READ(msk, can_ack))
			return 0;
	} else if (!BPF_CORE_READ(msk, allow_infinite_fallback)) {
		/* Only this subflow ends, with a RST. */
		return 0;
	} else if (status == MPS_MAPPING_BAD_CSUM &&
		   BPF_CORE_READ_BITFIELD_PROBED(context, valid_csum_seen)) {
		/* MP_FAIL first, as there had been a good one; the end of MPTCP shows later. */
		before = status;
	}
	/* Its function comes next, and tells it: this is the cause. */
	if (status != MPS_MAPPING_DUMMY && mps_is_attached(MPS_HOOK_TRY_FALLBACK))
		before = known ? *known : status;
	if (known)
		status = *known;
	any_fallen = 1;
	if (bpf_map_update_elem(&fallen, &key, &before, BPF_ANY))
		mps_count_table_full(MPS_HOOK_DATA_AVAIL);
	if (before)
		return 0;
	e = mps_reserve(sizeof(*e), MPS_FALLBACK, MPS_HOOK_DATA_AVAIL);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = (__u64)ssk;
	mps_fill_context(e, ssk);
	mps_fill_msk(e, msk);
	e->remote_key = 0;
	e->option_flags = status;
	mps_submit(e);
	return 0;
}

static __always_inline int mps_on_data(__u32 status, struct sk_buff *skb)
{
	/* All is well, or there is nothing yet: decided on the argument alone. */
	if (status != MPS_MAPPING_INVALID && status < MPS_MAPPING_DUMMY)
		return 0;
	return skb ? mps_on_bad_mapping(BPF_CORE_READ(skb, sk), status) : 0;
}

static __always_inline int mps_on_data_first(__u32 status, struct sk_buff *skb)
{
	mps_saw(&data, skb);
	return mps_on_data(status, skb);
}

/*
 * Told twice is told once here (`fallen` knows), so the second program handles all of it. Which of
 * it the first was skipped for only the books ask.
 */
static __always_inline int mps_on_data_second(__u32 status, struct sk_buff *skb)
{
	if (!mps_was_seen(&data, skb))
		mps_count_caught(MPS_HOOK_DATA_AVAIL, 1);
	return mps_on_data(status, skb);
}

#endif
