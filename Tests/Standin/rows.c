// SPDX-License-Identifier: GPL-2.0-only
/*
 * rows.c - plays the rows of the table in the facts, both ends of each, and says what it played.
 *
 * The two ends are sockets of one process, the one that asked for the row; what a packet causes runs in
 * a softirq, what a path manager does in a kworker, as on a real link.
 */
#include "rows.h"
#include "machine.h"
#include "stack.h"

#define SYN 0x02
#define RST 0x04
#define ACK 0x10
#define EINVAL 22
#define ENOENT 2

enum join {
	NO_JOIN,
	JOINED,
	JOIN_STRIPPED,
	JOIN_HMAC,
};

struct row {
	const char *name;
	unsigned short family;
	/* setsockopt(42, 0) of the client, of the listener. */
	bool plain_client, plain_listener;
	bool loopback;
	/* Nobody listens. */
	bool refused;
	bool strip_synack, strip_after;
	bool discard;
	bool fastopen;
	enum join join;
};

/* What differs by the switch (switched-off, listener-is-tcp, listener-outlives) is the player's to set. */
static const struct row rows[] = {
	{ "mp-capable", AF_INET },
	{ "mp-capable-ipv6", AF_INET6 },
	{ "tcp-server", AF_INET, .plain_listener = 1 },
	{ "tcp-client", AF_INET, .plain_client = 1 },
	{ "listener-is-tcp", AF_INET },
	{ "synack-stripped", AF_INET, .strip_synack = 1 },
	{ "stripped-after", AF_INET, .strip_after = 1 },
	{ "refused", AF_INET, .refused = 1 },
	{ "join", AF_INET, .join = JOINED },
	{ "join-synack-stripped", AF_INET, .join = JOIN_STRIPPED },
	{ "join-hmac", AF_INET, .join = JOIN_HMAC },
	{ "synack-discarded", AF_INET, .discard = 1 },
	{ "plain", AF_INET, .plain_client = 1, .plain_listener = 1 },
	{ "loopback", AF_INET, .loopback = 1 },
	{ "switched-off", AF_INET },
	{ "listener-outlives", AF_INET },
	{ "fastopen", AF_INET, .fastopen = 1 },
	/* Twice, at the same socket addresses: MPTCP, then plain TCP. */
	{ "address-reuse", AF_INET },
	{ "address-reuse-plain", AF_INET, .plain_listener = 1 },
};

#define ROWS (sizeof(rows) / sizeof(*rows))

struct place {
	unsigned short family;
	__u16 port;
	__u8 address[16];
};

struct packet {
	struct sk_buff skb;
	__u8 bytes[160];
};

/* One connection that is played. */
static struct play {
	const struct row *row;
	bool open;
	int pid;
	struct place client_at, server_at, join_at;
	/* The processes' sockets: the client's and the listener; what accept() is to return. */
	struct sock *client, *listener, *accepted;
	struct sock *client_master, *server_master;
	struct sock *client_join, *server_join;
	struct request_sock *request, *join_request;
	/* What the ends know when it is decided. */
	bool asked, answered, client_mptcp;
	unsigned int client_token, server_token;
	struct packet packet;
} plays[ROWS];

static __u16 last_port = 40000;

const char *row_name(unsigned int number)
{
	return number < ROWS ? rows[number].name : NULL;
}

/* ---------------------------------------------------------------- addresses, packets */

static void set_place(struct place *place, const struct row *row, __u8 host, __u16 port)
{
	__u8 number = row - rows + 1;

	memset(place, 0, sizeof(*place));
	place->family = row->family;
	place->port = port;
	if (row->family == AF_INET6) {
		place->address[0] = 0xfd;
		place->address[1] = 0x99;
		place->address[7] = number;
		place->address[15] = host;
	} else if (row->loopback) {
		place->address[0] = 127;
		place->address[3] = 1;
	} else {
		place->address[0] = 10;
		place->address[1] = 99;
		place->address[2] = number;
		place->address[3] = host;
	}
}

static void set_local(struct sock *sk, const struct place *place)
{
	struct sock_common *common = &sk->__sk_common;

	if (place->family == AF_INET)
		memcpy(&common->skc_rcv_saddr, place->address, 4);
	else
		memcpy(&common->skc_v6_rcv_saddr, place->address, 16);
	common->skc_num = place->port;
	tcp_sk(sk)->inet_conn.icsk_inet.inet_sport = __builtin_bswap16(place->port);
}

static void set_remote(struct sock *sk, const struct place *place)
{
	struct sock_common *common = &sk->__sk_common;

	if (place->family == AF_INET)
		memcpy(&common->skc_daddr, place->address, 4);
	else
		memcpy(&common->skc_v6_daddr, place->address, 16);
	common->skc_dport = __builtin_bswap16(place->port);
}

static void put16(__u8 *to, __u16 value)
{
	to[0] = value >> 8;
	to[1] = value;
}

static void put32(__u8 *to, __u32 value)
{
	put16(to, value >> 16);
	put16(to + 2, value);
}

/* The bytes of a packet from one end to the other, with an MPTCP option or (length 0) without one. */
static void fill(struct packet *packet, const struct place *from, const struct place *to, __u8 flags,
		 const __u8 *option, __u8 length)
{
	bool is6 = from->family == AF_INET6;
	__u8 *ip = packet->bytes + 14;
	__u8 *tcp = ip + (is6 ? 40 : 20);
	__u8 other = flags & SYN ? 4 : 0;
	__u8 whole = 20 + other + length;

	memset(packet, 0, sizeof(*packet));
	if (is6) {
		ip[0] = 0x60;
		put16(ip + 4, whole);
		ip[6] = 6;
		ip[7] = 64;
		memcpy(ip + 8, from->address, 16);
		memcpy(ip + 24, to->address, 16);
	} else {
		ip[0] = 0x45;
		put16(ip + 2, 20 + whole);
		ip[8] = 64;
		ip[9] = 6;
		memcpy(ip + 12, from->address, 4);
		memcpy(ip + 16, to->address, 4);
	}
	put16(tcp, from->port);
	put16(tcp + 2, to->port);
	put32(tcp + 4, 1000);
	put32(tcp + 8, flags & ACK ? 2000 : 0);
	tcp[12] = whole / 4 << 4;
	tcp[13] = flags;
	put16(tcp + 14, 29200);
	/* MSS */
	if (other) {
		tcp[20] = 2;
		tcp[21] = 4;
		put16(tcp + 22, 1460);
	}
	memcpy(tcp + 20 + other, option, length);
	packet->skb.head = packet->bytes;
	packet->skb.data = tcp;
	packet->skb.network_header = ip - packet->bytes;
	packet->skb.transport_header = tcp - packet->bytes;
	packet->skb.len = whole;
}

/* keys: one of SYN and SYN-ACK, both of the third ACK. */
static __u8 capable(__u8 *option, __u64 key, __u64 other, bool both)
{
	option[0] = 30;
	option[1] = both ? 20 : 12;
	option[2] = 0x00;
	option[3] = 0x01;
	memcpy(option + 4, &key, 8);
	memcpy(option + 12, &other, 8);
	return option[1];
}

/* length: 12 of the SYN, 16 of the SYN-ACK, 24 of the ACK. */
static __u8 join_option(__u8 *option, __u8 length, __u8 id, __u32 token, bool good)
{
	memset(option, 0x5a, length);
	option[0] = 30;
	option[1] = length;
	option[2] = 0x10;
	option[3] = length == 24 ? 0 : id;
	if (length == 12)
		memcpy(option + 4, &token, 4);
	else
		option[4] = good ? 0x5a : 0;
	return length;
}

/* ---------------------------------------------------------------- the ground truth */

static void words(char *text, unsigned long size, const struct place *place)
{
	const __u8 *a = place->address;

	if (place->family == AF_INET)
		snprintf(text, size, "%d.%d.%d.%d:%d", a[0], a[1], a[2], a[3], place->port);
	else
		snprintf(text, size, "[fd99:0:0:%x::%x]:%d", a[7], a[15], place->port);
}

/* token 0: there is none, so no such field; a text that is NULL likewise. */
static void tell(struct play *play, const char *type, const char *side, const struct place *local,
		 const struct place *remote, unsigned int token, unsigned int remote_token,
		 const char *outcome, const char *reason, const char *more)
{
	char here[64], there[64], tokens[64] = "", why[64] = "";
	int length = 0;

	words(here, sizeof(here), local);
	words(there, sizeof(there), remote);
	if (token)
		length = snprintf(tokens, sizeof(tokens), "\ttoken=%08x", __builtin_bswap32(token));
	if (remote_token)
		snprintf(tokens + length, sizeof(tokens) - length, "\tremote_token=%08x",
			 __builtin_bswap32(remote_token));
	if (reason)
		snprintf(why, sizeof(why), "\treason=%s", reason);
	machine_truth("row=%s\ttype=%s\tside=%s\tfamily=%d\tlocal=%s\tremote=%s%s\tpid=%d\toutcome=%s%s%s\n",
		      play->row->name, type, side, local->family == AF_INET ? 4 : 6, here, there, tokens,
		      play->pid, outcome, why, more ? more : "");
}

static void tell_listener(struct play *play)
{
	char here[64];

	words(here, sizeof(here), &play->server_at);
	machine_truth("row=%s\ttype=listener\tlocal=%s\tpid=%d\tprotocol=%s\n", play->row->name, here,
		      play->pid, wants_mptcp(play->listener) ? "mptcp" : "tcp");
}

/* Of each end by what it alone knows. */
static void tell_connection(struct play *play)
{
	const struct row *row = play->row;
	bool server_mptcp = play->answered;
	unsigned int to_client = play->client_mptcp ? play->server_token : 0;
	unsigned int to_server = server_mptcp ? play->client_token : 0;
	const struct place *client = &play->client_at, *server = &play->server_at;

	if (wants_mptcp(play->client)) {
		if (row->refused)
			tell(play, "handshake", "client", client, server, play->client_token, 0, "refused",
			     "rst_to_syn", NULL);
		else if (play->client_mptcp)
			tell(play, "handshake", "client", client, server, play->client_token, to_client,
			     "mptcp", NULL, NULL);
		else
			tell(play, "handshake", "client", client, server, play->client_token, 0, "fallback",
			     play->asked ? "synack_without_mptcp" : "*", NULL);
	}
	if (row->refused)
		return;
	if (server_mptcp)
		tell(play, "handshake", "server", server, client, play->server_token, to_server, "mptcp", NULL,
		     NULL);
	else if (play->asked)
		tell(play, "handshake", "server", server, client, 0, 0, "fallback", "listener_is_tcp", NULL);
	else if (wants_mptcp(play->listener))
		tell(play, "handshake", "server", server, client, 0, 0, "fallback", "syn_without_mptcp", NULL);
	/* What becomes of it later. */
	if (row->strip_after && play->client_mptcp)
		tell(play, "fallback", "client", client, server, 0, 0, "fallback", "*", NULL);
	if ((row->strip_after || row->strip_synack) && server_mptcp)
		tell(play, "fallback", "server", server, client, 0, 0, "fallback", "*", NULL);
}

static void tell_join(struct play *play)
{
	static const struct {
		const char *client, *client_reason, *server, *server_reason;
	} ends[] = {
		[JOINED] = { "joined", NULL, "joined", NULL },
		/* The client resets it; what that means to the server, the facts leave open. */
		[JOIN_STRIPPED] = { "reset", "synack_without_mp_join", "reset", "*" },
		[JOIN_HMAC] = { "rejected", "mp_join_synack_hmac_failure", "reset", "*" },
	};
	enum join join = play->row->join;

	if (!join || !play->client_mptcp)
		return;
	/* The server's address id comes with the SYN-ACK's option. */
	tell(play, "join", "client", &play->join_at, &play->server_at, play->client_token, 0,
	     ends[join].client, ends[join].client_reason,
	     join == JOINED ? "\tlocal_id=1\tremote_id=0" : "\tlocal_id=1");
	tell(play, "join", "server", &play->server_at, &play->join_at, play->server_token, 0,
	     ends[join].server, ends[join].server_reason,
	     join == JOINED ? "\tlocal_id=0\tremote_id=1" : "\tremote_id=1");
}

/* ---------------------------------------------------------------- in softirqs */

static void syn_arrives(void *argument)
{
	struct play *play = argument;
	struct tcp_sock *client = tcp_sk(play->client);
	__u8 option[24], length = 0;

	play->asked = client->request_mptcp;
	play->client_token = client->mptcp_loc_token;
	if (play->asked)
		length = capable(option, client->mptcp_loc_key, 0, 0);
	fill(&play->packet, &play->client_at, &play->server_at, SYN, option, length);
	stack_fastopen = play->row->fastopen;
	if (wants_mptcp(play->listener))
		mptcp_conn_request(play->listener, &play->packet.skb);
	else
		tcp_conn_request(&stack_plain_ops, &stack_plain_ops, play->listener, &play->packet.skb);
	stack_fastopen = 0;
	play->request = stack_made;
	play->answered = mptcp_rsk(play->request)->req.req.mptcp_rqsk;
	if (play->answered)
		play->server_token = mptcp_rsk(play->request)->mptcp_loc_token;
}

static void rst_arrives(void *argument)
{
	struct play *play = argument;

	play->asked = tcp_sk(play->client)->request_mptcp;
	play->client_token = tcp_sk(play->client)->mptcp_loc_token;
	play->client->sk_err = ECONNREFUSED;
	tcp_set_state(play->client, TCP_CLOSE);
}

/* The server's SYN-ACK again, its timer being over. */
static void synack_again(void *argument)
{
	struct play *play = argument;
	struct tcp_out_options opts;
	unsigned int remaining = 40;

	play->request->num_retrans++;
	memset(&opts, 0, sizeof(opts));
	if (play->answered)
		mptcp_synack_options(play->request, &opts, &remaining);
}

static void synack_arrives(void *argument)
{
	struct play *play = argument;
	struct sock *sk = play->client;
	struct mptcp_options_received mopt;
	__u8 option[24], length = 0;

	if (play->answered && !play->row->strip_synack)
		length = capable(option, mptcp_rsk(play->request)->mptcp_loc_key, 0, 0);
	fill(&play->packet, &play->server_at, &play->client_at, SYN | ACK, option, length);
	stack_options(&play->packet.skb, &mopt);
	if (tcp_sk(sk)->request_mptcp &&
	    mptcp_rcv_synsent_state_process(sk, &sk, &play->packet.skb, &mopt))
		return;
	tcp_finish_connect(sk, &play->packet.skb);
	if (sk == play->client)
		return;
	play->client_master = sk;
	play->client_mptcp = 1;
	tcp_set_state(play->client, TCP_ESTABLISHED);
	stack_update(play->client);
}

static void ack_arrives(void *argument)
{
	struct play *play = argument;
	struct sock *child;
	__u8 option[24], length = 0;
	bool lost_race;

	if (play->client_mptcp)
		length = capable(option, tcp_sk(play->client)->mptcp_loc_key,
				 mptcp_rsk(play->request)->mptcp_loc_key, 1);
	fill(&play->packet, &play->client_at, &play->server_at, ACK, option, length);
	if (play->row->fastopen)
		child = tcp_check_req(stack_fastopen_child, &play->packet.skb, play->request, 1, &lost_race);
	else
		child = tcp_check_req(play->listener, &play->packet.skb, play->request, 0, &lost_race);
	stack_free_request(play->request);
	play->request = NULL;
	if (!child)
		return;
	tcp_set_state(child, TCP_ESTABLISHED);
	play->accepted = child;
	if (!tcp_sk(child)->mpc)
		return;
	play->server_master = child;
	play->accepted = tcp_sk(child)->meta_sk;
	tcp_set_state(play->accepted, TCP_ESTABLISHED);
	stack_update(play->accepted);
}

/* The client's data reach the server, their ACK the client, the server's ACKs the server. */
static void data_arrives(void *argument)
{
	struct play *play = argument;
	bool stripped = play->row->strip_after || play->row->strip_synack;
	static const __u8 dss[12] = { 30, 12, 0x20, 0x01 };

	fill(&play->packet, &play->client_at, &play->server_at, ACK, dss, stripped ? 0 : sizeof(dss));
	for (int i = 0; i < 2; i++) {
		if (play->server_master) {
			/* The ACK that comes with them is looked at first. */
			mptcp_handle_ack_in_infinite(play->server_master, &play->packet.skb, 0);
			stack_receive(play->server_master, !stripped);
		}
		if (play->client_master) {
			if (!stripped)
				stack_receive(play->client_master, 1);
			mptcp_handle_ack_in_infinite(play->client_master, &play->packet.skb, DATA_ACKED);
		}
	}
}

static void join_syn_arrives(void *argument)
{
	struct play *play = argument;
	__u8 option[24];

	fill(&play->packet, &play->join_at, &play->server_at, SYN, option,
	     join_option(option, 12, 1, tcp_sk(play->client_join)->mpcb->mptcp_rem_token, 1));
	stack_made = NULL;
	mptcp_conn_request(play->listener, &play->packet.skb);
	play->join_request = stack_made;
}

static void join_synack_arrives(void *argument)
{
	struct play *play = argument;
	struct sock *sk = play->client_join;
	struct mptcp_options_received mopt;
	enum join join = play->row->join;
	__u8 option[24], length = 0;

	if (join != JOIN_STRIPPED)
		length = join_option(option, 16, 0, 0, join != JOIN_HMAC);
	fill(&play->packet, &play->server_at, &play->join_at, SYN | ACK, option, length);
	stack_options(&play->packet.skb, &mopt);
	mopt.join_ack = mopt.join_ack || mopt.is_mp_join;
	if (!mptcp_rcv_synsent_state_process(sk, &sk, &play->packet.skb, &mopt))
		tcp_finish_connect(sk, &play->packet.skb);
}

static void join_ack_arrives(void *argument)
{
	struct play *play = argument;
	__u8 option[24], length = 0;
	__u8 flags = play->row->join == JOINED ? ACK : RST;
	bool lost_race;

	if (flags == ACK)
		length = join_option(option, 24, 0, 0, 1);
	fill(&play->packet, &play->join_at, &play->server_at, flags, option, length);
	play->server_join =
		tcp_check_req(play->accepted, &play->packet.skb, play->join_request, 0, &lost_race);
	stack_free_request(play->join_request);
	if (!play->server_join)
		return;
	tcp_set_state(play->server_join, TCP_ESTABLISHED);
	/* The fourth ACK. */
	tcp_sk(play->client_join)->mptcp->fully_established = 1;
	tcp_sk(play->server_join)->mptcp->fully_established = 1;
}

/* ---------------------------------------------------------------- in a kworker */

static void join_begins(void *argument)
{
	struct play *play = argument;
	struct sock *sk = stack_socket(play->row->family, 1);

	play->client_join = sk;
	if (!sk)
		return;
	mptcp_add_sock(play->client, sk, 1, 0, 0);
	tcp_sk(sk)->mptcp->slave_sk = 1;
	sk->sk_socket = play->client->sk_socket;
	set_local(sk, &play->join_at);
	set_remote(sk, &play->server_at);
	tcp_set_state(sk, TCP_SYN_SENT);
	tcp_connect(sk);
}

/* ---------------------------------------------------------------- in the process */

static int play_listen(struct play *play)
{
	if (play->row->refused)
		return 0;
	play->listener = stack_socket(play->row->family, 0);
	if (!play->listener)
		return ENOENT;
	if (play->row->plain_listener)
		mptcp_disable_sock(play->listener);
	set_local(play->listener, &play->server_at);
	inet_csk_listen_start(play->listener, 128);
	return 0;
}

static int play_socket(struct play *play)
{
	play->client = stack_socket(play->row->family, 0);
	if (!play->client)
		return ENOENT;
	if (play->row->plain_client)
		mptcp_disable_sock(play->client);
	return 0;
}

static void play_close(struct sock **sk)
{
	if (!*sk)
		return;
	if ((*sk)->__sk_common.skc_state != TCP_CLOSE)
		tcp_set_state(*sk, TCP_CLOSE);
	stack_free(*sk);
	*sk = NULL;
}

static void play_connect(struct play *play)
{
	int error = 0;

	set_local(play->client, &play->client_at);
	set_remote(play->client, &play->server_at);
	tcp_set_state(play->client, TCP_SYN_SENT);
	tcp_connect(play->client);
	if (play->row->refused) {
		machine_softirq(rst_arrives, play);
	} else {
		machine_softirq(syn_arrives, play);
		if (play->row->discard) {
			stack_short_of_memory = 1;
			machine_softirq(synack_arrives, play);
			machine_softirq(synack_again, play);
		}
		machine_softirq(synack_arrives, play);
		machine_softirq(ack_arrives, play);
		if (play->accepted)
			inet_csk_accept(play->accepted, 0, &error, 0);
		if (play->server_master)
			play->server_master->sk_socket = play->accepted->sk_socket;
		machine_softirq(data_arrives, play);
	}
	if (play->row->join && play->client_mptcp) {
		machine_worker(join_begins, play);
		machine_softirq(join_syn_arrives, play);
		machine_softirq(join_synack_arrives, play);
		machine_softirq(join_ack_arrives, play);
	}
	if (play->listener)
		tell_listener(play);
	tell_connection(play);
	tell_join(play);
	play_close(&play->client_join);
	play_close(&play->client_master);
	play_close(&play->client);
	play_close(&play->server_join);
	play_close(&play->server_master);
	play_close(&play->accepted);
	play_close(&play->listener);
	play->open = 0;
}

static struct play *opened(const char *name)
{
	struct play *play;

	for (unsigned int i = 0; i < ROWS; i++) {
		if (strcmp(rows[i].name, name))
			continue;
		play = &plays[i];
		if (play->open)
			return play;
		memset(play, 0, sizeof(*play));
		play->row = &rows[i];
		play->open = 1;
		play->pid = machine_pid();
		set_place(&play->server_at, play->row, 2, 4001 + i);
		set_place(&play->client_at, play->row, 1, ++last_port);
		set_place(&play->join_at, play->row, 3, ++last_port);
		return play;
	}
	return NULL;
}

int row_play(const char *what, const char *name)
{
	struct play *play = opened(name);
	bool all = !strcmp(what, "all");
	int failed = 0;

	if (!play)
		return ENOENT;
	if (all || !strcmp(what, "listen"))
		failed = play_listen(play);
	if (!failed && (all || !strcmp(what, "socket")))
		failed = play_socket(play);
	if (!failed && (all || !strcmp(what, "connect"))) {
		if (!play->client)
			return EINVAL;
		play_connect(play);
	}
	return failed;
}
