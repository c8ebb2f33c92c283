/* SPDX-License-Identifier: MPL-2.0 */
/*
 * evlog_impl - what evlog.c (segments and records) and locate.c (positions
 * and times) share.  Nobody else includes this.
 */
#ifndef CAIRN_STORE_EVLOG_IMPL_H
#define CAIRN_STORE_EVLOG_IMPL_H

#include "store/evlog.h"
#include "store/index.h"

/* What a handle knows of one segment. */
struct evlog_entry {
    uint64_t first_position; /* of a missing one: the lowest it can be */
    bool missing;            /* there is no file */
    struct segment *segment; /* NULL: not mapped now */
    uint64_t used;           /* when it was last touched, in calls */
    struct index index;      /* while it has no footer */
    struct cursor indexed;   /* the index covers what lies before this */
};

struct evlog {
    const struct sys *sys;
    char dir[PATH_LEN_MAX];
    struct uuid id;
    struct evlog_entry *entries; /* entries[i] is segment number i + 1 */
    size_t count, capacity;
    size_t map_count;
    size_t mapped[EVLOG_MAPS_MAX]; /* indexes of mapped entries */
    uint64_t clock;                /* calls */
    uint64_t last_number;          /* segment touched last; 0: none */
    const struct segment *last;    /* that one */
    bool is_unfinished;            /* a restore has left its marker */
};

/*
 * A handle with the segments of a directory in the order of their positions,
 * none of them opened; -ENOENT if there is none.
 */
int evlog_list(const struct sys *sys, const char *dir, struct evlog **ret_log,
               struct err *err);

/* Adds a segment behind the last one; -ENOMEM. */
int evlog_add_entry(struct evlog *log, uint64_t first_position);

/* The last known segment that does not begin above the position. */
uint64_t evlog_segment_of(const struct evlog *log, uint64_t position);

/* Fills *err with the segment and byte of an address; -CAIRN_EDAMAGED. */
int evlog_damaged(const struct evlog *log, uint64_t address, struct err *err,
                  const char *what);

/*
 * The first whole group of a segment at or behind an offset; false if there
 * is none.
 */
bool evlog_find_group(const struct evlog *log, const struct segment *segment,
                      uint64_t offset, struct group_info *ret_group);

/*
 * Moves the cursor, which is not above the watermark, over records that are
 * no events, from segment to segment if need be, until it stands on one;
 * *ret_event is that event.
 */
int evlog_settle(struct evlog *log, struct cursor *cursor,
                 struct event *ret_event, struct err *err);

#endif
