/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "linux_shim.h"
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int mps_clone_newnet(void)
{
	return CLONE_NEWNET;
}

int mps_setns_net(int fd)
{
	return setns(fd, CLONE_NEWNET);
}

int mps_namespace_type(int fd)
{
	return ioctl(fd, NS_GET_NSTYPE);
}

int mps_stream_socket(int family, int protocol)
{
	return socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol);
}

int mps_datagram_socket(int family, int protocol)
{
	return socket(family, SOCK_DGRAM | SOCK_CLOEXEC, protocol);
}

int mps_gettid(void)
{
	return (int)syscall(SYS_gettid);
}

const char *mps_dirent_name(const struct dirent *entry)
{
	return entry->d_name;
}

int mps_open_cgroup(int mount_fd, uint64_t id)
{
	/* FILEID_INO32_GEN of linux/exportfs.h, which user space is not given: the id in halves, the lower
	 * first. FILEID_KERNFS, the id as a whole, is of Linux 5.5; later ones take both. */
	enum { fileid_ino32_gen = 1 };
	const uint32_t halves[2] = { (uint32_t)id, (uint32_t)(id >> 32) };
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + sizeof(halves)];
	} h = { .handle = { .handle_bytes = sizeof(halves), .handle_type = fileid_ino32_gen } };

	memcpy(h.handle.f_handle, halves, sizeof(halves));
	return open_by_handle_at(mount_fd, &h.handle, O_PATH | O_CLOEXEC);
}
