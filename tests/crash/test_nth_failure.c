/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Every call of the store fails once, and from then on, for every n until a
 * run has no n-th call; and so does every allocation.
 *
 * A run is a short story on a simulated disk: a new log, work, an end in good
 * order, recovery, work, a death, recovery, work.  Whatever fails must say
 * so; once nothing fails any more the log must open and hold what it must,
 * with what the page cache had and after a loss of power.  Under the address
 * sanitizer nothing may leak.
 *
 * The stories of the seeds together have all that the store does: small and
 * large commits, new segments, checkpoints, larger tables.  Backups have loops
 * of their own (test_backup.c).
 */
#include "lib/cmocka.h"

#include <errno.h>
#include <inttypes.h>

#include "lib/failalloc.h"
#include "lib/workload.h"

#define SEEDS_DEFAULT 4u
#define STEPS 60

/* Where the control page has them (store/control.h). */
#define PAGE_GENERATION 56u
#define PAGE_COUNTERS 88u

/* What fails in a run. */
struct failure {
    struct sim_fault fault; /* nth is 0: no call, but an allocation */
    uint64_t nth_alloc;
    bool forever;
    bool then_cut; /* power is lost behind the failure */
};

static uint64_t run_count, failed_count, seed_count;

/* The most of each that a story had in which nothing failed. */
static struct {
    uint64_t segments, tables, checkpoints;
} told;

static void
begin_failing(struct workload *w, const struct failure *f)
{
    w->faulty = true;
    simdisk_fail(w->disk, f->fault.nth == 0 ? NULL : &f->fault);
    failalloc_at(f->nth_alloc, f->forever);
}

/* How often something failed; from now on nothing does. */
static uint64_t
end_failing(struct workload *w)
{
    uint64_t count = simdisk_fault_count(w->disk) + failalloc_count();

    simdisk_fail(w->disk, NULL);
    failalloc_at(0, false);
    workload_close_reader(w);
    w->faulty = false;
    return count;
}

/* An error has a reason: something did fail, and it says what. */
static void
check_error(struct workload *w, int rc)
{
    if (simdisk_fault_count(w->disk) + failalloc_count() == 0 &&
        !simdisk_is_dead(w->disk, PROCESS_WRITER))
        model_fail("nothing failed, but the store says: %s", w->err.text);
    if (w->err.code != rc || w->err.text[0] == '\0')
        model_fail("an error (%d) does not say what it is: %d, %s", rc,
                   w->err.code, w->err.text);
}

static int
work(struct workload *w)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < STEPS; i++)
        rc = workload_step(w);
    return rc;
}

/* Everything that the store does; 0, or what stopped it. */
static int
tell(struct workload *w)
{
    int rc = workload_open(w);

    if (rc == 0)
        rc = work(w);
    if (rc == 0)
        rc = workload_finish(w);
    if (rc == 0)
        rc = workload_close(w);
    if (rc == 0)
        rc = workload_open(w);
    if (rc == 0)
        rc = work(w);
    if (rc < 0)
        return rc;
    simdisk_kill(w->disk, PROCESS_WRITER);
    (void)workload_close(w); /* it can only say that it is dead */
    simdisk_revive(w->disk, PROCESS_WRITER);
    rc = workload_open(w);
    if (rc < 0)
        return rc;
    model_recovered(&w->model, appender_watermark(w->appender));
    workload_recount(w);
    rc = work(w);
    return rc == 0 ? workload_finish(w) : rc;
}

static void
must(struct workload *w, int rc, const char *what)
{
    if (rc < 0)
        model_fail("%s failed: %s", what, w->err.text);
}

static void
raise_to(uint64_t *most, uint64_t value)
{
    if (*most < value)
        *most = value;
}

/* What a story had, before its log is closed; past all calls. */
static void
note_story(struct workload *w)
{
    uint64_t len, generation, checkpoints;
    const uint8_t *page = simdisk_bytes(w->disk, SIM_CONTROL, &len);

    memcpy(&generation, page + PAGE_GENERATION, sizeof generation);
    memcpy(&checkpoints, page + PAGE_COUNTERS + COUNT_CHECKPOINTS * 8,
           sizeof checkpoints);
    raise_to(&told.segments, evlog_segment_count(appender_log(w->appender)));
    raise_to(&told.tables, generation);
    raise_to(&told.checkpoints, checkpoints);
}

/* One run; whether anything failed in it. */
static bool
run(uint64_t seed, const struct failure *f)
{
    struct workload w;
    uint64_t count;
    int rc;

    workload_init(&w, seed);
    w.events_max += 4;
    if (seed % 2 == 1) { /* so many keys that the table grows */
        w.fresh_tags = true;
        w.tags_max = 5;
    }
    workload_watch(&w);
    begin_failing(&w, f);
    rc = tell(&w);
    if (rc < 0) {
        check_error(&w, rc);
        failed_count++;
    }
    if (rc == 0 && simdisk_fault_count(w.disk) + failalloc_count() == 0)
        note_story(&w);
    if (f->then_cut)
        simdisk_cut(w.disk);
    (void)workload_close(&w); /* the outcome is what recovery finds */
    count = end_failing(&w);
    if (f->then_cut)
        simdisk_power_on(w.disk);
    must(&w, workload_open(&w), "opening, when nothing fails any more,");
    workload_check(&w);
    w.no_space_count = 0;
    must(&w, workload_retry(&w), "sending again");
    must(&w, workload_finish(&w), "finishing");
    must(&w, workload_close(&w), "closing");
    /* What the cache had and the device had not was not believed, then. */
    simdisk_cut(w.disk);
    workload_close_reader(&w);
    simdisk_power_on(w.disk);
    must(&w, workload_open(&w), "opening again");
    workload_check(&w);
    workload_free(&w);
    run_count++;
    return count > 0;
}

/* For every n, once and from then on; one of them with a loss of power, for
 * the next seed the other one. */
static void
run_every(uint64_t seed, struct failure f)
{
    for (unsigned variant = 0; variant < 2; variant++) {
        uint64_t n = 0;
        bool failed;

        f.forever = f.fault.forever = variant == 1;
        f.then_cut = (variant + seed) % 2 == 1;
        do {
            n++;
            if (f.fault.code < 0)
                f.fault.nth = n;
            else
                f.nth_alloc = n;
            failed = run(seed, &f);
        } while (failed);
    }
}

static enum sim_call call_now;
static int code_now;

static void
calls_of_a_seed(uint64_t seed)
{
    run_every(
        seed,
        (struct failure){ .fault = { .call = call_now, .code = code_now } });
}

/* How many runs were stopped by it is returned. */
static uint64_t
every_call(int code, bool (*can_say_so)(enum sim_call call))
{
    uint64_t stopped = 0;

    code_now = code;
    for (call_now = 0; call_now < SIM_CALLS; call_now++) {
        if (!can_say_so(call_now))
            continue;
        run_count = failed_count = 0;
        seeds_run(sim_call_name(call_now), SEEDS_DEFAULT, calls_of_a_seed,
                  &seed_count);
        print_message("%s: %" PRIu64 " runs, %" PRIu64 " of them stopped\n",
                      sim_call_name(call_now), run_count, failed_count);
        if (code == -EIO)
            assert_true(failed_count > 0); /* each kind of call is made */
        stopped += failed_count;
    }
    return stopped;
}

static void
assert_all_was_told(void)
{
    print_message("%" PRIu64 " segments, %" PRIu64 " tables, %" PRIu64
                  " checkpoints in a story\n",
                  told.segments, told.tables, told.checkpoints);
    if (seed_count >= SEEDS_DEFAULT) /* else nothing is sure to happen */
        assert_true(told.segments > 1 && told.tables > 1 &&
                    told.checkpoints > 0);
}

static bool
any(enum sim_call call)
{
    (void)call;
    return true;
}

static bool
needs_space(enum sim_call call)
{
    return call == SIM_OPEN || call == SIM_WRITE || call == SIM_SYNC ||
        call == SIM_SYNC_MAP || call == SIM_WRITE_BACK ||
        call == SIM_ALLOCATE || call == SIM_RENAME || call == SIM_MAKE_DIR;
}

static void
a_call_that_fails_loses_nothing(void **state)
{
    (void)state;
    (void)every_call(-EIO, any);
    assert_all_was_told();
}

static void
a_disk_that_is_full_loses_nothing(void **state)
{
    (void)state;
    assert_true(every_call(-ENOSPC, needs_space) > 0);
}

static void
allocations_of_a_seed(uint64_t seed)
{
    run_every(seed, (struct failure){ .nth_alloc = 1 });
}

static void
an_allocation_that_fails_loses_nothing(void **state)
{
    (void)state;
    run_count = failed_count = 0;
    seeds_run("allocations", SEEDS_DEFAULT, allocations_of_a_seed, NULL);
    print_message("%" PRIu64 " runs, %" PRIu64 " of them stopped\n", run_count,
                  failed_count);
    assert_true(failed_count > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_fails_loses_nothing),
        cmocka_unit_test(a_disk_that_is_full_loses_nothing),
        cmocka_unit_test(an_allocation_that_fails_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
