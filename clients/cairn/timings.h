/* SPDX-License-Identifier: MPL-2.0 */
/*
 * timings - how long things took, and what of it people want to know.
 *
 * Bounded: of more than TIMINGS_MAX only the first are kept; all are counted.
 *
 * Threads: each belongs to one thread at a time.
 */
#ifndef CAIRN_CLIENTS_TIMINGS_H
#define CAIRN_CLIENTS_TIMINGS_H

#include <stdbool.h>
#include <stdint.h>

#define TIMINGS_MAX (UINT32_C(1) << 22)

/* Zeroed memory is an empty one. */
struct timings {
    float *us; /* microseconds */
    uint32_t kept, room;
    uint64_t count;
    bool sorted;
};

/* Seconds of a clock that never goes back. */
double timings_now(void);

void timings_add(struct timings *timings, double seconds);

/* Adds what another has kept. */
void timings_merge(struct timings *timings, const struct timings *other);

/* Forgets everything, and its memory. */
void timings_clear(struct timings *timings);

/* The microseconds below which this share (0 to 1) lies; 0 if it is empty. */
double timings_quantile(struct timings *timings, double share);

/* A line of a table for people, and the head of that table. */
void timings_print_head(void);
void timings_print(const char *what, struct timings *timings);

/* {"count":...,"p50_us":...,...} */
void timings_print_json(struct timings *timings);

#endif
