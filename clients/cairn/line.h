/* SPDX-License-Identifier: MPL-2.0 */
/*
 * line - events as lines of JSON, in and out.
 *
 * In (one event per line; * must be there):
 *
 *   stream*  type*      texts
 *   data                any JSON value; stored byte for byte as it stands in
 *                       the line, with content type application/json
 *   data_text           a text; stored as its UTF-8 bytes, with content type
 *                       text/plain
 *   data_base64         stored decoded, with content type
 *                       application/octet-stream
 *   content_type        another content type
 *   meta, meta_text, meta_base64   likewise
 *   tags                an array of texts
 *   id, correlation, causation    UUIDs
 *   schema              a number; 1 if it is not there
 *   expect              "any", "none", "exists" or a version: of this stream
 *   checks              an object: stream names and expectations, of streams
 *                       that are only checked
 *   fail_if             a condition, or an array of some: "all", or an object
 *                       of items (an array of objects of types and tags, or
 *                       "all") and after (a position; 0)
 *   command             UUID of the command
 *   more                true: the next line belongs to the same commit
 *
 * Out: the same, with position, version, time (RFC 3339) and time_us.  What is
 * written as one of the three forms of data and meta is read as the same
 * bytes; only what is certain to be is written as JSON.
 *
 * Threads: one.
 */
#ifndef CAIRN_CLIENTS_LINE_H
#define CAIRN_CLIENTS_LINE_H

#include <stdio.h>

#include "base/err.h"
#include "store/record.h"
#include "wire/append.h"

/* A commit that is put together from lines. */
struct line_commit {
    struct uuid command; /* nil: none was given */
    bool more;           /* of the last line */
    struct wire_check *checks;
    struct wire_item *items; /* of checks; their pointers are indices */
    struct wire_event *events;
    uint32_t check_count, check_room, event_count, event_room;
    uint32_t item_count, item_room;
    uint8_t *text; /* of all of them; their pointers are offsets */
    size_t text_len, text_room;
};

/*
 * Adds the event of a line.  -EINVAL with field and reason; then the commit is
 * not to be used any more.
 */
int line_parse(struct line_commit *commit, const char *line, size_t len,
               struct err *err);

/*
 * The command in a line that could not be parsed as a whole, to tell where
 * the commit that it belongs to ends; nil if there is none.
 */
struct uuid line_command(const char *line, size_t len, bool *ret_more);

/* The commit as a command; borrowed until the next call with this commit. */
struct wire_command line_finish(struct line_commit *commit);

void line_clear(struct line_commit *commit);
void line_free(struct line_commit *commit);

/* Adds an event that was given by other means; copies everything. */
struct line_event {
    const char *stream, *type, *content_type;
    const void *data, *meta;
    size_t data_len, meta_len;
    const char *const *tags;
    uint32_t tag_count;
    struct uuid id, correlation_id, causation_id;
    uint32_t schema;
};

int line_add(struct line_commit *commit, const struct line_event *event,
             struct err *err);

/* Adds a check. */
int line_add_check(struct line_commit *commit, const char *stream,
                   size_t stream_len, enum expect expect, uint64_t version,
                   struct err *err);

/* Adds a condition without items; line_add_item() adds one to the last. */
int line_begin_condition(struct line_commit *commit, enum expect expect,
                         uint64_t after, struct err *err);
int line_add_item(struct line_commit *commit, const struct span *types,
                  uint32_t type_count, const struct span *tags,
                  uint32_t tag_count, struct err *err);

/* "any", "none", "exists" or a number. */
int expect_parse(const char *text, enum expect *ret_expect,
                 uint64_t *ret_version);

/* Content types of data that was given as JSON, as a text, in base64. */
extern const char *const line_types[3];

/* Writes an event as a JSON object. */
void json_print_event(FILE *out, const struct event *event);

/* Writes an event as a line of JSON. */
void line_print(FILE *out, const struct event *event);

/*
 * The same with its command, so that the commit can be stored again as it
 * was; and the end of that line, once it is known whether another one of the
 * same commit follows.
 */
void line_print_part(FILE *out, const struct event *event, struct uuid command);
void line_print_end(FILE *out, bool more);

/* Writes a JSON string, quotes included; bytes that are not UTF-8 become
 * U+FFFD. */
void json_print_text(FILE *out, const char *text, size_t len);

/* "2026-01-31T23:59:59.123456Z" into a buffer of 32; returns it. */
char *time_format(uint64_t time_us, char buf[32]);

#endif
