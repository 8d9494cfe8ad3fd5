/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* reset.h - a RST reaches a socket, or an MPTCP listener answers with one. */
#ifndef MPSCOPE_HANDLERS_RESET_H
#define MPSCOPE_HANDLERS_RESET_H

#include "follow.h"
#include "skb.h"

/* A RST reached a socket. */
static __always_inline int mps_on_reset_in(struct sock *ssk)
{
	_Bool is_mptcp = mps_is_mptcp(ssk), joins = is_mptcp && mps_joins(ssk);
	struct mps_cloned *here = mps_cloned_here();
	struct mps_event *e;
	struct mps_ends ends;
	__u8 state;

	if (!is_mptcp && !config.all_tcp && !mps_is_followed((__u64)ssk))
		return 0;
	if (mps_read_ends(&ends, ssk))
		return 0;
	state = ends.state;
	if (joins ? !mps_join_wanted(&ends.t) : !mps_wanted(&ends.t, state == TCP_SYN_SENT ? MPS_SIDE_CLIENT : 0))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_RESET_IN, MPS_HOOK_RECEIVE_RESET);
	if (!e)
		return 0;
	mps_fill_tuple(e, &ends.t);
	e->ssk = (__u64)ssk;
	e->old_state = state;
	e->new_state = state;
	if (is_mptcp)
		mps_fill_context(e, ssk);
	e->remote_key = 0;
	/* The packet was seen a moment ago on this CPU, unless it had to wait for the socket. */
	e->flags &= ~MPS_F_RESET_REASON;
	e->reset_reason = 0;
	if (here->reset == (__u64)ssk) {
		e->flags |= MPS_F_RESET_REASON;
		e->reset_reason = here->reset_reason;
	}
	here->reset = 0;
	mps_submit(e);
	return 0;
}

/*
 * An MPTCP listener answers a SYN or a third ACK with a RST: subflow_check_req() or
 * subflow_syn_recv_sock() refused. `reason`: enum sk_rst_reason, MPTCP's own among them; 0 before
 * 6.10, where only subflow_add_reset_reason() tells.
 */
static __always_inline int mps_on_reset_out(struct sock *sk, struct sk_buff *skb, __u32 reason)
{
	__u32 base = bpf_core_enum_value_exists(enum sk_rst_reason, SK_RST_REASON_MPTCP_RST_EUNSPEC) ?
			     bpf_core_enum_value(enum sk_rst_reason, SK_RST_REASON_MPTCP_RST_EUNSPEC) : 0;
	struct mps_cloned *here = mps_cloned_here();
	__u64 refused = here->refused;
	struct mps_tuple t = {};
	struct mps_event *e;

	/* Of this RST, or of one that was never sent: not to be found by a later packet. */
	here->refused = 0;
	if (!sk || !skb || BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN || !mps_is_mptcp(sk))
		return 0;
	if (!mps_tuple_of_skb(&t, skb))
		return 0;
	t.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	if (!mps_join_wanted(&t))
		return 0;
	e = mps_reserve(sizeof(*e), MPS_RESET_OUT, MPS_HOOK_SEND_RESET);
	if (!e)
		return 0;
	mps_fill_tuple(e, &t);
	e->listener = (__u64)sk;
	e->flags |= MPS_F_MPTCP;
	if (base && reason > base && reason <= base + 6) {
		e->flags |= MPS_F_RESET_REASON;
		e->reset_reason = reason - base;
	} else if (!base && refused == (__u64)skb) {
		e->flags |= MPS_F_RESET_REASON;
		e->reset_reason = here->refused_reason;
	}
	if (!base && !mps_is_attached(MPS_HOOK_RESET_REASON))
		e->option_flags = MPS_RESET_UNEXPLAINED;
	e->mib = mps_marked(sk, MPS_MARK_SOFTIRQ);
	e->cookie = mps_read_cookie(sk);
	mps_submit(e);
	return 0;
}

#endif
