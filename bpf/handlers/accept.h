/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* accept.h - a listener's child becomes a connection. */
#ifndef MPSCOPE_HANDLERS_ACCEPT_H
#define MPSCOPE_HANDLERS_ACCEPT_H

#include "follow.h"

/* LISTEN -> SYN_RECV: a child was cloned and still looks like its listener. */
static __noinline int mps_on_child_cloned(struct sock *child)
{
	void *context = mps_context(child);
	struct mps_cloned *here = mps_cloned_here();

	if (!context)
		return 0;
	here->child = (__u64)child;
	here->listener = (__u64)BPF_CORE_READ((struct mptcp_subflow_context *)context, tcp_sock);
	/* It may be refused yet: subflow_syn_recv_sock() counts why, and answers with a RST. */
	if (any_join_received)
		mps_mark(child, MPS_MARK_SOFTIRQ);
	return 0;
}

/* msk LISTEN -> ESTABLISHED: mptcp_sk_clone_init(), between the child's two changes. */
static __noinline int mps_on_msk_accepted(struct sock *sk, __u32 hook)
{
	struct mps_cloned *here = mps_cloned_here();
	struct sock *child = (struct sock *)here->child;
	struct mps_event *e;
	struct mps_ends ends;

	if (!child || mps_read_ends(&ends, child))
		return 0;
	if (!mps_wanted(&ends.t, MPS_SIDE_SERVER))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_MSK_ACCEPTED, hook);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = here->child;
	e->listener = here->listener;
	e->old_state = TCP_LISTEN;
	e->new_state = TCP_ESTABLISHED;
	e->flags |= MPS_F_MPTCP;
	mps_fill_msk(e, (struct mptcp_sock *)sk);
	e->cookie = mps_read_cookie((struct sock *)here->listener);
	mps_submit(e);
	return 0;
}

/*
 * SYN_RECV -> ESTABLISHED: the server's verdict. A context with mp_capable means MPTCP; a
 * plain socket cloned from an MPTCP listener, or offered MP_CAPABLE, fell back.
 */
static __noinline int mps_on_child_established(struct sock *ssk, _Bool is_mptcp)
{
	struct mps_cloned *here = mps_cloned_here();
	__u64 listener = here->child == (__u64)ssk ? here->listener : 0;
	_Bool cloned_from_mptcp = listener != 0;
	struct mps_event *e;
	struct mps_ends ends;

	here->child = 0;
	if (!is_mptcp && !cloned_from_mptcp && !any_offered && !config.all_tcp)
		return 0;
	if (mps_read_ends(&ends, ssk))
		return 0;
	if (!is_mptcp) {
		if (!listener)
			listener = mps_offered_to(&ends.t);
		if (!listener && !config.all_tcp)
			return 0;
		bpf_map_delete_elem(&offered, &ends.t);
	}
	if (is_mptcp && any_join_received ? !mps_join_wanted(&ends.t)
					  : !mps_wanted(&ends.t, MPS_SIDE_SERVER))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_CHILD_ESTABLISHED, MPS_HOOK_SET_STATE);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = (__u64)ssk;
	e->listener = listener;
	e->old_state = TCP_SYN_RECV;
	e->new_state = TCP_ESTABLISHED;
	if (is_mptcp) {
		mps_fill_context(e, ssk);
		if (e->msk)
			mps_fill_msk(e, (struct mptcp_sock *)e->msk);
	}
	if (listener)
		e->cookie = mps_read_cookie((struct sock *)listener);
	mps_submit(e);
	if (!is_mptcp && !config.all_tcp)
		mps_follow((__u64)ssk, listener, MPS_HOOK_SET_STATE);
	return 0;
}

/* mptcp_sk_clone_init() returned: an msk for the connection that this CPU's listener cloned. */
static __always_inline int mps_on_clone_init(struct sock *msk)
{
	return msk ? mps_on_msk_accepted(msk, MPS_HOOK_CLONE_INIT) : 0;
}

#endif
