/* SPDX-License-Identifier: MPL-2.0 */
#include "store/index.h"

#include <errno.h>
#include <stdlib.h>

int
index_add(struct index *index, uint64_t position, uint64_t offset)
{
    if (index->count > 0 &&
        le32_get(index->entries[index->count - 1].offset) / INDEX_STEP ==
            offset / INDEX_STEP)
        return 0;
    if (index->count == index->capacity) {
        uint32_t capacity = index->capacity == 0 ? 64 : index->capacity * 2;
        struct index_entry *entries =
            reallocarray(index->entries, capacity, sizeof *entries);

        if (entries == NULL)
            return -ENOMEM;
        index->entries = entries;
        index->capacity = capacity;
    }
    index->entries[index->count++] = (struct index_entry){
        .position = le64_of(position),
        .offset = le32_of((uint32_t)offset),
    };
    return 0;
}

void
index_free(struct index *index)
{
    free(index->entries);
    *index = (struct index){ 0 };
}

const struct index_entry *
index_find(const struct index_entry *entries, uint32_t count, uint64_t position)
{
    uint32_t low = 0, high = count; /* entries before low are not above */

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (le64_get(entries[middle].position) <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : &entries[low - 1];
}
