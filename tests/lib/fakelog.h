/* SPDX-License-Identifier: MPL-2.0 */
/*
 * fakelog - events in memory, without a log around them: for what looks
 * events up, but does not care where they lie.
 *
 * The address of an event is its number, from 1.
 */
#ifndef CAIRN_TESTS_FAKELOG_H
#define CAIRN_TESTS_FAKELOG_H

#include "lib/logfix.h"

struct fakelog {
    uint8_t **commits; /* of one event each, unstamped */
    size_t count, capacity;
    struct event_source source;
    unsigned reads;
    int fail_rc; /* what every read says, if not 0 */
};

void fakelog_begin(struct fakelog *log);
void fakelog_end(struct fakelog *log);

/* Adds an event without links; its address. */
uint64_t fakelog_add(struct fakelog *log, const struct event_text *text);

/* Adds an event of a stream, with type "T". */
uint64_t fakelog_add_to(struct fakelog *log, const char *stream);

#endif
