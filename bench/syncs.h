/* SPDX-License-Identifier: MPL-2.0 */
/*
 * syncs - a bare loop of pwrite and fdatasync into a zero-filled file: what
 * the disk gives to whoever does nothing else.
 */
#ifndef CAIRN_BENCH_SYNCS_H
#define CAIRN_BENCH_SYNCS_H

#include <stddef.h>

#include "load.h"

struct syncs {
    int fd;
    size_t len; /* bytes of one sync; 0: what a group of all that is
                   outstanding takes in the log */
};

/* Bytes of a commit of so many events in the log. */
size_t commit_len(uint32_t batch);

/* Makes the file in `dir`. */
void syncs_open(struct syncs *syncs, const char *dir, size_t len);
void syncs_close(struct syncs *syncs);

/*
 * self is a struct syncs.  Counts syncs, or with a len of 0 the commits that
 * they would have made durable.
 */
uint64_t syncs_run(void *self, const struct load *load, uint32_t connection);

#endif
