/* SPDX-License-Identifier: MPL-2.0 */
/*
 * id_set - the command ids of one segment or one group, and when they are
 * from.
 *
 * A slot holds 32 bits of a hash and where the commit lies; the id itself is
 * read in the log (store/ids.h).
 */
#ifndef CAIRN_STORE_ID_SET_H
#define CAIRN_STORE_ID_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"

#define ID_SET_SLOTS_MIN 64u
#define ID_SPANS 3u

/* From the least to the greatest time of some UUIDv7 ids; without any the
 * least is UINT64_MAX. */
struct id_span {
    uint64_t min_ms, max_ms;
};

/* Of those that are more than a day behind their commit, those that are about
 * right, and those that are more than a day ahead. */
struct id_spans {
    struct id_span of[ID_SPANS];
};

/* Commands of one segment, or of one group. */
struct id_set {
    uint64_t *slots; /* NULL while empty */
    uint32_t slot_count, count;
    uint8_t hash_key[16];
    struct id_spans spans; /* of what id_set_note() was told */
};

/* Of the commands in some segments: what a segment header keeps. */
struct id_times {
    uint64_t time_max_ms; /* of UUIDv7 ids; 0: none */
    uint64_t other_count; /* ids that are no UUIDv7 */
};

/* Makes an empty set with this hash key; NULL: one of its own.  It is as
 * secret as the log: who knows it could make ids that collide. */
void id_set_init(struct id_set *set, const uint8_t hash_key[16]);
void id_set_free(struct id_set *set);

/* Empties it, but keeps the memory. */
void id_set_clear(struct id_set *set);

/* What a set keeps of an id; the same for all sets with the same hash key. */
uint32_t id_set_print(const struct id_set *set, struct uuid id);

/* Adds the print of a commit's id at `offset`, a multiple of 8; -ENOMEM. */
int id_set_add(struct id_set *set, uint32_t print, uint32_t offset);

/* Notes when a commit says that its id was made, beside its own time. */
void id_set_note(struct id_set *set, struct uuid id, uint64_t commit_time_us);

/* Whether a UUIDv7 can be in a set; any other id always can. */
bool id_spans_may_hold(const struct id_spans *spans, struct uuid id);

/*
 * Looks for the commits whose id may have this print: *probe begins at 0;
 * returns true with an offset for each candidate, whose id the caller compares.
 */
bool id_set_candidate(const struct id_set *set, uint32_t print, uint32_t *probe,
                      uint32_t *ret_offset);

/* Asks for the memory in which a print will be looked for. */
static inline void
id_set_prefetch(const struct id_set *set, uint32_t print)
{
    if (set->count > 0)
        __builtin_prefetch(&set->slots[print & (set->slot_count - 1)]);
}

void id_times_add(struct id_times *times, struct uuid id);

/* Whether an id can be among commands that these times describe. */
bool id_times_may_hold(const struct id_times *times, struct uuid id);

#endif
