/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/logfix.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/tmpdir.h"

const struct appender_options logfix_small = {
    .segment_len = 128 << 10,
    .group_len_max = 32 << 10,
    .checkpoint_bytes = 64 << 10,
    .table_slots = TABLE_SLOTS_MIN,
    .scan_max = 1000,
    .show_bytes = 4096,
};

static void
must(int rc, const struct err *err, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, err->text);
    abort();
}

static uint8_t
len8(const char *text)
{
    return text == NULL ? 0 : (uint8_t)strlen(text);
}

static uint8_t *
put_text(uint8_t *out, const char *text)
{
    size_t len = text == NULL ? 0 : strlen(text);

    if (len > 0)
        memcpy(out, text, len);
    return out + len;
}

static void
event_text_encode(const struct event_text *event, struct uuid id, uint8_t **out)
{
    struct event_shape shape = {
        .id = id,
        .schema = 1,
        .meta_len = event->meta == NULL ? 0 : (uint32_t)strlen(event->meta),
        .data_len = event->data == NULL ? 0 : (uint32_t)strlen(event->data),
        .stream_len = len8(event->stream),
        .type_len = len8(event->type),
        .content_type_len = 4,
    };
    uint8_t *text, *p;

    while (shape.tag_count < 8 && event->tags[shape.tag_count] != NULL) {
        shape.tags_len += len8(event->tags[shape.tag_count]);
        shape.tag_count++;
    }
    p = text = malloc((size_t)event_text_len(&shape) + 1);
    for (int i = 0; i < shape.tag_count; i++)
        *p++ = len8(event->tags[i]);
    p = put_text(p, event->stream);
    p = put_text(p, event->type);
    p = put_text(p, "text");
    for (int i = 0; i < shape.tag_count; i++)
        p = put_text(p, event->tags[i]);
    p = put_text(p, event->meta);
    (void)put_text(p, event->data);
    event_encode(*out, &shape, text);
    *out += event_record_len(&shape);
    free(text);
}

uint8_t *
commit_make(struct uuid id, const struct event_text *events,
            uint32_t event_count, uint32_t *ret_len)
{
    size_t room = sizeof(struct commit_record);
    uint8_t *commit, *out;

    for (uint32_t i = 0; i < event_count; i++) {
        room += 1024 + 8 * 256;
        room += events[i].data == NULL ? 0 : strlen(events[i].data);
        room += events[i].meta == NULL ? 0 : strlen(events[i].meta);
    }
    commit = malloc(room);
    out = commit + sizeof(struct commit_record);
    for (uint32_t i = 0; i < event_count; i++)
        event_text_encode(&events[i], uuid_derive(id, i), &out);
    *ret_len = (uint32_t)(out - commit);
    commit_encode(commit, id, event_count, *ret_len);
    return commit;
}

const char *
logfix_dir(const struct logfix *fix)
{
    return tmpdir_path(fix->dir, "log");
}

const char *
logfix_control(const struct logfix *fix)
{
    return tmpdir_path(fix->dir, "control");
}

void
logfix_open(struct logfix *fix, const struct sys *sys,
            const struct appender_options *options)
{
    *fix = (struct logfix){ .sys = sys, .options = *options };
    fix->dir = tmpdir_make();
    must(logfix_reopen(fix), &fix->err, "open");
}

int
logfix_reopen(struct logfix *fix)
{
    return appender_open(fix->sys, logfix_dir(fix), logfix_control(fix),
                         &fix->options, NULL, NULL, &fix->report,
                         &fix->appender, &fix->err);
}

void
logfix_stop(struct logfix *fix)
{
    must(appender_close(&fix->appender, &fix->err), &fix->err, "close");
}

void
logfix_close(struct logfix *fix)
{
    logfix_stop(fix);
    tmpdir_remove(&fix->dir);
}

void
logfix_jobs(struct logfix *fix)
{
    enum appender_job job;

    while ((job = appender_next_job(fix->appender)) != JOB_NONE) {
        int rc = appender_run_job(fix->appender, job, &fix->err);

        must(appender_job_done(fix->appender, job, rc), &fix->err, "job");
        if (rc < 0) /* a full disk: it would be wanted again at once */
            return;
    }
}

void
logfix_sync(struct logfix *fix)
{
    if (appender_open_commits(fix->appender) == 0)
        return;
    appender_close_group(fix->appender);
    must(appender_sync(fix->appender, &fix->err), &fix->err, "sync");
    must(appender_settle(fix->appender, &fix->err), &fix->err, "settle");
    logfix_jobs(fix);
}

struct append_result
logfix_append(struct logfix *fix, struct uuid id,
              const struct append_check *checks, uint32_t check_count,
              const struct event_text *events, uint32_t event_count)
{
    return logfix_ask(fix, id, checks, check_count, events, event_count, false,
                      0);
}

struct append_result
logfix_ask(struct logfix *fix, struct uuid id,
           const struct append_check *checks, uint32_t check_count,
           const struct event_text *events, uint32_t event_count, bool dry_run,
           uint32_t show)
{
    struct append_result result;
    uint32_t len;
    uint8_t *commit = commit_make(id, events, event_count, &len);
    struct append_hint hint;
    const struct append_request request = {
        commit,
        len,
        checks,
        check_count,
        dry_run,
        show,
        0,
        id.b[15] % 2 == 0 ? &hint : NULL, /* it must make no difference */
    };

    appender_hint(fix->appender, commit, len, &hint);
    appender_look_ahead(fix->appender, &hint);
    appender_look_closer(fix->appender, &hint);
    for (int tries = 0;; tries++) {
        must(appender_append(fix->appender, &request, &result, &fix->err),
             &fix->err, "append");
        if (result.code == APPEND_GROUP_FULL)
            logfix_sync(fix);
        else if (result.code == APPEND_NOT_READY && tries < 10)
            logfix_jobs(fix);
        else
            break;
    }
    free(commit);
    return result;
}

struct append_result
logfix_put(struct logfix *fix, const char *stream, uint32_t data_len)
{
    char *data = malloc(data_len + 1);
    struct event_text event = { stream, "Happened", data, NULL, { NULL } };
    struct append_result result;

    memset(data, 'x', data_len);
    data[data_len] = '\0';
    result = logfix_append(fix, uuid_v4(), NULL, 0, &event, 1);
    free(data);
    if (result.code != APPEND_ACCEPTED) {
        fprintf(stderr, "append: code %d\n", (int)result.code);
        abort();
    }
    return result;
}
