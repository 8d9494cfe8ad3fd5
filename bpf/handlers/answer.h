/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* answer.h - what a client makes of the SYN-ACK, or of its absence, as its functions tell. */
#ifndef MPSCOPE_HANDLERS_ANSWER_H
#define MPSCOPE_HANDLERS_ANSWER_H

#include "follow.h"
#include "skb.h"

/*
 * subflow_finish_connect(): the counterpart of mptcp_rcv_synsent_state_process(). It is called
 * for later packets too: the SYN-ACK is the one for which ctx->conn_finished is not set yet.
 */
static __noinline int mps_on_synack(struct sock *ssk, struct sk_buff *skb)
{
	struct mptcp_subflow_context *context = mps_context(ssk);
	struct mps_packet p = {};
	__u64 key = (__u64)ssk;

	if (!context || BPF_CORE_READ_BITFIELD_PROBED(context, conn_finished) || mps_packet_of_skb(&p, skb))
		return 0;
	p.t.netns = BPF_CORE_READ(ssk, __sk_common.skc_net.net, ns.inum);
	if (mps_is_joining(key) ? !mps_join_wanted(&p.t) : !mps_wanted(&p.t, MPS_SIDE_CLIENT))
		return 0;
	mps_tell_packet(&p, ssk, mps_read_cookie(ssk), MPS_SYNACK_IN, MPS_HOOK_FINISH_CONNECT, 1, 0);
	return 0;
}

/* An observation of a subflow of ours that adds to what the packets told. */
static __noinline int mps_tell_subflow(struct sock *ssk, __u32 kind, __u32 hook)
{
	struct mps_event *e;
	struct mps_ends ends;

	if (mps_read_ends(&ends, ssk) || !mps_join_wanted(&ends.t))
		return 0;
	e = mps_reserve(sizeof(*e), kind, hook);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = (__u64)ssk;
	e->old_state = ends.state;
	e->new_state = ends.state;
	mps_fill_context(e, ssk);
	e->remote_key = 0;
	mps_submit(e);
	return 0;
}

/*
 * mptcp_active_detect_blackhole() returned: after too many timeouts the SYN asks no more. It is
 * called for every timeout of every state, and mpc_drop stays.
 */
static __always_inline int mps_on_detect_blackhole(struct sock *ssk)
{
	struct mptcp_subflow_context *context = mps_is_mptcp(ssk) ? mps_context(ssk) : 0;

	if (BPF_CORE_READ(ssk, __sk_common.skc_state) != TCP_SYN_SENT)
		return 0;
	if (!context || !bpf_core_field_exists(context->mpc_drop) ||
	    !BPF_CORE_READ_BITFIELD_PROBED(context, mpc_drop))
		return 0;
	return mps_tell_subflow(ssk, MPS_SYN_GIVES_UP, MPS_HOOK_DETECT_BLACKHOLE);
}

/* mptcp_active_disable(): the blackhole state begins, or lasts longer. */
static __always_inline int mps_on_active_disable(struct sock *msk)
{
	struct sock *ssk = BPF_CORE_READ((struct mptcp_sock *)msk, first);

	return ssk ? mps_tell_subflow(ssk, MPS_BLACKHOLE, MPS_HOOK_ACTIVE_DISABLE) : 0;
}

#endif
