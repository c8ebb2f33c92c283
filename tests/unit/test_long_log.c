/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A log of very many segments: what opening it, finding a place in it and
 * reading it all cost, in calls and in what is held at a time.
 */
#include "lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "lib/logfix.h"
#include "lib/rng.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"
#include "store/verify.h"

#define SEGMENTS 1500u
#define EVENT_LEN 40000u /* one fits into a segment */
#define LOG2_SEGMENTS 11u
#define RARE 500u /* one event in so many has a rare tag */

static const struct appender_options options = {
    .segment_len = SEGMENT_LEN_MIN,
    .group_len_max = 60 << 10,
    .checkpoint_bytes = UINT64_C(1) << 40,
    .table_slots = TABLE_SLOTS_MIN,
    .scan_max = 10,
};

struct fixture {
    struct logfix fix;
    struct watchsys watch;
    struct err err;
};

static struct fixture fixture;

/* 100 MB are quicker in memory, if there is room and nobody says otherwise. */
static void
choose_place(void)
{
    struct statvfs fs;

    if (statvfs("/dev/shm", &fs) == 0 &&
        fs.f_bavail * fs.f_frsize > UINT64_C(1) << 30)
        (void)setenv("TMPDIR", "/dev/shm", 0);
}

/* An event a segment, a millisecond apart. */
static int
setup(void **state)
{
    static char data[EVENT_LEN + 1];
    struct fixture *f = &fixture;

    choose_place();
    watchsys_begin(&f->watch, &sys_real);
    f->watch.skip_syncs = true;
    f->watch.now_us = 1000000;
    logfix_open(&f->fix, &f->watch.sys, &options);
    memset(data, 'x', EVENT_LEN);
    for (unsigned i = 0; i < SEGMENTS; i++) {
        const struct event_text event = { i % 2 ? "a-1" : "b-1",
                                          i == 0 ? "First" : "T",
                                          data,
                                          NULL,
                                          { "all",
                                            i % RARE == 0 ? "rare"
                                                : i % 2   ? "odd"
                                                          : NULL } };

        f->watch.now_us += 1000;
        (void)logfix_append(&f->fix, uuid_v7(1000 + i), NULL, 0, &event, 1);
        logfix_sync(&f->fix);
    }
    *state = f;
    return evlog_segment_count(appender_log(f->fix.appender)) == SEGMENTS ? 0
                                                                          : -1;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    logfix_close(&f->fix);
    assert_int_equal(f->watch.maps_now, 0);
    assert_int_equal(f->watch.fds_now, 0);
    watchsys_end(&f->watch);
    return 0;
}

static void
forget_counts(struct fixture *f)
{
    f->watch.counts = (struct watch_counts){ 0 };
    f->watch.maps_max = f->watch.maps_now;
    f->watch.fds_max = f->watch.fds_now;
}

static void
must(struct fixture *f, int rc)
{
    if (rc < 0)
        fail_msg("%s", f->err.text);
}

/* ---- opening ----------------------------------------------------------- */

static void
a_writer_opens_the_last_two_segments(void **state)
{
    struct fixture *f = *state;

    logfix_stop(&f->fix);
    forget_counts(f);
    must(f, logfix_reopen(&f->fix));
    assert_int_equal(appender_watermark(f->fix.appender), SEGMENTS);
    assert_int_equal(f->fix.report.replayed_events, 0);
    /* Two maps; the last one for writing; its last group and its end past the
     * cache. */
    assert_true(f->watch.counts.log_opens <= 5);
    assert_true(f->watch.counts.opens <= 16);
    assert_true(f->watch.maps_now <= 4); /* with the table and the page */
    assert_true(f->watch.fds_now <= 3);  /* segment, table, lock */
}

static void
a_reader_opens_the_last_segment(void **state)
{
    struct fixture *f = *state;
    struct evlog *log;

    forget_counts(f);
    must(f, evlog_open(&f->watch.sys, logfix_dir(&f->fix), &log, &f->err));
    assert_int_equal(evlog_segment_count(log), SEGMENTS);
    assert_int_equal(f->watch.counts.opens, 1);
    assert_int_equal(f->watch.counts.maps, 1);
    evlog_close(&log);
}

/* ---- finding a place --------------------------------------------------- */

static void
any_position_is_found_in_one_segment(void **state)
{
    struct fixture *f = *state;
    struct rng rng = { 1 };

    for (int i = 0; i < 200; i++) {
        uint64_t position = 1 + rng_below(&rng, SEGMENTS);
        struct cursor cursor;
        struct evlog *log;

        must(f, evlog_open(&f->watch.sys, logfix_dir(&f->fix), &log, &f->err));
        forget_counts(f);
        must(f, evlog_seek(log, position, SEGMENTS, &cursor, &f->err));
        assert_int_equal(address_segment(cursor.address), position);
        assert_true(f->watch.counts.opens <= 1); /* the last one is open */
        evlog_close(&log);
    }
}

static void
any_time_is_found_by_halving(void **state)
{
    struct fixture *f = *state;
    struct rng rng = { 2 };

    for (int i = 0; i < 200; i++) {
        uint64_t wanted = 1 + rng_below(&rng, SEGMENTS), position;
        struct evlog *log;

        must(f, evlog_open(&f->watch.sys, logfix_dir(&f->fix), &log, &f->err));
        forget_counts(f);
        must(f,
             evlog_seek_time(log, 1000000 + wanted * 1000, SEGMENTS, &position,
                             &f->err));
        assert_int_equal(position, wanted);
        assert_true(f->watch.counts.opens <= LOG2_SEGMENTS + 1);
        evlog_close(&log);
    }
}

/* ---- looking for a command id ------------------------------------------ */

/* A UUIDv7 of the beginning may lie in any segment.  There are more of them
 * than the log keeps mapped, but what their headers say is kept. */
static void
an_id_is_looked_for_without_opening_segments_again(void **state)
{
    const struct event_text event = { "c-1", "T", "", NULL, { NULL } };
    struct fixture *f = *state;

    for (int round = 0; round < 3; round++) {
        struct append_result r;

        forget_counts(f);
        r = logfix_ask(&f->fix, uuid_v7(1), NULL, 0, &event, 1, true, 0);
        assert_int_equal(r.code, APPEND_ACCEPTED);
        assert_false(r.repeated);
        if (round == 0)
            assert_true(f->watch.counts.opens >= SEGMENTS - 1);
        else
            assert_int_equal(f->watch.counts.opens, 0);
    }
    /* A new one, and one of another sort, which no segment holds. */
    logfix_stop(&f->fix);
    must(f, logfix_reopen(&f->fix));
    forget_counts(f);
    (void)logfix_ask(&f->fix, uuid_v7(1000 + SEGMENTS), NULL, 0, &event, 1,
                     true, 0);
    (void)logfix_ask(&f->fix, uuid_v4(), NULL, 0, &event, 1, true, 0);
    assert_int_equal(f->watch.counts.opens, 0);
}

/* ---- deciding a condition ---------------------------------------------- */

/* Decides it in a log that has just been opened; the segments, of one event
 * each, that had to be opened for that. */
static unsigned
segments_for(struct fixture *f, const struct query_item *item, uint64_t after,
             uint64_t newest)
{
    const struct event_text event = { "c-1", "T", "", NULL, { NULL } };
    const struct append_check check = { .kind = EXPECT_NO_MATCH,
                                        .version = after,
                                        .items = item,
                                        .item_count = 1 };
    struct append_result r;

    logfix_stop(&f->fix);
    must(f, logfix_reopen(&f->fix));
    forget_counts(f);
    r = logfix_ask(&f->fix, uuid_v7(1000 + SEGMENTS), &check, 1, &event, 1,
                   true, 0);
    assert_int_equal(r.code, newest == 0 ? APPEND_ACCEPTED : APPEND_CONFLICT);
    assert_int_equal(r.verdict_count, 1);
    assert_int_equal(r.verdicts[0].actual, newest);
    assert_int_equal(f->watch.counts.opens, f->watch.counts.log_opens);
    return f->watch.counts.log_opens;
}

static void
a_condition_that_names_tags_costs_the_same_in_a_long_log(void **state)
{
    struct fixture *f = *state;
    struct span type = { "First", 5 };
    struct span tags[2] = { { "rare", 4 }, { "all", 3 } };
    struct query_item item = { &type, tags, 0, 1 };
    uint64_t newest_rare = (SEGMENTS - 1) / RARE * RARE + 1;

    /* One tag: its newest event, if there is one. */
    assert_int_equal(segments_for(f, &item, 0, newest_rare), 1);
    assert_int_equal(segments_for(f, &item, newest_rare, 0), 1);
    tags[0] = (struct span){ "none", 4 };
    assert_int_equal(segments_for(f, &item, 0, 0), 0);
    /* A type, too: the rare events, back to the one that matches or the
     * position. */
    tags[0] = (struct span){ "rare", 4 };
    item.type_count = 1;
    assert_int_equal(segments_for(f, &item, 0, 1), 3);
    item.tag_count = 2;
    assert_int_equal(segments_for(f, &item, 0, 1), 3);
    /* Its type has no event behind the position. */
    assert_int_equal(segments_for(f, &item, 1, 0), 1);
    /* Tags of half of all events: what lies behind the position is counted
     * by halving, and the newest ones match. */
    item.type_count = 0;
    tags[0] = (struct span){ "odd", 3 };
    assert_true(segments_for(f, &item, SEGMENTS / 2, SEGMENTS) <=
                6 * LOG2_SEGMENTS);
    assert_true(segments_for(f, &item, 2, SEGMENTS) <= 6 * LOG2_SEGMENTS);
    assert_int_equal(segments_for(f, &item, 0, SEGMENTS), 0);
}

/* ---- reading all ------------------------------------------------------- */

static void
reading_all_holds_a_bounded_number_of_maps(void **state)
{
    struct fixture *f = *state;
    struct cursor cursor;
    struct evlog *log;
    struct event event;
    unsigned before = f->watch.maps_now;

    forget_counts(f);
    must(f, evlog_open(&f->watch.sys, logfix_dir(&f->fix), &log, &f->err));
    for (int round = 0; round < 2; round++) {
        must(f, evlog_seek(log, 1, SEGMENTS, &cursor, &f->err));
        for (uint64_t n = 1; n <= SEGMENTS; n++) {
            assert_int_equal(
                evlog_next(log, &cursor, SEGMENTS, &event, &f->err), 1);
            assert_int_equal(event.position, n);
        }
    }
    /* The last one may have been kept from the start. */
    assert_true(f->watch.counts.opens <= 2 * SEGMENTS + 1);
    assert_int_equal(f->watch.maps_max - before, EVLOG_MAPS_MAX);
    assert_true(f->watch.fds_max - f->watch.fds_now <= 1);
    evlog_close(&log);
    assert_int_equal(f->watch.maps_now, before);
}

static void
on_finding(void *arg, const struct verify_finding *f)
{
    (void)arg;
    fail_msg("%s: %s", f->segment, f->what);
}

static void
verifying_holds_a_bounded_number_of_maps(void **state)
{
    static const struct verify_events events = { .finding = on_finding };
    struct fixture *f = *state;
    struct verify_report report;
    unsigned before = f->watch.maps_now;

    forget_counts(f);
    must(f,
         log_verify(&f->watch.sys, logfix_dir(&f->fix), false, &events, &report,
                    &f->err));
    assert_int_equal(report.events, SEGMENTS);
    assert_true(f->watch.maps_max - before <= EVLOG_MAPS_MAX + 1);
    assert_true(f->watch.fds_max - f->watch.fds_now <= 1);
    assert_int_equal(f->watch.maps_now, before);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_writer_opens_the_last_two_segments),
        cmocka_unit_test(a_reader_opens_the_last_segment),
        cmocka_unit_test(any_position_is_found_in_one_segment),
        cmocka_unit_test(any_time_is_found_by_halving),
        cmocka_unit_test(
            a_condition_that_names_tags_costs_the_same_in_a_long_log),
        cmocka_unit_test(an_id_is_looked_for_without_opening_segments_again),
        cmocka_unit_test(reading_all_holds_a_bounded_number_of_maps),
        cmocka_unit_test(verifying_holds_a_bounded_number_of_maps),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
