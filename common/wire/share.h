/* SPDX-License-Identifier: MPL-2.0 */
/*
 * share - what one has of what all have together.
 *
 * Whoever holds a key may have as much of a thing as is still free for all,
 * over all connections of that key: alone half of it, k of them 1/(k+1) each,
 * and there is always as much left for one who comes next.  A client on ipc
 * has no key; each connection counts for itself there.
 */
#ifndef CAIRN_WIRE_SHARE_H
#define CAIRN_WIRE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

/* Of one key. */
struct share {
    uint32_t connections; /* that have sent a message */
    uint32_t commands;    /* on their way through the gateway */
    uint32_t reads;       /* that wait for their turn at the publisher */
    uint32_t polls;       /* that wait for events there */
    uint64_t bytes;       /* of the commits of these commands */
};

/* Whether who has `has` may not have one more of `max`, `taken` of which are
 * taken by all; taken <= max. */
static inline bool
share_is_full(uint64_t has, uint64_t taken, uint64_t max)
{
    return has >= max - taken;
}

static inline bool
share_is_empty(const struct share *share)
{
    return share->connections == 0 && share->commands == 0 &&
        share->reads == 0 && share->polls == 0 && share->bytes == 0;
}

#endif
