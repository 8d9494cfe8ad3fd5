/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* skb.h - the ends and options of a packet that a function of the kernel was called with. */
#ifndef MPSCOPE_HANDLERS_SKB_H
#define MPSCOPE_HANDLERS_SKB_H

#include "options.h"

/* The ends of a packet that came: from its IP and TCP headers. */
static __always_inline _Bool mps_tuple_of_skb(struct mps_tuple *t, struct sk_buff *skb)
{
	unsigned char *head = BPF_CORE_READ(skb, head);
	__u32 network = BPF_CORE_READ(skb, network_header), transport = BPF_CORE_READ(skb, transport_header);
	__u8 ip[40] __attribute__((aligned(8)));
	__be16 ports[2];

	if (bpf_probe_read_kernel(ip, sizeof(ip), head + network) ||
	    bpf_probe_read_kernel(ports, sizeof(ports), head + transport))
		return 0;
	if (ip[0] >> 4 == 6) {
		mps_copy_address(t->remote, ip + 8);
		mps_copy_address(t->local, ip + 24);
	} else {
		mps_v4_mapped(t->remote, *(__be32 *)(ip + 12));
		mps_v4_mapped(t->local, *(__be32 *)(ip + 16));
	}
	t->remote_port = bpf_ntohs(ports[0]);
	t->local_port = bpf_ntohs(ports[1]);
	return 1;
}

/* The same, and its MPTCP option. */
static __noinline int mps_packet_of_skb(struct mps_packet *p, struct sk_buff *skb)
{
	unsigned char *tcp = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header);
	struct mps_options options = {};
	__u8 offset = 0;
	__u32 length;

	if (!mps_tuple_of_skb(&p->t, skb) || bpf_probe_read_kernel(&offset, 1, tcp + 12))
		return -1;
	p->address_id = 0xff;
	length = (offset >> 4) * 4;
	length = length < 20 ? 0 : length - 20;
	mps_opaque(length);
	length &= 63;
	if (length >= 4 && bpf_probe_read_kernel(options.bytes, length, tcp + 20))
		return -1;
	mps_parse_option(p, &options);
	return 0;
}

#endif
