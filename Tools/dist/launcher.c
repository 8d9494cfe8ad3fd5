/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `mpscope` of the archive that `make dist` makes: starts the real program, lib/mpscope, by the
 * loader and with the libraries that lie beside it, whatever the system has. Linked statically, so
 * that it needs nothing but the kernel.
 *
 * Sources/Scenarios/OwnProgram.swift is its counterpart.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#ifndef LOADER
#error "LOADER: the loader's file name"
#endif

/* By which the program starts itself again. */
#define LAUNCHER "MPSCOPE_LAUNCHER="
/* What is put before the name of a variable that our loader must not see. */
#define HIDDEN "MPSCOPE_HIDDEN_"
/* EX_UNAVAILABLE, as the program says it where it can't run. */
enum { unavailable = 69 };

extern char **environ;

static int fail(const char *what, const char *name)
{
	fprintf(stderr, "mpscope: %s %s: %s\n", what, name, strerror(errno));
	return unavailable;
}

/* Cuts the last part of a path off: whether something is left. */
static int cut(char *path)
{
	char *end = strrchr(path, '/');
	if (!end)
		return 0;
	*end = 0;
	return 1;
}

/* Whether the loader lies where it should, seen from this file. */
static int is_home(const char *file)
{
	char path[PATH_MAX + 64];
	char folder[PATH_MAX];
	snprintf(folder, sizeof(folder), "%s", file);
	if (!cut(folder))
		return 0;
	snprintf(path, sizeof(path), "%s/lib/" LOADER, folder);
	return access(path, X_OK) == 0;
}

/* This file, without symbolic links: where the kernel found it, or where it was told to look if
 * there is no /proc. */
static int find_self(char file[static PATH_MAX])
{
	const char *executed = (const char *)getauxval(AT_EXECFN);
	ssize_t length = readlink("/proc/self/exe", file, PATH_MAX - 1);
	if (length > 0) {
		file[length] = 0;
		if (is_home(file))
			return 1;
	}
	return executed && realpath(executed, file) && is_home(file);
}

/* What the host has set for its own loader and libc must not reach ours: a library of another libc
 * can't be loaded. The program gives it back to what it starts. */
static int is_of_loader(const char *variable)
{
	return strncmp(variable, "LD_", 3) == 0 || strncmp(variable, "GLIBC_TUNABLES=", 15) == 0;
}

/* The environment for the program, or NULL. */
static char **environment(const char *self)
{
	size_t count = 0, to = 0;
	while (environ[count])
		count++;
	char **made = calloc(count + 2, sizeof(*made));
	if (!made)
		return NULL;
	for (size_t from = 0; from < count; from++) {
		char *variable = environ[from];
		/* Of a launcher before this one: not ours. */
		if (strncmp(variable, LAUNCHER, strlen(LAUNCHER)) == 0)
			continue;
		if (is_of_loader(variable) && asprintf(&variable, HIDDEN "%s", environ[from]) < 0)
			return NULL;
		made[to++] = variable;
	}
	return asprintf(&made[to], LAUNCHER "%s", self) < 0 ? NULL : made;
}

int main(int argc, char *argv[])
{
	static char self[PATH_MAX], folder[PATH_MAX];
	char *loader, *libraries, *program;

	if (!find_self(self)) {
		fprintf(stderr, "mpscope: lib/" LOADER " is not beside this program: keep the files of the "
				"archive together; a symbolic link to it will do elsewhere\n");
		return unavailable;
	}
	memcpy(folder, self, sizeof(folder));
	cut(folder);
	if (asprintf(&libraries, "%s/lib", folder) < 0 || asprintf(&loader, "%s/" LOADER, libraries) < 0
	    || asprintf(&program, "%s/mpscope", libraries) < 0)
		return fail("no memory for", self);

	/* The loader's own arguments, the program, its arguments, the end. */
	char *const before[] = {
		loader, "--inhibit-cache", "--library-path", libraries,
		"--argv0", argc > 0 ? argv[0] : self, program,
	};
	const size_t fixed = sizeof(before) / sizeof(*before);
	char **arguments = calloc(fixed + (size_t)argc + 1, sizeof(*arguments));
	char **variables = environment(self);
	if (!arguments || !variables)
		return fail("no memory for", self);
	memcpy(arguments, before, sizeof(before));
	for (int i = 1; i < argc; i++)
		arguments[fixed + (size_t)i - 1] = argv[i];
	execve(loader, arguments, variables);
	return fail("cannot execute", loader);
}
