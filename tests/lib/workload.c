/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/workload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/verify.h"

#define STUCK_MAX 64u
#define COMMIT_LEN_MAX (UINT32_C(256) << 10)

void
workload_init(struct workload *w, uint64_t seed)
{
    static const uint32_t groups[] = { 8 << 10, 16 << 10, 32 << 10, 60 << 10 };
    static const uint32_t datas[] = { 64, 300, 4000, 20000 };

    *w = (struct workload){ .rng = { seed } };
    rng_own_sodium(seed);
    w->disk = simdisk_make(seed);
    w->options = (struct appender_options){
        .segment_len = SEGMENT_LEN_MIN << rng_below(&w->rng, 2),
        .group_len_max = groups[rng_below(&w->rng, 4)],
        .checkpoint_bytes = UINT64_C(4096) << rng_below(&w->rng, 6),
        .table_slots = TABLE_SLOTS_MIN,
    };
    w->stream_count = 1 + (uint32_t)rng_below(&w->rng, 40);
    w->type_count = 1 + (uint32_t)rng_below(&w->rng, 10);
    w->tag_count = 1 + (uint32_t)rng_below(&w->rng, 40);
    w->tags_max = (uint32_t)rng_below(&w->rng, 6);
    w->events_max = 1 + (uint32_t)rng_below(&w->rng, 12);
    w->data_max = datas[rng_below(&w->rng, 4)];
    w->fresh_tags = rng_one_in(&w->rng, 3);
}

void
workload_free(struct workload *w)
{
    (void)appender_close(&w->appender, NULL);
    workload_close_reader(w);
    model_free(&w->model);
    simdisk_free(&w->disk);
}

/* ---- commands ---------------------------------------------------------- */

/* What the fields of one event are made of. */
static uint8_t *
put_name(uint8_t *out, const char *text)
{
    size_t len = strlen(text);

    memcpy(out, text, len);
    return out + len;
}

static void
put_data(struct rng *rng, uint8_t *out, uint32_t len)
{
    /* Zeros are what an unfinished write leaves: let there be some. */
    bool zeros = rng_one_in(rng, 4);
    uint32_t gap = (uint32_t)rng_below(rng, len + 1);

    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t word = zeros && i >= gap ? 0 : rng_next(rng);

        memcpy(out + i, &word, len - i < 8 ? len - i : 8);
    }
}

static uint32_t
make_event(struct workload *w, struct uuid id, uint8_t *out,
           uint32_t *ret_stream)
{
    struct rng *rng = &w->rng;
    struct event_shape shape = { .id = id, .schema = 1 };
    uint32_t stream = (uint32_t)rng_below(rng, w->stream_count);
    uint32_t first_tag = (uint32_t)rng_below(rng, w->tag_count);
    char stream_name[32], type[32], tags[8][32];
    uint8_t *text, *p;

    (void)snprintf(stream_name, sizeof stream_name, "stream-%u", stream);
    (void)snprintf(type, sizeof type, "Type%u",
                   (unsigned)rng_below(rng, w->type_count));
    shape.tag_count = (uint8_t)rng_below(rng, w->tags_max + 1);
    if (shape.tag_count > w->tag_count && !w->fresh_tags)
        shape.tag_count = (uint8_t)w->tag_count;
    for (uint32_t i = 0; i < shape.tag_count; i++) {
        if (w->fresh_tags)
            (void)snprintf(tags[i], sizeof tags[i], "fresh:%" PRIu64,
                           w->fresh_next++);
        else
            (void)snprintf(tags[i], sizeof tags[i], "tag:%u",
                           (first_tag + i) % w->tag_count);
        shape.tags_len = (uint16_t)(shape.tags_len + strlen(tags[i]));
    }
    shape.stream_len = (uint8_t)strlen(stream_name);
    shape.type_len = (uint8_t)strlen(type);
    shape.meta_len = (uint32_t)rng_below(rng, 20);
    shape.data_len = (uint32_t)rng_below(rng, w->data_max + 1);
    if (rng_one_in(rng, 2)) /* most events are small */
        shape.data_len %= 64;
    p = text = malloc(event_text_len(&shape) + 1);
    if (text == NULL)
        abort();
    for (uint32_t i = 0; i < shape.tag_count; i++)
        *p++ = (uint8_t)strlen(tags[i]);
    p = put_name(p, stream_name);
    p = put_name(p, type);
    for (uint32_t i = 0; i < shape.tag_count; i++)
        p = put_name(p, tags[i]);
    put_data(rng, p, shape.meta_len + shape.data_len);
    event_encode(out, &shape, text);
    free(text);
    *ret_stream = stream;
    return (uint32_t)event_record_len(&shape);
}

/* A random unstamped commit, freed by free(); *streams gets a stream each. */
static uint8_t *
make_commit(struct workload *w, uint32_t *ret_len, uint32_t *streams,
            uint32_t *ret_count)
{
    static uint8_t room[COMMIT_LEN_MAX];
    uint32_t count = 1 + (uint32_t)rng_below(&w->rng, w->events_max);
    uint8_t *bytes;
    uint32_t len = sizeof(struct commit_record);
    uint64_t now_ms = 1700000000000 + rng_below(&w->rng, 100000);
    struct uuid id = rng_one_in(&w->rng, 4) ? uuid_v4() : uuid_v7(now_ms);

    for (uint32_t i = 0; i < count; i++)
        len += make_event(w, uuid_derive(id, i), room + len, &streams[i]);
    commit_encode(room, id, count, len);
    bytes = malloc(len);
    if (bytes == NULL)
        abort();
    memcpy(bytes, room, len);
    *ret_len = len;
    *ret_count = count;
    return bytes;
}

static uint32_t
stream_number(struct span name)
{
    return (uint32_t)strtoul(name.p + strlen("stream-"), NULL, 10);
}

void
workload_recount(struct workload *w)
{
    memset(w->versions, 0, sizeof w->versions);
    for (size_t i = 0; i < w->model.count; i++) {
        const struct model_commit *c = &w->model.commits[i];
        const uint8_t *at = c->bytes + sizeof(struct commit_record);

        for (uint32_t n = 0; n < c->event_count; n++) {
            struct event event;

            if (event_view(at, RECORD_LEN_MAX, &event) < 0)
                abort();
            w->versions[stream_number(event.stream)]++;
            at += event.record_len;
        }
    }
}

/* ---- the appender's threads, one at a time ----------------------------- */

static int
close_group(struct workload *w)
{
    if (appender_open_commits(w->appender) == 0 ||
        appender_in_flight(w->appender))
        return 0;
    appender_close_group(w->appender);
    w->synced = false;
    return 0;
}

static int
sync_group(struct workload *w)
{
    int rc = 0;

    if (appender_in_flight(w->appender) && !w->synced)
        rc = appender_sync(w->appender, &w->err);
    if (rc == 0)
        w->synced = appender_in_flight(w->appender);
    return rc;
}

static int
settle_group(struct workload *w)
{
    int rc;

    if (!appender_in_flight(w->appender) || !w->synced)
        return 0;
    rc = appender_settle(w->appender, &w->err);
    if (rc < 0)
        return rc;
    w->synced = false;
    model_settled(&w->model, appender_settled_group(w->appender));
    if (appender_watermark(w->appender) != model_settled_position(&w->model))
        model_fail("the watermark is not where the settled group ends");
    return 0;
}

/* One of: take a job, do it, say that it is done. */
static int
job_step(struct workload *w)
{
    int rc;

    if (w->job == JOB_NONE) {
        w->job = appender_next_job(w->appender);
        w->job_ran = false;
        return 0;
    }
    if (!w->job_ran) {
        w->job_rc = appender_run_job(w->appender, w->job, &w->err);
        w->job_ran = true;
        return 0;
    }
    rc = appender_job_done(w->appender, w->job, w->job_rc);
    w->job = JOB_NONE;
    return rc;
}

static int
settle_all(struct workload *w)
{
    int rc = 0;

    while (rc == 0 &&
           (appender_in_flight(w->appender) ||
            appender_open_commits(w->appender) > 0)) {
        rc = close_group(w);
        if (rc == 0)
            rc = sync_group(w);
        if (rc == 0)
            rc = settle_group(w);
    }
    return rc;
}

static int
finish_jobs(struct workload *w)
{
    int rc = 0;

    do {
        rc = job_step(w);
    } while (rc == 0 && w->job != JOB_NONE);
    return rc;
}

int
workload_finish(struct workload *w)
{
    int rc = settle_all(w);

    /* A job that meets a full disk is not wanted again: this ends. */
    do {
        if (rc == 0)
            rc = finish_jobs(w);
    } while (rc == 0 && (w->job = appender_next_job(w->appender)) != JOB_NONE &&
             (w->job_ran = false, true));
    return rc;
}

/* ---- appending --------------------------------------------------------- */

/* Sends a commit until it is decided. */
static int
send_commit(struct workload *w, const uint8_t *bytes, uint32_t len,
            const struct append_check *checks, uint32_t check_count,
            struct append_result *result)
{
    const struct append_request request = {
        .commit = bytes,
        .commit_len = len,
        .checks = checks,
        .check_count = check_count,
    };

    for (w->stuck = 0; w->stuck < STUCK_MAX; w->stuck++) {
        int rc = appender_append(w->appender, &request, result, &w->err);

        if (rc < 0)
            return rc;
        if (result->code == APPEND_GROUP_FULL) {
            if (appender_open_commits(w->appender) == 0)
                model_fail("a group is full, but none is open");
            rc = settle_all(w);
        } else if (result->code == APPEND_NOT_READY) {
            rc = job_step(w);
            if (rc == 0 && w->job == JOB_NONE &&
                (w->stuck > 3 || rng_one_in(&w->rng, 2)))
                rc = settle_all(w);
        } else {
            return 0;
        }
        if (rc < 0)
            return rc;
    }
    model_fail("the appender says %d for ever", (int)result->code);
}

/* An expectation that is true, or not; the last of `*fails` says which. */
static struct append_check
make_check(struct workload *w, char name[32], bool *ret_fails,
           uint64_t *ret_actual)
{
    uint32_t stream = (uint32_t)rng_below(&w->rng, w->stream_count);
    uint64_t actual = w->versions[stream];
    struct append_check check = {
        .kind = (enum expect_kind)rng_below(&w->rng, 4),
        .version = actual + (rng_one_in(&w->rng, 8) ? 1 : 0),
    };

    (void)snprintf(name, 32, "stream-%u", stream);
    check.stream = (struct span){ name, (uint32_t)strlen(name) };
    *ret_actual = actual;
    *ret_fails = (check.kind == EXPECT_NONE && actual > 0) ||
        (check.kind == EXPECT_EXISTS && actual == 0) ||
        (check.kind == EXPECT_EXACT && check.version != actual);
    return check;
}

static void
check_versions(struct workload *w, const struct append_result *result,
               const uint32_t *streams, uint32_t count)
{
    uint32_t seen = 0;

    for (uint32_t i = 0; i < count; i++)
        w->versions[streams[i]]++;
    for (uint32_t i = 0; i < count; i++) {
        bool first = true;

        for (uint32_t before = 0; before < i; before++)
            first = first && streams[before] != streams[i];
        if (!first)
            continue;
        if (seen >= result->version_count ||
            result->versions[seen] != w->versions[streams[i]])
            model_fail("a wrong version of stream-%u was told", streams[i]);
        seen++;
    }
    if (seen != result->version_count)
        model_fail("more versions were told than there are streams");
}

static int
append_new(struct workload *w)
{
    uint32_t len, count, streams[64], check_count = 0;
    uint8_t *bytes = make_commit(w, &len, streams, &count);
    struct append_result result;
    struct append_check check;
    char name[32];
    bool fails = false;
    uint64_t actual;
    int rc;

    if (rng_one_in(&w->rng, 3)) {
        check = make_check(w, name, &fails, &actual);
        check_count = 1;
    }
    rc = send_commit(w, bytes, len, &check, check_count, &result);
    if (rc < 0) {
        free(bytes);
        return rc;
    }
    if (result.code == APPEND_ACCEPTED && !fails && !result.repeated) {
        model_told(&w->model, bytes, len, &result);
        check_versions(w, &result, streams, count);
        return 0;
    }
    free(bytes);
    if (result.code == APPEND_CONFLICT && fails) {
        if (result.verdict_count != 1 || result.verdicts[0].actual != actual)
            model_fail("a conflict tells a wrong version");
    } else if (result.code == APPEND_NO_SPACE) {
        w->no_space_count++;
    } else if (result.code != APPEND_TOO_LARGE) {
        model_fail("a command was answered with %d", (int)result.code);
    }
    return 0;
}

/* Sends one again that the model holds, settled or not. */
static int
append_again(struct workload *w)
{
    struct model_commit *c =
        &w->model.commits[rng_below(&w->rng, w->model.count)];
    struct append_result result;
    struct append_check check = { .kind = EXPECT_EXACT, .version = 12345678 };
    int rc = send_commit(w, c->bytes, c->len, &check, rng_one_in(&w->rng, 2),
                         &result);

    if (rc < 0)
        return rc;
    model_check_answer(c, &result);
    if (result.group != 0 && result.group != c->group)
        model_fail("a repeated answer hangs on another group");
    if (result.group == 0 &&
        (size_t)(c - w->model.commits) >= w->model.settled_count)
        model_fail("a repeated answer does not wait for its group");
    return 0;
}

/* The same command id with other content. */
static int
append_other(struct workload *w)
{
    struct model_commit *c =
        &w->model.commits[rng_below(&w->rng, w->model.count)];
    uint32_t len, count, streams[64];
    uint8_t *bytes = make_commit(w, &len, streams, &count);
    struct append_result result;
    int rc;

    commit_encode(bytes, c->id, count, len);
    rc = send_commit(w, bytes, len, NULL, 0, &result);
    if (rc == 0 && result.code != APPEND_OTHER_CONTENT)
        model_fail("other content under a command id was answered with %d",
                   (int)result.code);
    free(bytes);
    return rc;
}

/* Sends one that a crash took away: it takes effect now. */
static int
append_lost(struct workload *w)
{
    struct model_commit c = w->model.lost[--w->model.lost_count];
    struct append_result result;
    int rc = send_commit(w, c.bytes, c.len, NULL, 0, &result);

    if (rc < 0 || result.code == APPEND_NO_SPACE) {
        w->model.lost_count++; /* it is still to be sent */
        return rc;
    }
    if (result.code != APPEND_ACCEPTED || result.repeated)
        model_fail("a command that was lost was answered with %d%s",
                   (int)result.code, result.repeated ? " (repeated)" : "");
    model_told(&w->model, c.bytes, c.len, &result);
    c.bytes = NULL;
    model_commit_free(&c);
    workload_recount(w);
    return 0;
}

int
workload_append(struct workload *w)
{
    if (w->model.lost_count > 0 && rng_one_in(&w->rng, 2))
        return append_lost(w);
    return append_new(w);
}

int
workload_retry(struct workload *w)
{
    int rc = 0;

    while (rc == 0 && w->model.lost_count > 0 && w->no_space_count == 0)
        rc = append_lost(w);
    for (int i = 0; rc == 0 && i < 3 && w->model.count > 0; i++)
        rc = append_again(w);
    return rc;
}

/* ---- reading ----------------------------------------------------------- */

/* A reader that fails: it must have had a reason. */
static void
reader_failed(struct workload *w, const struct err *err)
{
    if (!w->faulty && !simdisk_is_dead(w->disk, PROCESS_READER))
        model_fail("a reader failed: %s", err->text);
    workload_close_reader(w);
}

/* The watermark never goes back, and shows nothing that may still be lost. */
static uint64_t
read_watermark(struct workload *w)
{
    enum control_state state = control_state(reader_control(w->reader));
    bool serving = state == CONTROL_SERVING || state == CONTROL_NO_SPACE;
    uint64_t watermark, durable;
    struct err err;

    /* A recovery may find more, and show it before it is done. */
    durable = serving ? model_settled_position(&w->model)
                      : model_told_position(&w->model);
    if (reader_watermark(w->reader, &watermark, &err) < 0)
        model_fail("a reader is told to forget: %s", err.text);
    if (watermark < w->reader_mark || watermark > durable)
        model_fail("the watermark is %" PRIu64 ": it was %" PRIu64 ", "
                   "durable is %" PRIu64,
                   watermark, w->reader_mark, durable);
    /* After a loss of power it is made again, and right once it is served. */
    if (watermark < w->shown && serving)
        model_fail("the watermark is %" PRIu64 ", %" PRIu64 " was shown",
                   watermark, w->shown);
    w->reader_mark = watermark;
    return watermark;
}

/* Reads on; 0, or what the log says. */
static int
read_some(struct workload *w, uint64_t watermark, struct err *err)
{
    struct evlog *log = reader_log(w->reader);
    struct event event;
    int rc = 1;

    if (w->reader_at.position == 0)
        rc = evlog_seek(log, 1 + rng_below(&w->rng, watermark + 1), watermark,
                        &w->reader_at, err) < 0
            ? -1
            : 1;
    for (int i = 0; rc > 0 && i < 20; i++) {
        rc = evlog_next(log, &w->reader_at, watermark, &event, err);
        if (rc <= 0)
            break;
        model_check_event(&w->model, &event);
        if (event.position > w->shown)
            w->shown = event.position;
    }
    return rc < 0 ? rc : 0;
}

/* Looks a stream or tag up that some event below the watermark has. */
static int
look_up(struct workload *w, uint64_t watermark, struct err *err)
{
    uint64_t position = 1 + rng_below(&w->rng, watermark), address;
    struct event sent, found;
    struct span name;
    enum key_kind kind = KEY_STREAM;
    int rc;

    model_sent(&w->model, position, &sent);
    name = sent.stream;
    if (sent.tag_count > 0 && rng_one_in(&w->rng, 2)) {
        kind = KEY_TAG;
        name =
            event_tag_link(&sent, (uint32_t)rng_below(&w->rng, sent.tag_count))
                .name;
    }
    rc = reader_find(w->reader, kind, name, watermark, &address, &found, err);
    if (rc < 0)
        return rc;
    if (rc == 0 || found.position < position || found.position > watermark)
        model_fail("a reader looks '%.*s' up below the watermark %" PRIu64
                   ": position %" PRIu64 " has it, found is %" PRIu64,
                   (int)name.len, name.p, watermark, position,
                   rc == 0 ? 0 : found.position);
    model_check_event(&w->model, &found);
    return 0;
}

void
workload_look(struct workload *w)
{
    uint64_t watermark;
    struct err err;
    int rc;

    if (w->reader == NULL) {
        if (reader_open(simdisk_sys(w->disk, PROCESS_READER), SIM_LOG,
                        SIM_CONTROL, &w->reader, &err) < 0)
            return; /* there is no log yet, or no page */
        w->reader_at = (struct cursor){ 0 };
        w->reader_mark = 0;
    }
    watermark = read_watermark(w);
    rc = read_some(w, watermark, &err);
    if (rc == 0 && watermark > 0)
        rc = look_up(w, watermark, &err);
    if (rc < 0)
        reader_failed(w, &err);
}

static void
look_on(void *arg)
{
    struct workload *w = arg;

    if (rng_one_in(&w->rng, 8))
        workload_look(w);
}

void
workload_watch(struct workload *w)
{
    simdisk_watch(w->disk, PROCESS_WRITER, look_on, w);
}

void
workload_close_reader(struct workload *w)
{
    reader_close(&w->reader);
}

/* ---- the whole --------------------------------------------------------- */

int
workload_open(struct workload *w)
{
    int rc;

    w->job = JOB_NONE;
    w->synced = false;
    rc = appender_open(simdisk_sys(w->disk, PROCESS_WRITER), SIM_LOG,
                       SIM_CONTROL, &w->options, NULL, NULL, &w->report,
                       &w->appender, &w->err);
    if (rc == 0)
        appender_serve(w->appender);
    return rc;
}

int
workload_close(struct workload *w)
{
    return appender_close(&w->appender, &w->err);
}

void
workload_check(struct workload *w)
{
    model_recovered(&w->model, appender_watermark(w->appender));
    if (w->shown > model_settled_position(&w->model))
        model_fail("position %" PRIu64 " was shown to a reader and is gone",
                   w->shown);
    workload_recount(w);
    model_check(&w->model, simdisk_sys(w->disk, PROCESS_CHECKER), SIM_LOG,
                SIM_CONTROL, &w->rng);
}

static void
on_finding(void *arg, const struct verify_finding *f)
{
    (void)arg;
    model_fail("%s: %s", f->segment, f->what);
}

uint64_t
workload_end_of(struct workload *w, const char *dir)
{
    static const struct verify_events events = { .finding = on_finding };
    struct verify_report report;

    if (log_verify(simdisk_sys(w->disk, PROCESS_CHECKER), dir, false, &events,
                   &report, &w->err) < 0)
        model_fail("%s", w->err.text);
    if (report.unfinished)
        model_fail("%s has an unfinished end", dir);
    return report.last_position;
}

uint64_t
workload_check_copy(struct workload *w, const char *dir)
{
    uint64_t end = workload_end_of(w, dir);
    struct evlog *log;
    struct cursor cursor;
    struct event event;

    if (evlog_open(simdisk_sys(w->disk, PROCESS_CHECKER), dir, &log, &w->err) <
            0 ||
        evlog_seek(log, 1, end, &cursor, &w->err) < 0)
        model_fail("%s", w->err.text);
    for (uint64_t n = 1; n <= end; n++) {
        if (evlog_next(log, &cursor, end, &event, &w->err) != 1)
            model_fail("%s", w->err.text);
        model_check_event(&w->model, &event);
    }
    evlog_close(&log);
    return end;
}

int
workload_step(struct workload *w)
{
    switch (rng_below(&w->rng, 20)) {
    case 0:
    case 1:
        return close_group(w);
    case 2:
    case 3:
        return sync_group(w);
    case 4:
    case 5:
        return settle_group(w);
    case 6:
    case 7:
    case 8:
    case 9:
        return job_step(w);
    case 10:
        workload_look(w);
        return 0;
    case 11:
        return w->model.count > 0 ? append_again(w) : 0;
    case 12:
        return w->model.count > 0 && rng_one_in(&w->rng, 4) ? append_other(w)
                                                            : 0;
    case 13:
        return rng_one_in(&w->rng, 8) ? settle_all(w) : 0;
    default:
        return workload_append(w);
    }
}
