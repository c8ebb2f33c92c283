/* SPDX-License-Identifier: MPL-2.0 */
/*
 * check - what commands require of the log, as APPEND and SUBMIT carry it.
 *
 *   A(cvU)    checks: enum expect; of a stream: bytes of its name, version;
 *             of a condition: its items, and the position behind which no
 *             event may match
 *   A(vvu)    items, in the order of their checks: types, tags, bytes of all
 *             of them
 *
 *   text of a check: the name of the stream, or for each item a byte with the
 *             length of each type and tag; the types; the tags
 *
 * Errors:   -CAIRN_EMESSAGE, -ENOMEM.
 * Threads:  a list belongs to one thread.
 */
#ifndef CAIRN_WIRE_CHECK_H
#define CAIRN_WIRE_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/protocol.h"
#include "wire/rows.h"

#define CHECK_FORMAT "A(cvU)A(vvu)"

/* One alternative of a condition. */
struct wire_item {
    uint16_t type_count, tag_count;
    uint32_t names_len;  /* bytes of all types and tags */
    const uint8_t *text; /* lengths, types, tags */
};

/* A type or a tag of an item. */
struct wire_name {
    const char *p;
    uint8_t len;
};

struct wire_check {
    const char *stream; /* unless it is a condition */
    uint16_t stream_len;
    uint8_t expect;   /* enum expect */
    uint64_t version; /* of a condition: the position */
    const struct wire_item *items;
    uint16_t item_count; /* 0 unless it is a condition */
};

/* Whether an expectation is one of the log, not of a stream. */
static inline bool
expect_is_condition(uint8_t expect)
{
    return expect == WIRE_EXPECT_NO_EVENT || expect == WIRE_EXPECT_NO_MATCH;
}

/* Bytes of the text of an item, or of a check. */
uint64_t wire_item_text_len(const struct wire_item *item);
uint64_t wire_check_text_len(const struct wire_check *check);

/*
 * Walks over the names of an item, first the types, then the tags: *index and
 * *at begin at 0.  False behind the last one, and where the lengths do not add
 * up: then *index is not the count of all.
 */
bool wire_item_next(const struct wire_item *item, uint32_t *index, uint32_t *at,
                    struct wire_name *ret_name);

/* Writes the text of a check, and returns what follows it. */
uint8_t *wire_check_put_text(uint8_t *out, const struct wire_check *check);

/* Checks of one message, received or under construction. */
struct check_list {
    struct wire_check *checks;
    struct wire_item *items;
    uint32_t count, item_count, room, item_room;
};

void check_list_clear(struct check_list *list);
void check_list_free(struct check_list *list);

/* Bytes of both arrays in an image. */
size_t check_list_len(const struct check_list *list);

/* Reads both arrays; *in says whether they fitted.  -ENOMEM. */
int check_list_get(struct check_list *list, struct rows_in *in);

/* Writes both arrays. */
void check_list_put(const struct check_list *list, struct rows_out *out);

/* Adds checks; copies them and their items, and borrows the texts. */
int check_list_add(struct check_list *list, const struct wire_check *checks,
                   uint32_t check_count);

/* How far an unpacked list has been shared out. */
struct check_cursor {
    uint32_t check, item;
};

/*
 * Gives the next `count` checks of an unpacked list their items, and their
 * texts out of [body + *at, body + body_len); moves cursor and *at on.
 */
int check_list_share(struct check_list *list, struct check_cursor *cursor,
                     uint32_t count, const uint8_t *body, uint64_t body_len,
                     uint64_t *at);

/* Whether everything has been shared out. */
bool check_list_shared(const struct check_list *list,
                       const struct check_cursor *cursor);

#endif
