/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/intake.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NAP_NS 500000L

static atomic_long descriptor_limit = LONG_MAX;
static _Atomic int64_t left = INT64_MAX;

void
intake_limit_descriptors(long limit)
{
    atomic_store(&descriptor_limit, limit);
}

void
intake_allow(int64_t bytes)
{
    atomic_store(&left, bytes);
}

int64_t
intake_left(void)
{
    return atomic_load_explicit(&left, memory_order_relaxed);
}

/*
 * libzmq aborts if an ipc listener finds no descriptor
 * (https://github.com/zeromq/libzmq/issues/1306), and asks in circles if a tcp
 * listener does not; how many it accepts before we look is not bounded.  The
 * kernel gives the lowest free descriptor, thus what it gives tells how many
 * there are.
 */
__attribute__((visibility("default"))) int
accept4(int listener, struct sockaddr *address, socklen_t *len, int flags)
{
    long fd = syscall(SYS_accept4, listener, address, len, flags);

    if (fd < atomic_load_explicit(&descriptor_limit, memory_order_relaxed)) {
        if (fd < 0 && errno == EMFILE)
            errno = ENFILE; /* which libzmq knows how to survive */
        return (int)fd;
    }
    (void)close((int)fd);
    errno = ECONNABORTED;
    return -1;
}

/*
 * The I/O thread of libzmq is told that nothing is there, and asks again: the
 * nap keeps it from doing so in circles.
 */
__attribute__((visibility("default"))) ssize_t
recv(int fd, void *data, size_t len, int flags)
{
    ssize_t got;

    if (intake_left() <= 0) {
        (void)nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
        errno = EAGAIN;
        return -1;
    }
    got = syscall(SYS_recvfrom, fd, data, len, flags, NULL, NULL);
    if (got > 0)
        (void)atomic_fetch_sub_explicit(&left, got, memory_order_relaxed);
    return got;
}
