/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* connect.h - a socket is made, and its SYN is sent. */
#ifndef MPSCOPE_MULTIPATH_CONNECT_H
#define MPSCOPE_MULTIPATH_CONNECT_H

#include "follow.h"

/* mptcp_enable_sock(): socket() while the switch is on, or setsockopt(MPTCP_ENABLED). */
static __always_inline int mps_on_enable_sock(void *ctx, struct sock *sk)
{
	struct mps_owned_event *e;

	if (mps_is_self() || mps_is_kernels(sk))
		return 0;
	e = mps_new(sizeof(*e), MPS_SOCKET_CREATED, MPS_HOOK_ENABLE_SOCK, mps_netns_of(sk));
	if (!e)
		return 0;
	e->event.msk = (__u64)sk;
	e->event.flags = MPS_F_MPTCP | MPS_F_OWNER;
	mps_fill_current(&e->owner, sk);
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_ENABLE_SOCK);
	return 0;
}

/* The path manager connects an additional subflow: in a worker, for nobody's process. */
static __always_inline int mps_on_join_connect(void *ctx, struct sock *sk, const struct mps_whose *whose)
{
	__u64 key = (__u64)sk;
	struct mps_event *e;
	__u8 one = 1;

	if (bpf_map_update_elem(&joining, &key, &one, BPF_ANY))
		mps_count_table_full(MPS_HOOK_TCP_CONNECT);
	e = mps_new(sizeof(*e), MPS_CONNECT, MPS_HOOK_TCP_CONNECT, mps_netns_of(sk));
	if (!e)
		return 0;
	mps_fill_ends(e, sk);
	mps_fill_whose(e, sk, whose);
	e->flags = MPS_F_MPTCP | MPS_F_REQUEST_JOIN;
	e->old_state = TCP_CLOSE;
	e->new_state = TCP_SYN_SENT;
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_TCP_CONNECT);
	return 0;
}

/* tcp_connect() begins. request_mptcp is set inside: who called it is kept until it is known. */
static __always_inline int mps_on_connect_begin(void *ctx, struct sock *sk)
{
	struct mps_connecting value = {};
	struct mps_whose whose;
	__u64 key = (__u64)sk;

	mps_find_whose(&whose, sk);
	if (whose.role == MPS_ROLE_SLAVE)
		return mps_on_join_connect(ctx, sk, &whose);
	if (whose.role != MPS_ROLE_PLAIN)
		return 0;
	/* Of the one that was here before. */
	bpf_map_delete_elem(&followed, &key);
	if (mps_is_self() || (!mps_is_enabled(sk) && !mps_all_tcp()))
		return 0;
	mps_fill_current(&value.owner, sk);
	if (bpf_map_update_elem(&connecting, &key, &value, BPF_ANY))
		mps_count_table_full(MPS_HOOK_TCP_CONNECT);
	return 0;
}

/* Told once, as soon as it is known whether the SYN asks for MPTCP. */
static __always_inline void mps_tell_connect(void *ctx, struct sock *sk, _Bool asks)
{
	struct mps_connecting *begun;
	struct mps_owned_event *e;
	__u64 key = (__u64)sk;
	_Bool is_enabled;

	begun = bpf_map_lookup_elem(&connecting, &key);
	if (!begun)
		return;
	is_enabled = mps_is_enabled(sk);
	if (is_enabled)
		mps_follow(key, asks ? MPS_COURSE_ASKED : MPS_COURSE_UNASKED, MPS_HOOK_TCP_CONNECT);
	e = mps_new(sizeof(*e), MPS_CONNECT, MPS_HOOK_TCP_CONNECT, mps_netns_of(sk));
	if (e) {
		mps_fill_ends(&e->event, sk);
		e->event.ssk = key;
		e->event.old_state = TCP_CLOSE;
		e->event.new_state = TCP_SYN_SENT;
		e->event.flags = MPS_F_OWNER;
		if (is_enabled) {
			e->event.msk = key;
			e->event.flags |= MPS_F_MPTCP;
		}
		if (asks) {
			e->event.flags |= MPS_F_REQUEST_MPTCP;
			e->event.token = bpf_ntohl(BPF_CORE_READ((struct tcp_sock *)sk, mptcp_loc_token));
		}
		__builtin_memcpy(&e->owner, &begun->owner, sizeof(begun->owner));
		mps_send(ctx, e, sizeof(*e), MPS_HOOK_TCP_CONNECT);
	}
	bpf_map_delete_elem(&connecting, &key);
}

/* tcp_connect() returned: a SYN without MPTCP has left, unless it was told already. */
static __always_inline int mps_on_connect_end(void *ctx, struct sock *sk)
{
	mps_tell_connect(ctx, sk, BPF_CORE_READ_BITFIELD_PROBED((struct tcp_sock *)sk, request_mptcp));
	return 0;
}

/* mptcp_syn_options(): a SYN asks for MP_CAPABLE or MP_JOIN; the first one within tcp_connect(). */
static __always_inline int mps_on_syn_options(void *ctx, struct sock *sk)
{
	struct mps_whose whose;
	struct mptcp_cb *mpcb;
	struct mps_event *e;
	_Bool joins;

	mps_find_whose(&whose, sk);
	mpcb = whose.mpcb;
	joins = whose.role == MPS_ROLE_SLAVE;
	if (!joins)
		mps_tell_connect(ctx, sk, 1);
	if (!mps_steps())
		return 0;
	e = mps_new(sizeof(*e), MPS_SYN_OUT, MPS_HOOK_SYN_OPTIONS, mps_netns_of(sk));
	if (!e)
		return 0;
	mps_fill_ends(e, sk);
	e->ssk = (__u64)sk;
	e->flags = MPS_F_MPTCP | MPS_F_PACKET;
	e->option = joins ? MPS_OPTION_MP_JOIN : MPS_OPTION_MP_CAPABLE;
	if (joins && mpcb)
		e->remote_token = bpf_ntohl(BPF_CORE_READ(mpcb, mptcp_rem_token));
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_SYN_OPTIONS);
	return 0;
}

#endif
