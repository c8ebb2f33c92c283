/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/countalloc.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

/* Volatile, for compilers know that malloc() does not change them. */
static _Thread_local volatile bool counting;
static _Thread_local volatile uint64_t count;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

#ifndef SANITIZED

/* glibc's own, which its public names call. */
void *__libc_malloc(size_t len);
void *__libc_calloc(size_t items, size_t len);
void *__libc_realloc(void *old, size_t len);
void *__libc_memalign(size_t unit, size_t len);

void *
malloc(size_t len)
{
    count += counting;
    return __libc_malloc(len);
}

void *
calloc(size_t items, size_t len)
{
    count += counting;
    return __libc_calloc(items, len);
}

void *
realloc(void *old, size_t len)
{
    count += counting;
    return __libc_realloc(old, len);
}

void *
reallocarray(void *old, size_t items, size_t len)
{
    size_t whole;

    count += counting;
    if (__builtin_mul_overflow(items, len, &whole)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(old, whole);
}

void *
aligned_alloc(size_t unit, size_t len)
{
    count += counting;
    return __libc_memalign(unit, len);
}

#endif

bool
countalloc_works(void)
{
    void *volatile p;
    uint64_t found;

    countalloc_begin();
    p = malloc(1);
    found = countalloc_end();
    free(p);
    return found == 1;
}

void
countalloc_begin(void)
{
    count = 0;
    counting = true;
}

uint64_t
countalloc_end(void)
{
    counting = false;
    return count;
}
