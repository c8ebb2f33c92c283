/* SPDX-License-Identifier: MPL-2.0 */
#include "store/chain.h"

#include <errno.h>
#include <inttypes.h>

#include "store/jump.h"

bool
key_link(const struct key *key, const struct event *event,
         struct link *ret_link)
{
    switch (key->kind) {
    case KEY_STREAM:
        *ret_link = event_stream_link(event);
        return span_equal(event->stream, key->name);
    case KEY_TAG:
        return event_find_tag(event, key->name, ret_link);
    case KEY_TYPE:
        *ret_link = (struct link){ .name = event->type };
        return span_equal(event->type, key->name);
    default:
        return false;
    }
}

/* The event at an address, which must carry the key. */
static int
step_to(const struct event_source *source, const struct key *key,
        uint64_t address, struct event *ret_event, struct link *ret_link,
        struct err *err)
{
    int rc = source->event_at(source->self, address, ret_event, err);

    if (rc < 0)
        return rc;
    if (!key_link(key, ret_event, ret_link))
        return err_set(err, -CAIRN_EDAMAGED,
                       "a link of '%.*s' leads to the event at position "
                       "%" PRIu64 ", which does not belong to it",
                       (int)key->name.len, key->name.p, ret_event->position);
    return 0;
}

int
chain_extend(const struct event_source *source, const struct key *key,
             uint64_t newest, struct link *ret_link, struct err *err)
{
    struct event event;
    struct link last;
    int rc;

    if (newest == ADDRESS_NONE) {
        *ret_link = (struct link){ .name = key->name, .ordinal = 1 };
        return 0;
    }
    rc = step_to(source, key, newest, &event, &last, err);
    return rc < 0
        ? rc
        : chain_extend_from(source, key, newest, &last, ret_link, err);
}

int
chain_extend_from(const struct event_source *source, const struct key *key,
                  uint64_t newest, const struct link *last,
                  struct link *ret_link, struct err *err)
{
    uint64_t target = jump_ordinal(last->ordinal + 1);

    *ret_link = (struct link){
        .name = key->name,
        .ordinal = last->ordinal + 1,
        .prev = newest,
    };
    if (target == last->ordinal) {
        ret_link->jump = newest;
    } else if (target > 0) { /* then it is where the jump of the last jumps */
        struct event event;
        struct link jumped;
        int rc = step_to(source, key, last->jump, &event, &jumped, err);

        if (rc < 0)
            return rc;
        ret_link->jump = jumped.jump;
    }
    return 0;
}

int
chain_find(const struct event_source *source, const struct key *key,
           uint64_t newest, uint64_t ordinal, uint64_t *ret_address,
           struct event *ret_event, unsigned *hops, struct err *err)
{
    uint64_t address = newest;
    struct event event;
    struct link link;
    int rc = step_to(source, key, address, &event, &link, err);

    while (rc == 0 && ordinal > 0 && link.ordinal > ordinal) {
        uint64_t expected = jump_ordinal(link.ordinal);

        if (expected >= ordinal) {
            address = link.jump;
        } else {
            address = link.prev;
            expected = link.ordinal - 1;
        }
        rc = step_to(source, key, address, &event, &link, err);
        if (rc == 0 && link.ordinal != expected)
            rc = err_set(
                err, -CAIRN_EDAMAGED,
                "a link of '%.*s' leads to number %" PRIu64 ", not to %" PRIu64,
                (int)key->name.len, key->name.p, link.ordinal, expected);
        if (hops != NULL)
            ++*hops;
    }
    if (rc < 0)
        return rc;
    if (link.ordinal < ordinal || ordinal == 0)
        return err_set(err, -EINVAL,
                       "'%.*s' has %" PRIu64 " events, number %" PRIu64
                       " is not among them",
                       (int)key->name.len, key->name.p, link.ordinal, ordinal);
    *ret_address = address;
    *ret_event = event;
    return 0;
}

int
chain_find_position(const struct event_source *source, const struct key *key,
                    uint64_t newest, uint64_t position, uint64_t *ret_address,
                    struct event *ret_event, struct err *err)
{
    uint64_t address = newest;
    struct event event, older;
    struct link link, older_link;
    int rc = step_to(source, key, address, &event, &link, err);

    while (rc == 0) {
        uint64_t next[2] = { link.jump, link.prev };
        bool moved = false;

        for (int i = 0; rc == 0 && !moved && i < 2; i++) {
            if (next[i] == ADDRESS_NONE)
                continue;
            rc = step_to(source, key, next[i], &older, &older_link, err);
            if (rc == 0 && older.position >= event.position)
                rc = err_set(err, -CAIRN_EDAMAGED,
                             "a link of '%.*s' leads forward, from position "
                             "%" PRIu64 " to %" PRIu64,
                             (int)key->name.len, key->name.p, event.position,
                             older.position);
            if (rc == 0 && older.position >= position) {
                address = next[i];
                event = older;
                link = older_link;
                moved = true;
            }
        }
        if (!moved)
            break;
    }
    if (rc < 0)
        return rc;
    *ret_address = address;
    *ret_event = event;
    return 0;
}
