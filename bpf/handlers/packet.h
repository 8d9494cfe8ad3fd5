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

/* Where the parts of a packet are. */
struct mps_place {
	__u32 flags;  /* TCP's */
	__u32 tcp;    /* of the TCP header */
	__u32 length; /* of its options */
	_Bool v6;
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
 * forgets what a place in a copy was once it is masked. Global: the verifier goes through it by
 * itself, not once for each way to it.
 */
__noinline int mps_parse_option(struct mps_packet *p, const struct mps_options *options)
{
	const __u8 *o;
	__u32 at = 0;

	if (!p || !options)
		return 0;
	o = options->bytes;
	p->option = MPS_OPTION_NONE;
	p->version = 0xff;
	for (int i = 0; i < 40; i++) {
		__u32 kind, size;

		mps_opaque(at);
		at &= 63;
		if (at > 36)
			return 0;
		kind = o[at];
		if (kind == 0)
			return 0;
		if (kind == TCPOPT_MPTCP)
			break;
		size = kind == 1 ? 1 : o[at + 1];
		if (size < 2 && kind != 1)
			return 0;
		at += size;
	}
	mps_opaque(at);
	at &= 63;
	if (at > 36 || o[at] != TCPOPT_MPTCP || o[at + 1] < 3)
		return 0;
	p->option = o[at + 2] >> 4;
	p->flags = o[at + 3];
	if (p->option == MPS_OPTION_MP_CAPABLE) {
		p->version = o[at + 2] & 0xf;
	} else if (p->option == MPS_OPTION_TCPRST) {
		p->flags = o[at + 3];
	} else if (p->option == MPS_OPTION_MP_JOIN) {
		p->flags = o[at + 2] & 0xf;
		/* The third ACK has none. */
		if (o[at + 1] != 24)
			p->address_id = o[at + 3];
		if (o[at + 1] == 12)
			p->token = (__u32)o[at + 4] << 24 | (__u32)o[at + 5] << 16 |
				   (__u32)o[at + 6] << 8 | o[at + 7];
	}
	return 0;
}

/*
 * The MPTCP options of an open connection's packet (RFC 8684, sections 3.3 to 3.7): bit 0: a DSS,
 * bit 1: MP_FAIL;
 * bits 8 to 15 and 16 to 23: where ADD_ADDR and RM_ADDR begin, and one; 0: there is none.
 */
__noinline __u32 mps_signals(const struct mps_options *options)
{
	__u32 at = 0, dss = 0, add_addr = 0, rm_addr = 0;
	const __u8 *o;

	if (!options)
		return 0;
	o = options->bytes;
	for (int i = 0; i < 40; i++) {
		__u32 kind, size, subtype;

		/* Values that the verifier can't tell apart: it then takes each round but once. */
		mps_opaque(at);
		mps_opaque(dss);
		mps_opaque(add_addr);
		mps_opaque(rm_addr);
		at &= 63;
		if (at > 36)
			break;
		kind = o[at];
		if (kind == 0)
			break;
		size = kind == 1 ? 1 : o[at + 1];
		if (size < 2 && kind != 1)
			break;
		subtype = kind == TCPOPT_MPTCP && size > 2 ? o[at + 2] >> 4 : 0xff;
		dss = subtype == MPS_OPTION_DSS ? dss | 1 : subtype == MPS_OPTION_MP_FAIL ? dss | 2 : dss;
		add_addr = subtype == MPS_OPTION_ADD_ADDR ? at + 1 : add_addr;
		rm_addr = subtype == MPS_OPTION_RM_ADDR ? at + 1 : rm_addr;
		at += size;
	}
	return dss | add_addr << 8 | rm_addr << 16;
}

/* Finds the TCP header; false if there is none (a SYN behind extension headers is not looked for). */
static __always_inline _Bool mps_find_tcp(struct __sk_buff *skb, struct mps_place *place)
{
	const __u8 *data = (const __u8 *)(long)skb->data;
	const void *end = (const void *)(long)skb->data_end;
	const __u8 *tcp;

	if ((const void *)(data + 40) > end)
		return 0;
	place->v6 = data[0] >> 4 != 4;
	if (!place->v6) {
		if (data[9] != IPPROTO_TCP)
			return 0;
		place->tcp = (data[0] & 0xf) * 4;
		if (place->tcp < 20)
			return 0;
	} else {
		if (data[6] != IPPROTO_TCP)
			return 0;
		place->tcp = 40;
	}
	tcp = data + place->tcp;
	if ((const void *)(tcp + 20) > end)
		return 0;
	place->flags = tcp[13] & (TCP_FLAG_SYN | TCP_FLAG_RST | TCP_FLAG_ACK | TCP_FLAG_FIN);
	place->length = (tcp[12] >> 4) * 4;
	place->length = place->length < 20 ? 0 : place->length - 20;
	return 1;
}

/* Whether the options are timestamps and one DSS, as those of nearly every packet of MPTCP's are. */
static __always_inline _Bool mps_only_dss(struct __sk_buff *skb, const struct mps_place *place)
{
	const __u8 *data = (const __u8 *)(long)skb->data;
	const void *end = (const void *)(long)skb->data_end;
	const __u8 *option = data + place->tcp + 32;

	if ((const void *)(option + 4) > end)
		return 0;
	return option[0] == TCPOPT_MPTCP && option[2] >> 4 == MPS_OPTION_DSS &&
	       option[1] + 12 + 3 >= place->length;
}

/* The ends of the packet, and a copy of its options; false if it is cut. */
static __always_inline _Bool mps_read_packet(struct __sk_buff *skb, const struct mps_place *place,
					     struct mps_packet *p, struct mps_options *options, _Bool egress)
{
	const __u8 *data = (const __u8 *)(long)skb->data;
	const void *end = (const void *)(long)skb->data_end;
	__u8 *from = egress ? p->t.local : p->t.remote, *to = egress ? p->t.remote : p->t.local;
	__u32 length = place->length, offset = place->tcp;
	const __u8 *tcp = data + offset;

	if ((const void *)(data + 40) > end || (const void *)(tcp + 20) > end)
		return 0;
	if (place->v6) {
		__builtin_memcpy(from, data + 8, 16);
		__builtin_memcpy(to, data + 24, 16);
	} else {
		mps_v4_mapped(from, *(const __be32 *)(data + 12));
		mps_v4_mapped(to, *(const __be32 *)(data + 16));
	}
	p->t.local_port = bpf_ntohs(*(const __be16 *)(tcp + (egress ? 0 : 2)));
	p->t.remote_port = bpf_ntohs(*(const __be16 *)(tcp + (egress ? 2 : 0)));
	p->address_id = 0xff;
	/* Where the verifier forgot its bound; it wants one that is plain to see. */
	mps_opaque(length);
	length &= 63;
	return !length || !bpf_skb_load_bytes(skb, offset + 20, options->bytes, length);
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
	} else if (p->option == MPS_OPTION_TCPRST) {
		e->flags |= MPS_F_RESET_REASON;
		e->reset_reason = p->flags;
	}
	if (listener) {
		e->listener = (__u64)sk;
		if (kind == MPS_SYN_IN)
			e->retransmits = mps_synack_retries(sk);
	} else {
		e->ssk = (__u64)sk;
	}
	e->cookie = sk->__sk_common.skc_cookie.counter;
	mps_submit(e);
}

/* An address as an option has it; of RM_ADDR the id only. */
struct mps_signal {
	__u64 ssk;
	__u8 address[16];
	__u32 token; /* of the connection at this end */
	__u32 hook;
	__u16 port;
	__u8 option; /* MPS_OPTION_ADD_ADDR or _RM_ADDR */
	__u8 id;
	__u32 unused;
};

__noinline int mps_send_signal(const struct mps_tuple *t, const struct mps_signal *signal)
{
	struct mps_event *e;

	if (!t || !signal)
		return 0;
	e = mps_reserve(sizeof(*e), MPS_ADDRESS, signal->hook);
	if (!e)
		return 0;
	mps_fill_tuple(e, t);
	e->hook = signal->hook;
	e->flags = MPS_F_PACKET | MPS_F_MPTCP;
	e->option = signal->option;
	e->ssk = signal->ssk;
	e->token = signal->token;
	e->remote_id = signal->id;
	e->remote_port = signal->port;
	__builtin_memcpy(e->remote, signal->address, 16);
	mps_submit(e);
	return 0;
}

/* ADD_ADDR that is no echo, and RM_ADDR (RFC 8684, sections 3.4.1 and 3.4.2). */
static __always_inline void mps_send_signals(const struct mps_packet *p, const struct mps_options *options,
					     __u32 signals, struct sock *ssk, __u32 hook)
{
	__u32 add_addr = signals >> 8 & 0xff, rm_addr = signals >> 16 & 0xff;
	struct mptcp_subflow_context *context = mps_context(ssk);
	struct mps_signal signal = { .ssk = (__u64)ssk, .hook = hook };
	const __u8 *o = options->bytes;
	__u32 at, size;

	if (context)
		signal.token = BPF_CORE_READ(context, token);
	at = add_addr ? add_addr - 1 : 63;
	mps_opaque(at);
	at &= 63;
	/* Without the echo flag there is an HMAC of 8 bytes at the end; none fits further back. */
	if (at <= 22 && !(o[at + 2] & 1)) {
		size = o[at + 1];
		signal.option = MPS_OPTION_ADD_ADDR;
		signal.id = o[at + 3];
		if (size == 16 || size == 18) {
			mps_v4_mapped(signal.address, (__be32)(o[at + 4] | o[at + 5] << 8 | o[at + 6] << 16 |
							       (__u32)o[at + 7] << 24));
			signal.port = size == 18 ? o[at + 8] << 8 | o[at + 9] : 0;
			mps_send_signal(&p->t, &signal);
		} else if (size == 28 || size == 30) {
			for (int i = 0; i < 16; i++)
				signal.address[i] = o[at + 4 + i];
			signal.port = size == 30 ? o[at + 20] << 8 | o[at + 21] : 0;
			mps_send_signal(&p->t, &signal);
		}
	}
	at = rm_addr ? rm_addr - 1 : 63;
	mps_opaque(at);
	at &= 63;
	if (at > 36)
		return;
	size = o[at + 1];
	signal.option = MPS_OPTION_RM_ADDR;
	signal.port = 0;
	__builtin_memset(signal.address, 0, 16);
	for (__u32 i = 3; i < 11; i++) {
		if (i >= size)
			return;
		signal.id = o[at + i];
		mps_send_signal(&p->t, &signal);
	}
}

/* The peer got data with a wrong checksum: the fallback that follows is for that. */
static __noinline int mps_remember_fail(struct sock *ssk)
{
	struct mptcp_subflow_context *context = mps_context(ssk);
	__u64 key = context ? (__u64)BPF_CORE_READ(context, conn) : 0;
	__u8 why = MPS_MAPPING_MP_FAIL;

	any_fallen = 1;
	bpf_map_update_elem(&fallen, &key, &why, BPF_NOEXIST);
	return 0;
}

/*
 * A packet of an open connection that carries more than timestamps and a DSS, or that is the
 * first DSS on a subflow of ours that joins.
 */
__noinline int mps_on_open_packet(struct __sk_buff *skb, __u32 egress)
{
	struct mps_options options = {};
	struct mps_place place = {};
	struct mps_packet p = {};
	struct tcp_sock *tp;
	struct sock *sk;
	_Bool is_joining;
	__u32 signals;
	__u64 key;

	tp = mps_skb_tcp(skb);
	if (!tp || !tp->is_mptcp)
		return 1;
	sk = &tp->inet_conn.icsk_inet.sk;
	key = (__u64)sk;
	is_joining = !egress && mps_is_joining(key);
	if (!mps_find_tcp(skb, &place))
		return 1;
	if (!is_joining && mps_only_dss(skb, &place))
		return 1;
	if (!mps_read_packet(skb, &place, &p, &options, egress))
		return 1;
	signals = mps_signals(&options);
	p.t.netns = sk->__sk_common.skc_net.net->ns.inum;
	if (!mps_join_wanted(&p.t))
		return 1;
	if (is_joining && signals & 1) {
		bpf_map_delete_elem(&joining, &key);
		p.option = MPS_OPTION_DSS;
		p.version = 0xff;
		mps_send_packet(&p, sk, MPS_JOIN_CONFIRMED, MPS_HOOK_SKB_INGRESS, 1, 0);
	}
	if (signals & 2 && !egress)
		mps_remember_fail(sk);
	if (signals & ~3u)
		mps_send_signals(&p, &options, signals, sk, egress ? MPS_HOOK_SKB_EGRESS : MPS_HOOK_SKB_INGRESS);
	return 1;
}

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
