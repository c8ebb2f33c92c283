/* SPDX-License-Identifier: MPL-2.0 */
/*
 * overlay - the newest events of keys in a group that is not durable yet,
 * in front of the version table, which only knows durable ones.
 *
 * Threads: one at a time.
 */
#ifndef CAIRN_STORE_OVERLAY_H
#define CAIRN_STORE_OVERLAY_H

#include "store/chain.h"

struct overlay_entry {
    uint64_t hash;
    uint64_t address;  /* of the newest event of the key in the group */
    uint64_t previous; /* and of the newest before; ADDRESS_NONE: it is new */
    uint64_t mark;     /* of the caller: the last commit that touched it */
    uint32_t result;   /* of the caller: its place in that commit's results */
    uint32_t slot;     /* that leads here */
    uint8_t kind;      /* enum key_kind */
    uint8_t tag;       /* of the caller: which tag of the event it is */
};

struct overlay {
    struct overlay_entry *entries; /* in order of arrival */
    uint32_t count;
    uint32_t *slots; /* index + 1 of an entry; 0: empty */
    uint32_t slot_count;
};

void overlay_free(struct overlay *overlay);

/* Empties it, but keeps the memory. */
void overlay_clear(struct overlay *overlay);

/*
 * The entry of a key in *ret_entry: 1; or 0.  Borrowed until the next add.
 * Keys of equal hash are told apart by the events at their addresses.
 */
int overlay_find(const struct overlay *overlay, const struct key *key,
                 const struct event_source *source,
                 struct overlay_entry **ret_entry, struct err *err);

/* Adds a key that overlay_find() did not find; -ENOMEM. */
int overlay_add(struct overlay *overlay, const struct key *key,
                uint64_t address, uint64_t previous,
                struct overlay_entry **ret_entry);

#endif
