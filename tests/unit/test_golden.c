/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The bytes of format 1: what is written today is tests/data/format-1, and
 * what stands there can be read for ever.  UPDATE=1 in the environment writes
 * the files; do that only with a new format.
 */
#include "lib/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fixedrandom.h"
#include "lib/logfix.h"
#include "lib/tmpdir.h"
#include "lib/watchsys.h"
#include "store/ids.h"
#include "store/verify.h"

#define GOLDEN "tests/data/format-1"
#define IDS_NOW "tests/data/format-1-ids" /* ids, as they are made now */
#define BEGAN_US UINT64_C(1700000000000000)

static const struct {
    const char *golden, *name;
} files[] = {
    { GOLDEN, "00000000000000000001.log" },
    { IDS_NOW, "00000000000000000001.ids" },
    { GOLDEN, "00000000000000000025.log" },
    { GOLDEN, "table.1" },
};

static struct uuid
command_id(uint8_t number)
{
    return (struct uuid){ { 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, 0x70, 0, 0x80, 0,
                            0, 0, 0, 0, 0, number } };
}

/* Some of everything: streams, tags, several in a commit, nothing in them. */
static void
append_all(struct logfix *fix, struct watchsys *watch)
{
    static const struct event_text events[] = {
        { "order-1",
          "Placed",
          "{\"total\":12}",
          "{\"by\":\"k\"}",
          { "customer:7", "shop:1" } },
        { "customer-7", "Ordered", "{}", NULL, { "customer:7" } },
        { "order-1", "Paid", "", "", { NULL } },
        { "caf\xc3\xa9-\xe2\x98\x95",
          "T",
          "\xff\0 and more",
          NULL,
          { "customer:7" } },
    };
    uint8_t number = 1;

    for (int round = 0; round < 5; round++) {
        (void)logfix_append(fix, command_id(number++), NULL, 0, events, 4);
        watch->now_us += 1000;
    }
    logfix_sync(fix);
    for (int i = 0; i < 8; i++) {
        static char text[12001];
        const struct event_text large = {
            "bulk-1", "Filled", text, NULL, { NULL }
        };

        memset(text, 'a' + i, sizeof text - 1);
        (void)logfix_append(fix, command_id(number++), NULL, 0, &large, 1);
        watch->now_us += 1000000;
        logfix_sync(fix);
    }
    logfix_jobs(fix);
}

static void
make_log(struct logfix *fix, struct watchsys *watch)
{
    const struct appender_options options = {
        .segment_len = SEGMENT_LEN_MIN,
        .group_len_max = 16384,
        .checkpoint_bytes = 1 << 20,
        .table_slots = TABLE_SLOTS_MIN,
    };

    fixedrandom_begin(1);
    /* Both groups had a hash key of their own when the files were made. */
    fixedrandom_skip(16, 32);
    watchsys_begin(watch, &sys_real);
    watch->now_us = BEGAN_US;
    logfix_open(fix, &watch->sys, &options);
    append_all(fix, watch);
    logfix_stop(fix);
}

static void
compare(const char *dir, const char *golden_dir, const char *name)
{
    size_t len, golden_len;
    uint8_t *made = file_read(tmpdir_path(dir, name), &len);
    uint8_t *golden;

    if (getenv("UPDATE") != NULL) {
        (void)mkdir(golden_dir, 0777);
        file_write(tmpdir_path(golden_dir, name), made, len);
    }
    golden = file_read(tmpdir_path(golden_dir, name), &golden_len);
    assert_int_equal(len, golden_len);
    for (size_t i = 0; i < len; i++)
        if (made[i] != golden[i])
            fail_msg("%s: byte %zu is %02x, not %02x", name, i, made[i],
                     golden[i]);
    free(made);
    free(golden);
}

static void
what_is_written_is_format_1_byte_for_byte(void **state)
{
    struct logfix fix;
    struct watchsys watch;

    (void)state;
    make_log(&fix, &watch);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        compare(logfix_dir(&fix), files[i].golden, files[i].name);
    logfix_close(&fix);
    watchsys_end(&watch);
}

static void
finding(void *arg, const struct verify_finding *f)
{
    (void)arg;
    fail_msg("%s: %s", f->segment, f->what);
}

static void
progress(void *arg, uint64_t done, uint64_t all, uint64_t position)
{
    (void)arg, (void)done, (void)all, (void)position;
}

static void
format_1_is_read_and_found_whole(void **state)
{
    static const struct verify_events events = { NULL, finding, progress };
    struct verify_report report;
    struct err err;

    (void)state;
    assert_int_equal(
        log_verify(&sys_real, GOLDEN, false, &events, &report, &err), 0);
    assert_int_equal(report.segments, 2);
    assert_int_equal(report.events, 28);
    assert_int_equal(report.commits, 13);
    assert_int_equal(report.last_position, 28);
    assert_false(report.unfinished);
}

/* A file of ids of that time says nothing of their times. */
static void
ids_of_format_1_are_found(void **state)
{
    const struct id_times times = { UINT64_MAX, 0 };
    struct watchsys watch;
    struct evlog *log;
    struct ids *ids;
    struct err err;
    uint64_t address;

    (void)state;
    watchsys_begin(&watch, &sys_real);
    watchsys_fail(&watch, "rename", NULL, -EROFS);
    assert_int_equal(evlog_open(&watch.sys, GOLDEN, &log, &err), 0);
    assert_int_equal(ids_open(log, &ids, &err), 0);
    watch.counts.renames = watch.counts.opens = 0;
    for (uint8_t number = 1; number <= 9; number++)
        assert_int_equal(
            ids_find(ids, command_id(number), 1, times, &address, &err), 1);
    assert_int_equal(ids_find(ids, command_id(99), 1, times, &address, &err),
                     0);
    assert_int_equal(watch.counts.opens, 2); /* the segment and its ids */
    assert_int_equal(watch.counts.renames, 0);
    ids_close(&ids);
    evlog_close(&log);
    watchsys_end(&watch);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_format_1_byte_for_byte),
        cmocka_unit_test(format_1_is_read_and_found_whole),
        cmocka_unit_test(ids_of_format_1_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
