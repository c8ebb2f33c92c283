/* SPDX-License-Identifier: MPL-2.0 */
#undef _FORTIFY_SOURCE /* with it, libc's headers define recv() themselves */
#include "wire/intake.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "wire/zmtp.h"

#define NAP_NS 500000L

/* RFC 26, INITIATE: how its nonce begins, and what is in front of its metadata:
 * the client's key, the nonce and the box of its vouch. */
#define INITIATE_NONCE "CurveZMQINITIATE"
#define INITIATE_KEY_AND_VOUCH (32 + 16 + 80)

/* RFC 26, MESSAGE: its name; with the highest nonce, for none follows. */
#define MESSAGE_FRONT "\7MESSAGE\xff\xff\xff\xff\xff\xff\xff\xff"

/* What stands for a frame that is too long: a secret of this process, and the
 * length.  In front of it a head and, over CURVE, what makes it a MESSAGE. */
#define SECRET_LEN 32u
#define MARK_LEN (SECRET_LEN + 8u)
#define BOXED_FRONT (sizeof MESSAGE_FRONT - 1 + crypto_box_MACBYTES + 1)
#define ROOM_FOR_MARK (2 + BOXED_FRONT + MARK_LEN)

#define DESCRIPTORS_MAX ((rlim_t)1 << 24)

#define DRAIN_MAX 16 /* reads of what a stranger has sent */

/* A connection that was accepted; by descriptor, and of the I/O thread that
 * reads it. */
struct stream {
    _Atomic enum {
        STREAM_NONE,
        STREAM_READ,
        STREAM_OVER, /* what comes is dropped */
    } state;
    struct zmtp zmtp;
};

static atomic_long descriptor_limit = LONG_MAX;
static _Atomic int64_t left = INT64_MAX;
static _Atomic uint64_t strangers;
static _Atomic uint64_t frame_max = UINT64_MAX;
static struct stream *_Atomic streams; /* never freed: who knows who reads */
static long stream_room;
static uint8_t secret[SECRET_LEN];

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

int
intake_read_along(uint64_t longest)
{
    struct stream *made;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    if (limit.rlim_cur > DESCRIPTORS_MAX)
        limit.rlim_cur = DESCRIPTORS_MAX;
    atomic_store(&frame_max, longest);
    if (atomic_load(&streams) != NULL)
        return (long)limit.rlim_cur <= stream_room ? 0 : -ENOMEM;
    made = calloc(limit.rlim_cur, sizeof *made);
    if (made == NULL || sodium_init() < 0) {
        free(made);
        return -ENOMEM;
    }
    randombytes_buf(secret, sizeof secret);
    secret[0] = 'X'; /* to an XPUB no subscription */
    stream_room = (long)limit.rlim_cur;
    atomic_store(&streams, made);
    return 0;
}

uint64_t
intake_strangers(void)
{
    return atomic_load(&strangers);
}

static bool
is_mark(const uint8_t *data)
{
    return atomic_load(&streams) != NULL &&
        sodium_memcmp(data, secret, sizeof secret) == 0;
}

bool
intake_is_mark(const void *data, size_t len, uint64_t *ret_len)
{
    if (len != MARK_LEN || !is_mark(data))
        return false;
    memcpy(ret_len, (const uint8_t *)data + SECRET_LEN, sizeof *ret_len);
    return true;
}

static struct stream *
stream_of(int fd)
{
    struct stream *all = atomic_load_explicit(&streams, memory_order_acquire);

    return all != NULL && fd >= 0 && fd < stream_room ? &all[fd] : NULL;
}

bool
intake_is_over(int fd)
{
    const struct stream *stream = stream_of(fd);

    return stream != NULL && stream->state == STREAM_OVER;
}

/* ---- who comes --------------------------------------------------------- */

static void
begin_stream(int fd)
{
    struct stream *stream = stream_of(fd);
    socklen_t len = sizeof(int);
    int domain = AF_UNIX;

    if (stream == NULL)
        return;
    (void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
    zmtp_begin(&stream->zmtp, domain != AF_UNIX);
    stream->state = STREAM_READ;
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
        begin_stream((int)fd);
        return (int)fd;
    }
    (void)close((int)fd);
    errno = ECONNABORTED;
    return -1;
}

/*
 * A descriptor that was a peer's is soon used again; one that we connect is
 * not read along.
 */
__attribute__((visibility("default"))) int
connect(int fd, const struct sockaddr *address, socklen_t len)
{
    struct stream *stream = stream_of(fd);

    if (stream != NULL)
        stream->state = STREAM_NONE;
    return (int)syscall(SYS_connect, fd, address, len);
}

/* ---- what they send ---------------------------------------------------- */

static ssize_t
receive(int fd, void *data, size_t len, int flags)
{
    return syscall(SYS_recvfrom, fd, data, len, flags, NULL, NULL);
}

/* For libzmq nothing is there; it asks again when something is. */
static ssize_t
nothing(void)
{
    errno = EAGAIN;
    return -1;
}

/* Says in words, for who it is does not speak ZMTP, why this is the end. */
static ssize_t
turn_away(int fd, enum zmtp_fault fault)
{
    static const char *const words[] = {
        [ZMTP_FOREIGN] = "refused: what came is no greeting of ZeroMQ, which "
                         "is spoken here (ZMTP 3)\r\n",
        [ZMTP_MECHANISM] = "refused: the mechanism must be CURVE over tcp, "
                           "NULL over ipc\r\n",
        [ZMTP_HANDSHAKE] = "refused: a frame of the handshake is too long\r\n",
        [ZMTP_TOO_LARGE] = "refused: a frame is too long\r\n",
    };
    uint8_t sink[4096];

    atomic_fetch_add(&strangers, 1);
    (void)send(fd, words[fault], strlen(words[fault]),
               MSG_DONTWAIT | MSG_NOSIGNAL);
    /* What lies unread when a connection is closed takes the words along. */
    for (int i = 0; i < DRAIN_MAX; i++)
        if (receive(fd, sink, sizeof sink, MSG_DONTWAIT) <= 0)
            break;
    return 0;
}

/* Puts the mark in the place of a frame; returns how long that is. */
static size_t
put_mark(uint8_t *at, uint64_t frame_len, bool curve)
{
    uint8_t *begin = at;
    size_t front = curve ? BOXED_FRONT : 0;

    *at++ = 0; /* the last frame of its message */
    *at++ = (uint8_t)(front + MARK_LEN);
    memset(at, 0, front);
    if (curve)
        memcpy(at, MESSAGE_FRONT, sizeof MESSAGE_FRONT - 1);
    at += front;
    memcpy(at, secret, sizeof secret);
    memcpy(at + sizeof secret, &frame_len, sizeof frame_len);
    return (size_t)(at - begin) + MARK_LEN;
}

/* Receives from a peer what libzmq may see of it. */
static ssize_t
read_along(struct stream *stream, int fd, uint8_t *data, size_t len, int flags)
{
    struct zmtp *z = &stream->zmtp;
    size_t held = z->held, ask = len - held, seen;
    enum zmtp_fault fault;
    ssize_t got;

    /* Nothing libzmq asks for is as short, but within a greeting. */
    if (len < held + 1)
        return turn_away(fd, ZMTP_HANDSHAKE);
    if (!zmtp_is_inside(z, len) && ask > 2 * ROOM_FOR_MARK)
        ask -= ROOM_FOR_MARK;
    got = receive(fd, data + held, ask, flags);
    if (got <= 0)
        return got;
    (void)atomic_fetch_sub_explicit(&left, got, memory_order_relaxed);
    memcpy(data, z->head, held);
    seen =
        zmtp_look(z, data, held + (size_t)got, atomic_load(&frame_max), &fault);
    if (fault == ZMTP_FINE)
        return seen > 0 ? (ssize_t)seen : nothing();
    stream->state = STREAM_OVER;
    if (fault != ZMTP_TOO_LARGE || len - seen < ROOM_FOR_MARK)
        return turn_away(fd, fault);
    return (ssize_t)(seen +
                     put_mark(data + seen, zmtp_length(data + seen), z->curve));
}

/*
 * When too much has come in, the I/O thread of libzmq is told that nothing is
 * there, and asks again: the nap keeps it from doing so in circles.
 */
__attribute__((visibility("default"))) ssize_t
recv(int fd, void *data, size_t len, int flags)
{
    struct stream *stream = stream_of(fd);
    ssize_t got;

    if (intake_left() <= 0) {
        (void)nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
        return nothing();
    }
    if (stream != NULL && stream->state == STREAM_READ)
        return read_along(stream, fd, data, len, flags);
    got = receive(fd, data, len, flags);
    if (got > 0 && stream != NULL && stream->state == STREAM_OVER)
        return nothing();
    if (got > 0)
        (void)atomic_fetch_sub_explicit(&left, got, memory_order_relaxed);
    return got;
}

/*
 * With these libzmq opens what comes over CURVE: what a client says of itself
 * in the handshake, and each frame behind it.
 */
__attribute__((visibility("default"))) int
crypto_box_open(unsigned char *plain, const unsigned char *box,
                unsigned long long len, const unsigned char *nonce,
                const unsigned char *public_key,
                const unsigned char *secret_key)
{
    const size_t front = crypto_box_ZEROBYTES + INITIATE_KEY_AND_VOUCH;
    int rc = crypto_box_curve25519xsalsa20poly1305_open(plain, box, len, nonce,
                                                        public_key, secret_key);

    if (rc == 0 && len > front &&
        memcmp(nonce, INITIATE_NONCE, sizeof INITIATE_NONCE - 1) == 0)
        zmtp_unname(plain + front, len - front);
    return rc;
}

__attribute__((visibility("default"))) int
crypto_box_open_easy_afternm(unsigned char *plain, const unsigned char *box,
                             unsigned long long len, const unsigned char *nonce,
                             const unsigned char *shared)
{
    const size_t mac = crypto_box_MACBYTES, front = mac + 1; /* its flags */

    if (len == front + MARK_LEN && is_mark(box + front)) {
        memmove(plain, box + mac, 1 + MARK_LEN);
        return 0;
    }
    if (len < mac)
        return -1;
    return crypto_box_open_detached_afternm(plain, box + mac, box, len - mac,
                                            nonce, shared);
}
