/* SPDX-License-Identifier: MPL-2.0 */
/*
 * bench_startup - how long the writer takes from its start after a SIGKILL
 * until it serves, with logs of different lengths.
 *
 * Before each kill the same number of events is stored, so that as much is to
 * be read again in all of them.
 *
 *   bench_startup BUILD SECONDS-PER-RUN ROUNDS MIB ...
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cairn/feeder.h"
#include "contest.h"
#include "fill.h"
#include "store/control.h"

#define LOGS_MAX (CONTEST_ENGINES_MAX - 1)
#define BYTES_PER_EVENT 440u /* about what one takes in the log */
#define EVENTS_PER_STREAM 10u
#define EVENTS_BEFORE_KILL 20000u
#define STREAMS_BEFORE_KILL 1000u
#define SERVING_WAIT_S 600

struct started {
    struct cairn cairn;
    char name[32];
};

static void
on_latency(void *arg, double seconds)
{
    (void)arg;
    (void)seconds;
}

static void
store_some(struct cairn *cairn)
{
    struct feeder feeder = {
        .endpoint = cairn->pipeline.commands,
        .deadline_ms = SERVING_WAIT_S * 1000,
        .window = 1024,
        .batch = 1,
        .data_len = LOAD_DATA_LEN,
        .prefix = CAIRN_PREFIX,
        .stream_step = 1,
        .stream_count = STREAMS_BEFORE_KILL,
        .versions = cairn->versions,
        .seconds = SERVING_WAIT_S,
        .commits_max = EVENTS_BEFORE_KILL,
        .on_latency = on_latency,
    };
    struct err err;

    if (feeder_run(&feeder, &err) < 0 || feeder.accepted != EVENTS_BEFORE_KILL)
        bench_die("events before a kill were not accepted");
}

static void
await_serving(const struct pipeline *p)
{
    double until = seconds_now() + SERVING_WAIT_S;
    const struct timespec look = { .tv_nsec = 200000 };

    while (seconds_now() < until) {
        struct control *control;
        bool serving;

        if (control_open(&sys_real, p->control, &control, NULL) == 0) {
            serving = control_writer_pid(control) == (uint64_t)p->writer &&
                control_state(control) == CONTROL_SERVING;
            control_close(&control);
            if (serving)
                return;
        }
        (void)nanosleep(&look, NULL);
    }
    bench_die("the writer does not serve");
}

static uint64_t
startup_run(void *self, const struct load *load, uint32_t connection)
{
    struct started *s = self;
    double measured = 0;
    uint64_t starts = 0;

    (void)connection;
    while (measured < load->seconds || starts == 0) {
        double began = seconds_now(), took;

        store_some(&s->cairn);
        pipeline_kill_writer(&s->cairn.pipeline);
        load_exclude(seconds_now() - began);
        began = seconds_now();
        pipeline_start_writer(&s->cairn.pipeline, NULL);
        await_serving(&s->cairn.pipeline);
        took = seconds_now() - began;
        load_latency(took);
        measured += took;
        starts++;
    }
    return starts;
}

static void
start(struct started *s, const char *build, const char *mib)
{
    uint64_t bytes = strtoull(mib, NULL, 10) << 20;
    uint32_t streams = (uint32_t)(bytes / BYTES_PER_EVENT / EVENTS_PER_STREAM);

    if (streams < STREAMS_BEFORE_KILL)
        bench_die("'%s' MiB are too few", mib);
    pipeline_prepare(&s->cairn.pipeline, build);
    (void)fill_log(s->cairn.pipeline.log, s->cairn.pipeline.control,
                   (uint64_t)streams * EVENTS_PER_STREAM, streams);
    cairn_init(&s->cairn, streams, EVENTS_PER_STREAM);
    pipeline_start(&s->cairn.pipeline, build, NULL);
    (void)snprintf(s->name, sizeof s->name, "%s MiB", mib);
}

int
main(int argc, char **argv)
{
    static struct started started[LOGS_MAX];
    struct engine engines[LOGS_MAX];
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 0;
    int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0;
    struct contest c = {
        .row = "startup",
        .name = "start-up after SIGKILL, by length of the log",
        .unit = "starts/s",
        .load = { .connections = 1,
                  .outstanding = 1,
                  .batch = 1,
                  .seconds = seconds },
        .rounds = rounds,
    };

    if (argc < 6 || argc - 4 > LOGS_MAX || seconds <= 0 || rounds < 1 ||
        rounds > 64) {
        fprintf(stderr,
                "usage: bench_startup BUILD SECONDS ROUNDS MIB MIB ...\n");
        return 64;
    }
    for (int i = 0; i < argc - 4; i++) {
        start(&started[i], argv[1], argv[4 + i]);
        engines[i] =
            (struct engine){ started[i].name, &started[i], startup_run };
        c.engines[i] = &engines[i];
    }
    contest_run(&c);
    for (int i = 0; i < argc - 4; i++)
        pipeline_stop(&started[i].cairn.pipeline);
    return 0;
}
