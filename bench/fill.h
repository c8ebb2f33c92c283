/* SPDX-License-Identifier: MPL-2.0 */
/*
 * fill - a log full of events, made through the store itself without daemons
 * and with few syncs, as fast as the disk takes it.
 */
#ifndef CAIRN_BENCH_FILL_H
#define CAIRN_BENCH_FILL_H

#include <stdint.h>

#include "cairn.h"

/* The name of a stream in a log of fill_log(), as the feeder writes them. */
#define FILL_NAME_LEN (sizeof CAIRN_PREFIX + 7)
void fill_name(char name[FILL_NAME_LEN + 1], uint32_t number);

/*
 * Makes a log in `dir` with `events` events of LOAD_DATA_LEN bytes of data, one
 * after the other to each of `streams` streams, jumping about; `events` is a
 * multiple of `streams`.  Returns the bytes that its groups take.
 */
uint64_t fill_log(const char *dir, const char *control, uint64_t events,
                  uint32_t streams);

#endif
