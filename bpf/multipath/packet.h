/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* packet.h - the ends, flags and MPTCP option of a packet that a function was called with. */
#ifndef MPSCOPE_MULTIPATH_PACKET_H
#define MPSCOPE_MULTIPATH_PACKET_H

#include "follow.h"

#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_ACK 0x10
#define TCPOPT_MPTCP 30

struct mps_packet {
	__u8 flags;
	__u8 option;  /* MPS_OPTION_* */
	__u8 version; /* of MP_CAPABLE; 0xff: unknown */
	__u8 option_flags;
	__u8 address_id; /* 0xff: none */
	__u32 token;	 /* of a SYN with MP_JOIN */
};

/* As a packet from the socket's peer has it. */
static __always_inline void mps_tuple_of_socket(struct mps_tuple *t, struct sock *sk)
{
	mps_read_addresses(t->local, t->remote, sk);
	t->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	t->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
}

/* A packet that came: its sender is remote. False: it can't be read. */
static __always_inline _Bool mps_tuple_of_skb(struct mps_tuple *t, struct sk_buff *skb)
{
	unsigned char *head = BPF_CORE_READ(skb, head);
	unsigned char *ip = head + BPF_CORE_READ(skb, network_header);
	unsigned char *tcp = head + BPF_CORE_READ(skb, transport_header);
	__be16 ports[2];
	__be32 v4[2];
	__u8 first;

	if (bpf_probe_read_kernel(&first, 1, ip) || bpf_probe_read_kernel(ports, sizeof(ports), tcp))
		return 0;
	if (first >> 4 == 6) {
		if (bpf_probe_read_kernel(t->remote, 16, ip + 8) || bpf_probe_read_kernel(t->local, 16, ip + 24))
			return 0;
	} else {
		if (bpf_probe_read_kernel(v4, sizeof(v4), ip + 12))
			return 0;
		mps_v4_mapped(t->remote, v4[0]);
		mps_v4_mapped(t->local, v4[1]);
	}
	t->remote_port = bpf_ntohs(ports[0]);
	t->local_port = bpf_ntohs(ports[1]);
	return 1;
}

/* The MPTCP option that was found at `o`, as far as a handshake's tells anything. */
static __always_inline void mps_read_option(struct mps_packet *p, const unsigned char *at)
{
	__u8 o[8];

	if (bpf_probe_read_kernel(o, sizeof(o), at) || o[1] < 3)
		return;
	p->option = o[2] >> 4;
	if (p->option == MPS_OPTION_MP_CAPABLE) {
		p->version = o[2] & 0xf;
		p->option_flags = o[3];
	} else if (p->option == MPS_OPTION_MP_JOIN) {
		p->option_flags = o[2] & 0xf;
		/* The third ACK has neither id nor token. */
		if (o[1] != 24)
			p->address_id = o[3];
		if (o[1] == 12)
			p->token = (__u32)o[4] << 24 | (__u32)o[5] << 16 | (__u32)o[6] << 8 | o[7];
	}
}

/* Options that are looked at; a SYN has some six. With more before it, MPTCP's is not found. */
#define MPS_OPTIONS 16

/* What the packet's TCP header tells. */
static __always_inline void mps_read_packet(struct mps_packet *p, struct sk_buff *skb)
{
	unsigned char *tcp = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header);
	__u8 offset_flags[2], option[2];
	__u32 at = 20, end, found = 0;

	p->flags = 0;
	p->option = MPS_OPTION_UNKNOWN;
	p->version = 0xff;
	p->option_flags = 0;
	p->address_id = 0xff;
	p->token = 0;
	if (bpf_probe_read_kernel(offset_flags, sizeof(offset_flags), tcp + 12))
		return;
	p->flags = offset_flags[1];
	end = (offset_flags[0] >> 4) * 4;
#pragma unroll
	for (int i = 0; i < MPS_OPTIONS; i++) {
		if (!found && at < end) {
			option[0] = 0;
			option[1] = 0;
			bpf_probe_read_kernel(option, sizeof(option), tcp + at);
			if (option[0] == TCPOPT_MPTCP)
				found = at;
			else if (option[0] == 0)
				at = end;
			else if (option[0] == 1)
				at += 1;
			else
				at = option[1] < 2 ? end : at + option[1];
		}
	}
	if (found)
		mps_read_option(p, tcp + found);
	else if (at >= end)
		p->option = MPS_OPTION_NONE;
}

static __always_inline void mps_fill_packet(struct mps_event *e, const struct mps_packet *p)
{
	e->flags |= MPS_F_PACKET;
	e->option = p->option;
	e->mptcp_version = p->version;
	e->option_flags = p->option == MPS_OPTION_MP_JOIN ? p->option_flags & 1 : p->option_flags;
	e->remote_id = p->address_id;
	if (p->option == MPS_OPTION_MP_JOIN)
		e->remote_token = p->token;
}

static __always_inline void mps_fill_tuple(struct mps_event *e, const struct mps_tuple *t)
{
	__builtin_memcpy(e->local, t->local, 16);
	__builtin_memcpy(e->remote, t->remote, 16);
	e->local_port = t->local_port;
	e->remote_port = t->remote_port;
}

#endif
