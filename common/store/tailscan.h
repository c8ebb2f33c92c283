/* SPDX-License-Identifier: MPL-2.0 */
/*
 * tailscan - what a segment holds, and what to think of its end.
 *
 * Threads: as the evlog that it reads.
 */
#ifndef CAIRN_STORE_TAILSCAN_H
#define CAIRN_STORE_TAILSCAN_H

#include "store/appender_impl.h"

/* Whether a group, whose header is valid, goes on from the tail. */
bool group_follows(const struct group_info *group, const struct tail *tail);

/* What a walk over the groups of one segment has found. */
struct scan {
    struct tail tail;     /* behind its last valid group */
    uint64_t last_offset; /* where that group begins; 0: there is none */
    uint64_t last_len;
    struct tail before; /* the tail as it was before that group */
};

/*
 * Walks over the groups of segment `number`, checks everything in them and
 * stops at the first byte that does not go on, or at offset `stop`.  With
 * `growing`, fills its index and ids.  With `times`, adds the command ids.
 */
int scan_segment(struct evlog *log, uint64_t number, uint64_t stop,
                 struct growing *growing, struct id_times *times,
                 struct scan *ret_scan, struct err *err);

/*
 * Whether the device has the last group of an unsealed segment as the map
 * shows it: 1, also if there is none; 0 if not, for its sync may have failed.
 */
int last_group_on_device(const struct sys *sys, const char *path,
                         const struct segment *segment, const struct scan *scan,
                         struct err *err);

enum tail_verdict {
    TAIL_CLEAN,     /* nothing but zeros */
    TAIL_TORN,      /* an unfinished write: may be cut */
    TAIL_AMBIGUOUS, /* the last group, damaged; or torn without a trace */
    TAIL_DAMAGED,   /* durable groups follow bad bytes */
};

struct tail_report {
    enum tail_verdict verdict;
    uint64_t bad_end;    /* behind the last byte that is not zero */
    uint64_t next_group; /* if damaged: a group behind the bad bytes */
    uint64_t next_offset;
};

/*
 * Judges the bytes of a segment file from offset `end` on, as the device has
 * them; design and limits: doc/RECOVERY.md.
 */
int judge_tail(const struct sys *sys, const char *path,
               const struct segment_info *info, const struct tail *tail,
               struct tail_report *ret_report, struct err *err);

/*
 * Reads [offset, offset + len) of a file past the page cache into `buf`, of
 * `len` bytes.
 */
int read_uncached(const struct sys *sys, const char *path, uint64_t offset,
                  size_t len, uint8_t *buf, struct err *err);

#endif
