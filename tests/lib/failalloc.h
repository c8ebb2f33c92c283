/* SPDX-License-Identifier: MPL-2.0 */
/*
 * failalloc - memory for the library that runs out when a test wants it to,
 * and is counted.
 *
 * Only programs that are linked with libcairn-failalloc.a get their memory
 * here, and of those only the library does: what tests and their tools
 * allocate never fails.
 *
 * Threads: any, but the counts are only exact with one.
 */
#ifndef CAIRN_TESTS_FAILALLOC_H
#define CAIRN_TESTS_FAILALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The nth allocation from now on finds no memory, and with `forever` all
 * after it; 0: none.
 */
void failalloc_at(uint64_t nth, bool forever);

/* How many have found none since then. */
uint64_t failalloc_count(void);

/* Bytes that the library holds now. */
uint64_t failalloc_held(void);

/* What the library calls. */
void *failalloc_malloc(size_t size);
void *failalloc_calloc(size_t count, size_t size);
void *failalloc_realloc(void *old, size_t size);
void *failalloc_reallocarray(void *old, size_t count, size_t size);
void *failalloc_aligned_alloc(size_t alignment, size_t size);
void failalloc_free(void *memory);

#endif
