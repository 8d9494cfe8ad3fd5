/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* accept.h - the third ACK comes, and what the server makes of it. */
#ifndef MPSCOPE_MULTIPATH_ACCEPT_H
#define MPSCOPE_MULTIPATH_ACCEPT_H

#include "request.h"

/* Whether a listener's packet has to do with MPTCP. */
static __always_inline _Bool mps_concerns_us(struct sock *listener, struct mps_tuple *t)
{
	t->netns = mps_netns_of(listener);
	return mps_is_enabled(listener) || BPF_CORE_READ_BITFIELD_PROBED((struct tcp_sock *)listener, mpc) ||
	       mps_all_tcp() || bpf_map_lookup_elem(&offered, t) != 0;
}

/*
 * With TCP Fast Open the child is there before its third ACK, and mptcp_check_req_master() does not run:
 * whose child it is stands in the request.
 */
static __always_inline void mps_note_fast_open(struct sock *child, struct request_sock *req)
{
	__u64 key = (__u64)child, value;

	if (mps_state(child) != TCP_SYN_RECV || !bpf_core_field_exists(req->rsk_listener))
		return;
	value = (__u64)BPF_CORE_READ(req, rsk_listener);
	if (value && bpf_map_update_elem(&children, &key, &value, BPF_ANY))
		mps_count_table_full(MPS_HOOK_TCP_CHECK_REQ);
}

/*
 * tcp_check_req(): a packet for a half-open handshake. `sk`: the listener; of a join the meta socket; with
 * TCP Fast Open the child.
 */
static __always_inline int mps_on_check_req(void *ctx, struct sock *sk, struct sk_buff *skb,
					    struct request_sock *req)
{
	struct mps_tuple t = {};
	struct mps_packet p;
	_Bool is_mptcp;

	mps_note_fast_open(sk, req);
	if (!mps_tuple_of_skb(&t, skb) || !mps_concerns_us(sk, &t))
		return 0;
	mps_read_packet(&p, skb);
	/* Of a join, the meta socket has agreed. */
	is_mptcp = mps_is_enabled(sk) || BPF_CORE_READ_BITFIELD_PROBED((struct tcp_sock *)sk, mpc);
	if (p.flags & TCP_FLAG_RST)
		mps_tell_packet(ctx, sk, &t, &p, MPS_RESET_IN, MPS_HOOK_TCP_CHECK_REQ, is_mptcp);
	else if (mps_steps() && (p.flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_ACK)
		mps_tell_packet(ctx, sk, &t, &p, MPS_ACK_IN, MPS_HOOK_TCP_CHECK_REQ, is_mptcp);
	return 0;
}

/* mptcp_check_req_master() begins, as for every passive connection: whose child it is. */
static __always_inline int mps_on_child(struct sock *listener, struct sock *child)
{
	__u64 key = (__u64)child, value = (__u64)listener;

	if (bpf_map_update_elem(&children, &key, &value, BPF_ANY))
		mps_count_table_full(MPS_HOOK_CHECK_REQ_MASTER);
	return 0;
}

/* It returned 0: the child is the meta socket of an MPTCP connection. (1: it is plain TCP.) */
static __always_inline int mps_on_child_accepted(void *ctx, struct sock *listener, struct sock *child, int result)
{
	struct mps_whose whose;
	struct mps_event *e;

	if (result || !mps_steps())
		return 0;
	mps_find_whose(&whose, child);
	if (whose.role == MPS_ROLE_PLAIN)
		return 0;
	e = mps_new(sizeof(*e), MPS_MSK_ACCEPTED, MPS_HOOK_CHECK_REQ_MASTER, mps_netns_of(child));
	if (!e)
		return 0;
	mps_fill_ends(e, child);
	mps_fill_connection(e, &whose);
	e->ssk = (__u64)child;
	e->msk = (__u64)child;
	e->listener = (__u64)listener;
	e->old_state = TCP_LISTEN;
	e->new_state = TCP_SYN_RECV;
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_CHECK_REQ_MASTER);
	return 0;
}

/* mptcp_check_req_child() returned something else than the child: the join is refused, by a RST. */
static __always_inline int mps_on_join_checked(void *ctx, struct sock *meta, struct sock *child,
					       struct sk_buff *skb, struct sock *result)
{
	struct mps_tuple t = {};
	struct mps_packet p;
	struct mps_event *e;

	if (result == child || !mps_tuple_of_skb(&t, skb))
		return 0;
	mps_read_packet(&p, skb);
	e = mps_new(sizeof(*e), MPS_RESET_OUT, MPS_HOOK_CHECK_REQ_CHILD, mps_netns_of(meta));
	if (!e)
		return 0;
	mps_fill_tuple(e, &t);
	e->msk = (__u64)meta;
	mps_fill_packet(e, &p);
	e->flags |= MPS_F_MPTCP;
	if (p.option == MPS_OPTION_MP_JOIN)
		e->mib = MPS_MIB_JOIN_ACK_HMAC;
	e->option_flags = p.option == MPS_OPTION_UNKNOWN ? MPS_RESET_UNEXPLAINED : 0;
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_CHECK_REQ_CHILD);
	return 0;
}

#endif
