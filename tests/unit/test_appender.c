/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"

static int
setup(void **state)
{
    struct logfix *fix = calloc(1, sizeof *fix);

    logfix_open(fix, &sys_real, &logfix_small);
    *state = fix;
    return 0;
}

static int
teardown(void **state)
{
    struct logfix *fix = *state;

    logfix_close(fix);
    free(fix);
    return 0;
}

/* Reads the whole log and checks that positions and versions are dense. */
static uint64_t
count_events(struct logfix *fix)
{
    struct evlog *log;
    struct cursor cursor;
    struct event event;
    struct err err;
    uint64_t watermark = appender_watermark(fix->appender), count = 0;
    int rc;

    assert_int_equal(evlog_open(&sys_real, logfix_dir(fix), &log, &err), 0);
    assert_int_equal(evlog_seek(log, 1, watermark, &cursor, &err), 0);
    while ((rc = evlog_next(log, &cursor, watermark, &event, &err)) > 0)
        assert_int_equal(event.position, ++count);
    if (rc < 0)
        fail_msg("%s", err.text);
    evlog_close(&log);
    return count;
}

static void
events_survive_segments_and_restarts(void **state)
{
    struct logfix *fix = *state;
    char stream[32];

    for (int i = 0; i < 3000; i++) {
        snprintf(stream, sizeof stream, "order-%d", i % 97);
        logfix_put(fix, stream, (uint32_t)(i * 37 % 900));
        if (i % 7 == 0)
            logfix_sync(fix);
        if (i % 500 == 499) {
            logfix_sync(fix);
            logfix_stop(fix);
            if (logfix_reopen(fix) < 0)
                fail_msg("%s", fix->err.text);
        }
    }
    logfix_sync(fix);
    assert_int_equal(count_events(fix), 3000);
    assert_true(evlog_segment_count(appender_log(fix->appender)) > 5);
}

/* ---- growth ------------------------------------------------------------ */

#define GROWTH_GROUPS 400u
/* The writer asks the clock for several commands at once; a time that is
 * behind another one is moved up. */
static void
a_commit_has_the_time_of_its_request(void **state)
{
    struct logfix *fix = *state;
    const struct event_text event = { .stream = "a-1", .type = "T" };
    const uint64_t later = UINT64_C(4102444800000000); /* the year 2100 */
    const struct {
        uint64_t given, stamped;
    } times[] = { { later, later },
                  { later - 1, later },
                  { 0, later },
                  { later + 1, later + 1 } };

    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct append_request request = { .time_us = times[i].given };
        struct append_result result;
        uint8_t *commit =
            commit_make(uuid_v4(), &event, 1, &request.commit_len);

        request.commit = commit;
        assert_int_equal(
            appender_append(fix->appender, &request, &result, &fix->err), 0);
        assert_int_equal(result.code, APPEND_ACCEPTED);
        assert_int_equal(result.time_us, times[i].stamped);
        free(commit);
    }
    logfix_sync(fix);
}

#define GROWTH_COMMITS 8u /* in a group */
#define GROWTH_EVENTS \
    8u                /* in a commit, each of a stream and a tag of its own */
#define JOB_GROUPS 2u /* that are settled while a job is done */

/* Stores one more commit of new keys, which nothing may hold up. */
static void
store_new_keys(struct logfix *fix, unsigned *number)
{
    struct event_text events[GROWTH_EVENTS];
    char names[GROWTH_EVENTS][16], tags[GROWTH_EVENTS][16];
    struct append_request request = { 0 };
    struct append_result result;
    uint8_t *commit;

    for (unsigned i = 0; i < GROWTH_EVENTS; i++, ++*number) {
        (void)snprintf(names[i], sizeof names[i], "s-%u", *number);
        (void)snprintf(tags[i], sizeof tags[i], "tag:%u", *number);
        events[i] = (struct event_text){ .stream = names[i],
                                         .type = "T",
                                         .tags = { tags[i] } };
    }
    commit = commit_make(uuid_v4(), events, GROWTH_EVENTS, &request.commit_len);
    request.commit = commit;
    assert_int_equal(
        appender_append(fix->appender, &request, &result, &fix->err), 0);
    if (result.code != APPEND_ACCEPTED)
        fail_msg("command of event %u: code %d", *number, (int)result.code);
    free(commit);
}

/*
 * A table that cannot take what comes makes commands wait, while all that is
 * left is copied at once.  It does not come to that: a larger one is begun and
 * filled early enough, a few slots with every put.
 */
static void
no_command_waits_while_the_table_grows(void **state)
{
    static const struct appender_options options = {
        .segment_len = UINT64_C(64) << 20,
        .group_len_max = 256 << 10,
        .checkpoint_bytes = UINT64_C(1) << 40,
        .table_slots = 4096,
    };
    enum appender_job job = JOB_NONE;
    unsigned number = 0, grown = 0, begun_at = 0;
    struct watchsys watch;
    struct logfix fix;

    (void)state;
    watchsys_begin(&watch, &sys_real);
    watch.skip_syncs = true;
    logfix_open(&fix, &watch.sys, &options);
    logfix_jobs(&fix);
    for (unsigned g = 0; g < GROWTH_GROUPS; g++) {
        for (unsigned i = 0; i < GROWTH_COMMITS; i++)
            store_new_keys(&fix, &number);
        appender_close_group(fix.appender);
        assert_int_equal(appender_sync(fix.appender, &fix.err), 0);
        assert_int_equal(appender_settle(fix.appender, &fix.err), 0);
        if (job != JOB_NONE && g - begun_at >= JOB_GROUPS) {
            int rc = appender_run_job(fix.appender, job, &fix.err);

            assert_int_equal(appender_job_done(fix.appender, job, rc), 0);
            grown += job == JOB_SWITCH;
            job = JOB_NONE;
        }
        if (job == JOB_NONE) {
            job = appender_next_job(fix.appender);
            begun_at = g;
        }
    }
    assert_true(grown >= 4);
    logfix_close(&fix);
    watchsys_end(&watch);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_survive_segments_and_restarts,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_commit_has_the_time_of_its_request,
                                        setup, teardown),
        cmocka_unit_test(no_command_waits_while_the_table_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
