/* SPDX-License-Identifier: Apache-2.0 */
/* System calls and constants that Swift's Glibc module does not offer. */
#ifndef MPSCOPE_LINUX_SHIM_H
#define MPSCOPE_LINUX_SHIM_H

/* Kernel: namespaces, cgroups, directories. */

#include <dirent.h>
#include <stdint.h>

/* CLONE_NEWNET. */
int mps_clone_newnet(void);
/* Moves the calling thread to the network namespace that is open as `fd`; -1 and errno if not. */
int mps_setns_net(int fd);
/* The CLONE_NEW... constant of the namespace that is open as `fd`; -1 and errno if it is none. */
int mps_namespace_type(int fd);
/* socket() with SOCK_STREAM or SOCK_DGRAM, and SOCK_CLOEXEC: constants that belong, in Swift, to whichever
 * module of C happens to be read first. */
int mps_stream_socket(int family, int protocol);
int mps_datagram_socket(int family, int protocol);
/* The calling thread's id. */
int mps_gettid(void);
/* The name in a directory entry; as long as the entry is valid. */
const char *mps_dirent_name(const struct dirent *entry);
/* Opens (O_PATH) the cgroup with this id, below a cgroup2 mount that is open as `mount_fd`;
 * -1 and errno if there is none (ESTALE) or the caller lacks CAP_DAC_READ_SEARCH (EPERM). */
int mps_open_cgroup(int mount_fd, uint64_t id);

/* The program: signals as a descriptor. */

#include <signal.h>
#include <sys/types.h>

/* A descriptor that becomes readable when one of the (blocked) signals comes. */
int mps_signalfd(const sigset_t *signals);

#endif
