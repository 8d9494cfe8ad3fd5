/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* state.h - listeners, a client's verdict, the end of sockets; and which change of state is what. */
#ifndef MPSCOPE_HANDLERS_STATE_H
#define MPSCOPE_HANDLERS_STATE_H

#include "accept.h"
#include "connect.h"

/*
 * Each of these is a BPF function of its own (__noinline), not a part of the program that
 * calls it: a program has 512 bytes of stack, which the copies of one observation nearly fill.
 */

/* listen(): an ssk, or a TCP socket, CLOSE -> LISTEN, in the process that called it. */
static __noinline int mps_on_listen(struct sock *ssk, _Bool is_mptcp)
{
	struct mps_owned_event *e;
	struct mps_ends ends;
	struct sock *sk;

	if (mps_is_self() || mps_read_ends(&ends, ssk))
		return 0;
	if (!mps_netns_wanted(ends.t.netns))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_LISTENER_OPENED, MPS_HOOK_SET_STATE);
	if (!e)
		return 0;
	mps_fill_tuple(&e->event, &ends.t);
	e->event.ssk = (__u64)ssk;
	e->event.new_state = TCP_LISTEN;
	e->event.old_state = TCP_CLOSE;
	e->event.cookie = ends.cookie;
	if (is_mptcp)
		mps_fill_context(&e->event, ssk);
	sk = e->event.msk ? (struct sock *)e->event.msk : ssk;
	e->owner.inode = mps_inode(sk);
	e->owner.created = mps_made((__u64)sk);
	mps_fill_owner(e);
	mps_submit(e);
	return 0;
}

/* A listener is gone: LISTEN -> CLOSE. */
static __noinline int mps_on_listener_closed(struct sock *ssk, _Bool is_mptcp)
{
	struct mps_event *e;
	struct mps_ends ends;

	if (mps_read_ends(&ends, ssk))
		return 0;
	mps_closed_port(&ends.t, ssk);
	if (!mps_netns_wanted(ends.t.netns) || mps_is_ours(ends.t.local))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_LISTENER_CLOSED, MPS_HOOK_SET_STATE);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = (__u64)ssk;
	e->listener = (__u64)ssk;
	e->flags |= is_mptcp ? MPS_F_MPTCP : 0;
	e->old_state = TCP_LISTEN;
	e->new_state = TCP_CLOSE;
	e->cookie = ends.cookie;
	mps_submit(e);
	return 0;
}

/* SYN_SENT -> ESTABLISHED of a subflow or TCP socket; its options are not read yet. */
static __noinline int mps_on_subflow_established(struct sock *ssk, _Bool is_mptcp)
{
	struct mps_event *e;
	struct mps_ends ends;

	if (mps_read_ends(&ends, ssk))
		return 0;
	if (mps_is_joining((__u64)ssk) ? !mps_join_wanted(&ends.t)
				       : !mps_wanted(&ends.t, MPS_SIDE_CLIENT))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_SUBFLOW_ESTABLISHED, MPS_HOOK_SET_STATE);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = (__u64)ssk;
	e->old_state = TCP_SYN_SENT;
	e->new_state = TCP_ESTABLISHED;
	if (is_mptcp)
		mps_fill_context(e, ssk);
	e->remote_key = 0;
	mps_fill_retransmits(e, ssk);
	mps_submit(e);
	return 0;
}

/* msk SYN_SENT -> ESTABLISHED: the client's verdict stands in its first subflow's context. */
static __noinline int mps_on_msk_established(struct sock *sk, __u32 hook)
{
	struct mptcp_sock *msk = (struct mptcp_sock *)sk;
	struct sock *ssk = BPF_CORE_READ(msk, first);
	struct mps_event *e;
	struct mps_ends ends;

	if (!ssk || mps_read_ends(&ends, ssk))
		return 0;
	if (!mps_wanted(&ends.t, MPS_SIDE_CLIENT))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_MSK_ESTABLISHED, hook);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = (__u64)ssk;
	e->old_state = TCP_SYN_SENT;
	e->new_state = TCP_ESTABLISHED;
	mps_fill_context(e, ssk);
	mps_fill_msk(e, msk);
	/* The peer agreed, even where what came since has taken it back (mp_capable is cleared then). */
	if (BPF_CORE_READ(msk, can_ack))
		e->flags |= MPS_F_MP_CAPABLE;
	e->mib = mps_why(e->msk);
	mps_fill_retransmits(e, ssk);
	e->cookie = mps_read_cookie(sk);
	mps_submit(e);
	return 0;
}

/* A subflow or TCP socket that had begun a handshake is gone. */
static __noinline int mps_on_subflow_closed(struct sock *ssk, _Bool is_mptcp, int old, _Bool joins)
{
	__u64 key = (__u64)ssk;
	struct mps_event *e;
	struct mps_ends ends;

	if (!is_mptcp && !config.all_tcp) {
		if (!mps_is_followed(key))
			return 0;
		bpf_map_delete_elem(&followed, &key);
	}
	if (mps_read_ends(&ends, ssk))
		return 0;
	mps_closed_port(&ends.t, ssk);
	if (joins ? !mps_join_wanted(&ends.t) : !mps_wanted(&ends.t, old == TCP_SYN_SENT ? MPS_SIDE_CLIENT : 0))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_SUBFLOW_CLOSED, MPS_HOOK_SET_STATE);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = key;
	e->old_state = old;
	e->new_state = TCP_CLOSE;
	e->error = BPF_CORE_READ(ssk, sk_err);
	if (is_mptcp)
		mps_fill_context(e, ssk);
	e->remote_key = 0;
	if (joins) {
		struct mptcp_subflow_context *context = mps_context(ssk);

		if (context && BPF_CORE_READ_BITFIELD_PROBED(context, fully_established))
			e->flags |= MPS_F_FULL;
		e->mib = mps_marked(ssk, key);
		if (any_joining)
			bpf_map_delete_elem(&joining, &key);
	}
	mps_fill_retransmits(e, ssk);
	mps_submit(e);
	return 0;
}

/* The MPTCP socket is gone (its subflows may have gone before). */
static __noinline int mps_on_msk_closed(struct sock *sk, int old)
{
	__u64 key = (__u64)sk;
	struct mps_event *e;
	__u8 *known, cause = 0;
	struct mps_ends ends;

	if (any_why)
		bpf_map_delete_elem(&why, &key);
	if (any_fallen) {
		known = bpf_map_lookup_elem(&fallen, &key);
		cause = known ? *known : 0;
		bpf_map_delete_elem(&fallen, &key);
	}
	if (mps_read_ends(&ends, sk))
		return 0;
	mps_closed_port(&ends.t, sk);
	/* An msk that never connected has no remote port: only its namespace is known. */
	if (ends.t.remote_port ? !mps_wanted(&ends.t, 0) : !mps_netns_wanted(ends.t.netns))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_MSK_CLOSED, MPS_HOOK_SET_STATE);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->old_state = old;
	e->new_state = TCP_CLOSE;
	e->flags |= MPS_F_MPTCP;
	e->error = BPF_CORE_READ(sk, sk_err);
	mps_fill_msk(e, (struct mptcp_sock *)sk);
	e->option_flags = cause;
	e->cookie = ends.cookie;
	mps_submit(e);
	return 0;
}

/*
 * mptcp_set_state(), or before 6.8 __mptcp_set_connected(): the client's msk becomes ESTABLISHED
 * next. `state`: what it is to be.
 */
static __always_inline int mps_on_msk_state(struct sock *msk, int state)
{
	struct sock *taken = msk;

	if (state != TCP_ESTABLISHED || BPF_CORE_READ(msk, __sk_common.skc_state) != TCP_SYN_SENT)
		return 0;
	/* fentry's pointers can't be computed with; a copy is only a number. */
	if (bpf_probe_read_kernel(&taken, sizeof(taken), &taken) ||
	    !mps_take(&verdicts, taken, TCP_SYN_SENT, TCP_ESTABLISHED))
		return 0;
	return mps_on_msk_established(msk, MPS_HOOK_MSK_STATE);
}

/* A client's msk of the loader's own: what its flags are, with and without a fallback. */
static __noinline int mps_calibrate(struct sock *msk)
{
	if (BPF_CORE_READ(msk, __sk_common.skc_net.net, ns.inum) != calibrating)
		return 0;
	calibration[calibrated & 1] = BPF_CORE_READ((struct mptcp_sock *)msk, flags);
	calibrated++;
	return 0;
}

/* Every change of state of every internet socket comes through here. */
static __always_inline int mps_on_set_state(struct sock *sk, int old, int new)
{
	_Bool is_mptcp, joins;
	__u32 protocol;

	/* Most changes tell nothing; those return before anything is read. */
	if (old == new || (new != TCP_LISTEN && new != TCP_SYN_SENT && new != TCP_SYN_RECV &&
			   new != TCP_ESTABLISHED && new != TCP_CLOSE))
		return 0;
	protocol = mps_protocol(sk);
	if (protocol == IPPROTO_MPTCP) {
		if (new == TCP_ESTABLISHED && old == TCP_SYN_SENT) {
			if (calibrating)
				mps_calibrate(sk);
			/* Not told by its function, which may be inlined in places. */
			if (mps_is_attached(MPS_HOOK_MSK_STATE) && mps_was_taken(&verdicts, sk, old, new))
				return 0;
			return mps_on_msk_established(sk, MPS_HOOK_SET_STATE);
		}
		if (new == TCP_ESTABLISHED && old == TCP_LISTEN)
			return config.steps ? mps_on_msk_accepted(sk, MPS_HOOK_SET_STATE) : 0;
		if (new == TCP_CLOSE && old != TCP_LISTEN)
			return mps_on_msk_closed(sk, old);
		if (new == TCP_SYN_SENT)
			return mps_on_msk_connect(sk);
		return 0;
	}
	if (protocol != IPPROTO_TCP)
		return 0;
	is_mptcp = mps_is_mptcp(sk);
	if (new == TCP_LISTEN)
		return mps_on_listen(sk, is_mptcp);
	if (new == TCP_SYN_SENT && mps_is_attached(MPS_HOOK_TCP_CONNECT))
		return is_mptcp || config.all_tcp ? mps_before_connect(sk) : 0;
	if (new == TCP_SYN_SENT)
		return mps_on_any_connect(sk, is_mptcp, MPS_HOOK_SET_STATE);
	if (new == TCP_SYN_RECV) {
		if (old != TCP_LISTEN)
			return 0;
		/* What was cloned here before is over; a new child may even have its address. */
		mps_cloned_here()->child = 0;
		return is_mptcp ? mps_on_child_cloned(sk) : 0;
	}
	if (new == TCP_ESTABLISHED) {
		if (old == TCP_SYN_RECV)
			return mps_on_child_established(sk, is_mptcp);
		/* The verdict of an MPTCP socket comes with its msk; a plain one has only this. */
		if (old == TCP_SYN_SENT && (is_mptcp ? config.steps : config.all_tcp))
			return mps_on_subflow_established(sk, is_mptcp);
		return 0;
	}
	/* CLOSE */
	if (old == TCP_LISTEN)
		return mps_on_listener_closed(sk, is_mptcp);
	if (old == TCP_SYN_SENT && mps_is_attached(MPS_HOOK_TCP_CONNECT)) {
		__u64 key = (__u64)sk;

		/* connect() failed before tcp_connect(). */
		if ((is_mptcp || config.all_tcp) && !bpf_map_delete_elem(&connecting, &key))
			mps_on_any_connect(sk, is_mptcp, MPS_HOOK_SET_STATE);
	}
	joins = is_mptcp && (any_joining || any_join_received) && mps_joins(sk);
	if (is_mptcp && !joins && !config.steps && old != TCP_SYN_SENT && old != TCP_SYN_RECV)
		return 0;
	return mps_on_subflow_closed(sk, is_mptcp, old, joins);
}

static __always_inline int mps_on_set_state_first(struct sock *sk, int old, int new)
{
	if (!mps_take(&changes, sk, old, new)) {
		mps_count_caught(MPS_HOOK_SET_STATE, -1);
		return 0;
	}
	return mps_on_set_state(sk, old, new);
}

static __always_inline int mps_on_set_state_second(struct sock *sk, int old, int new)
{
	if (mps_was_taken(&changes, sk, old, new))
		return 0;
	mps_count_caught(MPS_HOOK_SET_STATE, 1);
	return mps_on_set_state(sk, old, new);
}

#endif
