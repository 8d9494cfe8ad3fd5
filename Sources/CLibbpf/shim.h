/* SPDX-License-Identifier: Apache-2.0 */
/* libbpf, and the calls of it that Swift can't make: variadic callbacks and option macros. */
#ifndef MPSCOPE_CLIBBPF_SHIM_H
#define MPSCOPE_CLIBBPF_SHIM_H

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The last lines libbpf printed, kept instead of shown; see mps_libbpf_messages(). */
struct mps_libbpf_log {
	size_t used;
	char text[16384];
};

static inline struct mps_libbpf_log *mps_libbpf_log(void)
{
	static _Thread_local struct mps_libbpf_log log;

	return &log;
}

static inline int mps_libbpf_keep(enum libbpf_print_level level, const char *format, va_list args)
{
	struct mps_libbpf_log *log = mps_libbpf_log();
	char line[2048];
	int n;

	if (level > LIBBPF_WARN)
		return 0;
	n = vsnprintf(line, sizeof(line), format, args);
	if (n < 0)
		return 0;
	if ((size_t)n >= sizeof(line))
		n = sizeof(line) - 1;
	if (log->used + (size_t)n >= sizeof(log->text)) {
		/* Keep the end: that is where the verifier says what is wrong. */
		size_t drop = log->used + (size_t)n + 1 - sizeof(log->text);

		if (drop > log->used)
			drop = log->used;
		memmove(log->text, log->text + drop, log->used - drop);
		log->used -= drop;
	}
	memcpy(log->text + log->used, line, (size_t)n);
	log->used += (size_t)n;
	log->text[log->used] = 0;
	return 0;
}

static inline void mps_libbpf_quiet(void)
{
	libbpf_set_print(mps_libbpf_keep);
}

static inline const char *mps_libbpf_messages(void)
{
	return mps_libbpf_log()->text;
}

static inline void mps_libbpf_forget(void)
{
	mps_libbpf_log()->used = 0;
	mps_libbpf_log()->text[0] = 0;
}

/* Opens an object from memory. `btf`: path of the kernel's BTF, or NULL. NULL and errno on failure. */
static inline struct bpf_object *mps_bpf_open(const void *bytes, size_t size, const char *name, const char *btf)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = name, .btf_custom_path = btf);

	return bpf_object__open_mem(bytes, size, &opts);
}

/* Where a global variable lies in its section's map, as the object's BTF says. 0, or -errno. */
static inline int mps_bpf_variable(const struct bpf_object *object, const char *section, const char *name,
				   size_t *offset, size_t *size)
{
	const struct btf *btf = bpf_object__btf(object);
	int id = btf__find_by_name_kind(btf, section, BTF_KIND_DATASEC);
	const struct btf_var_secinfo *variable;
	const struct btf_type *type;

	if (id < 0)
		return id;
	type = btf__type_by_id(btf, id);
	variable = btf_var_secinfos(type);
	for (int i = 0; i < btf_vlen(type); i++, variable++) {
		const struct btf_type *found = btf__type_by_id(btf, variable->type);

		if (found && !strcmp(btf__name_by_offset(btf, found->name_off), name)) {
			*offset = variable->offset;
			*size = variable->size;
			return 0;
		}
	}
	return -ENOENT;
}

/*
 * How far it is from one per-CPU variable of the kernel to another, in bytes, as its BTF says;
 * 0 where one is unknown. `path`: a file with the kernel's BTF, or NULL.
 */
static inline int mps_per_cpu_distance(const char *path, const char *from, const char *to)
{
	struct btf *btf = path ? btf__parse(path, NULL) : btf__load_vmlinux_btf();
	const struct btf_var_secinfo *variable;
	unsigned int begin = 0, end = 0;
	int found = 0, id;

	if (!btf)
		return 0;
	id = btf__find_by_name_kind(btf, ".data..percpu", BTF_KIND_DATASEC);
	if (id > 0) {
		const struct btf_type *section = btf__type_by_id(btf, id);

		variable = btf_var_secinfos(section);
		for (int i = 0; i < btf_vlen(section); i++, variable++) {
			const struct btf_type *type = btf__type_by_id(btf, variable->type);
			const char *name = type ? btf__name_by_offset(btf, type->name_off) : "";

			if (!strcmp(name, from)) {
				begin = variable->offset;
				found |= 1;
			} else if (!strcmp(name, to)) {
				end = variable->offset;
				found |= 2;
			}
		}
	}
	btf__free(btf);
	return found == 3 ? (int)(end - begin) : 0;
}

/* How often the kernel skipped the program because it was already running on that CPU. */
static inline int mps_bpf_recursion_misses(int program, unsigned long long *misses)
{
	struct bpf_prog_info info;
	unsigned int size = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (bpf_obj_get_info_by_fd(program, &info, &size))
		return -errno;
	*misses = info.recursion_misses;
	return 0;
}

struct mps_bpf_run_stats {
	unsigned long long nanoseconds;
	unsigned long long runs;
	unsigned int instructions; /* that the verifier processed */
};

static inline int mps_bpf_stats(int program, struct mps_bpf_run_stats *stats)
{
	struct bpf_prog_info info;
	unsigned int size = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (bpf_obj_get_info_by_fd(program, &info, &size))
		return -errno;
	stats->nanoseconds = info.run_time_ns;
	stats->runs = info.run_cnt;
	stats->instructions = info.verified_insns;
	return 0;
}

#endif
