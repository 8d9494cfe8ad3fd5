/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * packet.h - the packets of a handshake: after netfilter both on the way in (as TCP sees them)
 * and on the way out (as they leave). Packets of open connections return after their flags and
 * the length of their options were looked at, unless open.h wants them. SYN-ACKs with a SYN cookie
 * belong to no socket and are not seen.
 */
#ifndef MPSCOPE_HANDLERS_PACKET_H
#define MPSCOPE_HANDLERS_PACKET_H

#include "open.h"

/* A SYN or SYN-ACK leaves. For a SYN-ACK the kernel shows us the listener. */
static __always_inline int mps_on_packet_out(struct __sk_buff *skb)
{
	struct mps_options options = {};
	struct mps_place place = {};
	struct mps_packet p = {};
	struct tcp_sock *tp;
	_Bool is_mptcp, synack;
	struct sock *sk;

	if (!mps_find_tcp(skb, &place))
		return 1;
	if (!(place.flags & TCP_FLAG_SYN))
		return place.length > 12 && !mps_only_dss(skb, &place) ? mps_on_open_packet(skb, 1) : 1;
	if (place.flags & TCP_FLAG_RST)
		return 1;
	synack = place.flags & TCP_FLAG_ACK;
	/* The ids of our own MP_JOINs stand in their SYN. */
	if (!synack && !config.steps && !any_joining)
		return 1;
	tp = mps_skb_tcp(skb);
	if (!tp || !mps_read_packet(skb, &place, &p, &options, 1))
		return 1;
	mps_parse_option(&p, &options);
	if (!synack && !config.steps && p.option != MPS_OPTION_MP_JOIN)
		return 1;
	sk = &tp->inet_conn.icsk_inet.sk;
	is_mptcp = tp->is_mptcp;
	p.t.netns = sk->__sk_common.skc_net.net->ns.inum;
	if (p.option == MPS_OPTION_MP_JOIN ? !mps_join_wanted(&p.t)
					   : !mps_wanted(&p.t, synack ? MPS_SIDE_SERVER : MPS_SIDE_CLIENT))
		return 1;
	if (synack) {
		if (is_mptcp || config.all_tcp || mps_offered_to(&p.t))
			mps_send_packet(&p, sk, MPS_SYNACK_OUT, MPS_HOOK_SKB_EGRESS, is_mptcp, 1);
	} else if (is_mptcp || config.all_tcp) {
		mps_send_packet(&p, sk, MPS_SYN_OUT, MPS_HOOK_SKB_EGRESS, is_mptcp, 0);
	}
	return 1;
}

/* What reached a listener: a SYN, the third ACK, or the RST that ends a half-open handshake. */
static __always_inline void mps_on_listener_packet(const struct mps_packet *p, struct sock *sk, __u32 flags,
						   _Bool is_mptcp)
{
	_Bool offers = p->option == MPS_OPTION_MP_CAPABLE, joins = p->option == MPS_OPTION_MP_JOIN;

	if (flags & TCP_FLAG_RST) {
		if (is_mptcp || config.all_tcp || mps_offered_to(&p->t))
			mps_send_packet(p, sk, MPS_RESET_IN, MPS_HOOK_SKB_INGRESS, is_mptcp, 1);
	} else if ((flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN) {
		if (!is_mptcp && (offers || joins))
			mps_remember_offer(&p->t, (__u64)sk, MPS_HOOK_SKB_INGRESS);
		else if (!is_mptcp && any_offered)
			bpf_map_delete_elem(&offered, &p->t); /* the same ends, begun anew */
		if (joins && is_mptcp) {
			/* subflow_check_req() comes next: it may refuse, and counts why. */
			any_join_received = 1;
			mps_mark(sk, MPS_MARK_SOFTIRQ);
		}
		if (is_mptcp || offers || joins || config.all_tcp)
			mps_send_packet(p, sk, MPS_SYN_IN, MPS_HOOK_SKB_INGRESS, is_mptcp, 1);
	} else if (flags == TCP_FLAG_ACK) {
		if (is_mptcp || config.all_tcp || mps_offered_to(&p->t))
			mps_send_packet(p, sk, MPS_ACK_IN, MPS_HOOK_SKB_INGRESS, is_mptcp, 1);
	}
}

/* A packet of a handshake has come; the socket is the one that TCP looked up. */
static __always_inline int mps_on_packet_in(struct __sk_buff *skb)
{
	struct mps_options options = {};
	struct mps_place place = {};
	struct mps_packet p = {};
	struct tcp_sock *tp;
	struct bpf_sock *full;
	_Bool is_mptcp, joins;
	struct sock *sk;
	__u8 state;

	if (!mps_find_tcp(skb, &place))
		return 1;
	if (!(place.flags & (TCP_FLAG_SYN | TCP_FLAG_RST))) {
		/* A bare ACK to a listener is the third of a handshake: told under --steps. */
		full = skb->sk;
		if (!full)
			return 1;
		if (full->state != TCP_LISTEN)
			return place.length > 12 && (any_joining || !mps_only_dss(skb, &place)) ?
				       mps_on_open_packet(skb, 0) : 1;
		if (!config.steps || place.flags != TCP_FLAG_ACK)
			return 1;
	}
	tp = mps_skb_tcp(skb);
	if (!tp)
		return 1;
	sk = &tp->inet_conn.icsk_inet.sk;
	state = sk->__sk_common.skc_state;
	is_mptcp = tp->is_mptcp;
	if (!(place.flags & TCP_FLAG_RST) && state != TCP_LISTEN && state != TCP_SYN_SENT)
		return 1;
	if (!mps_read_packet(skb, &place, &p, &options, 0))
		return 1;
	mps_parse_option(&p, &options);
	joins = p.option == MPS_OPTION_MP_JOIN;
	p.t.netns = sk->__sk_common.skc_net.net->ns.inum;
	if (state == TCP_LISTEN) {
		if (joins || (place.flags & TCP_FLAG_RST && any_join_received)
			    ? mps_join_wanted(&p.t) : mps_wanted(&p.t, MPS_SIDE_SERVER))
			mps_on_listener_packet(&p, sk, place.flags, is_mptcp);
	} else if (place.flags & TCP_FLAG_RST) {
		/* tcp_reset() is next, and does not say what the RST carried. */
		mps_cloned_here()->reset = is_mptcp && p.option == MPS_OPTION_TCPRST ? (__u64)sk : 0;
		mps_cloned_here()->reset_reason = p.flags;
	} else if ((place.flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == (TCP_FLAG_SYN | TCP_FLAG_ACK) &&
		   (is_mptcp || config.all_tcp)) {
		__u64 key = (__u64)sk;

		if (is_mptcp && mps_is_joining(key)) {
			if (!mps_join_wanted(&p.t))
				return 1;
			/* subflow_finish_connect() may refuse it, and counts why. */
			mps_mark(sk, key);
		} else if (!mps_wanted(&p.t, MPS_SIDE_CLIENT)) {
			return 1;
		}
		mps_send_packet(&p, sk, MPS_SYNACK_IN, MPS_HOOK_SKB_INGRESS, is_mptcp, 0);
	}
	return 1;
}

#endif
