/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * twice.h - what two programs see is told by one of them.
 *
 * The kernel runs no program a second time on a CPU: what a softirq does that interrupts it, or a
 * task that takes its place (kernels with preemption), is not seen by it. So a hook whose every run
 * counts has two, of which the second runs after the first. The first takes what it handles, the
 * second handles what was not taken. Between the two a task may move to another CPU.
 */
#ifndef MPSCOPE_HANDLERS_TWICE_H
#define MPSCOPE_HANDLERS_TWICE_H

#include "socket.h"

#define MPS_PLACES 4096

/*
 * Changes of state that were taken and not yet passed over: at most one of each socket, which is
 * locked meanwhile, in the one place that its address has. A mark stays behind if the second
 * program was skipped; the socket's next change is another one, so it is never mistaken for that.
 */
struct mps_changes {
	volatile __u64 places[MPS_PLACES];
};

/* Of inet_sock_set_state: those that its first program handles. */
struct mps_changes changes = {};
/* Verdicts of clients that a function has told: the change of state comes next. */
struct mps_changes verdicts = {};
/* Packets that the first program of subflow_check_data_avail saw. */
struct mps_changes data = {};

/* The socket and both states in a word: a kernel's address begins with eight ones. */
static __always_inline __u64 mps_change(struct sock *sk, __u32 old, __u32 new)
{
	return (__u64)sk << 8 | (old & 15) << 4 | (new & 15);
}

static __always_inline volatile __u64 *mps_place(struct mps_changes *of, __u64 change)
{
	__u64 place = (change >> 14) * 0x9e3779b97f4a7c15ull >> 52;

	mps_opaque(place);
	return &of->places[place & (MPS_PLACES - 1)];
}

/* Whether that change still goes on: the kernel stores the new state when the programs have run. */
static __always_inline _Bool mps_goes_on(__u64 change)
{
	struct sock *sk = (struct sock *)(change >> 8 | 0xffull << 56);

	return BPF_CORE_READ(sk, __sk_common.skc_state) == (change >> 4 & 15);
}

/* False: another socket's mark is in that place, and needed. The second program is to handle it. */
static __always_inline _Bool mps_take(struct mps_changes *of, struct sock *sk, __u32 old, __u32 new)
{
	__u64 change = mps_change(sk, old, new);
	volatile __u64 *place = mps_place(of, change);
	__u64 was = *place;

	if (was && was >> 8 != change >> 8 && mps_goes_on(was))
		return 0;
	return __sync_val_compare_and_swap(place, was, change) == was;
}

static __always_inline _Bool mps_was_taken(struct mps_changes *of, struct sock *sk, __u32 old, __u32 new)
{
	__u64 change = mps_change(sk, old, new);
	volatile __u64 *place = mps_place(of, change);

	return *place == change && __sync_val_compare_and_swap(place, change, 0) == change;
}

/*
 * The same of a packet, which has no states: one in the same place is forgotten. Where there is no
 * packet, of the CPU.
 */
static __always_inline __u64 mps_seen_mark(struct sk_buff *skb)
{
	return skb ? (__u64)skb : (__u64)(bpf_get_smp_processor_id() + 1) << 6;
}

static __always_inline void mps_saw(struct mps_changes *of, struct sk_buff *skb)
{
	__u64 mark = mps_seen_mark(skb);

	*mps_place(of, mark << 8) = mark;
}

static __always_inline _Bool mps_was_seen(struct mps_changes *of, struct sk_buff *skb)
{
	__u64 mark = mps_seen_mark(skb);
	volatile __u64 *place = mps_place(of, mark << 8);

	if (*place != mark)
		return 0;
	*place = 0;
	return 1;
}

/* The second program handled what the first did not see, or (-1) is to handle what that leaves it. */
static __always_inline void mps_count_caught(__u32 hook, long count)
{
	__sync_fetch_and_add(&mps_counter_of(hook)->caught, count);
}

#endif
