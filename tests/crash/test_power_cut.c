/* SPDX-License-Identifier: MPL-2.0 */
/*
 * THE INVARIANT: what was settled is there after any crash, whole and in its
 * place; of what was not, the first group whole or nothing.
 *
 * Each seed is the story of one log on a simulated disk: random work, and the
 * power goes out, or the writer dies, at any call; also while it recovers.
 * Meanwhile a reader looks on.  SEED=x tells one story again, SEEDS=n tells n.
 */
#include "lib/cmocka.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "lib/workload.h"
#include "store/backup.h"

#define BACKUP SIM_DATA "/backup"
#define RESTORED SIM_DATA "/restored"

#define SEEDS_DEFAULT 250u
#define SEEDS_DAMAGED 100u
#define SEEDS_BACKED_UP 250u

#define LIVES_MAX 10u
#define STEPS_MAX 80u
#define CALLS_MAX 250u    /* of one life, until it ends */
#define CALLS_RECOVER 80u /* the same, while it recovers */
#define CALLS_BACKUP 120u /* the same, while it is backed up */

static uint64_t cuts, kills, cut_recoveries, torn_ends;

/* A story with backups in it. */
static bool backs_up;
static uint64_t claimed; /* position up to which one was called done */
static uint64_t backups, cut_backups;

/* ---- lives and how they end -------------------------------------------- */

/* The end comes in one of the next calls, or does not come by itself. */
static void
arm(struct workload *w, uint64_t calls_max)
{
    uint64_t calls = 1 + rng_below(&w->rng, calls_max);

    switch (rng_below(&w->rng, 4)) {
    case 0:
        simdisk_kill_after(w->disk, PROCESS_WRITER, calls);
        break;
    case 1:
    case 2:
        simdisk_cut_after(w->disk, calls);
        break;
    default:
        break;
    }
}

static void
disarm(struct workload *w)
{
    simdisk_kill_after(w->disk, PROCESS_WRITER, 0);
    simdisk_cut_after(w->disk, 0);
}

/* The writer is dead, or everything is: what is left can be used again. */
static void
bury(struct workload *w)
{
    disarm(w);
    (void)workload_close(w); /* it can only say that it is dead */
    if (simdisk_is_off(w->disk)) {
        cuts++;
        workload_close_reader(w);
        simdisk_power_on(w->disk);
    } else {
        kills++;
        simdisk_revive(w->disk, PROCESS_WRITER);
    }
}

/* Only the end of the writer's life is a reason to fail. */
static void
must_be_dead(struct workload *w, const char *what)
{
    if (!simdisk_is_dead(w->disk, PROCESS_WRITER))
        model_fail("%s failed: %s", what, w->err.text);
}

static void
must(struct workload *w, int rc, const char *what)
{
    if (rc < 0)
        model_fail("%s failed: %s", what, w->err.text);
}

static void
recover(struct workload *w, unsigned ends_max)
{
    for (unsigned ends = 0;; ends++) {
        int rc;

        if (ends < ends_max)
            arm(w, CALLS_RECOVER);
        rc = workload_open(w);
        disarm(w);
        if (rc == 0 && !simdisk_is_dead(w->disk, PROCESS_WRITER))
            break;
        must_be_dead(w, "recovery");
        cut_recoveries++;
        bury(w);
    }
    torn_ends += w->report.torn;
    if (w->report.tail_lost)
        model_fail("recovery gave something up without being asked to");
    /* Once there is a table with a checkpoint there always is one. */
    if (w->report.table_rebuilt && w->has_table)
        model_fail("the version table is built again from the whole log");
    w->has_table = true;
    workload_check(w);
}

/* ---- backups ----------------------------------------------------------- */

static int
copy_log(struct workload *w, const char *control)
{
    static const struct backup_events silent = { .arg = NULL };
    struct backup_report report;
    int rc = log_backup(simdisk_sys(w->disk, PROCESS_CHECKER), SIM_LOG, BACKUP,
                        control, &silent, &report, &w->err);

    if (rc < 0)
        return rc;
    claimed = report.last_position;
    backups++;
    return 0;
}

/* Beside the writer, in whatever state it is; the power may go meanwhile. */
static int
back_up(struct workload *w)
{
    int rc;

    if (rng_one_in(&w->rng, 2))
        simdisk_cut_after(w->disk, 1 + rng_below(&w->rng, CALLS_BACKUP));
    rc = copy_log(w, SIM_CONTROL);
    if (rc < 0 && !simdisk_is_off(w->disk))
        model_fail("a backup failed: %s", w->err.text);
    cut_backups += rc < 0;
    if (rc == 0 && claimed != appender_watermark(w->appender))
        model_fail("a backup ends at %" PRIu64 ", the watermark is %" PRIu64,
                   claimed, appender_watermark(w->appender));
    return rc;
}

/* What was called done is there, whole, and nothing that the log has not. */
static void
check_backup(struct workload *w)
{
    uint64_t end;
    struct evlog *there;

    if (claimed == 0) { /* then there may be nothing */
        int rc = evlog_open(simdisk_sys(w->disk, PROCESS_CHECKER), BACKUP,
                            &there, &w->err);

        if (rc == -ENOENT)
            return;
        must(w, rc, "opening a backup");
        evlog_close(&there);
    }
    end = workload_check_copy(w, BACKUP);
    if (end < claimed || end > model_settled_position(&w->model))
        model_fail("a backup was done up to %" PRIu64 ", ends at %" PRIu64
                   ", and the log at %" PRIu64,
                   claimed, end, model_settled_position(&w->model));
}

/* The next run completes it, and what is restored from it is just that. */
static void
complete_backup(struct workload *w)
{
    static const struct backup_events silent = { .arg = NULL };
    static const struct restore_to everything = { .kind = RESTORE_ALL };
    const struct sys *sys = simdisk_sys(w->disk, PROCESS_CHECKER);
    uint64_t end = model_settled_position(&w->model);
    struct backup_report report;

    must(w, copy_log(w, NULL), "the last backup");
    if (claimed != end || workload_check_copy(w, BACKUP) != end)
        model_fail("the last backup does not end where the log does");
    if (end == 0)
        return;
    must(w,
         log_restore(sys, BACKUP, RESTORED, &everything, &silent, &report,
                     &w->err),
         "restoring");
    if (workload_check_copy(w, RESTORED) != end)
        model_fail("the restored log does not end where the backup does");
}

/* ---- lives ------------------------------------------------------------- */

/* Works until the end comes, or is made to come. */
static void
live(struct workload *w)
{
    uint64_t steps = rng_below(&w->rng, STEPS_MAX);
    int rc = 0;

    arm(w, CALLS_MAX);
    for (uint64_t i = 0; rc == 0 && i < steps; i++) {
        /* The most delicate moment gets more than its share. */
        if (appender_in_flight(w->appender) && rng_one_in(&w->rng, 24))
            simdisk_cut_after(w->disk, 1 + rng_below(&w->rng, 3));
        rc =
            backs_up && rng_one_in(&w->rng, 16) ? back_up(w) : workload_step(w);
    }
    if (rc == 0 && rng_one_in(&w->rng, 4)) {
        rc = workload_finish(w);
        if (rc == 0)
            rc = workload_close(w);
        if (rc == 0) {
            disarm(w);
            return; /* an end in good order */
        }
    }
    if (rc < 0) {
        must_be_dead(w, "a step");
    } else if (rng_one_in(&w->rng, 3)) {
        simdisk_kill(w->disk, PROCESS_WRITER);
    } else {
        simdisk_cut(w->disk);
    }
    bury(w);
}

/* ---- stories ----------------------------------------------------------- */

static void
story(uint64_t seed)
{
    struct workload w;
    uint64_t lives;

    workload_init(&w, seed);
    workload_watch(&w);
    lives = 1 + rng_below(&w.rng, LIVES_MAX);
    for (uint64_t i = 0; i < lives; i++) {
        recover(&w, 3);
        live(&w);
    }
    recover(&w, 0);
    must(&w, workload_retry(&w), "sending again");
    must(&w, workload_finish(&w), "finishing");
    must(&w, workload_close(&w), "closing");
    recover(&w, 0);
    if (w.report.torn || w.report.table_rebuilt || w.report.replayed_events > 0)
        model_fail("an end in good order left work for recovery");
    workload_free(&w);
}

static void
backed_up_story(uint64_t seed)
{
    struct workload w;
    uint64_t lives;

    workload_init(&w, seed);
    backs_up = true;
    claimed = 0;
    lives = 1 + rng_below(&w.rng, LIVES_MAX);
    for (uint64_t i = 0; i < lives; i++) {
        recover(&w, 1);
        check_backup(&w);
        live(&w);
    }
    backs_up = false;
    recover(&w, 0);
    check_backup(&w);
    must(&w, workload_finish(&w), "finishing");
    must(&w, workload_close(&w), "closing");
    complete_backup(&w);
    workload_free(&w);
}

static double
seconds_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
settled_commits_survive_every_crash(void **state)
{
    double before = seconds_now();
    uint64_t count;

    (void)state;
    cuts = kills = cut_recoveries = torn_ends = 0;
    seeds_run("power cuts", SEEDS_DEFAULT, story, &count);
    print_message("%" PRIu64 " cuts and %" PRIu64 " kills, %" PRIu64
                  " of them during recovery, %" PRIu64
                  " torn ends: %.0f crashes/s\n",
                  cuts, kills, cut_recoveries, torn_ends,
                  (double)(cuts + kills) / (seconds_now() - before));
    if (count >= 100) /* else nothing is sure to happen */
        assert_true(cuts > 0 && kills > 0 && cut_recoveries > 0 &&
                    torn_ends > 0);
}

static void
a_backup_that_is_done_survives_every_crash(void **state)
{
    uint64_t count;

    (void)state;
    backups = cut_backups = 0;
    seeds_run("power cuts with backups", SEEDS_BACKED_UP, backed_up_story,
              &count);
    print_message("%" PRIu64 " backups, %" PRIu64 " cut\n", backups,
                  cut_backups);
    if (count >= 100)
        assert_true(backups > count && cut_backups > 0);
}

/* Flips a bit of an event that is settled. */
static void
flip(struct workload *w, struct evlog *log)
{
    uint64_t position =
        1 + rng_below(&w->rng, model_settled_position(&w->model));
    uint64_t address = w->model.addresses[position - 1], len;
    uint64_t offset = address_offset(address);
    char path[PATH_LEN_MAX];
    struct event event;
    uint8_t byte;

    model_sent(&w->model, position, &event);
    if (segment_path(path, SIM_LOG,
                     evlog_segment_first(log, address_segment(address))) < 0)
        abort();
    offset += rng_below(&w->rng, event.record_len);
    byte = simdisk_bytes(w->disk, path, &len)[offset];
    byte ^= (uint8_t)(1u << rng_below(&w->rng, 8));
    simdisk_poke(w->disk, path, offset, &byte, 1);
}

static void
damaged_story(uint64_t seed)
{
    struct workload w;
    struct err err;
    int rc = 0;

    workload_init(&w, seed);
    recover(&w, 0);
    for (int i = 0; rc == 0 && i < 60; i++)
        rc = workload_step(&w);
    must(&w, rc, "a step");
    if (model_settled_position(&w.model) > 0) {
        workload_close_reader(&w);
        model_check_log(&w.model, simdisk_sys(w.disk, PROCESS_CHECKER),
                        SIM_LOG);
        flip(&w, appender_log(w.appender));
        simdisk_kill(w.disk, PROCESS_WRITER);
        bury(&w);
        rc = workload_open(&w);
        if (rc == 0) { /* it is where recovery does not look */
            model_recovered(&w.model, appender_watermark(w.appender));
            rc = model_read_log(&w.model, simdisk_sys(w.disk, PROCESS_CHECKER),
                                SIM_LOG, &err);
        }
        if (rc != -CAIRN_EDAMAGED && rc != -CAIRN_EAMBIGUOUS)
            model_fail("a flipped bit was answered with %d", rc);
    }
    workload_free(&w);
}

static void
damage_is_refused_and_never_cut(void **state)
{
    (void)state;
    seeds_run("damage", SEEDS_DAMAGED, damaged_story, NULL);
}

/*
 * The writer dies behind the last step of making a larger table, before
 * anybody is told of it, and again in the n-th call of recovery.  Whether
 * recovery came so far is returned.
 */
static bool
tell_of_switch(uint64_t seed, uint64_t n)
{
    struct workload w;
    bool died;
    int rc = 0;

    workload_init(&w, seed);
    w.fresh_tags = true;
    w.tags_max = 5;
    recover(&w, 0);
    while (rc == 0 && !(w.job == JOB_SWITCH && w.job_ran))
        rc = workload_step(&w);
    must(&w, rc, "a step");
    simdisk_kill(w.disk, PROCESS_WRITER);
    bury(&w);
    simdisk_kill_after(w.disk, PROCESS_WRITER, n);
    rc = workload_open(&w);
    died = simdisk_is_dead(w.disk, PROCESS_WRITER);
    if (died) {
        bury(&w);
    } else {
        must(&w, rc, "recovery");
        workload_check(&w);
    }
    workload_close_reader(&w); /* a new one must find what it needs */
    for (int i = 0; i < 20; i++)
        workload_look(&w);
    workload_free(&w);
    return died;
}

static void
readers_find_a_table_wherever_recovery_dies(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        uint64_t n = 1;

        while (tell_of_switch(seed, n)) /* before the call, or behind it */
            n++;
        assert_true(n > 20); /* it does make calls */
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settled_commits_survive_every_crash),
        cmocka_unit_test(a_backup_that_is_done_survives_every_crash),
        cmocka_unit_test(damage_is_refused_and_never_cut),
        cmocka_unit_test(readers_find_a_table_wherever_recovery_dies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
