/* SPDX-License-Identifier: MPL-2.0 */
/*
 * checks - the part of the appender that holds what a command requires
 * against the log: the versions of streams, and conditions.
 *
 * A condition asks whether any event behind a position matches a query.  The
 * version table and the overlays know the newest event of each tag and type,
 * which often is the answer.  Where it is not, the events of the rarest tag
 * are looked at, newest first, as far back as the position.
 */
#include <errno.h>
#include <stdlib.h>

#include "store/appender_impl.h"

/* A tag with fewer events in all is not worth counting those behind a
 * position. */
#define COUNTED_MIN 16u

/* ---- queries ----------------------------------------------------------- */

static bool
has_type(const struct query_item *item, const struct event *event)
{
    for (uint32_t i = 0; i < item->type_count; i++)
        if (span_equal(item->types[i], event->type))
            return true;
    return item->type_count == 0;
}

bool
query_matches(const struct query_item *item, const struct event *event)
{
    struct link link;

    for (uint32_t i = 0; i < item->tag_count; i++)
        if (!event_find_tag(event, item->tags[i], &link))
            return false;
    return has_type(item, event);
}

/* The newest event of a key: 1, or 0 if it has none behind `floor`. */
static int
newest_behind(struct appender *ap, const struct key *key, uint64_t floor,
              uint64_t *ret_address, struct event *ret_event, struct err *err)
{
    int rc = appender_find_newest(ap, key, ret_address, err);

    if (rc > 0)
        rc = appender_event_at(ap, *ret_address, ret_event, err);
    else
        return rc;
    return rc < 0 ? rc : ret_event->position > floor;
}

/* The newest event of any of the types of an item; 0 if none is behind
 * `floor`. */
static int
newest_of_types(struct appender *ap, const struct query_item *item,
                uint64_t floor, uint64_t *ret_position, struct err *err)
{
    *ret_position = 0;
    for (uint32_t i = 0; i < item->type_count; i++) {
        struct key key = appender_key(ap, KEY_TYPE, item->types[i]);
        struct event event;
        uint64_t address;
        int rc = newest_behind(ap, &key, floor, &address, &event, err);

        if (rc < 0)
            return rc;
        if (rc > 0 && event.position > *ret_position)
            *ret_position = event.position;
    }
    return 0;
}

/* How many events of a tag lie behind `floor`, where the newest one does. */
static int
count_behind(struct appender *ap, const struct key *tag, uint64_t newest_at,
             const struct link *newest, uint64_t floor, uint64_t *ret_count,
             struct err *err)
{
    struct event oldest;
    struct link link = { .ordinal = 1 };
    uint64_t address;
    int rc = 0;

    if (floor > 0 && newest->ordinal > COUNTED_MIN) {
        rc = chain_find_position(&ap->source, tag, newest_at, floor + 1,
                                 &address, &oldest, err);
        if (rc == 0)
            (void)key_link(tag, &oldest, &link); /* it was found by that */
    }
    *ret_count = newest->ordinal - link.ordinal + 1;
    return rc;
}

int
query_rarest_tag(struct appender *ap, const struct query_item *item,
                 uint64_t floor, struct key *ret_key, uint64_t *ret_address,
                 struct event *ret_event, struct err *err)
{
    uint64_t fewest = UINT64_MAX;

    for (uint32_t i = 0; i < item->tag_count; i++) {
        struct key key = appender_key(ap, KEY_TAG, item->tags[i]);
        struct event event;
        struct link link;
        uint64_t address, count = 0;
        int rc = newest_behind(ap, &key, floor, &address, &event, err);

        if (rc <= 0)
            return rc;
        if (!event_find_tag(&event, item->tags[i], &link))
            return err_set(err, -CAIRN_EDAMAGED, "a tag leads astray");
        if (item->tag_count > 1)
            rc = count_behind(ap, &key, address, &link, floor, &count, err);
        if (rc < 0)
            return rc;
        if (count < fewest) {
            fewest = count;
            *ret_key = key;
            *ret_address = address;
            *ret_event = event;
        }
    }
    return 1;
}

/* Walks back from the newest event of a tag to one that the item matches. */
static int
walk_back(struct appender *ap, const struct query_item *item,
          const struct key *tag, uint64_t address, uint64_t floor,
          uint32_t *left, uint64_t *ret_position, struct err *err)
{
    while (address != ADDRESS_NONE) {
        struct event event;
        struct link link;
        int rc = appender_event_at(ap, address, &event, err);

        if (rc < 0)
            return rc;
        if (event.position <= floor)
            return 0;
        if ((*left)-- == 0) {
            *left = 0;
            return 1;
        }
        if (query_matches(item, &event)) {
            *ret_position = event.position;
            return 0;
        }
        if (!event_find_tag(&event, tag->name, &link))
            return err_set(err, -CAIRN_EDAMAGED,
                           "a link of '%.*s' leads to an event without it",
                           (int)tag->name.len, tag->name.p);
        address = link.prev;
    }
    return 0;
}

int
query_newest(struct appender *ap, const struct query_item *item, uint64_t floor,
             uint32_t *left, uint64_t *ret_position, struct err *err)
{
    struct key tag;
    struct event event;
    uint64_t address, of_types = 0;
    int rc = newest_of_types(ap, item, floor, &of_types, err);

    *ret_position = 0;
    if (rc < 0 || (item->type_count > 0 && of_types == 0))
        return rc;
    if (item->tag_count == 0) {
        if (item->type_count == 0 && appender_head(ap) > floor)
            of_types = appender_head(ap); /* whatever its type */
        *ret_position = of_types;
        return 0;
    }
    rc = query_rarest_tag(ap, item, floor, &tag, &address, &event, err);
    if (rc <= 0)
        return rc;
    if (item->tag_count == 1 && item->type_count == 0) {
        *ret_position = event.position;
        return 0;
    }
    return walk_back(ap, item, &tag, address, floor, left, ret_position, err);
}

/* ---- checks ------------------------------------------------------------ */

static bool
is_condition(const struct append_check *check)
{
    return check->kind == EXPECT_NO_EVENT || check->kind == EXPECT_NO_MATCH;
}

static bool
holds(const struct append_check *check, uint64_t actual)
{
    switch (check->kind) {
    case EXPECT_NONE:
    case EXPECT_NO_EVENT:
    case EXPECT_NO_MATCH:
        return actual == 0;
    case EXPECT_EXISTS:
        return actual > 0;
    case EXPECT_EXACT:
        return actual == check->version;
    case EXPECT_ANY:
    default:
        return true;
    }
}

static int
stream_version(struct appender *ap, struct span stream, uint64_t *ret_version,
               struct err *err)
{
    struct key key = appender_key(ap, KEY_STREAM, stream);
    struct link link = { .ordinal = 0 };
    uint64_t address;
    int rc = appender_find_link(ap, &key, &address, &link, err);

    *ret_version = link.ordinal;
    return rc < 0 ? rc : 0;
}

/* The newest event in the way of a condition, in *ret_actual; 1: too many had
 * to be looked at for the item *ret_item. */
static int
condition_newest(struct appender *ap, const struct append_check *check,
                 uint32_t *left, uint64_t *ret_actual, uint32_t *ret_item,
                 struct err *err)
{
    uint64_t head = appender_head(ap), newest = 0;

    if (check->kind == EXPECT_NO_EVENT) {
        *ret_actual = head > check->version ? head : 0;
        return 0;
    }
    for (uint32_t i = 0; i < check->item_count; i++) {
        uint64_t floor = newest > check->version ? newest : check->version;
        uint64_t position;
        int rc =
            query_newest(ap, &check->items[i], floor, left, &position, err);

        *ret_item = i;
        if (rc != 0)
            return rc;
        if (position > newest)
            newest = position;
    }
    *ret_actual = newest;
    return 0;
}

static int
add_verdict(struct appender *ap, struct append_verdict verdict)
{
    if (ap->verdict_count == ap->verdict_capacity) {
        uint32_t capacity =
            ap->verdict_capacity == 0 ? 16 : ap->verdict_capacity * 2;
        struct append_verdict *verdicts =
            reallocarray(ap->verdicts, capacity, sizeof *verdicts);

        if (verdicts == NULL)
            return -ENOMEM;
        ap->verdicts = verdicts;
        ap->verdict_capacity = capacity;
    }
    ap->verdicts[ap->verdict_count++] = verdict;
    return 0;
}

/* Whether a condition begins where nothing is yet. */
static bool
above_head(const struct appender *ap, const struct append_request *request,
           struct append_result *result)
{
    for (uint32_t i = 0; i < request->check_count; i++)
        if (is_condition(&request->checks[i]) &&
            request->checks[i].version > appender_head(ap)) {
            result->code = APPEND_ABOVE_HEAD;
            result->bad_check = i;
            return true;
        }
    return false;
}

/* Looks one check up, and notes its verdict where that is wanted; 1: too much
 * had to be looked at. */
static int
run_check(struct appender *ap, const struct append_request *request, uint32_t i,
          uint32_t *left, struct append_result *result, struct err *err)
{
    const struct append_check *check = &request->checks[i];
    uint64_t actual = 0;
    bool good;
    int rc;

    if (check->kind == EXPECT_ANY && !request->dry_run)
        return 0;
    if (is_condition(check))
        rc = condition_newest(ap, check, left, &actual, &result->bad_item, err);
    else
        rc = stream_version(ap, check->stream, &actual, err);
    if (rc != 0)
        return rc;
    good = holds(check, actual);
    if (!good)
        result->code = APPEND_CONFLICT;
    if (good && !request->dry_run)
        return 0;
    rc = add_verdict(ap,
                     (struct append_verdict){
                         .check = i,
                         .holds = good,
                         .kind = (uint8_t)check->kind,
                         .expected = check->version,
                         .actual = actual,
                     });
    return rc < 0 ? err_sys(err, rc, "checks") : 0;
}

int
checks_run(struct appender *ap, const struct append_request *request,
           struct append_result *result, struct err *err)
{
    uint32_t left = ap->options.scan_max;

    if (above_head(ap, request, result))
        return 0;
    for (uint32_t i = 0; i < request->check_count; i++) {
        int rc = run_check(ap, request, i, &left, result, err);

        if (rc < 0)
            return rc;
        if (rc > 0) { /* an answer that left this out would be a guess */
            result->code = APPEND_SCAN_TOO_LONG;
            result->bad_check = i;
            return 0;
        }
    }
    result->verdicts = ap->verdicts;
    result->verdict_count = ap->verdict_count;
    return result->code == APPEND_CONFLICT && request->show > 0
        ? causes_collect(ap, request, result, err)
        : 0;
}
