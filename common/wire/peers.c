/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/peers.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include "wire/intake.h"
#include "wire/protocol.h"

#define NO_PEER UINT32_MAX

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
peers_open(struct peers *peers, struct sock *sock,
           const struct peers_options *o, uint32_t *ret_max, struct err *err)
{
    rlim_t wanted =
        (rlim_t)o->sockets * o->connection_max + DESCRIPTORS_RESERVED;
    int handshake_ms = (int)o->handshake_ms;
    struct rlimit limit;

    *peers = (struct peers){
        .count_max = o->connection_max,
        .oldest = NO_PEER,
        .newest = NO_PEER,
    };
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
        peers->count_max =
            ((uint32_t)limit.rlim_cur - DESCRIPTORS_RESERVED) / o->sockets;
    }
    peers->room = (uint32_t)(limit.rlim_cur < wanted ? limit.rlim_cur : wanted);
    intake_limit_descriptors((long)peers->room - (long)DESCRIPTORS_OWN);
    peers->by_fd = calloc(peers->room, sizeof *peers->by_fd);
    if (peers->by_fd == NULL || intake_read_along(FRAME_LEN_READ) < 0)
        return err_sys(err, -ENOMEM, "connections");
    if (zmq_setsockopt(sock->handle, ZMQ_HANDSHAKE_IVL, &handshake_ms,
                       sizeof handshake_ms) != 0)
        return err_set(err, -errno, "cannot set the options of a socket: %s",
                       zmq_strerror(errno));
    *ret_max = peers->count_max;
    return sock_monitor_open(sock, &peers->monitor, err);
}

void
peers_close(struct peers *peers)
{
    sock_monitor_close(&peers->monitor);
    for (uint32_t fd = 0; fd < peers->room; fd++)
        if (peers->by_fd[fd].share != NULL)
            peers->by_fd[fd].share->connections--;
    free(peers->by_fd);
    *peers = (struct peers){ 0 };
}

/* ---- what a connection is ---------------------------------------------- */

/* It is the newest of the silent ones. */
static void
be_silent(struct peers *peers, uint32_t fd)
{
    struct peer *peer = &peers->by_fd[fd];

    peer->state = PEER_SILENT;
    peer->older = peers->newest;
    peer->newer = NO_PEER;
    if (peers->newest != NO_PEER)
        peers->by_fd[peers->newest].newer = fd;
    else
        peers->oldest = fd;
    peers->newest = fd;
}

static void
settle(struct peers *peers, struct peer *peer, struct share *share)
{
    peer->state = PEER_SETTLED;
    peers->settled_count++;
    peer->share = share;
    if (share != NULL)
        share->connections++;
}

/* It is nothing of the sort any more. */
static void
leave_state(struct peers *peers, struct peer *peer)
{
    if (peer->state == PEER_SILENT) {
        if (peer->older != NO_PEER)
            peers->by_fd[peer->older].newer = peer->newer;
        else
            peers->oldest = peer->newer;
        if (peer->newer != NO_PEER)
            peers->by_fd[peer->newer].older = peer->older;
        else
            peers->newest = peer->older;
    }
    peers->settled_count -= peer->state == PEER_SETTLED;
    peers->excess_count -= peer->state == PEER_EXCESS;
    if (peer->share != NULL)
        peer->share->connections--;
    peer->share = NULL;
    peer->state = PEER_GONE;
}

static void
forget(struct peers *peers, struct peer *peer)
{
    if (peer->cookie == 0)
        return;
    leave_state(peers, peer);
    peers->count--;
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

/* A time in units of 1/16 s, which is never 0, and whether it has passed. */
static uint32_t
rough(uint64_t ms)
{
    return (uint32_t)(ms / 64) | 1;
}

static bool
has_passed(uint32_t until, uint64_t now_ms)
{
    return (int32_t)((uint32_t)(now_ms / 64) - until) > 0;
}

static void
put_in_excess(struct peers *peers, struct peer *peer, const char *why,
              uint64_t now_ms)
{
    leave_state(peers, peer);
    peer->state = PEER_EXCESS;
    peer->why = why;
    peer->told = false;
    peers->excess_count++;
    peer->excess_until = rough(now_ms + EXCESS_MS);
}

static bool
is_tcp(uint32_t fd)
{
    int domain;
    socklen_t len = sizeof domain;

    return getsockopt((int)fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
        domain != AF_UNIX;
}

/* ---- coming and going -------------------------------------------------- */

static const char all_taken[] =
    "connections.max clients are connected; come again later";
static const char share_taken[] =
    "connections.max: your key has its share of the connections; come again "
    "later";

/* Ends the oldest silent connection, if there is one. */
static bool
make_way(struct peers *peers, uint64_t now_ms)
{
    uint32_t fd = peers->oldest;

    if (fd == NO_PEER)
        return false;
    peers->refused++;
    put_in_excess(peers, &peers->by_fd[fd], all_taken, now_ms);
    shut(fd, &peers->by_fd[fd]);
    return true;
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
    if (++peers->count - peers->excess_count <= peers->count_max ||
        make_way(peers, now_ms)) {
        if (is_tcp(fd))
            be_silent(peers, fd);
        else
            settle(peers, peer, NULL);
        return;
    }
    peers->refused++;
    put_in_excess(peers, peer, all_taken, now_ms);
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

        if (peer->state == PEER_EXCESS &&
            has_passed(peer->excess_until, now_ms))
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
peers_are_full(const struct peers *peers)
{
    return peers->count - peers->excess_count >= peers->count_max;
}

bool
peers_has(const struct peers *peers, uint64_t connection)
{
    return find(peers, connection) != NULL;
}

const char *
peers_hear(struct peers *peers, uint64_t connection, struct share *share,
           uint64_t now_ms)
{
    struct peer *peer = find(peers, connection);

    if (peer == NULL)
        return NULL;
    peer->heard = true;
    if (peer->state == PEER_SILENT && share != NULL &&
        share_is_full(share->connections, peers->settled_count,
                      peers->count_max)) {
        peers->refused++;
        put_in_excess(peers, peer, share_taken, now_ms);
    } else if (peer->state == PEER_SILENT) {
        leave_state(peers, peer);
        settle(peers, peer, share);
    }
    if (peer->state != PEER_EXCESS)
        return NULL;
    if (!peer->told) /* late or early: there is time for the answer */
        peer->excess_until = rough(now_ms + END_MS);
    peer->told = true;
    return peer->why;
}

void
peers_dismiss(struct peers *peers, const struct share *share, uint64_t now_ms)
{
    for (uint32_t fd = 0; share->connections > 0 && fd < peers->room; fd++)
        if (peers->by_fd[fd].share == share)
            put_in_excess(peers, &peers->by_fd[fd],
                          "this key has no rights here any more", now_ms);
}

void
peers_end(struct peers *peers, uint64_t connection, const char *why,
          uint64_t now_ms)
{
    struct peer *peer = find(peers, connection);

    if (peer == NULL)
        return;
    put_in_excess(peers, peer, why, now_ms);
    peer->excess_until = rough(now_ms + END_MS);
    peer->told = true;
}

void
peers_cut(struct peers *peers, uint64_t connection)
{
    struct peer *peer = find(peers, connection);

    if (peer == NULL || peer->shut)
        return;
    peers->cut++;
    shut((uint32_t)connection, peer);
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
