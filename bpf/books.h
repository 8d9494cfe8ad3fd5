/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * books.h - the programs' books of what they sent and what was lost: for each CPU and hook an
 * mps_counter (event.h).
 *
 * With MPS_NO_GLOBALS they are a map, for kernels whose BPF has no global variables (before 5.2).
 * User space finds the same layout either way: CPU by CPU, and in it hook by hook.
 */
#ifndef MPSCOPE_BOOKS_H
#define MPSCOPE_BOOKS_H

#include "event.h"

/* Keeps the compiler from proving, and so removing, a bound that the verifier can't see. */
#define mps_opaque(variable) asm volatile("" : "+r"(variable))

#ifdef MPS_NO_GLOBALS

struct mps_counters_of_cpu {
	struct mps_counter hook[MPS_MAX_HOOKS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_counters_of_cpu);
} counters SEC(".maps");

/* `hook` is a constant wherever this is called; NULL only to the verifier. */
static __always_inline struct mps_counter *mps_counter_of(__u32 hook)
{
	__u32 zero = 0;
	struct mps_counters_of_cpu *mine = bpf_map_lookup_elem(&counters, &zero);

	return mine ? &mine->hook[hook & (MPS_MAX_HOOKS - 1)] : 0;
}

#else

/* Mapped by the reader. */
struct mps_counter counters[MPS_MAX_CPUS * MPS_MAX_HOOKS] = {};

static __always_inline struct mps_counter *mps_counter_of(__u32 hook)
{
	__u32 place = bpf_get_smp_processor_id() * MPS_MAX_HOOKS + hook;

	/* One bound, at the end: 6.1's verifier loses those of the parts. */
	mps_opaque(place);
	return &counters[place & (MPS_MAX_CPUS * MPS_MAX_HOOKS - 1)];
}

#endif

/* Atomic, because a softirq may interrupt a handler on its CPU. */
#define mps_count(counter, what)                                    \
	do {                                                        \
		if (counter)                                        \
			__sync_fetch_and_add(&(counter)->what, 1);  \
	} while (0)

/* Something could not be followed because a map of ours was full. */
static __always_inline void mps_count_table_full(__u32 hook)
{
	struct mps_counter *counter = mps_counter_of(hook);

	mps_count(counter, table_full);
}

#endif
