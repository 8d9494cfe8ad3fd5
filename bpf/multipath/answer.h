/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* answer.h - the SYN-ACK comes, and what the client makes of it. */
#ifndef MPSCOPE_MULTIPATH_ANSWER_H
#define MPSCOPE_MULTIPATH_ANSWER_H

#include "connect.h"
#include "packet.h"

static __always_inline void mps_tell_synack(void *ctx, struct sock *sk, const struct mps_whose *whose,
					    const struct mps_packet *p, __u32 kind)
{
	struct mps_event *e = mps_new(sizeof(*e), kind, MPS_HOOK_SYNSENT, mps_netns_of(sk));

	if (!e)
		return;
	mps_fill_ends(e, sk);
	/* What events name: the later meta socket, or the subflow that joins. */
	e->ssk = (__u64)sk;
	e->old_state = TCP_SYN_SENT;
	e->new_state = TCP_SYN_SENT;
	mps_fill_packet(e, p);
	e->flags |= MPS_F_MPTCP;
	if (whose->role == MPS_ROLE_SLAVE) {
		e->flags |= MPS_F_REQUEST_JOIN;
		e->msk = (__u64)whose->meta;
	}
	mps_send(ctx, e, sizeof(*e), MPS_HOOK_SYNSENT);
}

/*
 * mptcp_rcv_synsent_state_process() begins. A join that it refuses is closed before it returns, so
 * what came is told now.
 */
static __always_inline int mps_on_synack_begin(void *ctx, struct sock *sk, struct sk_buff *skb)
{
	struct mps_whose whose;
	__u64 key = (__u64)sk;
	struct mps_packet p;

	mps_find_whose(&whose, sk);
	if (whose.role != MPS_ROLE_SLAVE)
		return 0;
	mps_read_packet(&p, skb);
	bpf_map_update_elem(&answering, &key, &p.option, BPF_ANY);
	mps_tell_synack(ctx, sk, &whose, &p, MPS_SYNACK_IN);
	return 0;
}

/*
 * It returned: 0 carry on, 1 reset, 2 as if nothing had come. 0 is not "MPTCP": that was agreed if
 * there is a new socket now, the master, whose mpc is set.
 */
static __always_inline int mps_on_synack(void *ctx, struct sock *sk, struct sock **master_at,
					 struct sk_buff *skb, int result)
{
	struct sock *now = 0;
	struct mps_whose whose;
	__u64 key = (__u64)sk;
	struct mps_packet p;
	_Bool agreed;

	mps_find_whose(&whose, sk);
	if (whose.role == MPS_ROLE_SLAVE) {
		bpf_map_delete_elem(&answering, &key);
		return 0;
	}
	bpf_probe_read_kernel(&now, sizeof(now), master_at);
	agreed = result == 0 && now && now != sk && BPF_CORE_READ_BITFIELD_PROBED((struct tcp_sock *)now, mpc);
	if (result == 0 && !agreed && mps_course_of(key))
		mps_follow(key, MPS_COURSE_ANSWERED, MPS_HOOK_SYNSENT);
	mps_read_packet(&p, skb);
	/* What the kernel made of it counts, whatever the bytes say (a version that it does not speak). */
	if (agreed)
		p.option = MPS_OPTION_MP_CAPABLE;
	else if (result == 0 && p.option == MPS_OPTION_MP_CAPABLE)
		p.option = MPS_OPTION_NONE;
	mps_tell_synack(ctx, sk, &whose, &p, result == 2 ? MPS_SYNACK_DISCARDED : MPS_SYNACK_IN);
	return 0;
}

/* A client's verdict: its connection is MPTCP, or goes on as TCP. `sk`: as events name it. */
static __always_inline void mps_tell_verdict(void *ctx, struct sock *sk, const struct mps_whose *whose,
					     __u32 hook, _Bool dropped)
{
	struct mps_event *e = mps_new(sizeof(*e), MPS_MSK_ESTABLISHED, hook, mps_netns_of(sk));

	if (!e)
		return;
	mps_fill_ends(e, sk);
	mps_fill_connection(e, whose);
	e->ssk = (__u64)sk;
	e->msk = (__u64)sk;
	e->old_state = TCP_SYN_SENT;
	e->new_state = TCP_ESTABLISHED;
	e->flags |= MPS_F_MPTCP;
	if (whose->role != MPS_ROLE_PLAIN)
		e->flags |= MPS_F_MP_CAPABLE;
	else
		e->flags |= MPS_F_FALLBACK;
	if (dropped)
		e->flags |= MPS_F_MPC_DROP;
	mps_fill_retransmits(e, sk);
	mps_send(ctx, e, sizeof(*e), hook);
}

/*
 * tcp_finish_connect(): the master, a subflow that joins, or a socket that is plain TCP. Of the last
 * this is the verdict.
 */
static __always_inline int mps_on_finish_connect(void *ctx, struct sock *sk)
{
	struct mps_whose whose;
	struct mps_event *e;
	__u32 course = 0;

	mps_find_whose(&whose, sk);
	if (whose.role == MPS_ROLE_PLAIN) {
		mps_tell_connect(ctx, sk, 0);
		course = mps_course_of((__u64)sk);
		if (!course && !mps_all_tcp())
			return 0;
	}
	if (mps_steps() || (!course && whose.role == MPS_ROLE_PLAIN)) {
		e = mps_new(sizeof(*e), MPS_SUBFLOW_ESTABLISHED, MPS_HOOK_TCP_FINISH_CONNECT, mps_netns_of(sk));
		if (e) {
			mps_fill_ends(e, sk);
			mps_fill_whose(e, sk, &whose);
			e->old_state = TCP_SYN_SENT;
			e->new_state = TCP_ESTABLISHED;
			if (course)
				e->flags |= MPS_F_MPTCP;
			if (whose.role == MPS_ROLE_SLAVE)
				e->flags |= MPS_F_REQUEST_JOIN;
			mps_fill_retransmits(e, sk);
			mps_send(ctx, e, sizeof(*e), MPS_HOOK_TCP_FINISH_CONNECT);
		}
	}
	if (whose.role != MPS_ROLE_PLAIN || !course)
		return 0;
	/* Asked, and answered without mptcp_rcv_synsent_state_process(): its last SYNs asked no more. */
	mps_tell_verdict(ctx, sk, &whose, MPS_HOOK_TCP_FINISH_CONNECT,
			 course == MPS_COURSE_ASKED && BPF_CORE_READ((struct tcp_sock *)sk, total_retrans) != 0 &&
				 !BPF_CORE_READ_BITFIELD_PROBED((struct tcp_sock *)sk, request_mptcp));
	return 0;
}

#endif
