/* SPDX-License-Identifier: MPL-2.0 */
/*
 * verify - reads a whole log and says what is wrong with it.
 *
 * It needs no writer, may run beside one, and changes nothing.  It uses the
 * decoders that reading and recovery use: every checksum, the chain of groups,
 * positions, versions, footers, and, unless it is to be quick, every link of
 * every event.
 *
 * Threads: one.
 */
#ifndef CAIRN_STORE_VERIFY_H
#define CAIRN_STORE_VERIFY_H

#include <stdbool.h>

#include "base/err.h"
#include "store/record.h"
#include "store/sys.h"

struct verify_report {
    uint64_t segments, groups, commits, events, bytes;
    uint64_t last_position;
    uint64_t findings; /* damage; not an unfinished write at the end */
    bool unfinished;   /* bytes behind the last group */
};

#define VERIFY_STREAMS_MAX 64u

/* Damage; all texts are borrowed for the call. */
struct verify_finding {
    const char *segment; /* the name of its file */
    uint64_t byte;
    const char *what;
    /* Positions that are lost or concerned; 0: none in particular, or, of the
     * last one, that it cannot be told. */
    uint64_t first_position, last_position;
    /* Streams that it concerns, as far as they can be told: by heads of events
     * that are readable still.  Events behind the damage whose links lead into
     * it are findings of their own. */
    const struct span *streams;
    uint32_t stream_count;
};

struct verify_events {
    void *arg;
    void (*finding)(void *arg, const struct verify_finding *finding);
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
