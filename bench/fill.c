/* SPDX-License-Identifier: MPL-2.0 */
#include "fill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/appender.h"

#define GROUP_COMMITS 400u /* as those of a loaded writer */
#define STRIDE UINT64_C(7919)
#define TYPE "Measured"
#define TYPE_LEN (sizeof TYPE - 1)

void
fill_name(char name[FILL_NAME_LEN + 1], uint32_t number)
{
    (void)snprintf(name, FILL_NAME_LEN + 1, CAIRN_PREFIX "-%07u",
                   number % 10000000);
}

struct filler {
    struct appender *appender;
    struct err err;
    uint64_t bytes;
};

static void
must(struct filler *f, int rc)
{
    if (rc < 0)
        bench_die("cannot fill a log: %s", f->err.text);
}

/* Makes what is open durable, and does the housekeeping that is due. */
static void
settle(struct filler *f)
{
    enum appender_job job;

    if (appender_open_commits(f->appender) > 0) {
        appender_close_group(f->appender);
        must(f, appender_sync(f->appender, &f->err));
        must(f, appender_settle(f->appender, &f->err));
    }
    while ((job = appender_next_job(f->appender)) != JOB_NONE)
        must(f,
             appender_job_done(f->appender, job,
                               appender_run_job(f->appender, job, &f->err)));
}

static void
append(struct filler *f, const uint8_t *commit, uint32_t len)
{
    const struct append_request request = { .commit = commit,
                                            .commit_len = len };
    struct append_result result;

    for (int tries = 0; tries < 8; tries++) {
        must(f, appender_append(f->appender, &request, &result, &f->err));
        if (result.code == APPEND_ACCEPTED)
            return;
        settle(f);
    }
    bench_die("cannot fill a log: there is no room");
}

uint64_t
fill_log(const char *dir, const char *control, uint64_t events,
         uint32_t streams)
{
    struct event_shape shape = { .schema = 1,
                                 .stream_len = FILL_NAME_LEN,
                                 .type_len = TYPE_LEN,
                                 .data_len = LOAD_DATA_LEN };
    uint32_t len =
        (uint32_t)(sizeof(struct commit_record) + event_record_len(&shape));
    uint8_t text[FILL_NAME_LEN + TYPE_LEN + LOAD_DATA_LEN];
    uint8_t *commit = aligned_alloc(64, (size_t)align_up(len, 64));
    struct recovery_report report;
    struct filler f = { 0 };

    if (commit == NULL)
        bench_die("no memory");
    must(&f,
         appender_open(&sys_real, dir, control, &appender_defaults, NULL, NULL,
                       &report, &f.appender, &f.err));
    settle(&f);
    memset(text, 'x', sizeof text);
    memcpy(text + FILL_NAME_LEN, TYPE, TYPE_LEN);
    for (uint64_t i = 0; i < events; i++) {
        char name[FILL_NAME_LEN + 1];

        fill_name(name, (uint32_t)(i * STRIDE % streams));
        memcpy(text, name, FILL_NAME_LEN);
        shape.id = uuid_v7(1000 + i / 1000);
        commit_encode(commit, shape.id, 1, len);
        event_encode(commit + sizeof(struct commit_record), &shape, text);
        append(&f, commit, len);
        if ((i + 1) % GROUP_COMMITS == 0)
            settle(&f);
    }
    settle(&f);
    f.bytes = events * len;
    must(&f, appender_close(&f.appender, &f.err));
    free(commit);
    return f.bytes;
}
