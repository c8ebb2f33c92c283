/* SPDX-License-Identifier: MPL-2.0 */
/*
 * watchsys - the kernel's calls, counted, with a clock of the test's own and
 * a call that fails when told to.
 *
 * Threads: one at a time.
 */
#ifndef CAIRN_TESTS_WATCHSYS_H
#define CAIRN_TESTS_WATCHSYS_H

#include "store/sys.h"

#define WATCHSYS_FDS 1024

/* What was done since the counts were last set to zero. */
struct watch_counts {
    unsigned opens, reads, maps, unmaps, renames, removes, dir_syncs;
    unsigned log_opens;             /* of segments */
    unsigned log_writes, log_syncs; /* of segments, prepared ones included */
    uint64_t log_bytes, read_bytes, map_bytes;
    unsigned other_writes, other_syncs; /* of all other files */
    uint64_t other_bytes, written_back;
};

struct watchsys {
    struct sys sys; /* for the store */
    const struct sys *under;
    struct watch_counts counts;
    unsigned maps_now, maps_max, fds_now, fds_max; /* held at a time */
    bool skip_syncs;       /* count them, and do no more: for speed */
    uint64_t now_us;       /* the time it tells; 0: that of `under` */
    const char *fail_call; /* this call fails, NULL: none */
    const char *fail_path; /* on files whose path holds this; NULL: all */
    int fail_rc;
    char *paths[WATCHSYS_FDS]; /* of open files */
};

/* Everything goes to `under`; freed by watchsys_end(). */
void watchsys_begin(struct watchsys *watch, const struct sys *under);
void watchsys_end(struct watchsys *watch);

/* From now on calls of this name fail with rc; NULL ends it. */
void watchsys_fail(struct watchsys *watch, const char *call, const char *path,
                   int rc);

#endif
