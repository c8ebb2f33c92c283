/* SPDX-License-Identifier: MPL-2.0 */
#include "store/overlay.h"

#include <errno.h>
#include <stdlib.h>

#define SLOTS_MIN 1024u

void
overlay_free(struct overlay *overlay)
{
    free(overlay->entries);
    free(overlay->slots);
    *overlay = (struct overlay){ 0 };
}

void
overlay_clear(struct overlay *overlay)
{
    for (uint32_t i = 0; i < overlay->count; i++)
        overlay->slots[overlay->entries[i].slot] = 0;
    overlay->count = 0;
}

int
overlay_find(const struct overlay *overlay, const struct key *key,
             const struct event_source *source,
             struct overlay_entry **ret_entry, struct err *err)
{
    uint32_t mask = overlay->slot_count - 1;

    if (overlay->count == 0)
        return 0;
    for (uint32_t at = (uint32_t)key->hash & mask; overlay->slots[at] != 0;
         at = (at + 1) & mask) {
        struct overlay_entry *entry = &overlay->entries[overlay->slots[at] - 1];
        struct event event;
        struct link link;
        int rc;

        if (entry->hash != key->hash || entry->kind != (uint8_t)key->kind)
            continue;
        rc = source->event_at(source->self, entry->address, &event, err);
        if (rc < 0)
            return rc;
        if (key_link(key, &event, &link)) {
            *ret_entry = entry;
            return 1;
        }
    }
    return 0;
}

static void
place(struct overlay *overlay, uint32_t index)
{
    struct overlay_entry *entry = &overlay->entries[index];
    uint32_t mask = overlay->slot_count - 1;
    uint32_t at = (uint32_t)entry->hash & mask;

    while (overlay->slots[at] != 0)
        at = (at + 1) & mask;
    overlay->slots[at] = index + 1;
    entry->slot = at;
}

/* Doubles both arrays; entries fill at most half of the slots. */
static int
grow(struct overlay *overlay)
{
    uint32_t slot_count =
        overlay->slot_count == 0 ? SLOTS_MIN : overlay->slot_count * 2;
    struct overlay_entry *entries = reallocarray(
        overlay->entries, slot_count / 2, sizeof *overlay->entries);
    uint32_t *slots;

    if (entries == NULL)
        return -ENOMEM;
    overlay->entries = entries;
    slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL)
        return -ENOMEM;
    free(overlay->slots);
    overlay->slots = slots;
    overlay->slot_count = slot_count;
    for (uint32_t i = 0; i < overlay->count; i++)
        place(overlay, i);
    return 0;
}

int
overlay_add(struct overlay *overlay, const struct key *key, uint64_t address,
            uint64_t previous, struct overlay_entry **ret_entry)
{
    if (overlay->count == overlay->slot_count / 2) {
        int rc = grow(overlay);

        if (rc < 0)
            return rc;
    }
    overlay->entries[overlay->count] = (struct overlay_entry){
        .hash = key->hash,
        .address = address,
        .kind = (uint8_t)key->kind,
        .previous = previous,
    };
    *ret_entry = &overlay->entries[overlay->count];
    place(overlay, overlay->count++);
    return 0;
}
