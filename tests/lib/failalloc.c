/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/failalloc.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

static _Atomic uint64_t next_fails; /* counts down; 0: none does */
static _Atomic uint64_t fail_count;
static _Atomic uint64_t held;
static bool fails_forever;

void
failalloc_at(uint64_t nth, bool forever)
{
    next_fails = nth;
    fails_forever = forever;
    fail_count = 0;
}

uint64_t
failalloc_count(void)
{
    return fail_count;
}

uint64_t
failalloc_held(void)
{
    return held;
}

/* Whether this one finds no memory. */
static bool
fails(void)
{
    if (next_fails == 0)
        return false;
    if (next_fails > 1) {
        next_fails--;
        return false;
    }
    if (!fails_forever)
        next_fails = 0;
    fail_count++;
    return true;
}

static void *
note(void *memory)
{
    held += malloc_usable_size(memory); /* of NULL it is 0 */
    return memory;
}

void *
failalloc_malloc(size_t size)
{
    return fails() ? NULL : note(malloc(size));
}

void *
failalloc_calloc(size_t count, size_t size)
{
    return fails() ? NULL : note(calloc(count, size));
}

void *
failalloc_reallocarray(void *old, size_t count, size_t size)
{
    size_t before = malloc_usable_size(old);
    void *memory = fails() ? NULL : reallocarray(old, count, size);

    if (memory == NULL)
        return NULL;
    held -= before;
    return note(memory);
}

void *
failalloc_realloc(void *old, size_t size)
{
    return failalloc_reallocarray(old, 1, size);
}

void *
failalloc_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : note(aligned_alloc(alignment, size));
}

void
failalloc_free(void *memory)
{
    held -= malloc_usable_size(memory);
    free(memory);
}
