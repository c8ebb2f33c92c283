/* SPDX-License-Identifier: MPL-2.0 */
/*
 * fence - which connections of gateways count.
 *
 * A gateway that died, or lost its connection, may have left messages that the
 * writer has not read yet.  Their senders ask again through its successor, and
 * may be told "conflict" there: a command that was left behind must not take
 * effect after that.  So each HELLO names the place that the gateway serves,
 * and the newest connection of a place is the only one whose commands count.
 */
#ifndef CAIRN_WRITER_FENCE_H
#define CAIRN_WRITER_FENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/sock.h"

#define FENCE_PLACES_MAX \
    64u /* gateways; above, the oldest must say HELLO again */

struct fence {
    struct {
        uint64_t place;
        uint8_t routing_id[ROUTING_ID_LEN];
    } places[FENCE_PLACES_MAX];
    uint32_t count;
    uint32_t oldest; /* the one that gives way when there are too many */
};

/* A gateway has said HELLO over this connection (ROUTING_ID_LEN bytes). */
void fence_enter(struct fence *fence, uint64_t place,
                 const uint8_t *routing_id);

/* Whether what comes over this connection counts. */
bool fence_counts(const struct fence *fence, const uint8_t *routing_id,
                  size_t routing_id_len);

#endif
