/* SPDX-License-Identifier: MPL-2.0 */
/*
 * After a crash the writer reads the end of the log, and what came since the
 * last checkpoint of the version table, however long the log is: counted in
 * events, calls and bytes, and shown by segments that it would have noticed
 * to be empty.
 */
#include "lib/cmocka.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"

#define SHORT_LOG 4u /* segments */
#define LONG_LOG 40u
#define EVENT_DATA 2000u
#define EVENTS_IN_LAST 12u /* of the last segment, when the writer dies */

static const struct appender_options options = {
    .segment_len = SEGMENT_LEN_MIN,
    .group_len_max = 16 << 10,
    .checkpoint_bytes = 96 << 10, /* more than one segment */
    .table_slots = TABLE_SLOTS_MIN,
};

#define LONG_TABLE_SLOTS 8192u
#define LONG_TABLE_COMMITS 200u

/* What recovery did. */
struct cost {
    struct watch_counts counts;
    uint64_t replayed_events;
};

/* The writer dies: no checkpoint, and a group in flight. */
static void
die(struct logfix *fix)
{
    (void)logfix_put(fix, "s-1", 10);
    appender_close_group(fix->appender);
    (void)appender_close(&fix->appender, NULL);
}

/* A log of so many segments, whose writer has died. */
static void
make_log(struct logfix *fix, uint64_t segments)
{
    unsigned in_last = 0;

    while (in_last < EVENTS_IN_LAST) {
        (void)logfix_put(fix, "s-1", EVENT_DATA);
        logfix_sync(fix);
        in_last = evlog_segment_count(appender_log(fix->appender)) < segments
            ? 0
            : in_last + 1;
    }
    die(fix);
}

/* Segments before the last two, emptied: nobody who reads them is pleased. */
static void
empty_old_segments(struct logfix *fix, uint64_t count)
{
    struct evlog *log;

    assert_int_equal(evlog_open(&sys_real, logfix_dir(fix), &log, &fix->err),
                     0);
    for (uint64_t number = 1; number <= count; number++) {
        uint8_t *zeros = calloc(1, SEGMENT_LEN_MIN);
        char path[PATH_LEN_MAX];

        assert_int_equal(segment_path(path, logfix_dir(fix),
                                      evlog_segment_first(log, number)),
                         0);
        assert_int_equal(chmod(path, 0600), 0);
        file_write(path, zeros, SEGMENT_LEN_MIN);
        free(zeros);
    }
    evlog_close(&log);
}

static struct cost
cost_of_recovery(uint64_t segments)
{
    struct watchsys watch;
    struct logfix fix;
    struct cost cost;

    watchsys_begin(&watch, &sys_real);
    logfix_open(&fix, &watch.sys, &options);
    make_log(&fix, segments);
    empty_old_segments(&fix, segments - 3);
    watch.counts = (struct watch_counts){ 0 };
    if (logfix_reopen(&fix) < 0)
        fail_msg("%s", fix.err.text);
    cost = (struct cost){ watch.counts, fix.report.replayed_events };
    assert_false(fix.report.table_rebuilt);
    print_message("%" PRIu64 " segments: %" PRIu64 " events replayed, %u files "
                  "opened, %" PRIu64 " bytes read, %" PRIu64 " mapped\n",
                  segments, cost.replayed_events, cost.counts.opens,
                  cost.counts.read_bytes, cost.counts.map_bytes);
    logfix_close(&fix);
    watchsys_end(&watch);
    return cost;
}

static void
a_long_log_costs_no_more_than_a_short_one(void **state)
{
    /* Checkpoints come where they come: the worst of each, which is that
     * nearly checkpoint_bytes are behind the last one. */
    uint64_t events_max = options.checkpoint_bytes / EVENT_DATA + 1;
    struct cost a = cost_of_recovery(SHORT_LOG), b = cost_of_recovery(LONG_LOG);

    (void)state;
    assert_true(a.replayed_events > 0 && a.replayed_events <= events_max);
    assert_true(b.replayed_events > 0 && b.replayed_events <= events_max);
    assert_int_equal(a.counts.read_bytes, b.counts.read_bytes);
    assert_true(b.counts.opens <= a.counts.opens + 1);
    assert_true(b.counts.map_bytes <= a.counts.map_bytes + SEGMENT_LEN_MIN);
}

/* Events that a start replays, of LONG_TABLE_COMMITS that were written. */
static uint64_t
replayed_with(uint64_t checkpoint_max, uint64_t slots)
{
    const struct appender_options with = {
        .segment_len = options.segment_len,
        .group_len_max = options.group_len_max,
        .checkpoint_bytes = options.checkpoint_bytes,
        .checkpoint_max = checkpoint_max,
        .table_slots = slots,
    };
    struct logfix fix;
    uint64_t count;

    logfix_open(&fix, &sys_real, &with);
    for (uint32_t i = 0; i < LONG_TABLE_COMMITS; i++) {
        (void)logfix_put(&fix, "s-1", EVENT_DATA);
        logfix_sync(&fix);
    }
    die(&fix);
    if (logfix_reopen(&fix) < 0)
        fail_msg("%s", fix.err.text);
    count = fix.report.replayed_events;
    logfix_close(&fix);
    return count;
}

static void
a_long_table_is_written_more_rarely_up_to_a_limit(void **state)
{
    const uint64_t table_len = LONG_TABLE_SLOTS * TABLE_SLOT_LEN;
    const uint64_t least = options.checkpoint_bytes / EVENT_DATA + 1;
    const uint64_t max = 2 * table_len;

    (void)state;
    /* Eight times its length is more than all that is written. */
    assert_true(LONG_TABLE_COMMITS * (EVENT_DATA + 512) < 8 * table_len);
    assert_true(replayed_with(8 * table_len, LONG_TABLE_SLOTS) >=
                LONG_TABLE_COMMITS);
    /* So the limit is what counts, and the least if that is more. */
    assert_in_range(LONG_TABLE_COMMITS - replayed_with(max, LONG_TABLE_SLOTS),
                    max / (EVENT_DATA + 1024), max / EVENT_DATA + 1);
    assert_in_range(replayed_with(0, LONG_TABLE_SLOTS), 1, least);
    assert_in_range(replayed_with(1, LONG_TABLE_SLOTS), 1, least);
    /* A short table is checkpointed as before. */
    assert_in_range(replayed_with(8 * table_len, TABLE_SLOTS_MIN), 1, least);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_log_costs_no_more_than_a_short_one),
        cmocka_unit_test(a_long_table_is_written_more_rarely_up_to_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
