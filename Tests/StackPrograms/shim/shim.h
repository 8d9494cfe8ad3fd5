/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shim.h - libbpf's macros and helpers as plain C, so that the programs in bpf/ can be compiled for
 * the machine that the tests run on and be called like functions. One thread at a time sees its own
 * maps, clock and events.
 */
#ifndef MPSCOPE_SHIM_H
#define MPSCOPE_SHIM_H

#include <string.h>

#undef __always_inline /* of glibc */
#define __always_inline inline __attribute__((always_inline))
#define SEC(name) __attribute__((unused))

/* Maps: only their types and addresses count. */
#define __uint(name, value) int(*name)[value]
#define __type(name, value) __typeof__(value) *name

void *shim_lookup(const void *map, int type, const void *key, unsigned long key_size, unsigned long value_size);
long shim_update(const void *map, int type, const void *key, unsigned long key_size, const void *value,
		 unsigned long value_size);
long shim_delete(const void *map, const void *key, unsigned long key_size);

#define shim_type(map) ((int)(sizeof(*(map)->type) / sizeof(int)))
#define bpf_map_lookup_elem(map, at) \
	((__typeof__(*(map)->value) *)shim_lookup(map, shim_type(map), at, sizeof(*(map)->key), sizeof(*(map)->value)))
#define bpf_map_update_elem(map, at, with, flags) \
	shim_update(map, shim_type(map), at, sizeof(*(map)->key), with, sizeof(*(map)->value))
#define bpf_map_delete_elem(map, at) shim_delete(map, at, sizeof(*(map)->key))

/* Helpers. */
unsigned long long bpf_ktime_get_ns(void);
unsigned int bpf_get_smp_processor_id(void);
unsigned long long bpf_get_current_pid_tgid(void);
unsigned long long bpf_get_current_uid_gid(void);
long bpf_get_current_comm(void *to, unsigned int size);
unsigned long long bpf_get_current_task(void);
long shim_output(const void *event, unsigned long size);
#define bpf_perf_event_output(ctx, map, flags, event, size) shim_output(event, size)

static inline long shim_read(void *to, unsigned long size, const void *from)
{
	if (!from)
		return -14; /* EFAULT */
	memcpy(to, from, size);
	return 0;
}
#define bpf_probe_read_kernel(to, size, from) shim_read(to, size, (const void *)(from))
#define bpf_core_read(to, size, from) shim_read(to, size, (const void *)(from))

/* Reading through pointers, as CO-RE does it. */
#define shim_1(from, a) ((from)->a)
#define shim_2(from, a, b) ((from)->a->b)
#define shim_pick(from, a, b, which, ...) which
#define BPF_CORE_READ(...) shim_pick(__VA_ARGS__, shim_2, shim_1, 0)(__VA_ARGS__)
#define BPF_CORE_READ_BITFIELD_PROBED(from, field) ((from)->field)
#define bpf_core_field_exists(field) 1
#define bpf_core_enum_value_exists(type, value) 1
#define bpf_core_enum_value(type, value) (value)

#define bpf_ntohs(value) __builtin_bswap16(value)
#define bpf_htons(value) __builtin_bswap16(value)
#define bpf_ntohl(value) __builtin_bswap32(value)
#define bpf_htonl(value) __builtin_bswap32(value)

/* Programs: functions with their arguments unpacked. */
#define BPF_KPROBE(name, args...) shim_program_##name(struct pt_regs *ctx, ##args)
#define BPF_KRETPROBE(name, args...) shim_program_##name(struct pt_regs *ctx, ##args)
#define PT_REGS_SP(ctx) ((unsigned long long)(ctx)->sp)
#define LICENSE shim_license

#endif
