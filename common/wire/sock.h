/* SPDX-License-Identifier: MPL-2.0 */
/*
 * sock - ZeroMQ sockets as we make them, and multipart messages in and out.
 *
 * Every socket has a high-water mark, a bound on the length of a frame, no
 * waiting send, and no ZMTP heartbeats (libzmq 4.3.4 aborts slow receivers).
 * A ROUTER says so when a peer is gone or full, instead of dropping.
 *
 * libzmq lets a second process take over an ipc path in silence, so whoever
 * binds one holds a lock on PATH.lock for as long as the socket lives.
 *
 * Errors:   0 or more, or negative.
 * Threads:  a socket belongs to one thread.
 */
#ifndef CAIRN_WIRE_SOCK_H
#define CAIRN_WIRE_SOCK_H

#include <czmq.h>

#include "base/err.h"

#define SOCK_FRAMES_MAX 8 /* of one message; more: refused */
#define ROUTING_ID_LEN 5  /* of one that libzmq makes up; begins with 0 */

struct sock_options {
    int type;            /* ZMQ_ROUTER, ... */
    uint32_t queue_max;  /* messages waiting, in each direction */
    uint32_t unread_max; /* of these, coming in; 0: queue_max */
    uint64_t frame_max;  /* bytes of one received frame */
    uint32_t linger_ms;  /* how long closing waits for what was sent */
    bool only_connected; /* send only to a peer that is there now */
    bool own_user;       /* no other user may connect to the ipc path */
};

struct sock {
    zsock_t *zsock; /* for zloop */
    void *handle;   /* for zmq_*() */
    int lock_fd;    /* of a bound ipc path; -1: none */
    bool own_user;
    bool curve; /* tcp can be used; see wire/curve.h */
    int fd;     /* readable when something may have come; see drained */
    /*
     * There was nothing to receive, and nothing was done with the socket
     * since: only then may one wait for fd, for libzmq tells of what comes
     * once, and sending may take note of it, too.
     */
    bool drained;
};

/* Makes a socket; sock_close() releases it. */
int sock_open(struct sock *sock, const struct sock_options *options,
              struct err *err);

/*
 * Binds it.  An ipc path gets its lock first.
 *
 *   -EADDRINUSE     another process serves this endpoint
 *   -EACCES         no permission in the directory
 *   -CAIRN_ECONFIG  tcp without CURVE
 */
int sock_bind(struct sock *sock, const char *endpoint, struct err *err);

/*
 * Connects it; succeeds whether the peer is there or not.  -CAIRN_EUSAGE for
 * tcp without CURVE.
 */
int sock_connect(struct sock *sock, const char *endpoint, struct err *err);

/* Forgets the connection to an endpoint, and what waits for it, and connects
 * anew: for one that seems to be there but does not answer. */
int sock_reconnect(struct sock *sock, const char *endpoint, struct err *err);

/* Whether something has come that was not received. */
bool sock_has_input(struct sock *sock);

/* Closes it after its linger; fine for one that was never opened. */
void sock_close(struct sock *sock);

/* ---- what happens to connections --------------------------------------- */

/* Tells of the connections of one socket; nothing is lost, however late it is
 * read.  Zeroed memory is one that is not open. */
struct sock_monitor {
    zsock_t *zsock;
    void *handle;
    void *watched;
};

struct sock_event {
    uint16_t what;  /* ZMQ_EVENT_ACCEPTED, _ACCEPT_FAILED, _DISCONNECTED,
                       _HANDSHAKE_SUCCEEDED, _HANDSHAKE_FAILED_AUTH */
    uint32_t value; /* of the first and third: the descriptor */
};

/* Before the socket binds or connects; closed before the socket is. */
int sock_monitor_open(struct sock *sock, struct sock_monitor *ret_monitor,
                      struct err *err);
void sock_monitor_close(struct sock_monitor *monitor);

/* The next event, if there is one. */
bool sock_monitor_next(struct sock_monitor *monitor,
                       struct sock_event *ret_event);

/* ---- messages ---------------------------------------------------------- */

/* A received or half-built message. */
struct message {
    zmq_msg_t frames[SOCK_FRAMES_MAX];
    int count;
};

/*
 * Receives what is there without waiting: 1, or 0 if nothing is.
 *
 *   -EMSGSIZE  more than SOCK_FRAMES_MAX frames; the message is gone, but for
 *              what it began with: the routing id, and maybe a delimiter
 */
int message_receive(struct sock *sock, struct message *message);

/*
 * Sends all frames without waiting, and empties the message: 0.
 *
 *   -EAGAIN        the peer's queue is full
 *   -EHOSTUNREACH  it is gone
 *   others         as zmq_msg_send(3); the message is kept in all cases
 */
int message_send(struct sock *sock, struct message *message);

/*
 * Whether the routing id in front of a received message is one that our ROUTER
 * made up for the connection; one that a client has chosen is never trusted.
 */
bool message_routed_by_us(struct message *message);

/* Closes all frames. */
void message_clear(struct message *message);

/* Adds a frame with a copy of these bytes; -ENOMEM. */
int message_add(struct message *message, const void *data, size_t len);

/* Adds a frame; takes it over, and leaves an empty one behind. */
void message_move(struct message *message, zmq_msg_t *frame);

static inline const uint8_t *
message_data(struct message *message, int frame)
{
    return zmq_msg_data(&message->frames[frame]);
}

static inline size_t
message_len(const struct message *message, int frame)
{
    return zmq_msg_size(&message->frames[frame]);
}

#endif
