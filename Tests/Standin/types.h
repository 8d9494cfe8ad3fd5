/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * types.h - the stand-in's own structures.
 *
 * They have the names and the fields that a kernel of the multipath-tcp.org line has (and only those
 * that somebody who watches it reads), at places of the stand-in's own: who takes an offset from
 * anywhere but from standin.btf reads nonsense. No header of the kernel is included here or by whoever
 * includes this, so that the BTF made of stack.c holds nothing but these types.
 */
#ifndef STANDIN_TYPES_H
#define STANDIN_TYPES_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef unsigned int gfp_t;
typedef _Bool bool;

#define NULL ((void *)0)
#define AF_INET 2
#define AF_INET6 10
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7
#define TCP_LISTEN 10
#define ECONNREFUSED 111
/* The bit of skc_flags that says: this socket is to speak MPTCP. */
#define SOCK_MPTCP 26

struct ns_common {
	__u64 standin_filler;
	unsigned int inum;
};

struct net {
	__u64 standin_filler[5];
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__be16 u6_addr16[8];
		__be32 u6_addr32[4];
	} in6_u;
};

struct inode {
	__u32 standin_filler[3];
	unsigned long i_ino;
};

struct socket {
	__u32 state;
	struct sock *sk;
};

/* What the kernel has for a socket of a process: the inode is what /proc/PID/fd shows. */
struct socket_alloc {
	struct socket socket;
	__u64 standin_filler[2];
	struct inode vfs_inode;
};

typedef struct {
	long long counter;
} atomic64_t;

struct sock_common {
	__u64 standin_filler[7];
	unsigned long skc_flags;
	struct in6_addr skc_v6_rcv_saddr;
	possible_net_t skc_net;
	__u16 skc_num;
	__be16 skc_dport;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	atomic64_t skc_cookie;
	__be32 skc_rcv_saddr;
	struct in6_addr skc_v6_daddr;
	__be32 skc_daddr;
};

struct sock {
	__u64 standin_filler;
	struct sock_common __sk_common;
	int sk_err;
	unsigned int sk_padding : 1, sk_kern_sock : 1, sk_no_check_tx : 1, sk_userlocks : 4;
	struct socket *sk_socket;
};

struct inet_sock {
	struct sock sk;
	__u64 standin_filler[2];
	__be16 inet_sport;
	__u16 standin_id;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	__u32 standin_filler;
	__u8 icsk_retransmits;
};

/* Of one subflow. */
struct mptcp_tcp_sock {
	struct tcp_sock *standin_next;
	__u16 fully_established : 1, attached : 1, rcv_low_prio : 1, include_mpc : 1, slave_sk : 1,
	      pre_established : 1;
	__u8 rem_id;
	__u8 path_index;
	__u8 loc_id;
};

/* Of one connection. */
struct mptcp_cb {
	__u32 standin_filler;
	__u32 mptcp_rem_token;
	struct sock *master_sk;
	__u8 standin_bit : 1, server_side : 1, infinite_mapping_snd : 1, infinite_mapping_rcv : 1,
	     dss_csum : 1;
	__u8 next_path_index;
	__u64 mptcp_loc_key;
	__u64 mptcp_rem_key;
	struct sock *meta_sk;
	__u32 mptcp_loc_token;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 standin_filler[3];
	struct mptcp_tcp_sock *mptcp;
	__u32 total_retrans;
	__u32 standin_bits : 3, inside_tk_table : 1, mptcp_ver : 4, request_mptcp : 1, is_master_sk : 1,
	      mpc : 1;
	struct sock *meta_sk;
	__u32 mptcp_loc_token;
	__u64 mptcp_loc_key;
	struct mptcp_cb *mpcb;
};

struct request_sock {
	__u32 standin_filler;
	struct sock_common __req_common;
	struct sock *rsk_listener;
	__u8 num_retrans;
};

struct inet_request_sock {
	struct request_sock req;
	__u16 standin_bits : 5, saw_mpc : 1, mptcp_rqsk : 1;
};

struct tcp_request_sock {
	struct inet_request_sock req;
	__u32 snt_isn;
};

struct mptcp_request_sock {
	struct tcp_request_sock req;
	__u8 rem_id;
	__u8 loc_id;
	__u8 standin_bit : 1, is_sub : 1, mptcp_ver : 4, dss_csum : 1;
	union {
		/* MP_CAPABLE */
		struct {
			__u64 mptcp_rem_key;
			__u64 mptcp_loc_key;
			__u32 mptcp_loc_token;
		};
		/* MP_JOIN */
		struct {
			struct mptcp_cb *mptcp_mpcb;
			__u32 mptcp_loc_nonce;
			__u32 mptcp_rem_nonce;
		};
	};
};

struct tcp_out_options {
	__u8 standin_filler[6];
	__u16 mptcp_options;
	__u64 sender_key;
	__u32 token;
};

struct mptcp_options_received {
	__u32 saw_mpc : 1, is_mp_join : 1, join_ack : 1, dss_csum : 1, hmac_is_good : 1, drop_me : 1;
	__u8 rem_id;
	__u8 mptcp_ver;
	__u64 mptcp_sender_key;
	__u32 mptcp_rem_token;
};

struct sk_buff {
	unsigned int len;
	__u64 standin_filler[4];
	__u16 transport_header;
	__u16 network_header;
	unsigned char *head;
	unsigned char *data;
};

/* Of the kernel's library. */
void *memset(void *to, int value, unsigned long size);
void *memcpy(void *to, const void *from, unsigned long size);
int strcmp(const char *one, const char *other);
int snprintf(char *to, unsigned long size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
