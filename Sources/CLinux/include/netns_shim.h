/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces and child processes: the calls that Swift's Glibc module does not offer.
 * Functions return 0 (or what they are asked for) on success and -errno on failure, so that
 * nothing between the call and its report can change the error. */
#ifndef MPSCOPE_NETNS_SHIM_H
#define MPSCOPE_NETNS_SHIM_H

#include <sys/types.h>

/* Moves the calling thread into the network namespace that `path` names. */
int mps_netns_enter(const char *path);

/* Moves the calling thread into a new network namespace. */
int mps_netns_unshare(void);

/* Runs `body(context)` on a thread of its own inside the namespace `path`, and waits for it. */
int mps_netns_call(const char *path, void (*body)(void *context), void *context);

/* Takes a namespace's name away, as `ip netns delete` does; 0 also when it was not there. */
int mps_netns_unname(const char *path);

/* The flags (IFF_UP, IFF_RUNNING, …) of an interface of the calling thread's namespace. */
int mps_link_flags(const char *name);

/* Brings an interface of the calling thread's namespace up. */
int mps_link_up(const char *name);

/* Names the calling thread (comm). */
int mps_thread_name(const char *name);

/* The calling process is killed when the thread that made it ends. */
int mps_die_with_parent(void);

/* A descriptor that polls as readable once the child `pid` has ended; the caller reaps it. A thread
 * waits for that: pidfd_open() is of Linux 5.3, and this works on any. */
int mps_child_end(pid_t pid);

/* pipe(2) and a stream socketpair(2), close-on-exec. */
int mps_pipe(int ends[2]);
int mps_socketpair(int ends[2]);

/* Sends a descriptor through the UNIX socket `through`, and takes one from it (waiting). */
int mps_give_descriptor(int through, int descriptor);
int mps_take_descriptor(int through);

/* A child process, dying with its parent, that accepts one connection from `listener`, echoes what
 * comes until the peer ends, and ends as well; its pid. It closes the descriptors 0 to 3. */
pid_t mps_fork_echo(int listener);

/* posix_spawn with `fds[i]` as descriptor i of the child (fds[i] < 0: /dev/null) and no other,
 * in a process group of its own, no signal blocked, none ignored. */
int mps_spawn(pid_t *pid, const char *path, char *const argv[], const int *fds, int count);

#endif
