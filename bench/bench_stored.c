/* SPDX-License-Identifier: MPL-2.0 */
/*
 * bench_stored - the same appends into logs of different lengths, each with
 * daemons of its own: events go to all the streams there are.
 *
 *   bench_stored BUILD SECONDS-PER-RUN ROUNDS EVENTS/STREAMS ...
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contest.h"
#include "fill.h"

#define LOGS_MAX (CONTEST_ENGINES_MAX - 1)
#define OUTSTANDING 256u

struct stored {
    struct cairn cairn;
    char name[32];
};

static void
start(struct stored *s, const char *build, const char *size)
{
    uint64_t events = 0;
    uint32_t streams = 0;

    if (sscanf(size, "%" SCNu64 "/%" SCNu32, &events, &streams) != 2 ||
        streams == 0 || events < streams || events % streams != 0)
        bench_die("'%s': EVENTS/STREAMS, and the first must be a multiple of "
                  "the second",
                  size);
    pipeline_prepare(&s->cairn.pipeline, build);
    (void)fill_log(s->cairn.pipeline.log, s->cairn.pipeline.control, events,
                   streams);
    cairn_init(&s->cairn, streams, events / streams);
    pipeline_start(&s->cairn.pipeline, build, NULL);
    (void)snprintf(s->name, sizeof s->name, "%" PRIu64, events);
}

int
main(int argc, char **argv)
{
    static struct stored stored[LOGS_MAX];
    struct engine engines[LOGS_MAX];
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 0;
    int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0;
    struct contest c = {
        .row = "stored",
        .name = "256 outstanding, by stored events",
        .unit = "commits/s",
        .load = { .connections = 1,
                  .outstanding = OUTSTANDING,
                  .batch = 1,
                  .seconds = seconds },
        .rounds = rounds,
    };

    if (argc < 6 || argc - 4 > LOGS_MAX || seconds <= 0 || rounds < 1 ||
        rounds > 64) {
        fprintf(stderr,
                "usage: bench_stored BUILD SECONDS ROUNDS "
                "EVENTS/STREAMS EVENTS/STREAMS ...\n");
        return 64;
    }
    for (int i = 0; i < argc - 4; i++) {
        start(&stored[i], argv[1], argv[4 + i]);
        engines[i] =
            (struct engine){ stored[i].name, &stored[i].cairn, cairn_run };
        c.engines[i] = &engines[i];
    }
    contest_run(&c);
    for (int i = 0; i < argc - 4; i++)
        pipeline_stop(&stored[i].cairn.pipeline);
    return 0;
}
