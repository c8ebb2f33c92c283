/* SPDX-License-Identifier: MPL-2.0 */
/*
 * load - what a benchmark sends, and the engines that can be sent it.
 *
 * The work is the same for all: events of 256 bytes to 1,000 streams, one or
 * many per commit, answered after they are on stable storage, with so many
 * commits outstanding over so many connections, each with a thread of its own.
 */
#ifndef CAIRN_BENCH_LOAD_H
#define CAIRN_BENCH_LOAD_H

#include <stdint.h>

#define LOAD_DATA_LEN 256u
#define LOAD_STREAMS 1000u
#define LOAD_CONNECTIONS_MAX 16u
#define LOAD_BATCH_MAX 128u

struct load {
    uint32_t connections;
    uint32_t outstanding; /* commits, over all connections */
    uint32_t batch;       /* events in a commit */
    double seconds;
};

/* What came out of a run. */
struct load_result {
    double commits_per_second;
    double latency_us[3]; /* median, 99 %, 99.9 % of the answers; 0: unknown */
};

/*
 * Something that stores events.  run() drives one connection until its time
 * is over, and returns how many commits were answered.
 */
struct engine {
    const char *name;
    void *self;
    uint64_t (*run)(void *self, const struct load *load, uint32_t connection);
};

/* Runs the load over all its connections; ends the program on a failure. */
struct load_result load_run(const struct engine *engine,
                            const struct load *load);

/* Notes how long an answer took, from within run(), in its thread. */
void load_latency(double seconds);

#endif
