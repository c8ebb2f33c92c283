/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Backups and restores on a simulated disk: the power goes in any call, any
 * call fails, the disk fills up.  What was a good backup before is one
 * afterwards, and an unfinished restore is never taken for a log.
 */
#include "lib/cmocka.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/failalloc.h"
#include "lib/workload.h"
#include "store/backup.h"

#define BACKUP SIM_DATA "/backup"
#define ANOTHER SIM_DATA "/another"
#define RESTORED SIM_DATA "/restored"
#define CONTROL_2 SIM_RUN "/control-2"

#define SEEDS_DEFAULT 12u
#define CUTS 12u

static const struct backup_events silent = { .arg = NULL };
static const struct restore_to everything = { .kind = RESTORE_ALL };

/* A log that has grown since it was backed up; its writer has stopped. */
struct story {
    struct workload w;
    const struct sys *sys; /* of who makes copies */
    uint64_t first, last;  /* where the backup ends, and the log */
    struct err err;
};

/* Appends until two more segments have begun. */
static void
grow(struct workload *w)
{
    uint64_t count = evlog_segment_count(appender_log(w->appender));

    for (unsigned i = 0; i < 3000; i++) {
        if (workload_append(w) < 0)
            model_fail("append: %s", w->err.text);
        if (i % 4 == 3 && workload_finish(w) < 0)
            model_fail("finish: %s", w->err.text);
        if (evlog_segment_count(appender_log(w->appender)) >= count + 2)
            break;
    }
    if (workload_finish(w) < 0)
        model_fail("finish: %s", w->err.text);
}

static int
back_up(struct story *s)
{
    struct backup_report report;

    return log_backup(s->sys, SIM_LOG, BACKUP, NULL, &silent, &report, &s->err);
}

/* The first one into a directory that is not there. */
static int
back_up_anew(struct story *s)
{
    struct backup_report report;

    return log_backup(s->sys, SIM_LOG, ANOTHER, NULL, &silent, &report,
                      &s->err);
}

static int
restore(struct story *s)
{
    struct backup_report report;

    return log_restore(s->sys, BACKUP, RESTORED, &everything, &silent, &report,
                       &s->err);
}

static void
begin(struct story *s, uint64_t seed)
{
    *s = (struct story){ .first = 0 };
    workload_init(&s->w, seed);
    s->sys = simdisk_sys(s->w.disk, PROCESS_CHECKER);
    if (workload_open(&s->w) < 0)
        model_fail("open: %s", s->w.err.text);
    grow(&s->w);
    s->first = appender_watermark(s->w.appender);
    if (workload_close(&s->w) < 0 || back_up(s) < 0)
        model_fail("first backup: %s", s->err.text);
    if (workload_end_of(&s->w, BACKUP) != s->first)
        model_fail("the first backup does not end where the log does");
    if (workload_open(&s->w) < 0)
        model_fail("open: %s", s->w.err.text);
    grow(&s->w);
    s->last = appender_watermark(s->w.appender);
    if (workload_close(&s->w) < 0)
        model_fail("close: %s", s->w.err.text);
    simdisk_save(s->w.disk);
}

static void
end(struct story *s)
{
    workload_free(&s->w);
}

/* Calls that a piece of work takes when nothing happens to it. */
static uint64_t
calls_of(struct story *s, int (*work)(struct story *))
{
    uint64_t before = simdisk_call_count(s->w.disk);

    if (work(s) < 0)
        model_fail("%s", s->err.text);
    before = simdisk_call_count(s->w.disk) - before;
    simdisk_restore(s->w.disk);
    return before;
}

/* What was called done must not have been in the cache only, as after a sync
 * that failed. */
static void
lose_power(struct story *s)
{
    simdisk_cut(s->w.disk);
    simdisk_power_on(s->w.disk);
}

/* ---- backup ------------------------------------------------------------ */

/* Whatever has happened: there is a good backup, and the next run ends it. */
static void
check_backup(struct story *s)
{
    uint64_t found = workload_end_of(&s->w, BACKUP);

    if (found < s->first || found > s->last)
        model_fail("the backup ends at %" PRIu64 ", not between %" PRIu64
                   " and %" PRIu64,
                   found, s->first, s->last);
    (void)workload_check_copy(&s->w, BACKUP);
    if (back_up(s) < 0)
        model_fail("the next run: %s", s->err.text);
    lose_power(s);
    if (workload_end_of(&s->w, BACKUP) != s->last)
        model_fail("the next run does not end where the log does");
    (void)workload_check_copy(&s->w, BACKUP);
}

static void
cut_backup(uint64_t seed)
{
    struct story s;
    uint64_t calls;

    begin(&s, seed);
    calls = calls_of(&s, back_up);
    for (unsigned i = 0; i < CUTS; i++) {
        simdisk_cut_after(s.w.disk, 1 + rng_below(&s.w.rng, calls));
        (void)back_up(&s);
        lose_power(&s);
        simdisk_cut_after(s.w.disk, 0);
        check_backup(&s);
        simdisk_restore(s.w.disk);
    }
    end(&s);
}

static void
a_power_cut_leaves_the_backup_before_it(void **state)
{
    (void)state;
    seeds_run("power cuts in a backup", SEEDS_DEFAULT, cut_backup, NULL);
}

static void
kill_backup(uint64_t seed)
{
    struct story s;
    uint64_t calls;

    begin(&s, seed);
    calls = calls_of(&s, back_up);
    for (unsigned i = 0; i < CUTS; i++) {
        simdisk_kill_after(s.w.disk, PROCESS_CHECKER,
                           1 + rng_below(&s.w.rng, calls));
        (void)back_up(&s);
        simdisk_revive(s.w.disk, PROCESS_CHECKER);
        check_backup(&s);
        simdisk_restore(s.w.disk);
    }
    end(&s);
}

static void
a_kill_leaves_the_backup_before_it(void **state)
{
    (void)state;
    seeds_run("kills in a backup", SEEDS_DEFAULT, kill_backup, NULL);
}

/* Fails the n-th call of a kind, or for SIM_CALLS the n-th allocation, once or
 * from then on; whether there was one. */
static bool
fail_nth(struct story *s, int call, uint64_t nth, bool forever,
         int (*work)(struct story *), void (*check)(struct story *))
{
    const struct sim_fault fault = {
        .call = (enum sim_call)call,
        .nth = nth,
        .code = -EIO,
        .forever = forever,
    };
    uint64_t met;
    int rc;

    simdisk_fail(s->w.disk, call < SIM_CALLS ? &fault : NULL);
    failalloc_at(call < SIM_CALLS ? 0 : nth, forever);
    rc = work(s);
    met = simdisk_fault_count(s->w.disk) + failalloc_count();
    simdisk_fail(s->w.disk, NULL);
    failalloc_at(0, false);
    /* A failed removal of what is of no use does no harm. */
    if (met > 0 && rc == 0 && call != SIM_REMOVE)
        model_fail("%s number %" PRIu64 " fails, and nobody cares",
                   call < SIM_CALLS ? sim_call_name((enum sim_call)call)
                                    : "allocation",
                   nth);
    check(s);
    simdisk_restore(s->w.disk);
    return met > 0;
}

static void
fail_every_call(struct story *s, int (*work)(struct story *),
                void (*check)(struct story *))
{
    for (int call = 0; call <= SIM_CALLS; call++)
        for (unsigned forever = 0; forever < 2; forever++) {
            uint64_t nth = 1;

            while (fail_nth(s, call, nth, forever == 1, work, check))
                nth++;
        }
}

/* The next run ends it, for good. */
static void
check_anew(struct story *s)
{
    if (back_up_anew(s) < 0)
        model_fail("the next run: %s", s->err.text);
    lose_power(s);
    if (workload_check_copy(&s->w, ANOTHER) != s->last)
        model_fail("the next run does not end where the log does");
}

static void
fail_backup(uint64_t seed)
{
    struct story s;

    begin(&s, seed);
    fail_every_call(&s, back_up, check_backup);
    fail_every_call(&s, back_up_anew, check_anew);
    end(&s);
}

static void
a_failed_call_leaves_the_backup_before_it(void **state)
{
    (void)state;
    seeds_run("failures in a backup", 2, fail_backup, NULL);
}

/* Copies go on beside a writer, in whatever state its threads are. */
static void
copy_beside_a_writer(uint64_t seed)
{
    struct story s = { .first = 0 };
    struct backup_report report;
    uint64_t found = 0;

    workload_init(&s.w, seed);
    s.sys = simdisk_sys(s.w.disk, PROCESS_CHECKER);
    if (workload_open(&s.w) < 0)
        model_fail("open: %s", s.w.err.text);
    for (unsigned i = 0; i < 400; i++) {
        if (workload_step(&s.w) < 0)
            model_fail("step: %s", s.w.err.text);
        if (!rng_one_in(&s.w.rng, 12))
            continue;
        if (log_backup(s.sys, SIM_LOG, BACKUP, SIM_CONTROL, &silent, &report,
                       &s.err) < 0)
            model_fail("%s", s.err.text);
        found = workload_end_of(&s.w, BACKUP);
        if (found != appender_watermark(s.w.appender) ||
            found != report.last_position)
            model_fail("the backup ends at %" PRIu64 ", the watermark is "
                       "%" PRIu64,
                       found, appender_watermark(s.w.appender));
    }
    (void)workload_check_copy(&s.w, BACKUP);
    end(&s);
}

static void
a_backup_beside_a_writer_ends_at_the_watermark(void **state)
{
    (void)state;
    seeds_run("backups beside a writer", SEEDS_DEFAULT, copy_beside_a_writer,
              NULL);
}

static void
fill_up(uint64_t seed)
{
    struct story s;

    begin(&s, seed);
    /* Less than all files have now, the log and the first backup. */
    simdisk_set_space(s.w.disk, 1);
    if (back_up(&s) != -ENOSPC)
        model_fail("a full disk is not noticed: %s", s.err.text);
    if (workload_end_of(&s.w, BACKUP) != s.first)
        model_fail("the full disk has changed the backup");
    simdisk_set_space(s.w.disk, UINT64_MAX);
    check_backup(&s);
    end(&s);
}

static void
a_full_disk_leaves_the_backup_before_it(void **state)
{
    (void)state;
    seeds_run("a full disk", 4, fill_up, NULL);
}

/* ---- restore ----------------------------------------------------------- */

/* Either nothing is there, or a whole log, or something that all refuse. */
static void
check_restored(struct story *s)
{
    bool marked = simdisk_exists(s->w.disk, RESTORED "/" RESTORE_MARKER);
    struct recovery_report report;
    struct appender *appender;
    struct evlog *log;
    int opened = evlog_open(s->sys, RESTORED, &log, &s->err);

    if (opened == 0) {
        evlog_close(&log);
        if (marked)
            model_fail("an unfinished restore is read");
        if (workload_end_of(&s->w, RESTORED) != s->first)
            model_fail("a restored log is not complete, but not marked");
        (void)workload_check_copy(&s->w, RESTORED);
    } else if (opened != (marked ? -CAIRN_EDAMAGED : -ENOENT)) {
        model_fail("%s", s->err.text);
    } else {
        if (marked &&
            appender_open(s->sys, RESTORED, CONTROL_2, &s->w.options, NULL,
                          NULL, &report, &appender, &s->err) != -CAIRN_EDAMAGED)
            model_fail("a writer takes an unfinished restore for a log");
        if (restore(s) < 0)
            model_fail("the next restore: %s", s->err.text);
    }
    lose_power(s);
    if (appender_open(s->sys, RESTORED, CONTROL_2, &s->w.options, NULL, NULL,
                      &report, &appender, &s->err) < 0)
        model_fail("the restored log: %s", s->err.text);
    if (appender_watermark(appender) != s->first)
        model_fail("the restored log ends elsewhere");
    if (appender_close(&appender, &s->err) < 0)
        model_fail("%s", s->err.text);
    (void)workload_check_copy(&s->w, RESTORED);
}

static void
cut_restore(uint64_t seed)
{
    struct story s;
    uint64_t calls;

    begin(&s, seed);
    calls = calls_of(&s, restore);
    for (unsigned i = 0; i < CUTS; i++) {
        /* The end is where it is delicate. */
        uint64_t at = rng_one_in(&s.w.rng, 3) ? calls - rng_below(&s.w.rng, 8)
                                              : 1 + rng_below(&s.w.rng, calls);

        simdisk_cut_after(s.w.disk, at);
        (void)restore(&s);
        lose_power(&s);
        simdisk_cut_after(s.w.disk, 0);
        check_restored(&s);
        simdisk_restore(s.w.disk);
    }
    end(&s);
}

static void
a_power_cut_in_a_restore_leaves_no_half_log(void **state)
{
    (void)state;
    seeds_run("power cuts in a restore", SEEDS_DEFAULT, cut_restore, NULL);
}

static void
fail_restore(uint64_t seed)
{
    struct story s;

    begin(&s, seed);
    fail_every_call(&s, restore, check_restored);
    end(&s);
}

static void
a_failed_call_in_a_restore_leaves_no_half_log(void **state)
{
    (void)state;
    seeds_run("failures in a restore", 2, fail_restore, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_leaves_the_backup_before_it),
        cmocka_unit_test(a_kill_leaves_the_backup_before_it),
        cmocka_unit_test(a_failed_call_leaves_the_backup_before_it),
        cmocka_unit_test(a_backup_beside_a_writer_ends_at_the_watermark),
        cmocka_unit_test(a_full_disk_leaves_the_backup_before_it),
        cmocka_unit_test(a_power_cut_in_a_restore_leaves_no_half_log),
        cmocka_unit_test(a_failed_call_in_a_restore_leaves_no_half_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
