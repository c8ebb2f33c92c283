/* SPDX-License-Identifier: MPL-2.0 */
#include "store/id_set.h"

#include <errno.h>
#include <stdlib.h>

#include <sodium.h>

#include "store/format.h"

#define DAY_MS (24u * 60 * 60 * 1000)

_Static_assert(sizeof((struct id_set){ 0 }.hash_key) ==
                   crypto_shorthash_KEYBYTES,
               "key");

static const struct id_spans no_spans = {
    { { UINT64_MAX, 0 }, { UINT64_MAX, 0 }, { UINT64_MAX, 0 } }
};

void
id_set_init(struct id_set *set, const uint8_t hash_key[16])
{
    *set = (struct id_set){ .spans = no_spans };
    if (hash_key != NULL)
        memcpy(set->hash_key, hash_key, sizeof set->hash_key);
    else
        randombytes_buf(set->hash_key, sizeof set->hash_key);
}

void
id_set_free(struct id_set *set)
{
    free(set->slots);
    set->slots = NULL;
    set->slot_count = set->count = 0;
}

void
id_set_clear(struct id_set *set)
{
    if (set->count > 0)
        memset(set->slots, 0, set->slot_count * sizeof *set->slots);
    set->count = 0;
    set->spans = no_spans;
}

uint32_t
id_set_print(const struct id_set *set, struct uuid id)
{
    uint64_t hash;

    (void)crypto_shorthash((uint8_t *)&hash, id.b, sizeof id.b, set->hash_key);
    return (uint32_t)(hash >> 32);
}

/* Where the hash of an id lies in a slot, and where its search begins: the
 * fingerprint must hold the bits that place it, so that a set can grow. */
static void
place(uint64_t *slots, uint32_t slot_count, uint64_t slot)
{
    uint32_t mask = slot_count - 1;
    uint32_t i = (uint32_t)(slot >> 32) & mask;

    while (slots[i] != 0)
        i = (i + 1) & mask;
    slots[i] = slot;
}

static int
grow(struct id_set *set)
{
    uint32_t slot_count =
        set->slot_count == 0 ? ID_SET_SLOTS_MIN : set->slot_count * 2;
    uint64_t *slots = calloc(slot_count, sizeof *slots);

    if (slots == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < set->slot_count; i++)
        if (set->slots[i] != 0)
            place(slots, slot_count, set->slots[i]);
    free(set->slots);
    set->slots = slots;
    set->slot_count = slot_count;
    return 0;
}

int
id_set_add(struct id_set *set, uint32_t print, uint32_t offset)
{
    if (set->count >= set->slot_count / 2) {
        int rc = grow(set);

        if (rc < 0)
            return rc;
    }
    place(set->slots, set->slot_count,
          (uint64_t)print << 32 | offset / RECORD_UNIT);
    set->count++;
    return 0;
}

void
id_set_note(struct id_set *set, struct uuid id, uint64_t commit_time_us)
{
    uint64_t now_ms = commit_time_us / 1000, time_ms;
    struct id_span *span;

    if (!uuid_time_ms(id, &time_ms))
        return;
    span = &set->spans.of[time_ms + DAY_MS < now_ms        ? 0
                              : time_ms <= now_ms + DAY_MS ? 1
                                                           : 2];
    if (time_ms < span->min_ms)
        span->min_ms = time_ms;
    if (time_ms > span->max_ms)
        span->max_ms = time_ms;
}

bool
id_spans_may_hold(const struct id_spans *spans, struct uuid id)
{
    uint64_t time_ms;

    if (!uuid_time_ms(id, &time_ms))
        return true;
    for (uint32_t i = 0; i < ID_SPANS; i++)
        if (time_ms >= spans->of[i].min_ms && time_ms <= spans->of[i].max_ms)
            return true;
    return false;
}

bool
id_set_candidate(const struct id_set *set, uint32_t print, uint32_t *probe,
                 uint32_t *ret_offset)
{
    uint32_t mask = set->slot_count - 1;

    if (set->count == 0)
        return false;
    while (*probe < set->slot_count) {
        uint64_t slot = set->slots[(print + (*probe)++) & mask];

        if (slot == 0)
            return false;
        if (slot >> 32 == print) {
            *ret_offset = (uint32_t)slot * RECORD_UNIT;
            return true;
        }
    }
    return false;
}

void
id_times_add(struct id_times *times, struct uuid id)
{
    uint64_t time_ms;

    if (!uuid_time_ms(id, &time_ms))
        times->other_count++;
    else if (time_ms > times->time_max_ms)
        times->time_max_ms = time_ms;
}

bool
id_times_may_hold(const struct id_times *times, struct uuid id)
{
    uint64_t time_ms;

    return uuid_time_ms(id, &time_ms) ? time_ms <= times->time_max_ms
                                      : times->other_count > 0;
}
