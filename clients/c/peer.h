/* SPDX-License-Identifier: MPL-2.0 */
/*
 * peer - a client's end of a connection to one of the daemons, and the news
 * of it.
 *
 * It has a ZeroMQ context of its own, or one that is lent to it: a library
 * inside somebody else's program has no context, signal handler or exit hook
 * in common with it.
 *
 * Errors:   0 or negative.
 * Threads:  one.
 */
#ifndef CAIRN_CLIENTS_PEER_H
#define CAIRN_CLIENTS_PEER_H

#include "wire/sock.h"

/* CURVE keys as 40 characters of Z85; borrowed while opening.  tcp is spoken
 * only with them, and nothing else is. */
struct peer_keys {
    const char *server, *public, *secret;
};

struct peer_options {
    const char *endpoint;
    void *context;                /* borrowed; NULL: one of its own */
    const struct peer_keys *keys; /* NULL: no encryption */
    uint32_t queue_max;
};

struct peer {
    struct sock sock;
    const char *endpoint; /* borrowed */
    void *context;        /* its own, or NULL */
    struct sock monitor;
    bool connected;
    bool denied; /* the server does not know our key, or did not */
    bool tcp;
};

/*
 * Connects, or goes on trying; peer_close() releases it.  Borrows the endpoint
 * until then.
 *
 *   -CAIRN_EUSAGE   tcp without keys
 *   -CAIRN_ECONFIG  the keys are none
 */
int peer_open(struct peer *peer, const struct peer_options *options,
              struct err *err);
void peer_close(struct peer *peer);

/*
 * How long a connection may be without a word, to who waits for an answer,
 * before it is made anew: not so long that a deadline leaves no time for that.
 */
#define PEER_SILENCE_MS 5000u

uint32_t peer_silence_ms(uint32_t deadline_ms);

/*
 * Gives a connection up that may be dead without anybody having said so, and
 * makes it anew; only over tcp, for the kernel tells when a local peer goes.
 */
void peer_reconnect(struct peer *peer);

enum peer_news {
    PEER_NOTHING = 0,
    PEER_CONNECTED = 1,
    PEER_DISCONNECTED = 2, /* what was on its way may be lost */
    PEER_DENIED = 3,       /* our key is not known; libzmq tries no more */
};

/* The next piece of news. */
enum peer_news peer_news(struct peer *peer);

/*
 * Waits until a message or news may have come, at most `wait_ms`.  Who is told
 * so must take in what there is, to the last, or it is told again at once.
 */
void peer_wait(struct peer *peer, uint64_t wait_ms, bool *ret_message,
               bool *ret_news);

#endif
