/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * multipath.h - the kernel's own types, as far as mpscope reads them, of the out-of-tree stack
 * (multipath-tcp.org, v0.90 to v0.96, kernels 3.x to 5.4), kept by hand. Only names matter: libbpf finds the
 * true offsets in the BTF that belongs to the kernel (CO-RE).
 *
 * Every difference between its versions that a handler must know stands here.
 */
#ifndef MPSCOPE_KERNEL_MULTIPATH_H
#define MPSCOPE_KERNEL_MULTIPATH_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#define AF_INET 2
#define AF_INET6 10

/* include/net/tcp_states.h */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_CLOSE = 7,
	TCP_LISTEN = 10,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct netns_ipv4 {
	int sysctl_tcp_synack_retries; /* 4.5 */
};

struct net {
	struct ns_common ns;
	struct netns_ipv4 ipv4;
};

struct sk_buff {
	unsigned char *head;
	__u16 transport_header;
	__u16 network_header;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

typedef struct {
	long long counter;
} atomic64_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
	unsigned long skc_flags; /* enum sock_flags */
};

struct socket;

struct sock {
	struct sock_common __sk_common;
	unsigned int sk_kern_sock : 1; /* made by the kernel for itself; 4.2 */
	int sk_err;
	struct socket *sk_socket;
};

struct inode {
	unsigned long i_ino;
};

struct socket {
	struct sock *sk;
};

struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
};

struct mptcp_tcp_sock {
	__u16 slave_sk : 1,	/* an additional subflow */
	      fully_established : 1,
	      pre_established : 1; /* between the third ACK of a join and the fourth */
	__u8 loc_id;
	__u8 rem_id;
};

struct mptcp_cb {
	__u16 dss_csum : 1,
	      server_side : 1,
	      infinite_mapping_rcv : 1,
	      infinite_mapping_snd : 1;
	__u32 mptcp_loc_token; /* the first 4 bytes of the key's hash, as they stand in a packet */
	__u32 mptcp_rem_token;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 total_retrans;
	__u32 request_mptcp : 1, /* the SYN asks for MP_CAPABLE */
	      mpc : 1,		 /* MPTCP was agreed */
	      mptcp_ver : 4;	 /* v0.91 */
	struct mptcp_cb *mpcb;
	struct sock *meta_sk;
	struct mptcp_tcp_sock *mptcp; /* of the meta socket: NULL */
	__u32 mptcp_loc_token; /* stale after a fallback */
};

struct request_sock {
	struct sock_common __req_common;
	struct sock *rsk_listener; /* 4.4 */
};

struct inet_request_sock {
	struct request_sock req;
	__u16 mptcp_rqsk : 1, /* MPTCP answers it */
	      saw_mpc : 1;
};

struct tcp_request_sock {
	struct inet_request_sock req;
};

struct mptcp_request_sock {
	struct tcp_request_sock req;
	union {
		struct {
			__u32 mptcp_loc_token;
		};
	};
	__u8 loc_id;
	__u8 rem_id;
	__u8 is_sub : 1; /* of a join */
};

/* Before 5.5: the inode number and its generation. */
union kernfs_node_id {
	__u64 id;
};

struct kernfs_node {
	union kernfs_node_id id; /* 4.14 */
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp; /* of cgroup v2 */
};

struct task_struct {
	struct css_set *cgroups;
};

#pragma clang attribute pop

/* include/net/sock.h: the stack adds one. */
enum sock_flags {
	SOCK_MPTCP = 26,
};

/* Where the switch of a single socket is, by name; bit 26 on v0.95. */
static __always_inline __u32 mps_mptcp_flag(void)
{
	return bpf_core_enum_value_exists(enum sock_flags, SOCK_MPTCP) ?
		       bpf_core_enum_value(enum sock_flags, SOCK_MPTCP) : 26;
}

/* The running process's cgroup v2, as bpf_get_current_cgroup_id() (4.18) tells it; 0: not known. */
static __always_inline __u64 mps_current_cgroup(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct kernfs_node *node = 0;
	struct cgroup *cgroup;
	struct css_set *set;

	if (!bpf_core_field_exists(task->cgroups) || !bpf_core_field_exists(node->id.id))
		return 0;
	set = BPF_CORE_READ(task, cgroups);
	cgroup = BPF_CORE_READ(set, dfl_cgrp);
	node = BPF_CORE_READ(cgroup, kn);
	return BPF_CORE_READ(node, id.id);
}

/* The socket was made while the switch was on, or asked for MPTCP itself. */
static __always_inline _Bool mps_is_enabled(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_flags) >> (mps_mptcp_flag() & 63) & 1;
}

/* Not an application's: the path manager's, for a join. */
static __always_inline _Bool mps_is_kernels(struct sock *sk)
{
	return bpf_core_field_exists(sk->sk_kern_sock) && BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock);
}

static __always_inline __u8 mps_state(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_state);
}

/*
 * How often the kernel sends a SYN-ACK again before it lets a half-open handshake go. Before 4.5 the
 * setting is global: then what it is unless somebody changed it.
 */
static __always_inline __u8 mps_synack_retries(struct sock *sk)
{
	struct net *net = BPF_CORE_READ(sk, __sk_common.skc_net.net);

	return bpf_core_field_exists(net->ipv4.sysctl_tcp_synack_retries) ?
		       BPF_CORE_READ(net, ipv4.sysctl_tcp_synack_retries) : 5;
}

#endif
