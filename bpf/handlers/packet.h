/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * packet.h - the packets of a handshake: after netfilter both on the way in (as TCP sees them)
 * and on the way out (as they leave). Everything else of a connection returns after one
 * comparison. SYN-ACKs with a SYN cookie belong to no socket and are not seen.
 */
#ifndef MPSCOPE_HANDLERS_PACKET_H
#define MPSCOPE_HANDLERS_PACKET_H

#include "follow.h"

#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_ACK 0x10
#define TCPOPT_MPTCP 30

struct mps_packet {
	struct mps_tuple t;
	__u8 option;
	__u8 version;
	__u8 flags;
	__u8 address_id;
	__u32 token;
};

/* The options of a TCP header, and as many zeros as reading behind the last one needs. */
struct mps_options {
	__u8 bytes[64];
} __attribute__((aligned(8)));

/* Keeps the compiler from proving, and so removing, a bound that the verifier can't see. */
#define mps_opaque(variable) asm volatile("" : "+r"(variable))

/*
 * The MPTCP option among `options` (RFC 8684, sections 3.1 and 3.2); zeros end them. A copy,
 * because the verifier follows a place in a packet through each combination of options, but
 * forgets what a place in a copy was once it is masked.
 */
static __always_inline void mps_parse_option(struct mps_packet *p, const struct mps_options *options)
{
	const __u8 *o = options->bytes;
	__u32 at = 0;

	p->option = MPS_OPTION_NONE;
	p->version = 0xff;
	for (int i = 0; i < 40; i++) {
		__u32 kind, size;

		mps_opaque(at);
		at &= 63;
		if (at > 36)
			return;
		kind = o[at];
		if (kind == 0)
			return;
		if (kind == TCPOPT_MPTCP)
			break;
		size = kind == 1 ? 1 : o[at + 1];
		if (size < 2 && kind != 1)
			return;
		at += size;
	}
	mps_opaque(at);
	at &= 63;
	if (at > 36 || o[at] != TCPOPT_MPTCP || o[at + 1] < 3)
		return;
	p->option = o[at + 2] >> 4;
	p->flags = o[at + 3];
	if (p->option == MPS_OPTION_MP_CAPABLE) {
		p->version = o[at + 2] & 0xf;
	} else if (p->option == MPS_OPTION_MP_JOIN) {
		p->flags = o[at + 2] & 0xf;
		p->address_id = o[at + 3];
		if (o[at + 1] == 12)
			p->token = (__u32)o[at + 4] << 24 | (__u32)o[at + 5] << 16 |
				   (__u32)o[at + 6] << 8 | o[at + 7];
	}
}

/*
 * Whether the packet is one of a handshake: returns its TCP flags and fills `p`, or 0.
 * `third_ack`: whether a bare ACK is of interest (only to a listener).
 */
static __always_inline __u32 mps_parse_packet(struct __sk_buff *skb, struct mps_packet *p, _Bool egress,
					      _Bool third_ack)
{
	const __u8 *data = (const __u8 *)(long)skb->data;
	struct mps_options options = {};
	const void *end = (const void *)(long)skb->data_end;
	__u8 *from = egress ? p->t.local : p->t.remote, *to = egress ? p->t.remote : p->t.local;
	__u32 flags, offset, length, kind;
	const __u8 *tcp;

	if ((const void *)(data + 40) > end)
		return 0;
	if (data[0] >> 4 == 4) {
		if (data[9] != IPPROTO_TCP)
			return 0;
		offset = (data[0] & 0xf) * 4;
		if (offset < 20)
			return 0;
	} else {
		/* A SYN behind extension headers is not looked for. */
		if (data[6] != IPPROTO_TCP)
			return 0;
		offset = 40;
	}
	tcp = data + offset;
	if ((const void *)(tcp + 20) > end)
		return 0;
	flags = tcp[13] & (TCP_FLAG_SYN | TCP_FLAG_RST | TCP_FLAG_ACK | TCP_FLAG_FIN);
	kind = flags & (TCP_FLAG_SYN | TCP_FLAG_RST);
	if (kind != TCP_FLAG_SYN && !(third_ack && flags == TCP_FLAG_ACK))
		return 0;
	if (offset == 40 && data[0] >> 4 == 6) {
		__builtin_memcpy(from, data + 8, 16);
		__builtin_memcpy(to, data + 24, 16);
	} else {
		mps_v4_mapped(from, *(const __be32 *)(data + 12));
		mps_v4_mapped(to, *(const __be32 *)(data + 16));
	}
	p->t.local_port = bpf_ntohs(*(const __be16 *)(tcp + (egress ? 0 : 2)));
	p->t.remote_port = bpf_ntohs(*(const __be16 *)(tcp + (egress ? 2 : 0)));
	length = (tcp[12] >> 4) * 4;
	length = length < 20 ? 0 : length - 20;
	p->address_id = 0xff;
	p->token = 0;
	p->flags = 0;
	/* Where the verifier forgot its bound; it wants one that is plain to see. */
	mps_opaque(length);
	length &= 63;
	if (length && bpf_skb_load_bytes(skb, offset + 20, options.bytes, length))
		return 0;
	mps_parse_option(p, &options);
	return flags;
}

static __always_inline void mps_send_packet(const struct mps_packet *p, struct sock *sk, __u32 kind,
					    __u32 hook, _Bool is_mptcp, _Bool listener)
{
	struct mps_event *e = mps_reserve(sizeof(*e), kind, hook);

	if (!e)
		return;
	mps_fill_tuple(e, &p->t);
	e->flags = MPS_F_PACKET | (is_mptcp ? MPS_F_MPTCP : 0);
	e->option = p->option;
	e->mptcp_version = p->version;
	e->option_flags = p->flags;
	if (p->option == MPS_OPTION_MP_JOIN) {
		e->remote_id = p->address_id;
		e->remote_token = p->token;
	}
	if (listener)
		e->listener = (__u64)sk;
	else
		e->ssk = (__u64)sk;
	e->cookie = sk->__sk_common.skc_cookie.counter;
	mps_submit(e);
}

/* A SYN or SYN-ACK leaves. For a SYN-ACK the kernel shows us the listener. */
static __always_inline int mps_on_packet_out(struct __sk_buff *skb)
{
	struct mps_packet p = {};
	struct tcp_sock *tp;
	_Bool is_mptcp, synack;
	struct sock *sk;
	__u32 flags;

	flags = mps_parse_packet(skb, &p, 1, 0);
	if (!flags)
		return 1;
	synack = flags & TCP_FLAG_ACK;
	if (!synack && !config.steps)
		return 1;
	tp = mps_skb_tcp(skb);
	if (!tp)
		return 1;
	sk = &tp->inet_conn.icsk_inet.sk;
	is_mptcp = tp->is_mptcp;
	p.t.netns = sk->__sk_common.skc_net.net->ns.inum;
	if (!mps_wanted(&p.t, synack ? MPS_SIDE_SERVER : MPS_SIDE_CLIENT))
		return 1;
	if (synack) {
		if (is_mptcp || config.all_tcp || mps_offered_to(&p.t))
			mps_send_packet(&p, sk, MPS_SYNACK_OUT, MPS_HOOK_SKB_EGRESS, is_mptcp, 1);
	} else if (is_mptcp || config.all_tcp) {
		mps_send_packet(&p, sk, MPS_SYN_OUT, MPS_HOOK_SKB_EGRESS, is_mptcp, 0);
	}
	return 1;
}

/* A SYN, SYN-ACK or third ACK has come; the socket is the one that TCP looked up. */
static __always_inline int mps_on_packet_in(struct __sk_buff *skb)
{
	struct mps_packet p = {};
	struct tcp_sock *tp;
	struct bpf_sock *full;
	_Bool is_mptcp, bare;
	struct sock *sk;
	__u32 flags;
	__u8 state;

	/* Only under --steps, a bare ACK to a listener is looked at. */
	bare = 0;
	if (config.steps) {
		full = skb->sk;
		bare = full && full->state == TCP_LISTEN;
	}
	flags = mps_parse_packet(skb, &p, 0, bare);
	if (!flags)
		return 1;
	tp = mps_skb_tcp(skb);
	if (!tp)
		return 1;
	sk = &tp->inet_conn.icsk_inet.sk;
	state = sk->__sk_common.skc_state;
	if (state != TCP_LISTEN && state != TCP_SYN_SENT)
		return 1;
	is_mptcp = tp->is_mptcp;
	p.t.netns = sk->__sk_common.skc_net.net->ns.inum;
	if (!mps_wanted(&p.t, state == TCP_LISTEN ? MPS_SIDE_SERVER : MPS_SIDE_CLIENT))
		return 1;
	if (state == TCP_SYN_SENT) {
		if ((flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == (TCP_FLAG_SYN | TCP_FLAG_ACK) &&
		    (is_mptcp || config.all_tcp))
			mps_send_packet(&p, sk, MPS_SYNACK_IN, MPS_HOOK_SKB_INGRESS, is_mptcp, 0);
		return 1;
	}
	if ((flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN) {
		_Bool offers = p.option == MPS_OPTION_MP_CAPABLE;

		if (!is_mptcp && offers)
			mps_remember_offer(&p.t, (__u64)sk, MPS_HOOK_SKB_INGRESS);
		else if (!is_mptcp && any_offered)
			bpf_map_delete_elem(&offered, &p.t); /* the same ends, begun anew */
		if (is_mptcp || offers || config.all_tcp)
			mps_send_packet(&p, sk, MPS_SYN_IN, MPS_HOOK_SKB_INGRESS, is_mptcp, 1);
	} else if (flags == TCP_FLAG_ACK) {
		if (is_mptcp || config.all_tcp || mps_offered_to(&p.t))
			mps_send_packet(&p, sk, MPS_ACK_IN, MPS_HOOK_SKB_INGRESS, is_mptcp, 1);
	}
	return 1;
}

#endif
