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
 *              struct ids_tail; the first files had none
 *
 * A file may be an eighth of its segment: what is not looked at is not read,
 * not even to check it.
 *
 * Threads:  as the evlog that it reads; ids_write() may run in another thread
 *           on a set that nobody changes.
 */
#ifndef CAIRN_STORE_IDS_H
#define CAIRN_STORE_IDS_H

#include "store/evlog.h"
#include "store/id_set.h"

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
