/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* state.h - listeners, verdicts, the mapping without DSS, and the end. */
#ifndef MPSCOPE_MULTIPATH_STATE_H
#define MPSCOPE_MULTIPATH_STATE_H

#include "accept.h"
#include "answer.h"

/* inet_csk_listen_start() returned, in the process that called listen(). */
static __always_inline int mps_on_listen(void *ctx, struct sock *sk, int result)
{
	struct mps_owned_event *e;

	if (result || mps_is_self())
		return 0;
	e = mps_new(sizeof(*e), MPS_LISTENER_OPENED, MPS_HOOK_LISTEN_START, mps_netns_of(sk));
	if (!e)
		return 0;
	mps_fill_ends(&e->event, sk);
	e->event.ssk = (__u64)sk;
	e->event.old_state = TCP_CLOSE;
	e->event.new_state = TCP_LISTEN;
	e->event.cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	e->event.flags = MPS_F_OWNER;
	if (mps_is_enabled(sk)) {
		e->event.msk = (__u64)sk;
		e->event.flags |= MPS_F_MPTCP;
	}
	mps_fill_current(&e->owner, sk);
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_LISTEN_START);
	return 0;
}

/*
 * mptcp_update_metasocket(): the connection is usable as MPTCP; once on each side, never of a join.
 * v0.90: (sk, meta_sk), later (meta_sk): either way the first names the meta socket.
 */
static __always_inline int mps_on_update_metasocket(void *ctx, struct sock *any)
{
	struct sock *meta = BPF_CORE_READ((struct tcp_sock *)any, meta_sk);
	__u64 key = (__u64)meta, *listener;
	struct mps_whose whose;
	struct mptcp_cb *mpcb;
	struct mps_event *e;

	if (!meta)
		return 0;
	mps_find_whose(&whose, meta);
	mpcb = whose.mpcb;
	if (whose.role != MPS_ROLE_META || !mpcb)
		return 0;
	/* Of the one that was here before. */
	bpf_map_delete_elem(&fallen, &key);
	if (!BPF_CORE_READ_BITFIELD_PROBED(mpcb, server_side)) {
		bpf_map_delete_elem(&followed, &key);
		mps_tell_verdict(ctx, meta, &whose, MPS_HOOK_UPDATE_METASOCKET, 0);
		return 0;
	}
	listener = bpf_map_lookup_elem(&children, &key);
	e = mps_new(sizeof(*e), MPS_CHILD_ESTABLISHED, MPS_HOOK_UPDATE_METASOCKET, mps_netns_of(meta));
	if (e) {
		mps_fill_ends(e, meta);
		mps_fill_connection(e, &whose);
		e->ssk = key;
		e->msk = key;
		e->listener = listener ? *listener : 0;
		e->old_state = TCP_SYN_RECV;
		e->new_state = TCP_ESTABLISHED;
		e->flags |= MPS_F_MP_CAPABLE;
		mps_send(ctx, e, sizeof(*e), MPS_HOOK_UPDATE_METASOCKET);
	}
	bpf_map_delete_elem(&children, &key);
	return 0;
}

/* mptcp_handle_ack_in_infinite() of a subflow: an ACK came. */
static __always_inline int mps_on_ack(void *ctx, struct sock *sk)
{
	__u64 key = (__u64)sk, meta;
	struct mptcp_tcp_sock *mptcp;
	struct mps_whose whose;
	struct mps_event *e;
	__u8 one = 1;

	mps_find_whose(&whose, sk);
	mptcp = whose.mptcp;
	if (whose.role == MPS_ROLE_SLAVE && bpf_map_lookup_elem(&joining, &key) &&
	    !BPF_CORE_READ_BITFIELD_PROBED(mptcp, pre_established)) {
		/* The fourth ACK of a join of ours. */
		bpf_map_delete_elem(&joining, &key);
		e = mps_new(sizeof(*e), MPS_JOIN_CONFIRMED, MPS_HOOK_ACK_IN_INFINITE, mps_netns_of(sk));
		if (e) {
			mps_fill_ends(e, sk);
			mps_fill_whose(e, sk, &whose);
			mps_send(ctx, e, sizeof(*e), MPS_HOOK_ACK_IN_INFINITE);
		}
	}
	meta = (__u64)whose.meta;
	if (!mps_is_infinite(whose.mpcb) || bpf_map_lookup_elem(&fallen, &meta))
		return 0;
	if (bpf_map_update_elem(&fallen, &meta, &one, BPF_ANY))
		mps_count_table_full(MPS_HOOK_ACK_IN_INFINITE);
	e = mps_new(sizeof(*e), MPS_FALLBACK, MPS_HOOK_ACK_IN_INFINITE, mps_netns_of(sk));
	if (!e)
		return 0;
	/* It is the connection's, whichever subflow shows it. */
	mps_fill_ends(e, whose.meta);
	mps_fill_connection(e, &whose);
	e->ssk = meta;
	e->msk = meta;
	e->option_flags = MPS_MAPPING_INFINITE;
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_ACK_IN_INFINITE);
	return 0;
}

/* mptcp_sub_force_close(): this end gives a subflow up. */
static __always_inline int mps_on_force_close(void *ctx, struct sock *sk)
{
	struct mps_whose whose;
	struct mps_event *e;

	if (!mps_steps())
		return 0;
	mps_find_whose(&whose, sk);
	if (whose.role != MPS_ROLE_MASTER && whose.role != MPS_ROLE_SLAVE)
		return 0;
	e = mps_new(sizeof(*e), MPS_FORCED_CLOSE, MPS_HOOK_FORCE_CLOSE, mps_netns_of(sk));
	if (!e)
		return 0;
	mps_fill_ends(e, sk);
	mps_fill_whose(e, sk, &whose);
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_FORCE_CLOSE);
	return 0;
}

/* A listener is gone. */
static __always_inline int mps_on_listener_closed(void *ctx, struct sock *sk)
{
	struct mps_event *e = mps_new(sizeof(*e), MPS_LISTENER_CLOSED, MPS_HOOK_TCP_SET_STATE, mps_netns_of(sk));

	if (!e)
		return 0;
	mps_fill_closed_ends(e, sk);
	e->ssk = (__u64)sk;
	e->listener = (__u64)sk;
	e->old_state = TCP_LISTEN;
	e->new_state = TCP_CLOSE;
	e->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	if (mps_is_enabled(sk))
		e->flags = MPS_F_MPTCP;
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_TCP_SET_STATE);
	return 0;
}

/* A child becomes ESTABLISHED: a join's, or one that is plain where MPTCP was wanted. */
static __always_inline int mps_on_child_established(void *ctx, struct sock *sk, const struct mps_whose *whose)
{
	__u64 key = (__u64)sk, *found, listener = 0;
	struct mps_tuple t = {};
	struct mps_event *e;
	_Bool is_wanted;

	/* Master and meta socket: mptcp_update_metasocket() tells. */
	if (whose->role != MPS_ROLE_PLAIN && whose->role != MPS_ROLE_SLAVE)
		return 0;
	if (whose->role == MPS_ROLE_PLAIN) {
		found = bpf_map_lookup_elem(&children, &key);
		if (!found)
			return 0;
		listener = *found;
		bpf_map_delete_elem(&children, &key);
		mps_tuple_of_socket(&t, sk);
		is_wanted = mps_concerns_us((struct sock *)listener, &t);
		bpf_map_delete_elem(&offered, &t);
		if (!is_wanted)
			return 0;
		mps_follow(key, MPS_COURSE_ACCEPTED, MPS_HOOK_TCP_SET_STATE);
	}
	e = mps_new(sizeof(*e), MPS_CHILD_ESTABLISHED, MPS_HOOK_TCP_SET_STATE, mps_netns_of(sk));
	if (!e)
		return 0;
	mps_fill_ends(e, sk);
	e->listener = listener;
	mps_fill_whose(e, sk, whose);
	e->old_state = TCP_SYN_RECV;
	e->new_state = TCP_ESTABLISHED;
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_TCP_SET_STATE);
	return 0;
}

/* The application's socket is gone: of an MPTCP connection the meta socket, else the one there is. */
static __always_inline int mps_on_closed(void *ctx, struct sock *sk, const struct mps_whose *whose, __u32 old)
{
	__u64 key = (__u64)sk;
	__u32 course = mps_course_of(key), kind = MPS_SUBFLOW_CLOSED;
	struct mps_event *e;

	if (whose->role == MPS_ROLE_PLAIN) {
		mps_tell_connect(ctx, sk, BPF_CORE_READ_BITFIELD_PROBED((struct tcp_sock *)sk, request_mptcp));
		course = mps_course_of(key);
		bpf_map_delete_elem(&followed, &key);
		if (!course && !mps_all_tcp())
			return 0;
	}
	if (whose->role == MPS_ROLE_META || (course && course != MPS_COURSE_ACCEPTED))
		kind = MPS_MSK_CLOSED;
	e = mps_new(sizeof(*e), kind, MPS_HOOK_TCP_SET_STATE, mps_netns_of(sk));
	if (!e)
		return 0;
	mps_fill_closed_ends(e, sk);
	mps_fill_connection(e, whose);
	if (e->kind == MPS_MSK_CLOSED) {
		e->msk = key;
		e->flags |= MPS_F_MPTCP;
	} else {
		e->ssk = key;
	}
	e->old_state = old;
	e->new_state = TCP_CLOSE;
	e->error = BPF_CORE_READ(sk, sk_err);
	if (whose->role == MPS_ROLE_META && mps_is_infinite(whose->mpcb)) {
		/* Why, even if it was told: that event may have been lost. */
		e->flags |= MPS_F_FALLBACK;
		e->option_flags = MPS_MAPPING_INFINITE;
	}
	bpf_map_delete_elem(&fallen, &key);
	mps_fill_retransmits(e, sk);
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_TCP_SET_STATE);
	return 0;
}

/* A master or an additional subflow is gone. */
static __always_inline int mps_on_subflow_closed(void *ctx, struct sock *sk, const struct mps_whose *whose,
						 __u32 old)
{
	struct mptcp_tcp_sock *mptcp = whose->mptcp;
	__u64 key = (__u64)sk;
	struct mps_event *e;
	__u8 *option;

	if (whose->role == MPS_ROLE_MASTER && !mps_steps())
		return 0;
	e = mps_new(sizeof(*e), MPS_SUBFLOW_CLOSED, MPS_HOOK_TCP_SET_STATE, mps_netns_of(sk));
	if (!e)
		return 0;
	mps_fill_closed_ends(e, sk);
	mps_fill_whose(e, sk, whose);
	e->old_state = old;
	e->new_state = TCP_CLOSE;
	e->error = BPF_CORE_READ(sk, sk_err);
	if (whose->role == MPS_ROLE_SLAVE && BPF_CORE_READ_BITFIELD_PROBED(mptcp, fully_established))
		e->flags |= MPS_F_FULL;
	if (old == TCP_SYN_SENT) {
		/* Its SYN-ACK has MP_JOIN, and is refused all the same. */
		option = bpf_map_lookup_elem(&answering, &key);
		if (option && *option == MPS_OPTION_MP_JOIN)
			e->mib = MPS_MIB_JOIN_SYNACK_HMAC;
	}
	bpf_map_delete_elem(&joining, &key);
	mps_fill_retransmits(e, sk);
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_TCP_SET_STATE);
	return 0;
}

/* tcp_set_state(): the state that it changes is still there. */
static __always_inline int mps_on_set_state(void *ctx, struct sock *sk, int new)
{
	__u32 old = mps_state(sk);
	struct mps_whose whose;

	if (old == (__u32)new || (new != TCP_CLOSE && (new != TCP_ESTABLISHED || old != TCP_SYN_RECV)))
		return 0;
	if (old == TCP_LISTEN)
		return mps_on_listener_closed(ctx, sk);
	mps_find_whose(&whose, sk);
	if (whose.role == MPS_ROLE_CHILD)
		return 0;
	if (new == TCP_ESTABLISHED)
		return mps_on_child_established(ctx, sk, &whose);
	if (whose.role == MPS_ROLE_MASTER || whose.role == MPS_ROLE_SLAVE)
		return mps_on_subflow_closed(ctx, sk, &whose, old);
	return mps_on_closed(ctx, sk, &whose, old);
}

#endif
