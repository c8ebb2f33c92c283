/* SPDX-License-Identifier: MPL-2.0 */
/*
 * load - what a benchmark asks for, and the engines that can be asked.
 *
 * The work is the same for all: events of 256 bytes to 1,000 streams, one or
 * many per commit, each commit with an expected version, answered after it is
 * on stable storage, with so many commits outstanding over so many
 * connections, each with a thread of its own.  A connection has streams of its
 * own, so it knows what versions to expect.
 *
 * What is not about commits, as a scan, is an engine too: it counts what it
 * does in its own unit.
 */
#ifndef CAIRN_BENCH_LOAD_H
#define CAIRN_BENCH_LOAD_H

#include <stdint.h>

#define LOAD_DATA_LEN 256u
#define LOAD_STREAMS 1000u
#define LOAD_CONNECTIONS_MAX 16u
#define LOAD_BATCH_MAX 128u
#define LOAD_WINDOW_MAX 16384u /* outstanding on one connection */

#define LOAD_QUANTILES 5
extern const double load_quantiles[LOAD_QUANTILES]; /* 0.5, 0.9, ... */

struct load {
    uint32_t connections;
    uint32_t outstanding; /* commits, over all connections */
    uint32_t batch;       /* events in a commit, all to one stream */
    double seconds;
};

/* What came out of a run. */
struct load_result {
    double per_second;
    double latency_us[LOAD_QUANTILES]; /* 0: not measured */
};

/*
 * Something that does the work.  run() drives one connection until its time is
 * over, and returns how many commits were answered.
 */
struct engine {
    const char *name;
    void *self;
    uint64_t (*run)(void *self, const struct load *load, uint32_t connection);
};

/* Seconds of a clock that never goes back. */
double seconds_now(void);

/* Runs the load over all its connections; ends the program on a failure. */
struct load_result load_run(const struct engine *engine,
                            const struct load *load);

/* Notes how long an answer took, from within run(), in its thread. */
void load_latency(double seconds);

/* Takes time out of the measurement, likewise; with one connection only. */
void load_exclude(double seconds);

/*
 * The stream of the next commit on a connection, below LOAD_STREAMS: each
 * connection goes round among its own.
 */
uint32_t load_stream(const struct load *load, uint32_t connection,
                     uint64_t number);

/* Ends the program, saying what could not be done. */
void bench_die(const char *format, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

#endif
