/* SPDX-License-Identifier: MPL-2.0 */
/*
 * workload - drives an appender on a simulated disk by random steps, in all
 * the orders that its threads could take them, beside a model of what must
 * come out, and a reader that looks at it meanwhile.
 *
 * A step either does what the model says, or fails with a code of the store;
 * anything else fails the test.
 */
#ifndef CAIRN_TESTS_WORKLOAD_H
#define CAIRN_TESTS_WORKLOAD_H

#include "lib/model.h"
#include "lib/simdisk.h"
#include "store/reader.h"

/* Who is who on the disk. */
enum {
    PROCESS_WRITER,
    PROCESS_READER,
    PROCESS_CHECKER,
};

#define WORKLOAD_STREAMS_MAX 512u

struct workload {
    struct rng rng;
    struct simdisk *disk;
    struct appender_options options;
    struct appender *appender; /* NULL: closed */
    struct recovery_report report;
    struct err err; /* of the call that failed last */
    struct model model;

    /* What commands look like. */
    uint32_t stream_count, type_count, tag_count; /* names to choose from */
    uint32_t events_max, tags_max, data_max;      /* of a commit, an event */
    bool fresh_tags;                              /* never used before */
    uint64_t fresh_next;
    uint64_t versions[WORKLOAD_STREAMS_MAX]; /* as far as told */

    /* What the threads are at. */
    bool synced; /* the closed group is */
    enum appender_job job;
    bool job_ran;
    int job_rc;
    unsigned stuck; /* tries in a row that came to nothing */
    bool has_table; /* a start has made one, or found it */

    struct reader *reader;
    struct cursor reader_at;
    uint64_t reader_mark; /* the last watermark that this reader was told */
    uint64_t shown;       /* highest position that any reader has seen */
    bool faulty;          /* calls may fail: a reader may say that they did */
    uint64_t no_space_count;
};

/* A disk, and sizes, that follow from the seed. */
void workload_init(struct workload *w, uint64_t seed);
void workload_free(struct workload *w);

/* Opens the appender, and serves; 0 or what it says, with w->err. */
int workload_open(struct workload *w);

/* Does one thing, at random. */
int workload_step(struct workload *w);

/* Sends one new command, or one that was lost, and does all that it takes. */
int workload_append(struct workload *w);

/* Makes durable what is open, and does every job. */
int workload_finish(struct workload *w);

/* Closes the appender as it is; what is in flight is lost to us. */
int workload_close(struct workload *w);

/* A reader looks on, once: what it sees must be right. */
void workload_look(struct workload *w);

/* From now on a reader looks on now and then while the appender works. */
void workload_watch(struct workload *w);

/* Closes the reader. */
void workload_close_reader(struct workload *w);

/*
 * After workload_open() following a crash: the log holds what it must, and
 * the model learns what that is.
 */
void workload_check(struct workload *w);

/* The log in `dir`, a copy or a restored one, is whole; where it ends. */
uint64_t workload_end_of(struct workload *w, const char *dir);

/* The same, and up to there it holds what the model says. */
uint64_t workload_check_copy(struct workload *w, const char *dir);

/* Counts versions again; workload_check() does, after model_recovered() alone
 * it must be called. */
void workload_recount(struct workload *w);

/* Sends again what was lost, and some that was not: one effect each. */
int workload_retry(struct workload *w);

#endif
