/* SPDX-License-Identifier: MPL-2.0 */
/*
 * select - which events a reader wants.
 *
 * An event passes if it is in one of the streams or categories, and of one of
 * the types, and has all of the tags; a sort of selector that is not given
 * lets everything through.
 *
 * Threads: no state.
 */
#ifndef CAIRN_STORE_SELECT_H
#define CAIRN_STORE_SELECT_H

#include <stdbool.h>

#include "store/record.h"

struct selector {
    char kind; /* 's' stream, 'c' category, 't' type, 'g' tag */
    struct span text;
};

bool selectors_pass(const struct selector *selectors, uint32_t count,
                    const struct event *event);

/* The category of a stream: what stands before the first '-'. */
struct span stream_category(struct span stream);

#endif
