/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/peers.h"

#include <limits.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* The first descriptor that no connection may have; of the process. */
static atomic_long descriptor_limit = LONG_MAX;

/*
 * libzmq calls this one instead of libc's, for the dynamic linker looks into
 * the program first.  It aborts if an ipc listener finds no descriptor
 * (https://github.com/zeromq/libzmq/issues/1306), and asks in circles if a tcp
 * listener does not; how many it accepts before we look is not bounded.  So who
 * comes too late is closed here: the kernel gives the lowest free descriptor,
 * thus what it gives tells how many there are.
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
 * A connection is named by its descriptor and the low bits of the cookie that
 * the kernel gives every socket, for a descriptor is soon used again.
 */
static uint64_t
name_of(uint32_t fd, const struct peer *peer)
{
    return peer->cookie << 32 | fd;
}

static struct peer *
find(const struct peers *peers, uint64_t connection)
{
    uint32_t fd = (uint32_t)connection;
    struct peer *peer = fd < peers->room ? &peers->by_fd[fd] : NULL;

    return connection != 0 && peer != NULL && peer->cookie != 0 &&
            name_of(fd, peer) == connection
        ? peer
        : NULL;
}

/* The cookie of a socket; 0 if the descriptor is none. */
static uint64_t
cookie_of(uint32_t fd)
{
    uint64_t cookie;
    socklen_t len = sizeof cookie;

    return getsockopt((int)fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0
        ? cookie
        : 0;
}

int
peers_open(struct peers *peers, struct sock *sock, uint32_t sockets,
           uint32_t connection_max, uint32_t *ret_max, struct err *err)
{
    rlim_t wanted = (rlim_t)sockets * connection_max + DESCRIPTORS_RESERVED;
    struct rlimit limit;

    *peers = (struct peers){ 0 };
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return err_sys(err, -errno, "descriptors");
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* then it stays lower */
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < wanted) {
        if (limit.rlim_cur < 2 * DESCRIPTORS_RESERVED)
            return err_set(err, -CAIRN_ECONFIG,
                           "only %llu descriptors may be open; raise the limit "
                           "(LimitNOFILE=, ulimit -n) to %llu",
                           (unsigned long long)limit.rlim_cur,
                           (unsigned long long)wanted);
        connection_max =
            ((uint32_t)limit.rlim_cur - DESCRIPTORS_RESERVED) / sockets;
    }
    atomic_store(&descriptor_limit,
                 (long)limit.rlim_cur - (long)DESCRIPTORS_OWN);
    peers->count_max = connection_max;
    peers->room =
        limit.rlim_cur < (1u << 24) ? (uint32_t)limit.rlim_cur : 1u << 24;
    peers->by_fd = calloc(peers->room, sizeof *peers->by_fd);
    if (peers->by_fd == NULL)
        return err_sys(err, -ENOMEM, "connections");
    *ret_max = connection_max;
    return sock_monitor_open(sock, &peers->monitor, err);
}

void
peers_close(struct peers *peers)
{
    sock_monitor_close(&peers->monitor);
    free(peers->by_fd);
    *peers = (struct peers){ 0 };
}

static void
forget(struct peers *peers, struct peer *peer)
{
    if (peer->cookie == 0)
        return;
    peers->count--;
    peers->excess_count -= peer->excess_until != 0;
    *peer = (struct peer){ 0 };
}

/* Shuts a connection down, unless its descriptor is another one by now. */
static void
shut(uint32_t fd, struct peer *peer)
{
    if (peer->shut || cookie_of(fd) != peer->cookie)
        return;
    peer->shut = true;
    (void)shutdown((int)fd, SHUT_RDWR); /* it may just be going */
}

static void
accept_peer(struct peers *peers, uint32_t fd, uint64_t now_ms)
{
    struct peer *peer = &peers->by_fd[fd];
    uint64_t cookie = cookie_of(fd);

    forget(peers, peer); /* its end was not told */
    if (cookie == 0)
        return; /* already gone: that is told next */
    peer->cookie = cookie;
    if (++peers->count - peers->excess_count <= peers->count_max)
        return;
    peers->refused++;
    peers->excess_count++;
    peer->excess_until = (uint32_t)((now_ms + EXCESS_MS) / 64) | 1;
    if (peers->excess_count > EXCESS_MAX)
        shut(fd, peer);
}

void
peers_update(struct peers *peers, uint64_t now_ms)
{
    struct sock_event event;

    while (sock_monitor_next(&peers->monitor, &event)) {
        if (event.what == ZMQ_EVENT_ACCEPT_FAILED)
            peers->refused++;
        else if (event.value >= peers->room)
            continue;
        else if (event.what == ZMQ_EVENT_ACCEPTED)
            accept_peer(peers, event.value, now_ms);
        else if (event.what == ZMQ_EVENT_DISCONNECTED)
            forget(peers, &peers->by_fd[event.value]);
    }
}

void
peers_expire(struct peers *peers, uint64_t now_ms)
{
    for (uint32_t fd = 0; peers->excess_count > 0 && fd < peers->room; fd++) {
        struct peer *peer = &peers->by_fd[fd];

        if (peer->excess_until != 0 &&
            (int32_t)((uint32_t)(now_ms / 64) - peer->excess_until) > 0)
            shut(fd, peer);
    }
}

uint64_t
peers_of(struct peers *peers, zmq_msg_t *frame)
{
    int fd = zmq_msg_get(frame, ZMQ_SRCFD);

    if (fd < 0 || (uint32_t)fd >= peers->room || peers->by_fd[fd].cookie == 0)
        return 0;
    return name_of((uint32_t)fd, &peers->by_fd[fd]);
}

bool
peers_has(const struct peers *peers, uint64_t connection)
{
    return find(peers, connection) != NULL;
}

bool
peers_is_excess(const struct peers *peers, uint64_t connection)
{
    const struct peer *peer = find(peers, connection);

    return peer != NULL && peer->excess_until != 0;
}

void
peers_hear(struct peers *peers, uint64_t connection)
{
    struct peer *peer = find(peers, connection);

    if (peer != NULL)
        peer->heard = true;
}

void
peers_listen(struct peers *peers)
{
    for (uint32_t fd = 0; fd < peers->room; fd++)
        peers->by_fd[fd].heard = false;
}

bool
peers_topic(struct peers *peers, uint64_t connection, bool more,
            uint32_t topics_max)
{
    struct peer *peer = find(peers, connection);

    if (peer == NULL || peer->shut)
        return false;
    if (!more) {
        peer->topics -= peer->topics > 0;
        return false;
    }
    if (++peer->topics <= topics_max)
        return false;
    shut((uint32_t)connection, peer);
    return true;
}

uint32_t
peers_relieve(struct peers *peers, bool all)
{
    uint32_t count = 0;

    for (uint32_t fd = 0; fd < peers->room; fd++) {
        struct peer *peer = &peers->by_fd[fd];

        if (peer->cookie == 0 || peer->shut || (peer->heard && !all))
            continue;
        shut(fd, peer);
        count++;
    }
    return count;
}
