/* SPDX-License-Identifier: MPL-2.0 */
/*
 * condition - what no event may match for a commit to take effect, as people
 * write it:
 *
 *   all [after=N]
 *   [types=X,Y] [tags=a:1,b:2] [or ...] [after=N]
 *
 * or as JSON, where names hold blanks or commas:
 *
 *   "all"
 *   {"items": "all" or [{"types": [...], "tags": [...]}, ...], "after": N}
 *   an array of such
 *
 * Errors:   -EINVAL with field and reason, -ENOMEM.
 * Threads:  no state.
 */
#ifndef CAIRN_CLIENTS_CONDITION_H
#define CAIRN_CLIENTS_CONDITION_H

#include <jansson.h>

#include "cairn/line.h"

#define LINE_JSON_FLAGS \
    (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL)

/* A whole number that a double holds, as LINE_JSON_FLAGS read it; -EINVAL. */
int json_whole(const json_t *value, uint64_t *ret_number);

/* Adds what is written in one of the two ways; copies it. */
int condition_from_text(struct line_commit *commit, const char *text,
                        struct err *err);

/* The same for JSON; NULL is no condition. */
int condition_from_json(struct line_commit *commit, const json_t *value,
                        struct err *err);

/* Writes the query of a condition as people write it, without `after`. */
void condition_print(FILE *out, const struct wire_check *check);

/* Writes the whole condition as JSON. */
void condition_print_json(FILE *out, const struct wire_check *check);

#endif
