/* SPDX-License-Identifier: Apache-2.0 */
/* libbpf, and the calls of it that Swift can't make: variadic callbacks and option macros. */
#ifndef MPSCOPE_CLIBBPF_SHIM_H
#define MPSCOPE_CLIBBPF_SHIM_H

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

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
	char *line, *from;
	size_t size, drop;
	va_list again;
	int n;

	if (level > LIBBPF_WARN)
		return 0;
	/* A verifier's log comes as one message, of any length. */
	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, again);
	va_end(again);
	line = n < 0 ? NULL : malloc((size_t)n + 1);
	if (!line)
		return 0;
	vsnprintf(line, (size_t)n + 1, format, args);
	size = (size_t)n;
	from = line;
	/* Keep the end: that is where the verifier says what is wrong. */
	if (size >= sizeof(log->text)) {
		from += size + 1 - sizeof(log->text);
		size = sizeof(log->text) - 1;
	}
	if (log->used + size >= sizeof(log->text)) {
		drop = log->used + size + 1 - sizeof(log->text);
		if (drop > log->used)
			drop = log->used;
		memmove(log->text, log->text + drop, log->used - drop);
		log->used -= drop;
	}
	memcpy(log->text + log->used, from, size);
	log->used += size;
	log->text[log->used] = 0;
	free(line);
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

/* As much locked memory as the process likes. 0, or -errno. */
static inline int mps_raise_memory_limit(void)
{
	const struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	return setrlimit(RLIMIT_MEMLOCK, &limit) ? -errno : 0;
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

/* How far it is from one per-CPU variable of the kernel to another, in bytes; 0 where one is unknown. */
static inline int mps_per_cpu_distance(const struct btf *btf, const char *from, const char *to)
{
	const struct btf_var_secinfo *variable;
	unsigned int begin = 0, end = 0;
	const struct btf_type *section;
	int found = 0, id;

	id = btf__find_by_name_kind(btf, ".data..percpu", BTF_KIND_DATASEC);
	if (id <= 0)
		return 0;
	section = btf__type_by_id(btf, id);
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
	return found == 3 ? (int)(end - begin) : 0;
}

/* The parameters of a function of the kernel, or -errno. */
static inline int mps_btf_parameters(const struct btf *btf, const char *name)
{
	int id = btf__find_by_name_kind(btf, name, BTF_KIND_FUNC);
	const struct btf_type *type;

	if (id <= 0)
		return -ENOENT;
	type = btf__type_by_id(btf, id);
	type = type ? btf__type_by_id(btf, type->type) : NULL;
	return type && btf_is_func_proto(type) ? btf_vlen(type) : -EINVAL;
}

/* What a tracepoint hands on, by its typedef btf_trace_NAME of a pointer to a function; or -errno. */
static inline int mps_btf_tracepoint_parameters(const struct btf *btf, const char *name)
{
	int id = btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF);
	const struct btf_type *type;

	if (id <= 0)
		return -ENOENT;
	type = btf__type_by_id(btf, id);
	type = type ? btf__type_by_id(btf, type->type) : NULL;
	type = type && btf_is_ptr(type) ? btf__type_by_id(btf, type->type) : NULL;
	/* The first is not handed on. */
	return type && btf_is_func_proto(type) && btf_vlen(type) > 0 ? btf_vlen(type) - 1 : -EINVAL;
}

/* `return 0`, as a program. */
static inline int mps_load_nothing(enum bpf_prog_type type, enum bpf_attach_type attach, int btf_id)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach, .attach_btf_id = (__u32)btf_id);
	const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(type, "mpscope_trial", "GPL", nothing, 2, &opts);

	return fd < 0 ? -errno : fd;
}

/* Attaches a program that does nothing, and takes it back. 0, or -errno. */
static inline int mps_try_fentry(const char *function)
{
	int id = libbpf_find_vmlinux_btf_id(function, BPF_TRACE_FENTRY), program, link, error = 0;

	if (id <= 0)
		return id < 0 ? id : -ENOENT;
	program = mps_load_nothing(BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, id);
	if (program < 0)
		return program;
	link = bpf_raw_tracepoint_open(NULL, program);
	if (link < 0)
		error = -errno;
	else
		close(link);
	close(program);
	return error;
}

/* The same by kprobe: an event of the kernel's kprobe PMU, and a program on it. */
static inline int mps_try_kprobe(const char *function)
{
	FILE *file = fopen("/sys/bus/event_source/devices/kprobe/type", "re");
	struct perf_event_attr attr;
	int program, event, error = 0, link;
	unsigned int type = 0;

	if (!file)
		return -ENODEV;
	if (fscanf(file, "%u", &type) != 1)
		error = -ENODEV;
	fclose(file);
	if (error)
		return error;
	memset(&attr, 0, sizeof(attr));
	attr.size = sizeof(attr);
	attr.type = type;
	attr.config1 = (__u64)(unsigned long)function;
	event = (int)syscall(__NR_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (event < 0)
		return -errno;
	program = mps_load_nothing(BPF_PROG_TYPE_KPROBE, 0, 0);
	if (program < 0) {
		error = program;
	} else {
		link = bpf_link_create(program, event, BPF_PERF_EVENT, NULL);
		if (link >= 0)
			close(link);
		else if (ioctl(event, PERF_EVENT_IOC_SET_BPF, program))
			error = -errno;
		close(program);
	}
	close(event);
	return error;
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

/*
 * The number of a tracepoint, from tracefs: where it is mounted, or else from a mount of our own that
 * appears nowhere. Negative errno if not.
 */
static inline long mps_tracepoint_id(const char *category, const char *name)
{
	static const char *const places[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };
	char path[256], text[32] = {};
	int place = -1, fd = -1, context;
	ssize_t size;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places) && fd < 0; i++) {
		snprintf(path, sizeof(path), "%s/events/%s/%s/id", places[i], category, name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
#if defined(SYS_fsopen) && defined(SYS_fsconfig) && defined(SYS_fsmount)
	if (fd < 0 && errno == ENOENT) {
		/* FSOPEN_CLOEXEC, FSCONFIG_CMD_CREATE, FSMOUNT_CLOEXEC; Linux 5.2 */
		context = (int)syscall(SYS_fsopen, "tracefs", 1);
		if (context >= 0) {
			if (!syscall(SYS_fsconfig, context, 6, NULL, NULL, 0))
				place = (int)syscall(SYS_fsmount, context, 1, 0);
			close(context);
		}
		if (place >= 0) {
			snprintf(path, sizeof(path), "events/%s/%s/id", category, name);
			fd = openat(place, path, O_RDONLY | O_CLOEXEC);
			close(place);
		}
	}
#endif
	if (fd < 0)
		return -errno;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	return size > 0 ? strtol(text, NULL, 10) : -EIO;
}

/* A perf event of that tracepoint, on whatever CPU it comes. Negative errno if not. */
static inline int mps_open_tracepoint(const char *category, const char *name)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr) };
	long id = mps_tracepoint_id(category, name);
	int fd;

	if (id < 0)
		return (int)id;
	attr.config = (unsigned long long)id;
	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

#endif
