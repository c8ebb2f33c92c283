/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What it costs to decide a command, beside a log that grows: the time of
 * appender_append() alone, without ZeroMQ, without the sync.
 *
 *   bench_decide [COMMITS [SAMPLES]]     200000 and 20000
 *
 * The log lies below TMPDIR and takes about 300 bytes per commit.  One in a
 * thousand command ids is no UUIDv7, so every segment holds some, and one of
 * the first is a UUIDv7 from the far future.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "lib/logfix.h"
#include "lib/rng.h"
#include "lib/tmpdir.h"

#define COMMITS_PER_MS 50u
#define OTHER_IN 1000u /* ids that are no UUIDv7 */
#define STREAMS 100000u
#define FIRST_MS UINT64_C(1700000000000)
#define WALKED 100u /* events that one of the conditions looks at */
#define AHEAD 7u    /* the commit of a clock that is far ahead */

struct bench {
    struct logfix fix;
    struct rng rng;
    uint64_t stored; /* commits that id_of() names */
    uint64_t extra;  /* ids that were made up besides */
};

static void
must(struct bench *b, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "bench_decide: %s\n", b->fix.err.text);
    exit(1);
}

static double
seconds_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- ids that follow from a number ------------------------------------- */

static struct uuid
id_with(uint64_t ms, uint64_t number, bool other)
{
    struct rng rng = { number };
    struct uuid id;

    for (int i = 0; i < 16; i += 8) {
        uint64_t word = rng_next(&rng);

        memcpy(id.b + i, &word, 8);
    }
    for (int i = 0; i < 6 && !other; i++)
        id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.b[6] = (uint8_t)((id.b[6] & 0x0f) | (other ? 0x40 : 0x70));
    id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80);
    return id;
}

static struct uuid
id_of(uint64_t i)
{
    return id_with(i == AHEAD ? FIRST_MS << 4 : FIRST_MS + i / COMMITS_PER_MS,
                   i, i % OTHER_IN == 0);
}

/* One that was never used, as if made when commit `i` was. */
static struct uuid
fresh_id(struct bench *b, uint64_t i, bool other)
{
    return id_with(FIRST_MS + i / COMMITS_PER_MS,
                   (UINT64_C(1) << 60) + b->extra++, other);
}

/* ---- commands ---------------------------------------------------------- */

/* Makes room where it is wanted; that time does not count. */
static void
make_room(struct bench *b, enum append_code code)
{
    if (code == APPEND_GROUP_FULL)
        logfix_sync(&b->fix);
    else
        logfix_jobs(&b->fix);
}

/* Sends the command number `i` with this id; the seconds that it took. */
static double
send(struct bench *b, uint64_t i, struct uuid id,
     const struct append_check *check, struct append_result *ret_result)
{
    char stream[32];
    struct event_text event = { stream, "Counted", "12345678", NULL, { NULL } };
    struct append_request request = { .checks = check,
                                      .check_count = check != NULL };
    double began, took;
    uint8_t *commit;

    (void)snprintf(stream, sizeof stream, "s-%" PRIu64, i % STREAMS);
    event.tags[0] = i < WALKED ? "walked" : NULL;
    event.type = i == WALKED ? "Marked" : "Counted"; /* not one of them */
    commit = commit_make(id, &event, 1, &request.commit_len);
    request.commit = commit;
    for (;;) {
        began = seconds_now();
        must(b,
             appender_append(b->fix.appender, &request, ret_result,
                             &b->fix.err));
        took = seconds_now() - began;
        if (ret_result->code != APPEND_GROUP_FULL &&
            ret_result->code != APPEND_NOT_READY)
            break;
        make_room(b, ret_result->code);
    }
    free(commit);
    return took;
}

static void
fill(struct bench *b, uint64_t until)
{
    struct append_result result;

    while (b->stored < until) {
        (void)send(b, b->stored, id_of(b->stored), NULL, &result);
        if (result.code != APPEND_ACCEPTED || result.repeated) {
            fprintf(stderr, "bench_decide: commit %" PRIu64 ": code %d\n",
                    b->stored, (int)result.code);
            exit(1);
        }
        b->stored++;
    }
    logfix_sync(&b->fix);
}

/* ---- kinds of commands ------------------------------------------------- */

enum kind {
    NEW,
    NEW_LATE,
    NEW_OTHER,
    AGAIN,
    AGAIN_OTHER,
    ONE_TAG,
    TAG_AND_TYPE,
    KINDS,
};

static const char *const kind_names[KINDS] = {
    "a new UUIDv7",
    "a new UUIDv7, of a tenth of the log ago",
    "a new UUID of another sort",
    "a UUIDv7 again, from anywhere in the log",
    "a UUID of another sort again",
    "a new UUIDv7, if no event has a tag",
    "the same with tag and type, 100 to look at",
};

static double
send_kind(struct bench *b, enum kind kind, struct append_result *result)
{
    static const struct span unused = { "unused", 6 }, walked = { "walked", 6 };
    static const struct span marked = { "Marked", 6 };
    struct query_item item = { .tags = &unused, .tag_count = 1 };
    struct append_check check = { .kind = EXPECT_NO_MATCH,
                                  .items = &item,
                                  .item_count = 1 };
    uint64_t now = b->stored, any = rng_below(&b->rng, b->stored);

    switch (kind) {
    case NEW_LATE:
        return send(b, now, fresh_id(b, now - now / 10, false), NULL, result);
    case NEW_OTHER:
        return send(b, now, fresh_id(b, now, true), NULL, result);
    case AGAIN:
        any += any % OTHER_IN == 0;
        return send(b, any, id_of(any), NULL, result);
    case AGAIN_OTHER:
        any -= any % OTHER_IN;
        return send(b, any, id_of(any), NULL, result);
    case ONE_TAG:
        return send(b, now, fresh_id(b, now, false), &check, result);
    case TAG_AND_TYPE:
        item = (struct query_item){ &marked, &walked, 1, 1 };
        return send(b, now, fresh_id(b, now, false), &check, result);
    default:
        return send(b, now, fresh_id(b, now, false), NULL, result);
    }
}

static void
measure(struct bench *b, uint64_t samples)
{
    struct rusage usage;

    printf("%" PRIu64 " commits, %" PRIu64 " segments\n", b->stored,
           evlog_segment_count(appender_log(b->fix.appender)));
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct append_result result;
        double seconds = 0;

        for (uint64_t i = 0; i < samples; i++) {
            seconds += send_kind(b, kind, &result);
            if (result.code != APPEND_ACCEPTED ||
                result.repeated != (kind == AGAIN || kind == AGAIN_OTHER)) {
                fprintf(stderr, "bench_decide: %s: code %d\n", kind_names[kind],
                        (int)result.code);
                exit(1);
            }
        }
        logfix_sync(&b->fix);
        printf("  %-46s %8.2f us\n", kind_names[kind],
               seconds / (double)samples * 1e6);
        (void)fflush(stdout);
    }
    (void)getrusage(RUSAGE_SELF, &usage);
    printf("  resident at most, maps included: %ld MiB\n",
           usage.ru_maxrss / 1024);
}

/* The first look into the files of ids, which a start does not read. */
static void
measure_start(struct bench *b)
{
    struct append_result result;

    logfix_stop(&b->fix);
    must(b, logfix_reopen(&b->fix));
    printf("after a start\n  %-46s %8.2f us\n", kind_names[NEW],
           send_kind(b, NEW, &result) * 1e6);
    printf("  %-46s %8.2f us\n", kind_names[NEW_OTHER],
           send_kind(b, NEW_OTHER, &result) * 1e6);
}

int
main(int argc, char **argv)
{
    uint64_t commits = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    uint64_t samples = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000;
    struct bench b = { .rng = { 1 } };

    if (commits < 1000 || samples == 0) {
        fprintf(stderr,
                "usage: bench_decide [COMMITS [SAMPLES]]; at least "
                "1000 and 1\n");
        return 64;
    }
    logfix_open(&b.fix, &sys_real, &appender_defaults);
    for (uint64_t part = 100; part > 0; part /= 10) {
        fill(&b, commits / part);
        measure(&b, samples);
    }
    measure_start(&b);
    logfix_close(&b.fix);
    return 0;
}
