/* SPDX-License-Identifier: MPL-2.0 */
/*
 * verify - reads a whole log and says what is wrong with it.
 *
 * It needs no writer and changes nothing.  It uses the decoders that reading
 * and recovery use: every checksum, the chain of groups, positions, versions,
 * footers, and, unless it is to be quick, every link of every event.
 *
 * Threads: one.
 */
#ifndef CAIRN_STORE_VERIFY_H
#define CAIRN_STORE_VERIFY_H

#include <stdbool.h>

#include "base/err.h"
#include "store/sys.h"

struct verify_report {
    uint64_t segments, groups, commits, events, bytes;
    uint64_t last_position;
    uint64_t findings; /* damage; not an unfinished write at the end */
    bool unfinished;   /* bytes behind the last group */
};

/* What is called with what is found; the texts are borrowed. */
struct verify_events {
    void *arg;
    /* Damage: where, what, and the positions that it concerns, from 1; 0:
     * none in particular. */
    void (*finding)(void *arg, const char *where, const char *what,
                    uint64_t first_position, uint64_t last_position);
    void (*progress)(void *arg, uint64_t done_bytes, uint64_t all_bytes,
                     uint64_t position);
};

/*
 * Verifies the log in `dir`.  0 if it could be read, whatever was found; or
 * negative if there is no log, or not even its segments can be listed.
 */
int log_verify(const struct sys *sys, const char *dir, bool quick,
               const struct verify_events *events,
               struct verify_report *ret_report, struct err *err);

#endif
