/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor.c - the least that a consumer of mpscope's BPF programs can be: loads the same
 * object, attaches the same programs, looks into the ring every 20 ms and counts what is
 * there. `make bench` measures mpscope against it.
 *
 *   floor --object FILE [--steps] [--json FILE] [--ready-file FILE]
 *
 * Ends on SIGINT or SIGTERM with one line: the events it took, and those the ring had no
 * room for.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "event.h"

/* As mpscope's own defaults. */
#define RING_SIZE (8u << 20)
#define PAUSE_MS 20

static volatile sig_atomic_t stopped;
static uint64_t taken;
static FILE *json;

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

static __attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...)
{
	va_list arguments;

	fputs("floor: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

/* One line of what an event says in numbers: no names, no state, no pairing of events. */
static void write_json(const struct mps_event *e, const struct mps_owner *owner)
{
	fprintf(json,
		"{\"mono_ns\":%" PRIu64 ",\"kind\":%u,\"hook\":%u,\"flags\":%u,\"ssk\":%" PRIu64
		",\"local\":\"%u.%u.%u.%u\",\"local_port\":%u,\"remote\":\"%u.%u.%u.%u\",\"remote_port\":%u"
		",\"netns\":%u,\"token\":\"%08x\",\"option\":%u",
		(uint64_t)e->time, e->kind, e->hook, e->flags, (uint64_t)e->ssk, e->local[12], e->local[13],
		e->local[14], e->local[15], e->local_port, e->remote[12], e->remote[13], e->remote[14],
		e->remote[15], e->remote_port, e->netns, e->token, e->option);
	if (owner)
		fprintf(json, ",\"pid\":%u,\"uid\":%u,\"comm\":\"%.16s\"", owner->pid, owner->uid, owner->comm);
	fputs("}\n", json);
}

static int take(void *context, void *data, size_t size)
{
	const struct mps_owned_event *e = data;

	(void)context;
	taken++;
	if (json)
		write_json(&e->event, size == sizeof(*e) ? &e->owner : 0);
	return 0;
}

static struct bpf_map *map_of_section(struct bpf_object *object, const char *section)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		const char *name = bpf_map__name(map), *dot = strchr(name, '.');

		if (dot && !strcmp(dot, section))
			return map;
	}
	fail("no section %s", section);
}

/* Where in its section a global variable lies. */
static size_t offset_of(struct bpf_object *object, const char *section, const char *variable)
{
	const struct btf *btf = bpf_object__btf(object);
	int id = btf__find_by_name_kind(btf, section, BTF_KIND_DATASEC);
	const struct btf_type *type = id < 0 ? 0 : btf__type_by_id(btf, id);
	const struct btf_var_secinfo *entry = type ? btf_var_secinfos(type) : 0;

	for (int i = 0; type && i < btf_vlen(type); i++, entry++) {
		const struct btf_type *of = btf__type_by_id(btf, entry->type);

		if (!strcmp(btf__name_by_offset(btf, of->name_off), variable))
			return entry->offset;
	}
	fail("no variable %s in %s", variable, section);
}

/* A descriptor of the root of cgroup v2. */
static int open_cgroup_root(void)
{
	FILE *mounts = fopen("/proc/self/mounts", "re");
	char path[256], type[64];
	int descriptor = -1;

	while (mounts && descriptor < 0 && fscanf(mounts, "%*s %255s %63s%*[^\n]", path, type) == 2)
		if (!strcmp(type, "cgroup2"))
			descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mounts)
		fclose(mounts);
	if (descriptor < 0)
		fail("cgroup v2 is not mounted");
	return descriptor;
}

static _Bool is_only_for_steps(const struct bpf_program *program)
{
	return !strncmp(bpf_program__section_name(program), "cgroup/sock_", 12);
}

/*
 * Not what mpscope attaches where functions can't be hooked, nor the variant for kernels whose
 * tcp_send_reset has two arguments.
 */
static _Bool is_left_out(struct bpf_program *program)
{
	const char *section = bpf_program__section_name(program);

	return !strncmp(section, "fentry/", 7) || !strncmp(section, "fexit/", 6) ||
	       !strncmp(section, "kprobe/", 7) || !strncmp(section, "kretprobe/", 10) ||
	       !strcmp(bpf_program__name(program), "tcp_send_reset_2");
}

static void attach(struct bpf_object *object, _Bool steps)
{
	int cgroup = open_cgroup_root();
	struct bpf_program *program;

	bpf_object__for_each_program(program, object) {
		const char *section = bpf_program__section_name(program);

		if (is_left_out(program) || (is_only_for_steps(program) && !steps))
			continue;
		if (!strncmp(section, "cgroup", 6) ? !bpf_program__attach_cgroup(program, cgroup)
						   : !bpf_program__attach(program))
			fail("cannot attach %s: %s", section, strerror(errno));
	}
	close(cgroup);
}

/* The variables of the loaded programs, shared with them. */
static char *map_variables(struct bpf_object *object)
{
	struct bpf_map *map = map_of_section(object, ".bss");
	void *memory;
	size_t size;

	bpf_map__initial_value(map, &size);
	memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	if (memory == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	return memory;
}

/* Events that the ring had no room for. */
static uint64_t count_lost(const struct mps_counter *counters)
{
	uint64_t lost = 0;

	for (int i = 0; i < MPS_MAX_CPUS * MPS_MAX_HOOKS; i++)
		lost += counters[i].lost;
	return lost;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"object", required_argument, 0, 'o'}, {"ready-file", required_argument, 0, 'r'},
		{"json", required_argument, 0, 'j'},   {"steps", no_argument, 0, 's'},
		{0, 0, 0, 0},
	};
	const char *path = 0, *ready = 0, *output = 0;
	struct mps_config config = {.self = (mps_u32)getpid(), .wake_bytes = RING_SIZE / 4};
	struct sigaction action = {.sa_handler = stop};
	struct bpf_object *object;
	struct bpf_program *program;
	struct ring_buffer *ring;
	struct bpf_map *rodata;
	struct pollfd waiting;
	size_t size;
	char *globals, *variables;
	int option;

	while ((option = getopt_long(argc, argv, "", options, 0)) != -1) {
		switch (option) {
		case 'o': path = optarg; break;
		case 'r': ready = optarg; break;
		case 'j': output = optarg; break;
		case 's': config.steps = 1; break;
		default: return 64;
		}
	}
	if (!path)
		fail("--object is missing");
	if (output) {
		json = fopen(output, "we");
		if (!json || setvbuf(json, 0, _IOFBF, 64 << 10))
			fail("cannot write %s: %s", output, strerror(errno));
	}
	sigaction(SIGINT, &action, 0);
	sigaction(SIGTERM, &action, 0);
	libbpf_set_print(quiet);

	object = bpf_object__open(path);
	if (!object)
		fail("cannot open %s: %s", path, strerror(errno));
	rodata = map_of_section(object, ".rodata");
	globals = (char *)bpf_map__initial_value(rodata, &size); /* const in libbpf 1.1 */
	memcpy(globals + offset_of(object, ".rodata", "config"), &config, sizeof(config));
	bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "events"), RING_SIZE);
	bpf_object__for_each_program(program, object)
		if (is_left_out(program) || (is_only_for_steps(program) && !config.steps))
			bpf_program__set_autoload(program, 0);
	if (bpf_object__load(object))
		fail("cannot load %s", path);
	attach(object, config.steps);
	ring = ring_buffer__new(bpf_object__find_map_fd_by_name(object, "events"), take, 0, 0);
	if (!ring)
		fail("ring_buffer__new: %s", strerror(errno));
	variables = map_variables(object);
	*(volatile mps_u32 *)(variables + offset_of(object, ".bss", "tracing")) = 1;
	if (ready) {
		int descriptor = open(ready, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		if (descriptor < 0)
			fail("cannot create %s: %s", ready, strerror(errno));
		close(descriptor);
	}

	waiting = (struct pollfd){.fd = ring_buffer__epoll_fd(ring), .events = POLLIN};
	while (!stopped) {
		poll(&waiting, 1, PAUSE_MS);
		ring_buffer__consume(ring);
		if (json)
			fflush(json);
	}
	ring_buffer__consume(ring);
	if (json && fclose(json))
		fail("cannot write %s: %s", output, strerror(errno));
	printf("events=%" PRIu64 " lost=%" PRIu64 "\n", taken, 
	       count_lost((const void *)(variables + offset_of(object, ".bss", "counters"))));
	return 0;
}
