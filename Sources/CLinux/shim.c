/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "linux_shim.h"
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
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
	/* FILEID_KERNFS of linux/exportfs.h, which user space is not given. */
	enum { fileid_kernfs = 0xfe };
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + sizeof(uint64_t)];
	} h = { .handle = { .handle_bytes = sizeof(id), .handle_type = fileid_kernfs } };

	memcpy(h.handle.f_handle, &id, sizeof(id));
	return open_by_handle_at(mount_fd, &h.handle, O_PATH | O_CLOEXEC);
}
