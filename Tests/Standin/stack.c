// SPDX-License-Identifier: GPL-2.0-only
/*
 * stack.c - a stand-in for the functions of the multipath-tcp.org line that mpscope hooks.
 *
 * They do to the stand-in's own structures what the facts say that stack does to its own, in its order:
 * what is set only inside a function is not set yet at its entry, what stays behind stays. Nothing here
 * touches a socket, a packet or a setting of the kernel it runs in.
 */
#include "stack.h"
#include "machine.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define SOCKETS 32
#define REQUESTS 8

/* What a process holds of a socket. */
struct standin_socket {
	struct tcp_sock tcp;
	struct socket_alloc alloc;
	struct mptcp_tcp_sock subflow;
	struct mptcp_cb connection;
	bool used;
};

static struct net standin_net;
static struct standin_socket sockets[SOCKETS];
static struct {
	struct mptcp_request_sock request;
	bool used;
} requests[REQUESTS];
static unsigned long last_inode = 900000;

char stack_plain_ops, stack_mptcp_ops;
struct request_sock *stack_made;
bool stack_fastopen;
struct sock *stack_fastopen_child;
int stack_short_of_memory;

/* Keeps the compiler from finding out that a function does nothing. */
#define SOMETHING(value) asm volatile("" : : "r"(value) : "memory")

/* ---------------------------------------------------------------- memory */

static struct standin_socket *holder(const struct sock *sk)
{
	return (struct standin_socket *)sk;
}

/* The lowest that is free: the address of one that is gone comes back with the next one. */
static struct standin_socket *take(void)
{
	for (unsigned int i = 0; i < COUNT(sockets); i++) {
		if (sockets[i].used)
			continue;
		memset(&sockets[i], 0, sizeof(sockets[i]));
		sockets[i].used = 1;
		standin_net.ns.inum = machine_namespace();
		sockets[i].tcp.inet_conn.icsk_inet.sk.__sk_common.skc_net.net = &standin_net;
		return &sockets[i];
	}
	return NULL;
}

static void give_inode(struct sock *sk)
{
	struct socket_alloc *alloc = &holder(sk)->alloc;

	alloc->vfs_inode.i_ino = ++last_inode;
	alloc->socket.sk = sk;
	sk->sk_socket = &alloc->socket;
}

struct sock *stack_socket(unsigned short family, int kern)
{
	struct standin_socket *made = take();
	struct sock *sk;

	if (!made)
		return NULL;
	sk = &made->tcp.inet_conn.icsk_inet.sk;
	sk->__sk_common.skc_family = family;
	sk->__sk_common.skc_state = TCP_CLOSE;
	sk->sk_kern_sock = kern;
	if (!kern)
		give_inode(sk);
	/* The switch is read here and never again. */
	if (machine_enabled() == 1)
		mptcp_enable_sock(sk);
	return sk;
}

/* A socket like another, without what a process or MPTCP has of that. */
static struct sock *clone(const struct sock *from)
{
	struct standin_socket *made = take();

	if (!made)
		return NULL;
	made->tcp = *tcp_sk(from);
	made->tcp.inet_conn.icsk_inet.sk.sk_socket = NULL;
	return &made->tcp.inet_conn.icsk_inet.sk;
}

void stack_free(struct sock *sk)
{
	holder(sk)->used = 0;
}

void stack_free_request(struct request_sock *req)
{
	for (unsigned int i = 0; i < COUNT(requests); i++)
		if (&requests[i].request.req.req.req == req)
			requests[i].used = 0;
}

/* ---------------------------------------------------------------- packets */

static const __u8 *tcp_header(const struct sk_buff *skb)
{
	return skb->head + skb->transport_header;
}

static __be16 in_order(__u16 number)
{
	return __builtin_bswap16(number);
}

/* Reads the MPTCP option out of the packet's bytes. */
void stack_options(const struct sk_buff *skb, struct mptcp_options_received *found)
{
	const __u8 *tcp = tcp_header(skb);
	const __u8 *end = tcp + (tcp[12] >> 4) * 4;
	const __u8 *at = tcp + 20;

	memset(found, 0, sizeof(*found));
	while (at < end && *at) {
		if (*at == 1) {
			at++;
			continue;
		}
		if (end - at < 2 || at[1] < 2)
			return;
		if (*at == 30 && at[2] >> 4 == 0) {
			found->saw_mpc = 1;
			found->mptcp_ver = at[2] & 15;
			memcpy(&found->mptcp_sender_key, at + 4, 8);
		}
		if (*at == 30 && at[2] >> 4 == 1) {
			found->is_mp_join = at[1] == 12;
			found->join_ack = at[1] != 12;
			found->rem_id = at[3];
			/* Of all that an HMAC is, the stand-in's ends know only whether it is theirs. */
			found->hmac_is_good = at[1] != 16 || at[4] != 0;
			if (at[1] == 12)
				memcpy(&found->mptcp_rem_token, at + 4, 4);
		}
		at += at[1];
	}
}

/* ---------------------------------------------------------------- sockets */

HOOKABLE void mptcp_enable_sock(struct sock *sk)
{
	sk->__sk_common.skc_flags |= 1ul << SOCK_MPTCP;
	tcp_sk(sk)->mptcp_ver = 0;
}

HOOKABLE void mptcp_disable_sock(struct sock *sk)
{
	sk->__sk_common.skc_flags &= ~(1ul << SOCK_MPTCP);
}

HOOKABLE void tcp_set_state(struct sock *sk, int state)
{
	sk->__sk_common.skc_state = state;
	SOMETHING(sk);
}

HOOKABLE int inet_csk_listen_start(struct sock *sk, int backlog)
{
	SOMETHING(backlog);
	tcp_set_state(sk, TCP_LISTEN);
	return 0;
}

/* sk: what is to be taken; the stand-in has no queues. */
HOOKABLE struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern)
{
	SOMETHING(flags);
	SOMETHING((int)kern);
	*err = 0;
	give_inode(sk);
	return sk;
}

/* ---------------------------------------------------------------- connections */

HOOKABLE void mptcp_hash_remove_bh(struct tcp_sock *meta_tp)
{
	meta_tp->inside_tk_table = 0;
}

HOOKABLE void mptcp_fallback_default(struct mptcp_cb *mpcb)
{
	SOMETHING(mpcb);
}

HOOKABLE int mptcp_add_sock(struct sock *meta_sk, struct sock *sk, __u8 loc_id, __u8 rem_id, gfp_t flags)
{
	struct tcp_sock *tp = tcp_sk(sk);
	struct mptcp_cb *mpcb = tcp_sk(meta_sk)->mpcb;
	struct mptcp_tcp_sock *subflow = &holder(sk)->subflow;

	SOMETHING(flags);
	memset(subflow, 0, sizeof(*subflow));
	subflow->loc_id = loc_id;
	subflow->rem_id = rem_id;
	subflow->path_index = mpcb->next_path_index++;
	subflow->attached = 1;
	tp->mptcp = subflow;
	tp->mpcb = mpcb;
	tp->meta_sk = meta_sk;
	tp->mpc = 1;
	return 0;
}

/* The socket becomes the meta socket, and has a master that is like it. */
HOOKABLE int mptcp_create_master_sk(struct sock *meta_sk, __u64 remote_key, __u8 rem_mptcp_ver, __u32 window)
{
	struct tcp_sock *meta_tp = tcp_sk(meta_sk);
	struct mptcp_cb *mpcb = &holder(meta_sk)->connection;
	struct sock *master;

	SOMETHING(window);
	meta_tp->is_master_sk = 1;
	master = clone(meta_sk);
	meta_tp->is_master_sk = 0;
	if (!master)
		return -12;
	memset(mpcb, 0, sizeof(*mpcb));
	mpcb->meta_sk = meta_sk;
	mpcb->master_sk = master;
	mpcb->mptcp_loc_key = meta_tp->mptcp_loc_key;
	mpcb->mptcp_loc_token = meta_tp->mptcp_loc_token;
	mpcb->mptcp_rem_key = remote_key;
	mpcb->mptcp_rem_token = machine_token(remote_key);
	mpcb->next_path_index = 1;
	meta_tp->mpcb = mpcb;
	meta_tp->meta_sk = meta_sk;
	meta_tp->mpc = 1;
	meta_tp->mptcp = NULL;
	meta_tp->mptcp_ver = rem_mptcp_ver;
	meta_tp->inside_tk_table = 1;
	tcp_sk(master)->inside_tk_table = 0;
	master->sk_socket = meta_sk->sk_socket;
	/* A path manager's: the connection does not fall back. */
	mptcp_fallback_default(mpcb);
	mptcp_add_sock(meta_sk, master, 0, 0, 0);
	tcp_sk(master)->is_master_sk = 0;
	return 0;
}

#ifdef STANDIN_ELDER
HOOKABLE void mptcp_update_metasocket(struct sock *sk, const struct sock *meta_sk)
{
	SOMETHING(sk);
	SOMETHING(meta_sk);
}

void stack_update(struct sock *meta_sk)
{
	mptcp_update_metasocket(tcp_sk(meta_sk)->mpcb->master_sk, meta_sk);
}
#else
HOOKABLE void mptcp_update_metasocket(const struct sock *meta_sk)
{
	SOMETHING(meta_sk);
}

void stack_update(struct sock *meta_sk)
{
	mptcp_update_metasocket(meta_sk);
}
#endif

HOOKABLE void mptcp_sub_force_close(struct sock *sk)
{
	if (sk->__sk_common.skc_state != TCP_CLOSE)
		tcp_set_state(sk, TCP_CLOSE);
}

static void become_infinite(struct tcp_sock *tp)
{
	tp->mpcb->infinite_mapping_rcv = 1;
	tp->mpcb->infinite_mapping_snd = 1;
	tp->mptcp->fully_established = 1;
}

/* What the receiver of data does before anything else: in that stack it is inlined, and not to be hooked. */
void stack_receive(struct sock *sk, bool with_dss)
{
	struct tcp_sock *tp = tcp_sk(sk);

	if (with_dss)
		tp->mptcp->fully_established = 1;
	else if (!tp->mptcp->fully_established && !tp->mpcb->infinite_mapping_rcv)
		become_infinite(tp);
}

/*
 * For each ACK. Data were acknowledged by TCP, and never before by MPTCP: then the mapping becomes
 * infinite. What the receiver decided shows at the next ACK, before this has done anything.
 */
HOOKABLE bool mptcp_handle_ack_in_infinite(struct sock *sk, const struct sk_buff *skb, int flag)
{
	struct tcp_sock *tp = tcp_sk(sk);

	SOMETHING(skb);
	if (!tp->mptcp->fully_established && flag & DATA_ACKED && !tp->mpcb->infinite_mapping_snd)
		become_infinite(tp);
	return 0;
}

/* ---------------------------------------------------------------- client */

static bool is_loopback(const struct sock *sk)
{
	return sk->__sk_common.skc_family == AF_INET && (sk->__sk_common.skc_daddr & 0xff) == 127;
}

HOOKABLE void mptcp_syn_options(const struct sock *sk, struct tcp_out_options *opts, unsigned int *remaining)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	if (tp->mpc) {
		opts->mptcp_options = 2;
		opts->token = tp->mpcb->mptcp_rem_token;
	} else {
		opts->mptcp_options = 1;
		opts->sender_key = tp->mptcp_loc_key;
	}
	*remaining -= 12;
}

HOOKABLE int tcp_connect(struct sock *sk)
{
	struct tcp_sock *tp = tcp_sk(sk);
	struct tcp_out_options opts;
	unsigned int remaining = 40;

	if (!tp->mpc && wants_mptcp(sk) && !is_loopback(sk)) {
		tp->request_mptcp = 1;
		tp->mptcp_loc_key = machine_random();
		tp->mptcp_loc_token = machine_token(tp->mptcp_loc_key);
		tp->inside_tk_table = 1;
	}
	memset(&opts, 0, sizeof(opts));
	if (tp->request_mptcp || tp->mpc)
		mptcp_syn_options(sk, &opts, &remaining);
	SOMETHING(opts.token);
	return 0;
}

/* Returns 0: carry on, 1: reset, 2: discard. */
HOOKABLE int mptcp_rcv_synsent_state_process(struct sock *sk, struct sock **skptr, const struct sk_buff *skb,
					     const struct mptcp_options_received *mopt)
{
	struct tcp_sock *tp = tcp_sk(sk);

	SOMETHING(skb);
	if (tp->mpc) {
		if (!mopt->join_ack || !mopt->hmac_is_good) {
			mptcp_sub_force_close(sk);
			return 1;
		}
		tp->mptcp->pre_established = 1;
		tp->mptcp->rem_id = mopt->rem_id;
		return 0;
	}
	if (mopt->saw_mpc) {
		if (stack_short_of_memory) {
			stack_short_of_memory--;
			return 2;
		}
		if (mptcp_create_master_sk(sk, mopt->mptcp_sender_key, mopt->mptcp_ver, 29200))
			return 2;
		*skptr = tp->mpcb->master_sk;
		tcp_sk(*skptr)->mptcp->include_mpc = 1;
		return 0;
	}
	/* Key and token stay as they are. */
	tp->request_mptcp = 0;
	if (tp->inside_tk_table)
		mptcp_hash_remove_bh(tp);
	return 0;
}

HOOKABLE void tcp_finish_connect(struct sock *sk, struct sk_buff *skb)
{
	SOMETHING(skb);
	tcp_set_state(sk, TCP_ESTABLISHED);
}

/* ---------------------------------------------------------------- server */

HOOKABLE void mptcp_reqsk_init(struct request_sock *req, const struct sock *sk, const struct sk_buff *skb,
			       bool want_cookie)
{
	struct mptcp_request_sock *mtreq = mptcp_rsk(req);
	struct mptcp_options_received mopt;

	SOMETHING((int)want_cookie);
	stack_options(skb, &mopt);
	mtreq->is_sub = 0;
	mtreq->dss_csum = mopt.dss_csum;
	mtreq->mptcp_ver = tcp_sk(sk)->mptcp_ver;
	mtreq->mptcp_rem_key = mopt.mptcp_sender_key;
	mtreq->mptcp_loc_key = machine_random();
	mtreq->mptcp_loc_token = machine_token(mtreq->mptcp_loc_key);
	mtreq->req.req.saw_mpc = 1;
	mtreq->req.req.mptcp_rqsk = 1;
}

HOOKABLE void mptcp_join_reqsk_init(const struct mptcp_cb *mpcb, const struct request_sock *req,
				    struct sk_buff *skb)
{
	struct mptcp_request_sock *mtreq = mptcp_rsk(req);
	struct mptcp_options_received mopt;

	stack_options(skb, &mopt);
	mtreq->is_sub = 1;
	mtreq->mptcp_mpcb = (struct mptcp_cb *)mpcb;
	mtreq->rem_id = mopt.rem_id;
	mtreq->req.req.saw_mpc = 1;
	mtreq->req.req.mptcp_rqsk = 1;
}

HOOKABLE void mptcp_synack_options(struct request_sock *req, struct tcp_out_options *opts,
				   unsigned int *remaining)
{
	struct mptcp_request_sock *mtreq = mptcp_rsk(req);

	if (!mtreq->is_sub)
		opts->sender_key = mtreq->mptcp_loc_key;
	opts->mptcp_options = mtreq->is_sub ? 2 : 1;
	*remaining -= mtreq->is_sub ? 16 : 12;
}

static struct request_sock *take_request(void)
{
	for (unsigned int i = 0; i < COUNT(requests); i++) {
		if (requests[i].used)
			continue;
		memset(&requests[i], 0, sizeof(requests[i]));
		requests[i].used = 1;
		return &requests[i].request.req.req.req;
	}
	return NULL;
}

/* The addresses of a packet that came, as its receiver has them. */
static void take_addresses(struct sock_common *to, const struct sk_buff *skb)
{
	const __u8 *ip = skb->head + skb->network_header;
	const __u8 *tcp = tcp_header(skb);
	__be16 port;

	if (ip[0] >> 4 == 4) {
		memcpy(&to->skc_daddr, ip + 12, 4);
		memcpy(&to->skc_rcv_saddr, ip + 16, 4);
	} else {
		memcpy(&to->skc_v6_daddr, ip + 8, 16);
		memcpy(&to->skc_v6_rcv_saddr, ip + 24, 16);
	}
	memcpy(&to->skc_dport, tcp, 2);
	memcpy(&port, tcp + 2, 2);
	to->skc_num = in_order(port);
	to->skc_family = ip[0] >> 4 == 4 ? AF_INET : AF_INET6;
}

/* rsk_ops: what kind of request it is to be. sk: a listener, or for a join the meta. */
HOOKABLE int tcp_conn_request(void *rsk_ops, const void *af_ops, struct sock *sk, struct sk_buff *skb)
{
	struct request_sock *req = take_request();
	struct tcp_out_options opts;
	unsigned int remaining = 40;
	bool dropped;

	SOMETHING(af_ops);
	if (!req)
		return -12;
	req->rsk_listener = sk;
	req->__req_common.skc_state = 12; /* TCP_NEW_SYN_RECV */
	req->__req_common.skc_net = sk->__sk_common.skc_net;
	take_addresses(&req->__req_common, skb);
	if (rsk_ops == &stack_mptcp_ops && tcp_sk(sk)->mpcb)
		mptcp_join_reqsk_init(tcp_sk(sk)->mpcb, req, skb);
	else if (rsk_ops == &stack_mptcp_ops)
		mptcp_reqsk_init(req, sk, skb, 0);
	stack_made = req;
	/* The child is there before the SYN-ACK is sent. */
	stack_fastopen_child = NULL;
	if (stack_fastopen)
		stack_fastopen_child = tcp_check_req(sk, skb, req, 1, &dropped);
	memset(&opts, 0, sizeof(opts));
	if (mptcp_rsk(req)->req.req.mptcp_rqsk)
		mptcp_synack_options(req, &opts, &remaining);
	SOMETHING(opts.sender_key);
	return 0;
}

/* Only sockets that are to speak MPTCP have it called: for every SYN, also for plain ones. */
HOOKABLE int mptcp_conn_request(struct sock *sk, struct sk_buff *skb)
{
	struct mptcp_options_received mopt;

	stack_options(skb, &mopt);
	if (mopt.is_mp_join) {
		for (unsigned int i = 0; i < COUNT(sockets); i++) {
			struct tcp_sock *tp = &sockets[i].tcp;

			if (sockets[i].used && tp->inside_tk_table && tp->mpcb && tp->mpcb->server_side &&
			    tp->mptcp_loc_token == mopt.mptcp_rem_token)
				return tcp_conn_request(&stack_mptcp_ops, &stack_mptcp_ops,
							&tp->inet_conn.icsk_inet.sk, skb);
		}
		return -1;
	}
	if (mopt.saw_mpc)
		return tcp_conn_request(&stack_mptcp_ops, &stack_mptcp_ops, sk, skb);
	return tcp_conn_request(&stack_plain_ops, &stack_plain_ops, sk, skb);
}

HOOKABLE int __mptcp_check_req_master(struct sock *child, struct request_sock *req)
{
	struct mptcp_request_sock *mtreq = mptcp_rsk(req);
	struct tcp_sock *tp = tcp_sk(child);

	if (!mtreq->req.req.mptcp_rqsk)
		return 1;
	tp->mptcp_loc_key = mtreq->mptcp_loc_key;
	tp->mptcp_loc_token = mtreq->mptcp_loc_token;
	if (mptcp_create_master_sk(child, mtreq->mptcp_rem_key, mtreq->mptcp_ver, 29200))
		return -12;
	tp->mpcb->server_side = 1;
	tp->mpcb->dss_csum = mtreq->dss_csum;
	return 0;
}

/* Returns 1 for a plain connection. */
HOOKABLE int mptcp_check_req_master(struct sock *sk, struct sock *child, struct request_sock *req,
				    const struct sk_buff *skb, const struct mptcp_options_received *mopt,
				    int drop, __u32 tsoff)
{
	SOMETHING(sk);
	SOMETHING(skb);
	SOMETHING(mopt);
	SOMETHING(drop);
	SOMETHING(tsoff);
	return __mptcp_check_req_master(child, req);
}

HOOKABLE struct sock *mptcp_check_req_child(struct sock *meta_sk, struct sock *child, struct request_sock *req,
					    struct sk_buff *skb, const struct mptcp_options_received *mopt)
{
	SOMETHING(skb);
	SOMETHING(mopt);
	mptcp_add_sock(meta_sk, child, mptcp_rsk(req)->loc_id, mptcp_rsk(req)->rem_id, 0);
	tcp_sk(child)->mptcp->slave_sk = 1;
	child->sk_socket = meta_sk->sk_socket;
	return child;
}

/* The child that a third ACK (or with Fast Open the SYN) makes of a request; NULL: the request is over. */
HOOKABLE struct sock *tcp_check_req(struct sock *sk, struct sk_buff *skb, struct request_sock *req,
				    bool fastopen, bool *lost_race)
{
	struct mptcp_options_received mopt;
	struct sock *child;

	*lost_race = 0;
	/* RST */
	if (tcp_header(skb)[13] & 4)
		return NULL;
	/* The ACK after a Fast Open: the child is there. */
	if (fastopen && stack_fastopen_child)
		return sk;
	stack_options(skb, &mopt);
	child = clone(sk);
	if (!child)
		return NULL;
	child->__sk_common = req->__req_common;
	child->__sk_common.skc_state = TCP_SYN_RECV;
	child->__sk_common.skc_flags = sk->__sk_common.skc_flags;
	tcp_sk(child)->inet_conn.icsk_inet.inet_sport = in_order(req->__req_common.skc_num);
	tcp_sk(child)->mptcp_loc_token = 0;
	tcp_sk(child)->mptcp_loc_key = 0;
	if (mptcp_rsk(req)->req.req.mptcp_rqsk && mptcp_rsk(req)->is_sub) {
		tcp_sk(child)->mpcb = NULL;
		tcp_sk(child)->inside_tk_table = 0;
		return mptcp_check_req_child(sk, child, req, skb, &mopt);
	}
	if (fastopen)
		__mptcp_check_req_master(child, req);
	else
		mptcp_check_req_master(sk, child, req, skb, &mopt, 1, 0);
	/* The packet is the master's now, the process gets the meta. */
	return tcp_sk(child)->mpc ? tcp_sk(child)->mpcb->master_sk : child;
}
