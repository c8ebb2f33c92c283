/* SPDX-License-Identifier: MPL-2.0 */
/*
 * peers - the connections of one public socket, counted and bounded.
 *
 * libzmq accepts whoever comes, has no limit of connections, ends the process
 * if ipc runs out of descriptors, and buffers a message whose frames never
 * end.  So we watch from outside: its monitor tells which descriptor was
 * accepted and which has gone, and a connection that must go is shut down by
 * its descriptor.  libzmq sees the end of a stream and cleans up; an honest
 * client connects again and asks again.
 *
 * Above `connection_max` a connection is in excess: it is told why if it sends
 * a message within EXCESS_MS, and shut down, at the latest END_MS after that.  But over tcp anybody may
 * connect, and who has a key may as often as they like.  So a connection over
 * tcp is *silent* until its first message: before another is in excess, the
 * oldest silent one goes.  With the message it takes a place of its key's share
 * (share.h), or it is in excess if that is used up.
 *
 * Under pressure, see peers_relieve(), those go first that are not heard of.
 *
 * Threads: that of the socket.
 */
#ifndef CAIRN_WIRE_PEERS_H
#define CAIRN_WIRE_PEERS_H

#include "wire/share.h"
#include "wire/sock.h"

#define EXCESS_MS 1000u
#define END_MS 250u /* for a last answer to arrive */

/* Descriptors beyond connection_max: those in excess, those that have been
 * accepted but not yet looked at, and our own.  The last ones are never a
 * connection's: who comes when all others are taken is closed at once. */
#define DESCRIPTORS_RESERVED 1024u
#define DESCRIPTORS_OWN 128u

enum peer_state {
    PEER_GONE,
    PEER_SILENT,  /* over tcp, and has sent nothing */
    PEER_SETTLED, /* has its place */
    PEER_EXCESS,  /* will be shut down */
};

struct peer {
    uint64_t cookie;       /* of the kernel; 0: there is no connection */
    struct share *share;   /* of a settled one; NULL on ipc */
    const char *why;       /* of one in excess */
    uint32_t excess_until; /* in units of 1/16 s */
    uint32_t topics;       /* see peers_topic() */
    uint32_t older, newer; /* silent ones are a list; descriptors */
    uint8_t state;         /* enum peer_state */
    bool heard;            /* a message of it, since peers_listen() */
    bool told;             /* why it is in excess */
    bool shut;
};

struct peers {
    struct sock_monitor monitor;
    struct peer *by_fd;
    uint32_t room;
    uint32_t count, settled_count, excess_count, count_max;
    uint32_t oldest, newest; /* silent ones; NO_PEER: there is none */
    uint64_t refused;        /* so far: in excess, or closed at once */
    uint64_t cut;            /* so far, by peers_cut() */
};

struct peers_options {
    uint32_t sockets; /* in this process that are watched */
    uint32_t connection_max;
    uint32_t handshake_ms; /* longer ones are ended by libzmq */
};

/*
 * Watches a socket that is not bound yet.  Raises the limit of descriptors as
 * far as it may; *ret_max is how many connections this one can have, which is
 * less than connection_max if the limit (ulimit -n) does not allow for as many
 * with each socket.
 */
int peers_open(struct peers *peers, struct sock *sock,
               const struct peers_options *options, uint32_t *ret_max,
               struct err *err);

/* Before the socket is closed. */
void peers_close(struct peers *peers);

/* Takes in what has happened.  Often: in every turn, and in long ones. */
void peers_update(struct peers *peers, uint64_t now_ms);

/* Shuts those down that have been in excess for long enough. */
void peers_expire(struct peers *peers, uint64_t now_ms);

/* The connection that a received frame came from; 0: it has gone.  It never
 * names another one later. */
uint64_t peers_of(struct peers *peers, zmq_msg_t *frame);

/* Whether one more would be in excess. */
bool peers_are_full(const struct peers *peers);

/* Whether a connection is still there. */
bool peers_has(const struct peers *peers, uint64_t connection);

/*
 * Notes that a whole message has come from a connection; `share` is that of
 * its key, NULL on ipc, and must stay until the connection has gone.  NULL, or
 * why it is in excess.
 */
const char *peers_hear(struct peers *peers, uint64_t connection,
                       struct share *share, uint64_t now_ms);

/* Puts all connections that have places of this share in excess. */
void peers_dismiss(struct peers *peers, const struct share *share,
                   uint64_t now_ms);

/* Ends a connection whose last message is answered with `why`, in END_MS. */
void peers_end(struct peers *peers, uint64_t connection, const char *why,
               uint64_t now_ms);

/* Shuts a connection down that does not read, if it is still there. */
void peers_cut(struct peers *peers, uint64_t connection);

/* Forgets who has been heard of. */
void peers_listen(struct peers *peers);

/*
 * Counts a topic that a connection has alone, or has no longer; true if it has
 * more than topics_max now and was shut down for that.
 */
bool peers_topic(struct peers *peers, uint64_t connection, bool more,
                 uint32_t topics_max);

/*
 * Shuts down the connections that have not been heard of since
 * peers_listen(), or all; returns how many.
 */
uint32_t peers_relieve(struct peers *peers, bool all);

#endif
