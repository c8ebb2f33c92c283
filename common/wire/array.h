/* SPDX-License-Identifier: MPL-2.0 */
/*
 * array - growing arrays that are used again for every message.
 */
#ifndef CAIRN_WIRE_ARRAY_H
#define CAIRN_WIRE_ARRAY_H

#include <errno.h>
#include <stdlib.h>

/*
 * Makes sure that an array at *items with room for *room items of item_len
 * bytes has room for `count`.  It at least doubles.  -ENOMEM.
 */
static inline int
array_reserve(void *items, uint32_t *room, uint64_t count, size_t item_len)
{
    void **array = items;
    uint64_t more = *room < 16 ? 16 : (uint64_t)*room * 2;
    void *grown;

    if (count <= *room)
        return 0;
    if (more < count)
        more = count;
    if (more > UINT32_MAX)
        return -ENOMEM;
    grown = reallocarray(*array, (size_t)more, item_len);
    if (grown == NULL)
        return -ENOMEM;
    *array = grown;
    *room = (uint32_t)more;
    return 0;
}

/* The same for bytes. */
static inline int
bytes_reserve(uint8_t **bytes, size_t *room, size_t len)
{
    size_t more = *room < 4096 ? 4096 : *room * 2;
    uint8_t *grown;

    if (len <= *room)
        return 0;
    if (more < len)
        more = len;
    grown = realloc(*bytes, more);
    if (grown == NULL)
        return -ENOMEM;
    *bytes = grown;
    *room = more;
    return 0;
}

#endif
