/* SPDX-License-Identifier: MPL-2.0 */
#include "writer/fence.h"

#include <string.h>

void
fence_enter(struct fence *fence, uint64_t place, const uint8_t *routing_id)
{
    uint32_t at = 0;

    while (at < fence->count && fence->places[at].place != place)
        at++;
    if (at == FENCE_PLACES_MAX) {
        at = fence->oldest;
        fence->oldest = (fence->oldest + 1) % FENCE_PLACES_MAX;
    } else if (at == fence->count) {
        fence->count++;
    }
    fence->places[at].place = place;
    memcpy(fence->places[at].routing_id, routing_id, ROUTING_ID_LEN);
}

bool
fence_counts(const struct fence *fence, const uint8_t *routing_id,
             size_t routing_id_len)
{
    for (uint32_t i = 0; i < fence->count; i++)
        if (routing_id_len == ROUTING_ID_LEN &&
            memcmp(fence->places[i].routing_id, routing_id, ROUTING_ID_LEN) ==
                0)
            return true;
    return false;
}
