/* SPDX-License-Identifier: MPL-2.0 */
/*
 * chain - the events of one key, newest first, by their links.
 *
 * A key is a stream, a tag or an event type.  Streams and tags have links, so
 * from the newest event any older one is found in O(log n) steps; of a type
 * only the newest is known.
 *
 * Errors:   those of the event source, and -CAIRN_EDAMAGED where a link leads
 *           to an event that does not carry the key.
 * Threads:  no state.
 */
#ifndef CAIRN_STORE_CHAIN_H
#define CAIRN_STORE_CHAIN_H

#include <stdbool.h>

#include "base/err.h"
#include "store/record.h"

enum key_kind {
    KEY_STREAM = 1,
    KEY_TAG = 2,
    KEY_TYPE = 3,
};

struct key {
    enum key_kind kind;
    struct span name;
    uint64_t hash; /* table_hash() of the table in use; never 0 */
};

/* Where events come from: a log, or a log and what is on its way into it. */
struct event_source {
    void *self;
    int (*event_at)(void *self, uint64_t address, struct event *ret_event,
                    struct err *err);
};

/*
 * The place of an event under a key; false if it does not carry the key.  Of
 * a type all numbers are 0.
 */
bool key_link(const struct key *key, const struct event *event,
              struct link *ret_link);

/*
 * The link for one more event behind the newest one of the key, which lies at
 * `newest`, or ADDRESS_NONE if this will be the first.  Reads at most two
 * events.
 */
int chain_extend(const struct event_source *source, const struct key *key,
                 uint64_t newest, struct link *ret_link, struct err *err);

/* The same where the link of the event at `newest`, `last`, is known. */
int chain_extend_from(const struct event_source *source, const struct key *key,
                      uint64_t newest, const struct link *last,
                      struct link *ret_link, struct err *err);

/*
 * The event of the key with this ordinal, from 1 to that of the event at
 * `newest`.  *hops, if not NULL, is raised by the links that were followed.
 */
int chain_find(const struct event_source *source, const struct key *key,
               uint64_t newest, uint64_t ordinal, uint64_t *ret_address,
               struct event *ret_event, unsigned *hops, struct err *err);

/*
 * The oldest event of the key whose position is `position` or higher; the one
 * at `newest` must be one.  O(log n).
 */
int chain_find_position(const struct event_source *source,
                        const struct key *key, uint64_t newest,
                        uint64_t position, uint64_t *ret_address,
                        struct event *ret_event, struct err *err);

#endif
