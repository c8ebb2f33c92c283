/* SPDX-License-Identifier: MPL-2.0 */
/*
 * causes - the part of the appender that finds the events which made checks
 * fail, oldest first, so that a client can decide again without a read.
 *
 * Each failed check is searched forward from where the client stood, for so
 * many events and no further than its share of options.scan_max.  What was
 * found for all of them is complete up to the position where the first search
 * had to stop: beyond it nothing is shown.
 */
#include <errno.h>
#include <stdlib.h>

#include "store/appender_impl.h"

#define CHUNK 64u /* events walked back at a time */

/* A search on behalf of one check. */
struct search {
    struct appender *ap;
    const struct query_item *item; /* NULL: every event counts */
    uint32_t show;                 /* events wanted at most */
    uint32_t left;                 /* events that may still be looked at */
    uint64_t *complete;            /* nothing is missing up to here */
    struct err *err;
};

static int
add_cause(struct appender *ap, uint64_t position, uint64_t address)
{
    struct causes *c = &ap->causes;

    if (c->count == c->capacity) {
        uint32_t capacity = c->capacity == 0 ? 64 : c->capacity * 2;
        struct cause *found = reallocarray(c->found, capacity, sizeof *found);

        if (found == NULL)
            return -ENOMEM;
        c->found = found;
        c->capacity = capacity;
    }
    c->found[c->count++] = (struct cause){ position, address };
    return 0;
}

/* A search ends before its end: nothing is known behind this position. */
static void
stop_at(struct search *s, uint64_t position)
{
    if (position < *s->complete)
        *s->complete = position;
}

static int
take(struct search *s, const struct event *event, uint64_t address,
     uint32_t *found)
{
    if (s->item != NULL && !query_matches(s->item, event))
        return 0;
    ++*found;
    return add_cause(s->ap, event->position, address) < 0
        ? err_sys(s->err, -ENOMEM, "events that made checks fail")
        : 0;
}

/* ---- along the links of a stream or a tag ------------------------------ */

/* The events of a key with the ordinals from `first` to `last`, at most CHUNK
 * of them, oldest first. */
static int
take_chunk(struct search *s, const struct key *key, uint64_t newest,
           uint64_t first, uint64_t last, uint32_t *found,
           uint64_t *ret_position)
{
    uint64_t addresses[CHUNK];
    uint32_t count = (uint32_t)(last - first + 1);
    struct event event;
    struct link link;
    int rc = chain_find(&s->ap->source, key, newest, last,
                        &addresses[count - 1], &event, NULL, s->err);

    if (rc < 0)
        return rc;
    *ret_position = event.position;
    for (uint32_t i = count - 1; i > 0; i--) {
        if (!key_link(key, &event, &link))
            return err_set(s->err, -CAIRN_EDAMAGED,
                           "a link of '%.*s' leads to an event without it",
                           (int)key->name.len, key->name.p);
        addresses[i - 1] = link.prev;
        rc = appender_event_at(s->ap, link.prev, &event, s->err);
        if (rc < 0)
            return rc;
    }
    for (uint32_t i = 0; rc >= 0 && i < count; i++) {
        rc = appender_event_at(s->ap, addresses[i], &event, s->err);
        if (rc >= 0)
            rc = take(s, &event, addresses[i], found);
    }
    return rc;
}

static int
take_chain(struct search *s, const struct key *key, uint64_t newest,
           uint64_t first, uint64_t last)
{
    uint64_t position = 0;
    uint32_t found = 0;

    while (first <= last && found < s->show && s->left > 0) {
        uint64_t count = last - first + 1;
        int rc;

        if (count > CHUNK)
            count = CHUNK;
        if (count > s->left)
            count = s->left;
        rc = take_chunk(s, key, newest, first, first + count - 1, &found,
                        &position);
        if (rc < 0)
            return rc;
        first += count;
        s->left -= (uint32_t)count;
    }
    if (first <= last)
        stop_at(s, position);
    return 0;
}

/* The events of a stream behind a version. */
static int
take_stream(struct search *s, struct span stream, uint64_t version)
{
    struct key key = appender_key(s->ap, KEY_STREAM, stream);
    struct event event = { .version = 0 };
    uint64_t newest;
    int rc = appender_find_newest(s->ap, &key, &newest, s->err);

    if (rc > 0)
        rc = appender_event_at(s->ap, newest, &event, s->err);
    if (rc < 0 || event.version <= version)
        return rc;
    return take_chain(s, &key, newest, version + 1, event.version);
}

/* The events behind a position that match an item with tags. */
static int
take_tagged(struct search *s, uint64_t after)
{
    struct key key;
    struct event newest, oldest;
    struct link from, to;
    uint64_t newest_at, address;
    int rc = query_rarest_tag(s->ap, s->item, after, &key, &newest_at, &newest,
                              s->err);

    if (rc <= 0)
        return rc;
    (void)key_link(&key, &newest, &to); /* it was found by it */
    rc = chain_find_position(&s->ap->source, &key, newest_at, after + 1,
                             &address, &oldest, s->err);
    if (rc < 0)
        return rc;
    (void)key_link(&key, &oldest, &from); /* likewise */
    return take_chain(s, &key, newest_at, from.ordinal, to.ordinal);
}

/* ---- through the whole log --------------------------------------------- */

/* The events of a group in memory behind a position. */
static int
take_group(struct search *s, const struct group_buf *group, uint64_t after,
           uint32_t *found, uint64_t *position)
{
    uint64_t at = sizeof(struct group_header);

    while (at < group->len && *found < s->show && s->left > 0) {
        struct record_prefix prefix;
        struct event event;
        int rc;

        memcpy(&prefix, group->data + at, sizeof prefix);
        if (record_kind(prefix) == RECORD_EVENT) {
            if (event_view(group->data + at, group->len - at, &event) < 0)
                return err_sys(s->err, -CAIRN_EDAMAGED, "a group in memory");
            if (event.position > after) {
                rc = take(s, &event, group->address + at, found);
                if (rc < 0)
                    return rc;
                *position = event.position;
                s->left--;
            }
        }
        at += record_len(prefix);
    }
    return 0;
}

static int
take_log(struct search *s, uint64_t after)
{
    struct appender *ap = s->ap;
    const struct group_buf *groups[2] = { ap->closed, ap->open };
    uint64_t watermark = ap->tail.position, position = after;
    uint32_t found = 0;
    struct cursor cursor;
    struct event event;
    int rc = 0;

    if (after < watermark)
        rc = evlog_seek(ap->log, after + 1, watermark, &cursor, s->err);
    while (rc >= 0 && position < watermark && found < s->show && s->left > 0) {
        rc = evlog_step(ap->log, &cursor, watermark, &event, s->err);
        if (rc > 0)
            rc = take(s, &event, cursor.address - event.record_len, &found);
        position++;
        s->left--;
    }
    for (int i = 0; rc >= 0 && i < 2; i++)
        if (groups[i] != NULL && position < groups[i]->last_position)
            rc = take_group(s, groups[i], after, &found, &position);
    if (position < appender_head(ap))
        stop_at(s, position);
    return rc;
}

/* ---- all checks together ----------------------------------------------- */

static int
search_check(struct search *s, const struct append_check *check)
{
    uint32_t left = s->left;
    int rc = 0;

    if (check->kind == EXPECT_NONE || check->kind == EXPECT_EXACT) {
        return take_stream(s, check->stream,
                           check->kind == EXPECT_EXACT ? check->version : 0);
    }
    if (check->kind == EXPECT_NO_EVENT)
        return take_log(s, check->version);
    for (uint32_t i = 0; rc >= 0 && i < check->item_count; i++) {
        s->item = &check->items[i];
        s->left = left / check->item_count + 1;
        rc = s->item->tag_count > 0 ? take_tagged(s, check->version)
                                    : take_log(s, check->version);
    }
    return rc;
}

static int
by_position(const void *left, const void *right)
{
    uint64_t a = ((const struct cause *)left)->position;
    uint64_t b = ((const struct cause *)right)->position;

    return a < b ? -1 : a > b;
}

/* Copies the record of an event behind the others; 0 if there is no room. */
static int
copy_record(struct appender *ap, uint64_t address, struct err *err)
{
    struct causes *c = &ap->causes;
    struct event event;
    int rc = appender_event_at(ap, address, &event, err);

    if (rc < 0)
        return rc;
    if (event.record_len > ap->options.show_bytes - c->records_len)
        return 0;
    if (c->records == NULL) {
        c->records = malloc(ap->options.show_bytes);
        if (c->records == NULL)
            return err_sys(err, -ENOMEM, "events that made checks fail");
    }
    memcpy(c->records + c->records_len, event.record, event.record_len);
    c->records_len += event.record_len;
    return 1;
}

/* Shows what was found up to the position where all of it is known. */
static int
show(struct appender *ap, uint32_t max, uint64_t complete,
     struct append_result *result, struct err *err)
{
    struct causes *c = &ap->causes;
    uint64_t last = 0;
    uint32_t shown = 0;
    int rc = 1;

    if (c->count > 0)
        qsort(c->found, c->count, sizeof *c->found, by_position);
    result->more = complete < UINT64_MAX;
    for (uint32_t i = 0; i < c->count && c->found[i].position <= complete;
         i++) {
        if (c->found[i].position == last)
            continue; /* in the way of two checks */
        last = c->found[i].position;
        rc = shown++ < max ? copy_record(ap, c->found[i].address, err) : 0;
        if (rc < 0)
            return rc;
        if (rc == 0) {
            result->more = true;
            break;
        }
    }
    result->records = c->records;
    result->records_len = (uint32_t)c->records_len;
    return 0;
}

int
causes_collect(struct appender *ap, const struct append_request *request,
               struct append_result *result, struct err *err)
{
    uint64_t complete = UINT64_MAX;
    uint32_t failed = 0;

    ap->causes.count = 0;
    ap->causes.records_len = 0;
    for (uint32_t i = 0; i < ap->verdict_count; i++)
        failed += !ap->verdicts[i].holds;
    for (uint32_t i = 0; i < ap->verdict_count; i++) {
        struct search s = {
            .ap = ap,
            .show = request->show,
            .left = ap->options.scan_max / failed + 1,
            .complete = &complete,
            .err = err,
        };
        int rc = 0;

        if (!ap->verdicts[i].holds)
            rc = search_check(&s, &request->checks[ap->verdicts[i].check]);
        if (rc < 0)
            return rc;
    }
    return show(ap, request->show, complete, result, err);
}
