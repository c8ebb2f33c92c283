/* SPDX-License-Identifier: MPL-2.0 */
#undef _FORTIFY_SOURCE /* with it, libc's headers define recv() themselves */
#include "wire/intake.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#define NAP_NS 500000L

/* RFC 26, INITIATE: how its nonce begins, and what is in front of its metadata:
 * the client's key, the nonce and the box of its vouch. */
#define INITIATE_NONCE "CurveZMQINITIATE"
#define INITIATE_KEY_AND_VOUCH (32 + 16 + 80)

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

/*
 * Takes the name of a routing id away from the ones that begin with 0, in the
 * metadata of a handshake (RFC 23: length and name, length and value): libzmq
 * then sees a property that it does not know, and numbers the connection.
 */
static void
unname(uint8_t *at, size_t len)
{
    while (len > 0) {
        size_t name_len = *at, value_len, whole = 1 + name_len + 4;

        if (len < whole)
            return;
        value_len = (size_t)at[1 + name_len] << 24 |
            (size_t)at[2 + name_len] << 16 | (size_t)at[3 + name_len] << 8 |
            at[4 + name_len];
        if (value_len > len - whole)
            return;
        if (value_len > 0 && at[whole] == 0 && name_len == 8 &&
            memcmp(at + 1, "Identity", 8) == 0)
            memcpy(at + 1, "X-Forged", 8);
        at += whole + value_len;
        len -= whole + value_len;
    }
}

/*
 * libzmq numbers connections, with routing ids that begin with 0, and aborts
 * at a number that some client has chosen as its name: who connects often
 * enough while others hold such names brings that about.  With this it opens,
 * in the handshake of CURVE and not later, what a client says of itself.
 */
__attribute__((visibility("default"))) int
crypto_box_open(unsigned char *plain, const unsigned char *box,
                unsigned long long len, const unsigned char *nonce,
                const unsigned char *public_key,
                const unsigned char *secret_key)
{
    const size_t front = crypto_box_ZEROBYTES + INITIATE_KEY_AND_VOUCH;
    unsigned char shared[crypto_box_BEFORENMBYTES];
    int rc = crypto_box_beforenm(shared, public_key, secret_key);

    if (rc == 0)
        rc = crypto_box_open_afternm(plain, box, len, nonce, shared);
    sodium_memzero(shared, sizeof shared);
    if (rc == 0 && len > front &&
        memcmp(nonce, INITIATE_NONCE, sizeof INITIATE_NONCE - 1) == 0)
        unname(plain + front, len - front);
    return rc;
}
