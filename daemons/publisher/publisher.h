/* SPDX-License-Identifier: MPL-2.0 */
/*
 * publisher - the process that serves reads and subscriptions from the log.
 *
 * Requests are stateless: a client pulls, so a slow one hurts nobody.  A READ
 * waits for its turn; a long poll then waits until the watermark brings
 * something for it, see waiting.h.  The live endpoint (XPUB, topic = stream) is
 * for those who may miss something.
 */
#ifndef CAIRN_PUBLISHER_PUBLISHER_H
#define CAIRN_PUBLISHER_PUBLISHER_H

#include "base/daemon.h"
#include "publisher/query.h"
#include "publisher/waiting.h"
#include "wire/door.h"
#include "wire/hop.h"

extern const struct conf_key publisher_keys[];

struct publisher {
    struct daemon *daemon;
    const char *log_dir, *control_path;
    uint64_t instance;
    struct reader *reader; /* NULL: not there yet */
    struct door door;      /* public */
    struct sock live;      /* XPUB, public */
    struct peers live_peers;
    bool live_full;       /* who comes now is told so */
    struct sock doorbell; /* SUB */
    bool listening;       /* to it */
    uint64_t listen_until_ms;
    uint64_t watermark;   /* the last one that was acted upon */
    bool read_only;       /* the writer refuses the log */
    struct waiting reads; /* for their turn */
    struct waiting polls; /* for events */
    uint32_t client_poll_max;
    bool coming_back;      /* to reads that are left */
    uint64_t topics;       /* subscribed to on the live endpoint */
    struct cursor live_at; /* what goes out there next; position 0: unknown, */
    uint64_t live_from;    /* but not before this one; 0: what comes now */
    struct query_scratch scratch;
    uint64_t requests, events; /* counted for status */
    uint64_t waiting_since_ms;
    uint32_t topics_max;
    struct log_limit subscribers;
    struct log_limit odd_messages, damage;
};

int publisher_start(void *self, struct daemon *daemon, struct err *err);
void publisher_stop(void *self, struct daemon *daemon);
void publisher_reload(void *self);
void publisher_status(void *self, char *text, size_t len);

/* The watermark, or false, and why, if there is no log to read now. */
bool publisher_watermark(struct publisher *p, uint64_t *ret_watermark,
                         struct err *err);

/* Logs why a request could not be answered, not too often. */
void publisher_log_damage(struct publisher *p, const struct err *err);

#endif
