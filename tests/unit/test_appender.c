/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include "lib/logfix.h"
#include "lib/tmpdir.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_survive_segments_and_restarts,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
