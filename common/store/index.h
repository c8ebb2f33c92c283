/* SPDX-License-Identifier: MPL-2.0 */
/*
 * index - the sparse index of a segment that is still growing: one entry for
 * the first commit in every INDEX_STEP bytes.  When the segment is sealed it
 * becomes part of the footer; until then everybody who needs it makes their
 * own by walking the segment once.
 */
#ifndef CAIRN_STORE_INDEX_H
#define CAIRN_STORE_INDEX_H

#include "store/format.h"

struct index {
    struct index_entry *entries; /* freed by index_free() */
    uint32_t count, capacity;
};

/*
 * Notes that a commit with this first position lies at this offset; commits
 * come in order.  -ENOMEM.
 */
int index_add(struct index *index, uint64_t position, uint64_t offset);

void index_free(struct index *index);

/*
 * The last of `count` entries whose position is not above `position`; NULL if
 * there is none.
 */
const struct index_entry *index_find(const struct index_entry *entries,
                                     uint32_t count, uint64_t position);

#endif
