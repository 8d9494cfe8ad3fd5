/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stack.h - the functions that can be hooked, by the names and prototypes of the multipath-tcp.org line.
 * Each is a real function with real arguments: none is inlined, cloned or called with fewer.
 */
#ifndef STANDIN_STACK_H
#define STANDIN_STACK_H

#include "types.h"

#define HOOKABLE __attribute__((noipa))

void mptcp_enable_sock(struct sock *sk);
void mptcp_disable_sock(struct sock *sk);
int tcp_connect(struct sock *sk);
void mptcp_syn_options(const struct sock *sk, struct tcp_out_options *opts, unsigned int *remaining);
int mptcp_rcv_synsent_state_process(struct sock *sk, struct sock **skptr, const struct sk_buff *skb,
				    const struct mptcp_options_received *mopt);
int mptcp_create_master_sk(struct sock *meta_sk, __u64 remote_key, __u8 rem_mptcp_ver, __u32 window);
int mptcp_add_sock(struct sock *meta_sk, struct sock *sk, __u8 loc_id, __u8 rem_id, gfp_t flags);
void tcp_finish_connect(struct sock *sk, struct sk_buff *skb);
/* (meta_sk) from v0.94 on, (sk, meta_sk) in v0.90; stack_update calls either. */
#ifdef STANDIN_ELDER
void mptcp_update_metasocket(struct sock *sk, const struct sock *meta_sk);
#else
void mptcp_update_metasocket(const struct sock *meta_sk);
#endif
void tcp_set_state(struct sock *sk, int state);
int inet_csk_listen_start(struct sock *sk, int backlog);
struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern);
int mptcp_conn_request(struct sock *sk, struct sk_buff *skb);
int tcp_conn_request(void *rsk_ops, const void *af_ops, struct sock *sk, struct sk_buff *skb);
void mptcp_reqsk_init(struct request_sock *req, const struct sock *sk, const struct sk_buff *skb,
		      bool want_cookie);
void mptcp_join_reqsk_init(const struct mptcp_cb *mpcb, const struct request_sock *req,
			   struct sk_buff *skb);
void mptcp_synack_options(struct request_sock *req, struct tcp_out_options *opts,
			  unsigned int *remaining);
struct sock *tcp_check_req(struct sock *sk, struct sk_buff *skb, struct request_sock *req, bool fastopen,
			   bool *lost_race);
int mptcp_check_req_master(struct sock *sk, struct sock *child, struct request_sock *req,
			   const struct sk_buff *skb, const struct mptcp_options_received *mopt, int drop,
			   __u32 tsoff);
int __mptcp_check_req_master(struct sock *child, struct request_sock *req);
struct sock *mptcp_check_req_child(struct sock *meta_sk, struct sock *child, struct request_sock *req,
				   struct sk_buff *skb, const struct mptcp_options_received *mopt);
void mptcp_sub_force_close(struct sock *sk);
bool mptcp_handle_ack_in_infinite(struct sock *sk, const struct sk_buff *skb, int flag);
void mptcp_fallback_default(struct mptcp_cb *mpcb);
void mptcp_hash_remove_bh(struct tcp_sock *meta_tp);

/* Of the flag of mptcp_handle_ack_in_infinite: TCP has an acknowledgement of data. */
#define DATA_ACKED 0x8000

static inline struct tcp_sock *tcp_sk(const struct sock *sk)
{
	return (struct tcp_sock *)sk;
}

static inline struct mptcp_request_sock *mptcp_rsk(const struct request_sock *req)
{
	return (struct mptcp_request_sock *)req;
}

static inline bool wants_mptcp(const struct sock *sk)
{
	return sk->__sk_common.skc_flags >> SOCK_MPTCP & 1;
}

/* A socket made by a process (kern 0) or by the kernel for a subflow. */
struct sock *stack_socket(unsigned short family, int kern);
/* Its memory is the next one's at once, as the kernel's is within milliseconds. */
void stack_free(struct sock *sk);
void stack_free_request(struct request_sock *req);
/* What stands for the operations of plain requests and of MPTCP's: nothing but their addresses. */
extern char stack_plain_ops, stack_mptcp_ops;
/* The request that tcp_conn_request made last. */
extern struct request_sock *stack_made;
/* The SYN is one of TCP Fast Open. */
extern bool stack_fastopen;
/* The child of a Fast Open. */
extern struct sock *stack_fastopen_child;
/* For so many SYN-ACKs the kernel has no memory: they are discarded. */
extern int stack_short_of_memory;
void stack_options(const struct sk_buff *skb, struct mptcp_options_received *found);
/* A subflow receives data, or an acknowledgement, with or without MPTCP's option for it. */
void stack_receive(struct sock *sk, bool with_dss);
/* Calls mptcp_update_metasocket, whichever form it has. */
void stack_update(struct sock *meta_sk);

#endif
