/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "netns_shim.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int mps_netns_enter(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
    close(fd);
    return result;
}

int mps_netns_unshare(void)
{
    return unshare(CLONE_NEWNET) < 0 ? -errno : 0;
}

struct netns_call {
    const char *path;
    void (*body)(void *);
    void *context;
    int result;
};

static void *netns_call_main(void *argument)
{
    struct netns_call *call = argument;
    call->result = mps_netns_enter(call->path);
    if (call->result == 0)
        call->body(call->context);
    return NULL;
}

int mps_netns_call(const char *path, void (*body)(void *context), void *context)
{
    struct netns_call call = {.path = path, .body = body, .context = context};
    pthread_t thread;
    int error = pthread_create(&thread, NULL, netns_call_main, &call);
    if (error)
        return -error;
    pthread_join(thread, NULL);
    return call.result;
}

int mps_netns_unname(const char *path)
{
    /* EINVAL: the file is there but nothing is mounted on it (a half-made name). */
    if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
        return -errno;
    if (unlink(path) < 0 && errno != ENOENT)
        return -errno;
    return 0;
}

static int link_request(const char *name, int raise)
{
    struct ifreq request = {0};
    if (strlen(name) >= IFNAMSIZ)
        return -ENAMETOOLONG;
    strcpy(request.ifr_name, name);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int result = ioctl(fd, SIOCGIFFLAGS, &request);
    if (result == 0 && raise) {
        request.ifr_flags |= IFF_UP;
        result = ioctl(fd, SIOCSIFFLAGS, &request);
    }
    result = result < 0 ? -errno : (unsigned short)request.ifr_flags;
    close(fd);
    return result;
}

int mps_link_flags(const char *name)
{
    return link_request(name, 0);
}

int mps_link_up(const char *name)
{
    int result = link_request(name, 1);
    return result < 0 ? result : 0;
}

int mps_thread_name(const char *name)
{
    return prctl(PR_SET_NAME, name, 0, 0, 0) < 0 ? -errno : 0;
}

int mps_die_with_parent(void)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ? -errno : 0;
}

struct child_watch {
    pid_t pid;
    int told;
};

static void *child_watch_main(void *argument)
{
    struct child_watch watch = *(struct child_watch *)argument;
    siginfo_t info;
    free(argument);
    /* It stays a zombie, which only the caller reaps. ECHILD: that has happened already. */
    while (waitid(P_PID, watch.pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
    /* Not by closing alone: whoever was forked meanwhile has a copy. */
    (void)!write(watch.told, "", 1);
    close(watch.told);
    return NULL;
}

int mps_child_end(pid_t pid)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    int ends[2];
    int result = mps_pipe(ends);
    if (result < 0)
        return result;
    struct child_watch *watch = malloc(sizeof(*watch));
    result = watch ? pthread_attr_init(&attributes) : ENOMEM;
    if (!result) {
        *watch = (struct child_watch){.pid = pid, .told = ends[1]};
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        /* No signal is that thread's to take, SIGPIPE of a reader that no longer listens included. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        result = pthread_create(&thread, &attributes, child_watch_main, watch);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
    }
    if (!result)
        return ends[0];
    free(watch);
    close(ends[0]);
    close(ends[1]);
    return -result;
}

/* Moves both ends above the numbers that mps_spawn gives to a child, so that none is overwritten
 * before it is copied, even in a process started without a standard input. */
static int lift(int ends[2])
{
    int error = 0;
    for (int i = 0; i < 2; i++) {
        int high = fcntl(ends[i], F_DUPFD_CLOEXEC, 10);
        if (high < 0) {
            error = errno;
            continue;
        }
        close(ends[i]);
        ends[i] = high;
    }
    if (error) {
        close(ends[0]);
        close(ends[1]);
    }
    return -error;
}

int mps_pipe(int ends[2])
{
    return pipe2(ends, O_CLOEXEC) < 0 ? -errno : lift(ends);
}

int mps_socketpair(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : lift(ends);
}

int mps_spawn(pid_t *pid, const char *path, char *const argv[], const int *fds, int count)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return -error;
    error = posix_spawnattr_init(&attributes);
    if (error) {
        posix_spawn_file_actions_destroy(&actions);
        return -error;
    }
    for (int i = 0; i < count && !error; i++)
        error = fds[i] < 0
            ? posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0)
            : posix_spawn_file_actions_adddup2(&actions, fds[i], i);
    if (!error)
        error = posix_spawn_file_actions_addclosefrom_np(&actions, count);
    sigemptyset(&none);
    sigfillset(&all);
    if (!error)
        error = posix_spawnattr_setsigmask(&attributes, &none);
    if (!error)
        error = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!error)
        error = posix_spawnattr_setpgroup(&attributes, 0);
    if (!error)
        error = posix_spawnattr_setflags(&attributes,
            POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    if (!error)
        error = posix_spawn(pid, path, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -error;
}

int mps_give_descriptor(int through, int descriptor)
{
    char byte = 0;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1,
        .msg_control = control.room, .msg_controllen = sizeof(control.room),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
    return sendmsg(through, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int mps_take_descriptor(int through)
{
    char byte;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1,
        .msg_control = control.room, .msg_controllen = sizeof(control.room),
    };
    int descriptor;
    if (recvmsg(through, &message, MSG_CMSG_CLOEXEC) < 0)
        return -errno;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_RIGHTS)
        return -EPROTO;
    memcpy(&descriptor, CMSG_DATA(header), sizeof(int));
    return descriptor;
}

pid_t mps_fork_echo(int listener)
{
    pid_t parent = getpid();
    pid_t child = fork();
    if (child)
        return child < 0 ? -errno : child;
    char bytes[4096];
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent)
        _exit(1);
    for (int i = 0; i <= 3; i++)
        close(i);
    int connection = accept(listener, NULL, NULL);
    if (connection < 0)
        _exit(1);
    for (;;) {
        ssize_t count = recv(connection, bytes, sizeof(bytes), 0);
        if (count <= 0 || send(connection, bytes, count, MSG_NOSIGNAL) != count)
            break;
    }
    _exit(0);
}
