/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* options.h - from a packet's bytes to its ends, flags and MPTCP options, and from these to an event. */
#ifndef MPSCOPE_HANDLERS_OPTIONS_H
#define MPSCOPE_HANDLERS_OPTIONS_H

#include "socket.h"

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
	/* `!length` would not teach 6.1's verifier that it is positive. */
	return length < 4 || !bpf_skb_load_bytes(skb, offset + 20, options->bytes, length);
}

/* The packet as an event: of a listener's, when the kernel shows that, else of a subflow's. */
static __always_inline void mps_tell_packet(const struct mps_packet *p, struct sock *sk, __u64 cookie, __u32 kind,
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
	e->cookie = cookie;
	mps_submit(e);
}

/* The socket is one that the verifier knows. */
static __always_inline void mps_send_packet(const struct mps_packet *p, struct sock *sk, __u32 kind,
					    __u32 hook, _Bool is_mptcp, _Bool listener)
{
	mps_tell_packet(p, sk, sk->__sk_common.skc_cookie.counter, kind, hook, is_mptcp, listener);
}

#endif
