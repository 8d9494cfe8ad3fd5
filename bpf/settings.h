/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* settings.h - what the loader tells programs that have no global variables (MPS_NO_GLOBALS). */
#ifndef MPSCOPE_SETTINGS_H
#define MPSCOPE_SETTINGS_H

#include "event.h"

/* Written before anything is attached. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_config);
} settings SEC(".maps");

#define MPS_SWITCH_TRACING 0  /* whether anything is sent: set once all is attached */
#define MPS_SWITCH_ATTACHED 1 /* which hooks are, 1 << MPS_HOOK_* */
#define MPS_SWITCH_COUNT 2

/* Written while the programs run; the numbers are those of Sources/Probes/ProgramSwitches.swift. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MPS_SWITCH_COUNT);
	__type(key, __u32);
	__type(value, __u32);
} switches SEC(".maps");

static __always_inline const struct mps_config *mps_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline __u32 mps_switch(__u32 number)
{
	__u32 *value = bpf_map_lookup_elem(&switches, &number);

	return value ? *value : 0;
}

#endif
