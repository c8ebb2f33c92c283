/* SPDX-License-Identifier: MPL-2.0 */
/*
 * waiting - READs that wait: for their turn, or, as long polls, for events.
 *
 * Which one is next is start-time fair queuing (Goyal, Vin, Cheng 1996) with
 * one unit for each: a READ gets the turn behind the one served last, and
 * behind the last one of its client that waits; the least turn is served.  Of
 * those with the same turn, the ones of clients that had none waiting go
 * first, or who has one at a time would have every third turn beside one who
 * has many; then the oldest.  So clients take turns, however many READs each
 * has sent, and those of one client stay in order.
 *
 * A client is a key, over all its connections; on ipc each connection.  No more
 * is kept of it than its READs, and how many they are in its share (share.h).
 *
 * Threads: one.
 */
#ifndef CAIRN_PUBLISHER_WAITING_H
#define CAIRN_PUBLISHER_WAITING_H

#include <sys/queue.h>

#include "wire/curve.h"
#include "wire/front.h"
#include "wire/rights.h"

/* A READ that waits. */
struct waiting_read {
    TAILQ_ENTRY(waiting_read) link;
    uint64_t turn;
    bool alone;           /* its client had no other when it came */
    struct share *share;  /* of its key, or NULL */
    uint64_t connection;  /* of the door */
    uint64_t deadline_ms; /* until when it waits for events; 0: not at all */
    uint8_t routing_id[ROUTING_ID_LEN];
    bool delimiter;
    char key[CURVE_KEY_LEN + 1]; /* who asks; "": somebody on ipc */
    struct read_request request;
    char texts[]; /* of its selectors */
};

struct waiting {
    TAILQ_HEAD(waiting_list, waiting_read) list; /* in order of turns */
    uint32_t count, max;
    uint64_t turn; /* of the one that was served last */
    bool polls;    /* long polls, which have no turns: the oldest is first */
};

void waiting_init(struct waiting *waiting, uint32_t max, bool polls);

/*
 * A copy of a READ whose request was checked, and of the way back to its
 * client; in no list yet.  NULL: no memory.  waiting_free() releases it.
 */
struct waiting_read *waiting_read_new(const struct address *from,
                                      const struct read_request *request);
void waiting_read_free(struct waiting_read *read);

/* Its client; borrows from it.  The principal is not filled in. */
struct address waiting_address(const struct waiting_read *read,
                               struct peers *peers);

/* How many of a connection wait. */
uint32_t waiting_of(const struct waiting *waiting, uint64_t connection);

/* Whether the share of a client (of a key, or NULL and a connection) waits
 * already: it may have no more. */
bool waiting_is_full(const struct waiting *waiting, struct share *share,
                     uint64_t connection);

/* Takes it over, and gives it its turn. */
void waiting_add(struct waiting *waiting, struct waiting_read *read);

/* Takes it out; it is the caller's again. */
void waiting_remove(struct waiting *waiting, struct waiting_read *read);

/* Takes out the one whose turn it is; NULL: none waits. */
struct waiting_read *waiting_next(struct waiting *waiting);

/* Drops those whose connections are gone. */
void waiting_drop_gone(struct waiting *waiting, const struct peers *peers);

#endif
