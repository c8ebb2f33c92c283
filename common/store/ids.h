/* SPDX-License-Identifier: MPL-2.0 */
/*
 * ids - from a command id to the commit that it became, over the whole log.
 *
 * One set per segment: in memory while the segment grows, in a file DIR/N.ids
 * beside the sealed segment N.  A slot holds 32 bits of a hash and where the
 * commit lies; the id itself is read in the log.  The files are derived from
 * the log, and disposable.
 *
 * A new id need not be looked for everywhere.  Every segment header says how
 * late a UUIDv7 command id before it was, and how many ids were no UUIDv7; so
 * the search goes back from the newest segment only as far as the id can lie.
 * For the UUIDv7 of an honest clock that is the newest segment.  On the way a
 * segment is passed by if the times of its UUIDv7 ids are others.  No clock is
 * trusted for the outcome, only for the cost; and so that one wrong clock does
 * not spoil the others' cost, what is far from the time of its commit is kept
 * apart.
 *
 *   file  DIR/NNNNNNNNNNNNNNNNNNNN.ids
 *   off  size  field
 *     0    64  struct ids_header
 *    64   8*n  slots: hash in the high 32 bits, offset / 8 in the low; 0 empty
 *          48  three times struct span_disk; files that were made before they
 *              came into being end here
 *
 * Threads:  as the evlog that it reads; ids_write() may run in another thread
 *           on a set that nobody changes.
 */
#ifndef CAIRN_STORE_IDS_H
#define CAIRN_STORE_IDS_H

#include "store/evlog.h"

/* From the least to the greatest time of some UUIDv7 ids; without any the
 * least is UINT64_MAX. */
struct id_span {
    uint64_t min_ms, max_ms;
};

/* Of those that are more than a day behind their commit, those that are about
 * right, and those that are more than a day ahead. */
struct id_spans {
    struct id_span of[3];
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

/* The id sets of all segments but the growing one. */
struct ids;

int ids_open(struct evlog *log, struct ids **ret_ids, struct err *err);
void ids_close(struct ids **ids);

/*
 * Looks for a commit with this id in segments 1 to `last`: 1 and its address,
 * or 0.  `times` describes those segments.
 */
int ids_find(struct ids *ids, struct uuid id, uint64_t last,
             struct id_times times, uint64_t *ret_address, struct err *err);

/* Sets that ids_find() has looked into so far. */
uint64_t ids_searched(const struct ids *ids);

/*
 * Makes the file of a sealed segment if there is none; ids_find() would do it,
 * but then a command would wait for it.  -ENOSPC if it cannot be written,
 * whatever the reason; others as ids_collect().
 */
int ids_make_missing(struct ids *ids, uint64_t number, struct err *err);

/* Writes the set of the sealed segment that begins at first_position. */
int ids_write(const struct sys *sys, const char *dir, struct uuid log_id,
              uint64_t number, uint64_t first_position,
              const struct id_set *set, struct err *err);

/*
 * Fills a set from the commits of segment `number` up to `end`, an offset in
 * its file.
 */
int ids_collect(struct evlog *log, uint64_t number, uint64_t end,
                struct id_set *set, struct id_times *times, struct err *err);

#endif
