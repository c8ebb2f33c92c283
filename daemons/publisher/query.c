/* SPDX-License-Identifier: MPL-2.0 */
#include "publisher/query.h"

#include <inttypes.h>

#include "store/select.h"
#include "wire/array.h"

#define WALK_CHUNK 256u /* addresses collected at a time, walking back */

void
query_scratch_free(struct query_scratch *scratch)
{
    free(scratch->bytes);
    free(scratch->addresses);
    *scratch = (struct query_scratch){ 0 };
}

static bool
reads_stream(const struct read_request *r)
{
    return r->selector_count == 1 && r->selectors[0].kind == SELECT_STREAM;
}

static struct span
span_of(const struct read_selector *s)
{
    return (struct span){ s->text, s->len };
}

/* ---- putting an answer together ---------------------------------------- */

/* A request that is being answered. */
struct run {
    struct reader *reader;
    const struct read_request *request;
    struct selector selectors[SELECTORS_MAX];
    uint64_t watermark;
    struct query_scratch *scratch;
    struct read_answer *answer;
    struct message *frames;
    uint32_t scanned;
    uint64_t taken; /* position of the last event in the answer */
    struct err *err;
};

static bool
is_full(const struct run *run)
{
    return run->answer->event_count == run->request->event_max ||
        run->scanned >= SCAN_EVENTS_MAX;
}

/* Copies an event into the answer: 1, or 0 if it has no more room. */
static int
take(struct run *run, const struct event *event)
{
    struct query_scratch *s = run->scratch;

    if (is_full(run) ||
        (run->answer->event_count > 0 &&
         s->len + event->record_len > run->request->len_max))
        return 0;
    if (event_check_body(event) < 0)
        return err_set(run->err, -CAIRN_EDAMAGED,
                       "log %s: the data of the event at position %" PRIu64
                       " does not fit its checksum",
                       evlog_dir(reader_log(run->reader)), event->position);
    if (bytes_reserve(&s->bytes, &s->room, s->len + event->record_len) < 0)
        return err_sys(run->err, -ENOMEM, "answer");
    memcpy(s->bytes + s->len, event->record, event->record_len);
    s->len += event->record_len;
    run->answer->event_count++;
    run->taken = event->position;
    return 1;
}

static int
finish_copied(struct run *run)
{
    if (run->scratch->len == 0)
        return 0;
    if (message_add(run->frames, run->scratch->bytes, run->scratch->len) < 0)
        return err_sys(run->err, -ENOMEM, "answer");
    return 0;
}

/* ---- chains: a stream, or events with a tag ----------------------------- */

/* The chain that is read, and its newest event. */
struct chain {
    struct key key;
    uint64_t newest; /* address */
    uint64_t count;  /* its ordinal: so many events the chain has */
    bool open_end;   /* it may have more, which the version table misses */
};

static int
open_chain(struct run *run, enum key_kind kind, struct span name,
           struct chain *ret_chain)
{
    struct chain chain = { .key = { .kind = kind, .name = name } };
    struct event event;
    struct link link;
    int rc = reader_find(run->reader, kind, name, run->watermark, &chain.newest,
                         &event, run->err);

    if (rc < 0)
        return rc;
    if (rc > 0 && key_link(&chain.key, &event, &link))
        chain.count = link.ordinal;
    chain.open_end = reader_index_end(run->reader) > 0;
    *ret_chain = chain;
    return 0;
}

/* What is said instead of an end that may not be one. */
static int
unknown_end(struct run *run, const struct chain *chain)
{
    return err_set(run->err, -CAIRN_EDAMAGED,
                   "log %s: it is damaged; of '%.*s' %" PRIu64 " events are "
                   "known, but from position %" PRIu64 " on it cannot be told "
                   "which belong to it: read the log by position",
                   evlog_dir(reader_log(run->reader)), (int)chain->key.name.len,
                   chain->key.name.p, chain->count,
                   reader_index_end(run->reader));
}

/* The ordinal of the oldest event at or above a position; count + 1: none. */
static int
ordinal_at(struct run *run, const struct chain *chain, uint64_t position,
           uint64_t *ret_ordinal)
{
    const struct event_source *source = reader_source(run->reader);
    uint64_t address;
    struct event event;
    struct link link;
    int rc;

    *ret_ordinal = chain->count + 1;
    if (chain->count == 0)
        return 0;
    rc = source->event_at(source->self, chain->newest, &event, run->err);
    if (rc < 0 || event.position < position)
        return rc;
    rc = chain_find_position(source, &chain->key, chain->newest, position,
                             &address, &event, run->err);
    if (rc == 0 && key_link(&chain->key, &event, &link))
        *ret_ordinal = link.ordinal;
    return rc;
}

/* Collects the addresses of the ordinals from `low` to `high`, newest first. */
static int
collect(struct run *run, const struct chain *chain, uint64_t low, uint64_t high)
{
    const struct event_source *source = reader_source(run->reader);
    struct query_scratch *s = run->scratch;
    uint64_t address;
    struct event event;
    struct link link;
    int rc = array_reserve(&s->addresses, &s->address_room, high - low + 1,
                           sizeof *s->addresses);

    if (rc < 0)
        return err_sys(run->err, rc, "answer");
    s->address_count = 0;
    rc = chain_find(source, &chain->key, chain->newest, high, &address, &event,
                    NULL, run->err);
    while (rc == 0) {
        s->addresses[s->address_count++] = address;
        if (s->address_count == high - low + 1)
            break;
        (void)key_link(&chain->key, &event, &link);
        address = link.prev;
        rc = source->event_at(source->self, address, &event, run->err);
        if (rc == 0 && !key_link(&chain->key, &event, &link))
            rc = err_set(run->err, -CAIRN_EDAMAGED,
                         "a link of '%.*s' leads to an event that does not "
                         "belong to it",
                         (int)chain->key.name.len, chain->key.name.p);
    }
    return rc;
}

/*
 * Takes the event at an address if it passes: 1; 0 if the answer is full;
 * *ret_position is where it lies.
 */
static int
take_at(struct run *run, uint64_t address, uint64_t *ret_position)
{
    const struct event_source *source = reader_source(run->reader);
    struct event event;
    int rc = source->event_at(source->self, address, &event, run->err);

    if (rc < 0)
        return rc;
    run->scanned++;
    *ret_position = event.position;
    return selectors_pass(run->selectors, run->request->selector_count, &event)
        ? take(run, &event)
        : 1;
}

/*
 * What is read is given, and the next request meets the damage: for rc < 0.
 */
static int
stop_at_damage(const struct run *run, int rc)
{
    return rc == -CAIRN_EDAMAGED && run->answer->event_count > 0 ? 0 : rc;
}

/*
 * Reads a chain upward from an ordinal; *ordinal is where it stopped.  Where a
 * piece of it cannot be walked through, smaller ones are tried.
 */
static int
read_chain_forward(struct run *run, const struct chain *chain,
                   uint64_t *ordinal, uint64_t *position)
{
    uint64_t chunk = WALK_CHUNK;

    while (*ordinal <= chain->count && !is_full(run)) {
        uint64_t left = chain->count - *ordinal;
        uint64_t want = run->request->event_max - run->answer->event_count;
        uint64_t high;
        int rc;

        if (want > chunk)
            want = chunk;
        high = *ordinal + (left < want - 1 ? left : want - 1);
        rc = collect(run, chain, *ordinal, high);
        if (rc == -CAIRN_EDAMAGED && high > *ordinal) {
            chunk = (high - *ordinal + 1) / 2;
            continue;
        }
        if (rc < 0)
            return stop_at_damage(run, rc);
        for (uint32_t i = run->scratch->address_count; i-- > 0;) {
            rc = take_at(run, run->scratch->addresses[i], position);
            if (rc <= 0)
                return stop_at_damage(run, rc);
            ++*ordinal;
        }
    }
    return 0;
}

/* Reads a chain downward from an ordinal; *ordinal is where it stopped. */
static int
read_chain_backward(struct run *run, const struct chain *chain,
                    uint64_t *ordinal, uint64_t *position)
{
    uint64_t chunk = WALK_CHUNK;

    while (*ordinal > 0 && !is_full(run)) {
        uint64_t low = *ordinal > chunk ? *ordinal - chunk + 1 : 1;
        int rc = collect(run, chain, low, *ordinal);

        if (rc == -CAIRN_EDAMAGED && low < *ordinal) {
            chunk = (*ordinal - low + 1) / 2;
            continue;
        }
        if (rc < 0)
            return stop_at_damage(run, rc);
        for (uint32_t i = 0; i < run->scratch->address_count; i++) {
            rc = take_at(run, run->scratch->addresses[i], position);
            if (rc <= 0)
                return stop_at_damage(run, rc);
            --*ordinal;
        }
    }
    return 0;
}

/* ---- one stream, by version -------------------------------------------- */

static int
start_version(struct run *run, const struct chain *chain, uint64_t *ret_version)
{
    const struct read_request *r = run->request;
    uint64_t position;
    int rc;

    switch (r->from_kind) {
    case READ_FROM_END:
        *ret_version = r->from >= chain->count ? 1 : chain->count - r->from + 1;
        return 0;
    case READ_FROM_TIME:
        rc = evlog_seek_time(reader_log(run->reader), r->from, run->watermark,
                             &position, run->err);
        if (rc == 0)
            rc = ordinal_at(run, chain, position, ret_version);
        if (rc == 0 && r->direction == READ_BACKWARD &&
            *ret_version > chain->count)
            *ret_version = chain->count;
        return rc;
    case READ_FROM_NUMBER:
    default:
        *ret_version = r->from;
        if (r->direction == READ_FORWARD && r->from == 0)
            *ret_version = 1;
        if (r->direction == READ_BACKWARD &&
            (r->from == 0 || r->from > chain->count))
            *ret_version = chain->count;
        return 0;
    }
}

/*
 * Whether a read of a stream begins at a version that the version table knows,
 * when it does not know all.
 */
static bool
knows_version(const struct read_request *r, const struct chain *chain)
{
    if (r->from_kind != READ_FROM_NUMBER)
        return false;
    return r->direction == READ_FORWARD
        ? r->from <= chain->count && chain->count > 0
        : r->from > 0 && r->from <= chain->count;
}

static int
read_stream(struct run *run)
{
    struct chain chain;
    uint64_t version = 0, position;
    int rc = open_chain(run, KEY_STREAM, span_of(&run->request->selectors[0]),
                        &chain);

    if (rc == 0)
        rc = start_version(run, &chain, &version);
    if (rc < 0)
        return rc;
    run->answer->stream_version = chain.count;
    if (chain.open_end && !knows_version(run->request, &chain))
        return unknown_end(run, &chain);
    if (run->request->direction == READ_FORWARD) {
        rc = read_chain_forward(run, &chain, &version, &position);
        run->answer->at_end = version > chain.count && !chain.open_end;
    } else {
        rc = read_chain_backward(run, &chain, &version, &position);
        run->answer->at_end = version == 0;
    }
    run->answer->next = version;
    return rc < 0 ? rc : finish_copied(run);
}

/* ---- the whole log, by position ----------------------------------------- */

static int
start_position(struct run *run, uint64_t *ret_position)
{
    const struct read_request *r = run->request;
    uint64_t position = r->from;
    int rc = 0;

    if (r->from_kind == READ_FROM_TIME)
        rc = evlog_seek_time(reader_log(run->reader), r->from, run->watermark,
                             &position, run->err);
    else if (r->from_kind == READ_FROM_END)
        position = r->from >= run->watermark ? 1 : run->watermark - r->from + 1;
    else if (r->direction == READ_FORWARD && position == 0)
        position = 1;
    if (r->direction == READ_BACKWARD &&
        (position == 0 || position > run->watermark))
        position = run->watermark;
    *ret_position = position;
    return rc;
}

static void
release_range(void *data, void *hint)
{
    struct segment *segment = hint;

    (void)data;
    segment_unref(&segment);
}

/* Everything from a position on, sent from the map as it lies there. */
static int
read_ranges(struct run *run, uint64_t position)
{
    const struct read_request *r = run->request;
    struct cursor cursor = { .position = position };
    size_t len = 0;
    int rc = evlog_seek(reader_log(run->reader), position, run->watermark,
                        &cursor, run->err);

    while (rc == 0 && run->frames->count < ANSWER_FRAMES_MAX &&
           len < r->len_max && !is_full(run)) {
        size_t left = r->len_max - len;
        struct log_range range;
        zmq_msg_t frame;

        rc = evlog_range(reader_log(run->reader), &cursor, run->watermark,
                         left < ANSWER_FRAME_LEN ? left : ANSWER_FRAME_LEN,
                         r->event_max - run->answer->event_count, &range,
                         run->err);
        if (rc <= 0)
            break;
        if (len > 0 && range.len > left) { /* one large event: next time */
            segment_unref(&range.segment);
            cursor.position -= range.event_count;
            rc = 0;
            break;
        }
        if (zmq_msg_init_data(&frame, (void *)(uintptr_t)range.data, range.len,
                              release_range, range.segment) != 0) {
            segment_unref(&range.segment);
            return err_sys(run->err, -ENOMEM, "answer");
        }
        message_move(run->frames, &frame);
        run->answer->event_count += range.event_count;
        len += range.len;
        rc = 0;
    }
    run->answer->next = cursor.position;
    run->answer->at_end = cursor.position > run->watermark;
    return stop_at_damage(run, rc);
}

static int
scan_forward(struct run *run, uint64_t position)
{
    struct evlog *log = reader_log(run->reader);
    struct cursor cursor = { .position = position };
    int rc = evlog_seek(log, position, run->watermark, &cursor, run->err);

    while (rc == 0 && !is_full(run)) {
        struct cursor next = cursor;
        struct event event;

        rc = evlog_step(log, &next, run->watermark, &event, run->err);
        if (rc <= 0)
            break;
        run->scanned++;
        rc =
            selectors_pass(run->selectors, run->request->selector_count, &event)
            ? take(run, &event)
            : 1;
        if (rc <= 0)
            break;
        cursor = next;
        rc = 0;
    }
    run->answer->next = cursor.position;
    run->answer->at_end = cursor.position > run->watermark;
    rc = stop_at_damage(run, rc);
    return rc < 0 ? rc : finish_copied(run);
}

/* Collects where the events from `low` to `high` lie, oldest first. */
static int
collect_positions(struct run *run, uint64_t low, uint64_t high)
{
    struct evlog *log = reader_log(run->reader);
    struct query_scratch *s = run->scratch;
    struct cursor cursor;
    int rc = array_reserve(&s->addresses, &s->address_room, high - low + 1,
                           sizeof *s->addresses);

    if (rc < 0)
        return err_sys(run->err, rc, "answer");
    s->address_count = 0;
    rc = evlog_seek(log, low, run->watermark, &cursor, run->err);
    while (rc == 0 && cursor.position <= high) {
        struct event event;

        rc = evlog_step(log, &cursor, run->watermark, &event, run->err);
        if (rc <= 0)
            break;
        s->addresses[s->address_count++] = cursor.address - event.record_len;
        rc = 0;
    }
    return rc;
}

static int
scan_backward(struct run *run, uint64_t position)
{
    uint64_t chunk = WALK_CHUNK;
    int rc = 0;

    while (rc >= 0 && position > 0 && !is_full(run)) {
        uint64_t low = position > chunk ? position - chunk + 1 : 1;
        uint64_t seen;

        rc = collect_positions(run, low, position);
        if (rc == -CAIRN_EDAMAGED && low < position) {
            chunk = (position - low + 1) / 2;
            rc = 0;
            continue;
        }
        for (uint32_t i = run->scratch->address_count; rc >= 0 && i-- > 0;) {
            rc = take_at(run, run->scratch->addresses[i], &seen);
            if (rc <= 0)
                break;
            position--;
        }
        if (rc == 0)
            break;
    }
    run->answer->next = position;
    run->answer->at_end = position == 0;
    rc = stop_at_damage(run, rc);
    return rc < 0 ? rc : finish_copied(run);
}

/*
 * The shortest chain that holds every event which can pass: that of the rarest
 * tag, or of the only stream; false if there is none.
 */
static int
pick_chain(struct run *run, struct chain *ret_chain)
{
    const struct read_request *r = run->request;
    uint32_t places = 0;
    int found = 0;

    for (uint32_t i = 0; i < r->selector_count; i++)
        places += r->selectors[i].kind == SELECT_STREAM ||
            r->selectors[i].kind == SELECT_CATEGORY;
    for (uint32_t i = 0; i < r->selector_count; i++) {
        const struct read_selector *s = &r->selectors[i];
        struct chain chain;
        int rc;

        if (s->kind != SELECT_TAG && !(s->kind == SELECT_STREAM && places == 1))
            continue;
        rc = open_chain(run, s->kind == SELECT_TAG ? KEY_TAG : KEY_STREAM,
                        span_of(s), &chain);
        if (rc < 0)
            return rc;
        if (!found || chain.count < ret_chain->count)
            *ret_chain = chain;
        found = 1;
    }
    return found;
}

/* Reads a chain as a part of the whole log: by position. */
static int
read_chain(struct run *run, const struct chain *chain, uint64_t position)
{
    bool forward = run->request->direction == READ_FORWARD;
    uint64_t ordinal, seen = position;
    int rc;

    if (forward) {
        rc = ordinal_at(run, chain, position, &ordinal);
        if (rc == 0)
            rc = read_chain_forward(run, chain, &ordinal, &seen);
        run->answer->at_end = rc == 0 && ordinal > chain->count;
    } else {
        rc = ordinal_at(run, chain, position + 1, &ordinal);
        ordinal -= rc == 0;
        if (rc == 0)
            rc = read_chain_backward(run, chain, &ordinal, &seen);
        run->answer->at_end = rc == 0 && ordinal == 0;
    }
    if (rc < 0)
        return rc;
    if (run->answer->at_end) {
        run->answer->next = forward ? run->watermark + 1 : 0;
    } else {
        /* The next event of the chain is where the next request begins. */
        const struct event_source *source = reader_source(run->reader);
        uint64_t address;
        struct event event;

        rc = chain_find(source, &chain->key, chain->newest, ordinal, &address,
                        &event, NULL, run->err);
        if (rc == 0)
            run->answer->next = event.position;
        else if (stop_at_damage(run, rc) == 0)
            run->answer->next = forward ? run->taken + 1 : run->taken - 1;
        else
            return rc;
    }
    return finish_copied(run);
}

static int
read_all(struct run *run)
{
    const struct read_request *r = run->request;
    struct chain chain;
    uint64_t position = 0;
    int rc = start_position(run, &position);

    if (rc < 0)
        return rc;
    if (r->direction == READ_FORWARD && position > run->watermark) {
        run->answer->next = position;
        run->answer->at_end = true;
        return 0;
    }
    /* A chain whose end is not known would hide events: look at all. */
    rc = reader_index_end(run->reader) > 0 ? 0 : pick_chain(run, &chain);
    if (rc < 0)
        return rc;
    if (rc > 0)
        return read_chain(run, &chain, position);
    if (r->direction == READ_BACKWARD)
        return scan_backward(run, position);
    if (r->selector_count == 0)
        return read_ranges(run, position);
    return scan_forward(run, position);
}

/* Says which positions are damaged, and sets `next` to where it goes on. */
static void
say_where(struct run *run)
{
    uint64_t damaged = run->answer->next, next;

    if (evlog_behind_damage(reader_log(run->reader), damaged, run->watermark,
                            &next, NULL) < 0)
        return;
    run->answer->next = next;
    (void)err_wrap(run->err,
                   "positions %" PRIu64 " to %" PRIu64 " are damaged and "
                   "cannot be read, reading goes on at %" PRIu64,
                   damaged, next - 1, next);
}

int
query_run(struct reader *reader, struct read_request *request,
          uint64_t watermark, struct query_scratch *scratch,
          struct read_answer *ret_answer, struct message *frames,
          struct err *err)
{
    struct run run = {
        .reader = reader,
        .request = request,
        .watermark = watermark,
        .scratch = scratch,
        .answer = ret_answer,
        .frames = frames,
        .err = err,
    };
    int rc;

    *ret_answer = (struct read_answer){
        .request = request->request,
        .code = ANSWER_OK,
        .watermark = watermark,
    };
    scratch->len = 0;
    for (uint32_t i = 0; i < request->selector_count; i++)
        run.selectors[i] = (struct selector){
            .kind = (char)request->selectors[i].kind,
            .text = span_of(&request->selectors[i]),
        };
    if (reads_stream(request))
        rc = read_stream(&run);
    else
        rc = read_all(&run);
    if (rc == -CAIRN_EDAMAGED && request->direction == READ_FORWARD &&
        !reads_stream(request) && ret_answer->next > 0)
        say_where(&run);
    return rc;
}
