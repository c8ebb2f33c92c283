/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Readers in other processes, while the version table changes, is
 * checkpointed, grows and is replaced: at every watermark they find, for
 * every key, exactly the newest event that is not above it.
 *
 * What must be found follows from the position alone.  A position that is no
 * multiple of four begins a stream; position 4p goes on with the stream of
 * position p.  So the stream that begins at r has its events at r, 4r, 16r...
 * Each event has a tag of its stream's number, too.
 */
#include "lib/cmocka.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/worker.h"
#include "lib/logfix.h"
#include "lib/rng.h"
#include "lib/tmpdir.h"

#define READERS 2u
#define ROUNDS 2u
#define EVENTS 30000u /* of a round: 45,001 keys, from 256 slots on */
#define EVENTS_PER_COMMIT 60u
#define LOOKS_PER_TABLE 50u /* of each reader, while a table is in use */
#define PATIENCE_S 60

static const struct appender_options options = {
    .segment_len = 2 << 20,
    .group_len_max = 64 << 10,
    .checkpoint_bytes = 32 << 10,
    .table_slots = TABLE_SLOTS_MIN,
};

/* What the processes share. */
struct shared {
    _Atomic uint32_t round; /* 0: not begun; ROUNDS + 1: over */
    struct {
        _Atomic uint64_t looks;
        struct err fault; /* code 0: none */
    } readers[READERS];
};

struct look {
    struct reader *reader;
    struct rng rng;
    struct err *fault;
};

static uint64_t
stream_of(uint64_t position)
{
    while (position % 4 == 0)
        position /= 4;
    return position;
}

/* The newest event of a stream that is not above the watermark; 0: none. */
static uint64_t
newest_of(uint64_t stream, uint64_t watermark, uint64_t *ret_version)
{
    uint64_t newest = 0;

    *ret_version = 0;
    for (uint64_t p = stream; p <= watermark; p *= 4) {
        newest = p;
        ++*ret_version;
    }
    return newest;
}

/* ---- readers ----------------------------------------------------------- */

/* Looks one stream up, or its tag; false if what it finds is wrong. */
static bool
look_up(struct look *look, uint64_t stream, uint64_t watermark)
{
    uint64_t version, newest = newest_of(stream, watermark, &version);
    bool by_tag = rng_one_in(&look->rng, 2);
    struct event event = { .position = 0 };
    uint64_t address;
    struct span name;
    char text[32];
    int rc;

    (void)snprintf(text, sizeof text, by_tag ? "tag:%" PRIu64 : "s-%" PRIu64,
                   stream);
    name = (struct span){ text, (uint32_t)strlen(text) };
    rc = reader_find(look->reader, by_tag ? KEY_TAG : KEY_STREAM, name,
                     watermark, &address, &event, look->fault);
    if (rc == (newest > 0) && event.position == newest &&
        (newest == 0 || event.version == version))
        return true;
    if (rc >= 0)
        (void)err_set(look->fault, -EIO,
                      "'%s' at watermark %" PRIu64 ": found %" PRIu64
                      ", not %" PRIu64,
                      text, watermark, event.position, newest);
    return false;
}

/* Old streams, new ones, and ones that the table may know too early. */
static bool
look_around(struct look *look)
{
    struct rng *rng = &look->rng;
    uint64_t watermark, near;

    if (reader_watermark(look->reader, &watermark, look->fault) < 0)
        return false;
    if (watermark == 0)
        return true;
    near = watermark > 200 ? watermark - rng_below(rng, 200) : 1;
    return look_up(look, stream_of(1 + rng_below(rng, watermark)), watermark) &&
        look_up(look, stream_of(near), watermark) &&
        look_up(look, stream_of(watermark + 1 + rng_below(rng, 200)),
                watermark);
}

static void
read_round(struct shared *shared, unsigned number, uint32_t round,
           const char *dir)
{
    struct look look = { .rng = { number * 1000 + round },
                         .fault = &shared->readers[number].fault };
    char log[PATH_LEN_MAX], control[PATH_LEN_MAX];

    (void)snprintf(log, sizeof log, "%s/log-%u", dir, round);
    (void)snprintf(control, sizeof control, "%s/control-%u", dir, round);
    if (reader_open(&sys_real, log, control, &look.reader, look.fault) < 0)
        return;
    while (shared->round == round && look.fault->code == 0) {
        if (look_around(&look))
            shared->readers[number].looks++;
    }
    reader_close(&look.reader);
}

/* A process that reads, round after round, until it is over or wrong. */
static void
read_all(struct shared *shared, unsigned number, const char *dir)
{
    uint32_t round;

    while ((round = shared->round) <= ROUNDS &&
           shared->readers[number].fault.code == 0)
        if (round > 0)
            read_round(shared, number, round, dir);
}

/* ---- the writer -------------------------------------------------------- */

struct growth {
    struct shared *shared;
    char *dir;
    struct appender *appender;
    struct worker *housekeeper;
    enum appender_job job;
    uint64_t tables, checkpoints; /* of all rounds */
    struct err err;
};

static void
must(struct growth *g, int rc)
{
    if (rc < 0)
        fail_msg("%s", g->err.text);
}

static int
run_job(void *arg, struct err *err)
{
    struct growth *g = arg;

    return appender_run_job(g->appender, g->job, err);
}

/* Jobs run beside the appending, as in the daemon. */
static void
keep_house(struct growth *g, bool wait)
{
    int rc;

    if (worker_busy(g->housekeeper)) {
        if (!worker_take(g->housekeeper, wait, &rc, &g->err))
            return;
        must(g, rc);
        must(g, appender_job_done(g->appender, g->job, rc));
    }
    g->job = appender_next_job(g->appender);
    if (g->job != JOB_NONE)
        worker_give(g->housekeeper, run_job, g);
}

/* Each reader looks around in the table that is in use now. */
static void
wait_for_looks(struct growth *g)
{
    time_t end = time(NULL) + PATIENCE_S;

    for (unsigned i = 0; i < READERS; i++) {
        uint64_t until = g->shared->readers[i].looks + LOOKS_PER_TABLE;

        while (g->shared->readers[i].looks < until) {
            if (g->shared->readers[i].fault.code != 0)
                fail_msg("reader %u: %s", i, g->shared->readers[i].fault.text);
            assert_true(time(NULL) < end);
            (void)usleep(100);
        }
    }
}

static void
settle(struct growth *g)
{
    if (appender_open_commits(g->appender) == 0)
        return;
    appender_close_group(g->appender);
    must(g, appender_sync(g->appender, &g->err));
    must(g, appender_settle(g->appender, &g->err));
}

/* EVENTS_PER_COMMIT events from a position on. */
static uint8_t *
make_commit(uint64_t position, uint32_t *ret_len)
{
    struct event_text events[EVENTS_PER_COMMIT];
    char names[EVENTS_PER_COMMIT][24], tags[EVENTS_PER_COMMIT][24];

    for (uint32_t i = 0; i < EVENTS_PER_COMMIT; i++) {
        uint64_t stream = stream_of(position + i);

        (void)snprintf(names[i], sizeof names[i], "s-%" PRIu64, stream);
        (void)snprintf(tags[i], sizeof tags[i], "tag:%" PRIu64, stream);
        events[i] = (struct event_text){ .stream = names[i],
                                         .type = "T",
                                         .tags = { tags[i] } };
    }
    return commit_make(uuid_v4(), events, EVENTS_PER_COMMIT, ret_len);
}

static void
append(struct growth *g, uint64_t position)
{
    uint32_t len;
    uint8_t *commit = make_commit(position, &len);
    const struct append_request request = { .commit = commit,
                                            .commit_len = len };
    struct append_result result;

    for (;;) {
        must(g, appender_append(g->appender, &request, &result, &g->err));
        if (result.code == APPEND_GROUP_FULL)
            settle(g);
        else if (result.code == APPEND_NOT_READY)
            keep_house(g, true);
        else
            break;
    }
    assert_int_equal(result.code, APPEND_ACCEPTED);
    assert_int_equal(result.first_position, position);
    free(commit);
}

static void
write_round(struct growth *g, uint32_t round)
{
    char log[PATH_LEN_MAX], control_path[PATH_LEN_MAX];
    struct recovery_report report;
    struct control *control;
    uint64_t generation = 1;

    (void)snprintf(log, sizeof log, "%s/log-%u", g->dir, round);
    (void)snprintf(control_path, sizeof control_path, "%s/control-%u", g->dir,
                   round);
    must(g,
         appender_open(&sys_real, log, control_path, &options, NULL, NULL,
                       &report, &g->appender, &g->err));
    must(g, control_open(&sys_real, control_path, &control, &g->err));
    g->shared->round = round;
    for (uint64_t position = 1; position <= EVENTS;
         position += EVENTS_PER_COMMIT) {
        append(g, position);
        if (rng_one_in(&(struct rng){ position * round }, 2))
            settle(g);
        keep_house(g, false);
        if (control_table_generation(control) != generation) {
            generation = control_table_generation(control);
            settle(g);
            wait_for_looks(g);
        }
    }
    settle(g);
    wait_for_looks(g);
    while (worker_busy(g->housekeeper))
        keep_house(g, true);
    g->tables += generation;
    g->checkpoints += control_counter(control, COUNT_CHECKPOINTS);
    control_close(&control);
    must(g, appender_close(&g->appender, &g->err));
}

static void
readers_see_every_key_while_the_table_grows(void **state)
{
    struct growth g = { .dir = tmpdir_make() };
    pid_t pids[READERS];
    uint64_t looks = 0;

    (void)state;
    g.shared = mmap(NULL, sizeof *g.shared, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(g.shared != MAP_FAILED);
    for (unsigned i = 0; i < READERS; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no longer than us */
            read_all(g.shared, i, g.dir);
            _exit(0);
        }
    }
    must(&g, worker_start(&g.housekeeper, "housekeeper", &g.err));
    for (uint32_t round = 1; round <= ROUNDS; round++)
        write_round(&g, round);
    g.shared->round = ROUNDS + 1;
    worker_stop(&g.housekeeper);
    for (unsigned i = 0; i < READERS; i++) {
        int status;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        if (g.shared->readers[i].fault.code != 0)
            fail_msg("reader %u: %s", i, g.shared->readers[i].fault.text);
        assert_int_equal(status, 0);
        looks += g.shared->readers[i].looks;
    }
    print_message("%" PRIu64 " tables, %" PRIu64 " checkpoints, %" PRIu64
                  " looks of three keys each\n",
                  g.tables, g.checkpoints, looks);
    assert_true(g.tables >= 8 * ROUNDS && g.checkpoints > 0);
    (void)munmap(g.shared, sizeof *g.shared);
    tmpdir_remove(&g.dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_every_key_while_the_table_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
