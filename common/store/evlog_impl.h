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
    uint64_t first_position;
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
    uint64_t clock; /* calls */
};

/* Fills *err with the segment and byte of an address; -CAIRN_EDAMAGED. */
int evlog_damaged(const struct evlog *log, uint64_t address, struct err *err,
                  const char *what);

/*
 * Moves the cursor, which is not above the watermark, over records that are
 * no events, from segment to segment if need be, until it stands on one;
 * *ret_event is that event.
 */
int evlog_settle(struct evlog *log, struct cursor *cursor,
                 struct event *ret_event, struct err *err);

#endif
