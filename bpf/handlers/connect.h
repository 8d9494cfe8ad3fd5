/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* connect.h - a socket connects: a process's, or an additional subflow of the path manager's. */
#ifndef MPSCOPE_HANDLERS_CONNECT_H
#define MPSCOPE_HANDLERS_CONNECT_H

#include "follow.h"

/*
 * tcp_connect() of a first subflow or TCP socket, or, where that can't be hooked, CLOSE ->
 * SYN_SENT just before it: then the source port is not chosen yet (inet_hash_connect comes
 * between). The running process is the one that called connect().
 */
static __noinline int mps_on_connect(struct sock *ssk, _Bool is_mptcp, __u32 hook)
{
	struct mps_owned_event *e;
	struct mps_ends ends;
	struct mptcp_sock *msk;
	struct sock *sk;

	if (mps_is_self() || mps_read_ends(&ends, ssk))
		return 0;
	if (!mps_wanted(&ends.t, MPS_SIDE_CLIENT))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_CONNECT, hook);
	if (!e)
		return 0;
	mps_fill_tuple(&e->event, &ends.t);
	e->event.ssk = (__u64)ssk;
	e->event.old_state = TCP_CLOSE;
	e->event.new_state = TCP_SYN_SENT;
	e->event.cookie = ends.cookie;
	if (is_mptcp)
		mps_fill_context(&e->event, ssk);
	/* Whose key the ctx holds before the handshake is nobody's. */
	e->event.remote_key = 0;
	/* A variable of its own: CO-RE would look for mps_event in the kernel. */
	msk = (struct mptcp_sock *)e->event.msk;
	if (msk && BPF_CORE_READ(msk, csum_enabled))
		e->event.flags |= MPS_F_CHECKSUM;
	if (e->event.msk && !(e->event.flags & MPS_F_REQUEST_MPTCP)) {
		e->event.mib = mps_why(e->event.msk);
		if (!e->event.mib)
			e->event.mib = mps_marked(ssk, e->event.msk);
	}
	sk = e->event.msk ? (struct sock *)e->event.msk : ssk;
	e->owner.inode = mps_inode(sk);
	e->owner.created = mps_made((__u64)sk);
	mps_fill_owner(e);
	mps_submit(e);
	return 0;
}

/* The same of an additional subflow, which the kernel's path manager opens by itself. */
static __noinline int mps_on_join_connect(struct sock *ssk, __u32 hook)
{
	__u64 key = (__u64)ssk;
	struct mps_event *e;
	struct mps_ends ends;
	__u8 one = 1;

	if (mps_read_ends(&ends, ssk))
		return 0;
	if (!mps_join_wanted(&ends.t))
		return 0;
	/* So that a failure of __mptcp_subflow_connect() is not told twice. */
	if (mps_is_attached(MPS_HOOK_SUBFLOW_CONNECT))
		mps_stash(mps_thread_in(MPS_HOOK_SET_STATE), ssk, 0, 0);
	any_joining = 1;
	if (bpf_map_update_elem(&joining, &key, &one, BPF_ANY))
		mps_count_table_full(hook);
	e = mps_reserve(sizeof(*e), MPS_CONNECT, hook);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = key;
	e->old_state = TCP_CLOSE;
	e->new_state = TCP_SYN_SENT;
	mps_fill_context(e, ssk);
	e->remote_key = 0;
	mps_submit(e);
	return 0;
}

static __always_inline int mps_on_any_connect(struct sock *ssk, _Bool is_mptcp, __u32 hook)
{
	if (is_mptcp && mps_requests_join(ssk))
		return mps_on_join_connect(ssk, hook);
	return is_mptcp || config.all_tcp ? mps_on_connect(ssk, is_mptcp, hook) : 0;
}

/* CLOSE -> SYN_SENT where tcp_connect() is hooked: it tells, unless it is never reached. */
static __noinline int mps_before_connect(struct sock *ssk)
{
	__u64 key = (__u64)ssk;
	__u8 one = 1;

	if (bpf_map_update_elem(&connecting, &key, &one, BPF_ANY))
		mps_count_table_full(MPS_HOOK_TCP_CONNECT);
	return 0;
}

/* It has two programs: what is no longer in `connecting`, the other has told. */
static __always_inline int mps_on_tcp_connect(struct sock *ssk, _Bool is_second)
{
	_Bool is_mptcp = mps_is_mptcp(ssk);
	__u64 key = (__u64)ssk;

	if ((!is_mptcp && !config.all_tcp) || bpf_map_delete_elem(&connecting, &key))
		return 0;
	if (is_second)
		mps_count_caught(MPS_HOOK_TCP_CONNECT, 1);
	return mps_on_any_connect(ssk, is_mptcp, MPS_HOOK_TCP_CONNECT);
}

/*
 * msk CLOSE -> SYN_SENT: mptcp_connect() decides next whether it asks for MPTCP. What it counts
 * until its subflow connects tells why it did not.
 */
static __always_inline int mps_on_msk_connect(struct sock *sk)
{
	__u64 key = (__u64)sk;

	/* Of the one that was here before. */
	if (any_why)
		bpf_map_delete_elem(&why, &key);
	return mps_mark(sk, (__u64)sk);
}

#endif
