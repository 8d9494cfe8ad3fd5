/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * mainline.h - the kernel's own types, as far as mpscope reads them, for mainline
 * Linux (5.6 and later), kept by hand. Only names matter: libbpf finds the true
 * offsets in the running kernel's BTF when the object is loaded (CO-RE).
 *
 * Every difference between kernel versions that a handler must know stands here,
 * once, with the version that made it.
 */
#ifndef MPSCOPE_KERNEL_MAINLINE_H
#define MPSCOPE_KERNEL_MAINLINE_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <linux/version.h>

/* Never written by kernel headers that BPF programs may include. */
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define ENOPROTOOPT 92
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd

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

struct mptcp_mib {
	unsigned long mibs[1]; /* __MPTCP_MIB_MAX of them */
};

struct netns_mib {
	struct mptcp_mib *mptcp_statistics; /* per CPU */
};

struct netns_ipv4 {
	__u8 sysctl_tcp_synack_retries; /* int before 5.12 */
};

struct ctl_table_set {
	void *is_seen;
};

struct ctl_table_header {
	struct ctl_table_set *set; /* of a network namespace's settings: its net->sysctls */
};

/* What the context of a cgroup/sysctl program is in the kernel. */
struct bpf_sysctl_kern {
	struct ctl_table_header *head;
};

struct net {
	struct ctl_table_set sysctls;
	struct ns_common ns;
	struct netns_ipv4 ipv4;
	struct netns_mib mib;
};

/* net/mptcp/mib.h: the numbers are the running kernel's, found by name. */
enum linux_mptcp_mib_field {
	MPTCP_MIB_MPCAPABLEACTIVEDISABLED, /* 6.12 */
	MPTCP_MIB_MD5SIGFALLBACK, /* 6.18 */
	MPTCP_MIB_TOKENFALLBACKINIT,
	MPTCP_MIB_JOINNOTOKEN,
	MPTCP_MIB_JOINREJECTED, /* 6.18 */
	MPTCP_MIB_JOINACKMAC,
	MPTCP_MIB_JOINSYNACKMAC,
	MPTCP_MIB_MISMATCHPORTSYNRX,
	MPTCP_MIB_MISMATCHPORTACKRX,
	/* what __mptcp_try_fallback() is called with (6.17, and stable kernels since) */
	MPTCP_MIB_MPCAPABLEACTIVEFALLBACK,
	MPTCP_MIB_MPCAPABLEACTIVEDROP,
	MPTCP_MIB_MPCAPABLEDATAFALLBACK,
	MPTCP_MIB_DSSFALLBACK,
	MPTCP_MIB_DSSCORRUPTIONFALLBACK,
	MPTCP_MIB_SIMULTCONNFALLBACK,
	MPTCP_MIB_INFINITEMAPTX,
	__MPTCP_MIB_MAX,
};

/* include/net/rstreason.h, 6.10 */
enum sk_rst_reason {
	SK_RST_REASON_MPTCP_RST_EUNSPEC,
};

struct sk_buff {
	struct sock *sk;
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
	__s64 counter;
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
};

struct socket;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol; /* a bitfield before 5.6 */
	int sk_err;
	struct socket *sk_socket;
};

struct rq {
	int cpu;
};

struct cfs_rq {
	struct rq *rq;
};

struct sched_entity {
	struct cfs_rq *cfs_rq;
};

struct nsproxy {
	struct net *net_ns;
};

struct task_struct {
	struct sched_entity se;
	struct nsproxy *nsproxy;
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
	void *icsk_ulp_data;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 total_retrans;
	_Bool is_mptcp;
};

struct rb_node;

struct rb_root {
	struct rb_node *rb_node;
};

struct mptcp_sock {
	struct inet_connection_sock sk;
	struct rb_root out_of_order_queue;
	__u32 token;
	unsigned long flags;
	_Bool can_ack; /* the peer's key is known */
	_Bool fully_established;
	_Bool csum_enabled;
	_Bool allow_infinite_fallback; /* 5.18 */
	struct sock *first;
};

struct request_sock {
	struct sock_common __req_common;
};

struct mptcp_subflow_request_sock {
	__u16 mp_capable : 1,
	      mp_join : 1,
	      backup : 1;
	__u8 local_id; /* s16 from 6.16 on */
	__u8 remote_id;
	__u32 token;
};

struct mptcp_addr_info {
	__u8 id;
	unsigned short family;
	__be16 port;
	union {
		struct in6_addr addr6; /* or an in_addr, where this begins */
	};
};

/* include/uapi/linux/mptcp.h */
enum mptcp_event_type {
	MPTCP_EVENT_ESTABLISHED = 2,
	MPTCP_EVENT_SUB_ESTABLISHED = 10,
};

/* net/mptcp/protocol.h; 6.18 wraps most of it in a struct_group, which CO-RE sees through. */
struct mptcp_subflow_context {
	__u64 remote_key;
	__u32 token;
	__u32 request_mptcp : 1,
	      request_join : 1,
	      request_bkup : 1,
	      mp_capable : 1,
	      mp_join : 1,
	      backup : 1,
	      conn_finished : 1,
	      fully_established : 1, /* a bool from 6.8 on */
	      valid_csum_seen : 1, /* 5.14 */
	      mpc_drop : 1; /* 6.12 */
	_Bool pm_listener; /* 6.2 */
	__u32 remote_token;
	__s16 local_id; /* u8 before 6.8; -1: not yet set */
	__u8 remote_id;
	__u8 reset_seen : 1,
	     reset_transient : 1,
	     reset_reason : 4; /* 5.13 */
	struct sock *tcp_sock;
	struct sock *conn;
};

#pragma clang attribute pop

/*
 * Reading field by field costs a helper call each. The parts of a socket and of a
 * subflow context that we want lie close together, so they are copied whole, and
 * fields are taken from the copy at the offsets that CO-RE found.
 */
struct mps_sock_copy {
	__u8 bytes[128]; /* sock_common up to skc_cookie: 104 on 6.18 */
} __attribute__((aligned(8)));

struct mps_context_copy {
	__u8 bytes[256]; /* mptcp_subflow_context up to conn: 232 on 6.18 */
} __attribute__((aligned(8)));

#define MPS_OFFSET(type, field) __builtin_preserve_field_info(((struct type *)0)->field, BPF_FIELD_BYTE_OFFSET)

/* The field of a copied struct, by the running kernel's offset. */
#define MPS_FROM(copy, type, field, as) (*(as *)((copy)->bytes + MPS_OFFSET(type, field)))

static __always_inline int mps_copy_sock(struct mps_sock_copy *copy, struct sock *sk)
{
	__u64 size = MPS_OFFSET(sock_common, skc_cookie) + sizeof(__u64);

	if (size > sizeof(copy->bytes))
		size = sizeof(copy->bytes);
	return bpf_probe_read_kernel(copy->bytes, size, sk);
}

static __always_inline int mps_copy_context(struct mps_context_copy *copy, const void *ctx)
{
	__u64 size = MPS_OFFSET(mptcp_subflow_context, conn) + sizeof(__u64);

	if (size > sizeof(copy->bytes))
		size = sizeof(copy->bytes);
	return bpf_probe_read_kernel(copy->bytes, size, ctx);
}

/* A bit of a copied context; 0 where the kernel has no such field. */
#define MPS_CONTEXT_BIT(copy, field)                                                       \
	(bpf_core_field_exists(((struct mptcp_subflow_context *)0)->field) ?               \
		 BPF_CORE_READ_BITFIELD((struct mptcp_subflow_context *)(copy)->bytes, field) : 0)

extern int LINUX_KERNEL_VERSION __kconfig;

/*
 * Whether the connection has fallen back: MPTCP_FALLBACK_DONE of msk->flags, a macro and so
 * not in BTF. Bit 4 on 6.1, bit 2 on 6.12 and 6.18.
 */
static __always_inline _Bool mps_has_fallen_back(unsigned long flags)
{
	return flags >> (LINUX_KERNEL_VERSION < KERNEL_VERSION(6, 2, 0) ? 4 : 2) & 1;
}

/* How many MPTcpExt counters fit a copy; 6.18 has 77. */
#define MPS_MIBS 96

/*
 * What this CPU adds to a per-CPU pointer of the kernel; 0: not to be found. The running task
 * points to its CPU's `runqueues`; `distance` bytes from there is `this_cpu_off`, which holds it
 * (both are per-CPU variables whose places BTF tells, x86 only).
 */
static __always_inline __u64 mps_this_cpu_offset(__s32 distance)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct rq *rq = BPF_CORE_READ(task, se.cfs_rq, rq);
	__u64 offset = 0;

	if (!distance || !rq || BPF_CORE_READ(rq, cpu) != (int)bpf_get_smp_processor_id())
		return 0;
	bpf_probe_read_kernel(&offset, sizeof(offset), (const void *)((__u64)rq + distance));
	return offset;
}

/* Copies a CPU's MPTcpExt counters of a namespace; false where they can't be found. */
static __always_inline _Bool mps_copy_mibs(__u64 *to, struct net *net, __u64 offset)
{
	__u64 count = bpf_core_enum_value_exists(enum linux_mptcp_mib_field, __MPTCP_MIB_MAX) ?
			      bpf_core_enum_value(enum linux_mptcp_mib_field, __MPTCP_MIB_MAX) : 0;
	__u64 mibs = (__u64)BPF_CORE_READ(net, mib.mptcp_statistics);

	if (!count || count > MPS_MIBS || !mibs || !offset)
		return 0;
	return !bpf_probe_read_kernel(to, count * sizeof(__u64), (const void *)(mibs + offset));
}

/* Where a counter stands among them; MPS_MIBS where the kernel lacks it. */
#define MPS_MIB_PLACE(name)                                                                    \
	(bpf_core_enum_value_exists(enum linux_mptcp_mib_field, name) ?                         \
		 bpf_core_enum_value(enum linux_mptcp_mib_field, name) : MPS_MIBS)

static __always_inline __u32 mps_protocol(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_protocol);
}

static __always_inline _Bool mps_is_mptcp(struct sock *sk)
{
	return BPF_CORE_READ((struct tcp_sock *)sk, is_mptcp);
}

static __always_inline __u32 mps_netns(const struct mps_sock_copy *copy)
{
	struct net *net = MPS_FROM(copy, sock_common, skc_net.net, struct net *);

	return BPF_CORE_READ(net, ns.inum);
}

/* The inode of the application's socket; 0 when there is none (yet). */
static __always_inline __u32 mps_inode(struct sock *sk)
{
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);

	if (!socket)
		return 0;
	return BPF_CORE_READ((struct socket_alloc *)socket, vfs_inode.i_ino);
}

/* The network namespace of the running process. */
static __always_inline __u32 mps_current_netns(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
}

/* How often the kernel sends a SYN-ACK again before it lets a half-open handshake go. */
static __always_inline __u8 mps_synack_retries(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ipv4.sysctl_tcp_synack_retries);
}

/*
 * The socket of a packet, if it is a whole one and TCP's; the verifier knows what it is
 * (bpf_skc_to_tcp_sock, 5.9), so that its fields are read without a helper.
 */
static __always_inline struct tcp_sock *mps_skb_tcp(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	return sk ? bpf_skc_to_tcp_sock(sk) : 0;
}

#endif
