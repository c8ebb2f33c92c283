/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/arena.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <tpl.h>

/* tpl's hooks have no argument, so the arena is found by thread. */
struct chunk {
    struct chunk *next; /* older and smaller, until the arena is emptied */
    size_t size, used;
    _Alignas(16) uint8_t bytes[];
};

struct block { /* in front of every allocation, for realloc */
    _Alignas(16) size_t len;
};

#define CHUNK_MIN ((size_t)16 << 10)
#define KEEP_MAX ((size_t)4 << 20) /* an arena that grew above it shrinks */

static _Thread_local struct chunk *arena;
static pthread_key_t arena_key;
static pthread_once_t arena_once = PTHREAD_ONCE_INIT;

static void
arena_release(void *first)
{
    for (struct chunk *chunk = first; chunk != NULL;) {
        struct chunk *next = chunk->next;

        free(chunk);
        chunk = next;
    }
}

/* Keeps the newest chunk, which is the largest, for the next message. */
void
arena_empty(void)
{
    if (arena == NULL)
        return;
    arena_release(arena->next);
    arena->next = NULL;
    arena->used = 0;
    if (arena->size > KEEP_MAX) {
        free(arena);
        arena = NULL;
        (void)pthread_setspecific(arena_key, NULL);
    }
}

static void *
arena_malloc(size_t len)
{
    size_t need = sizeof(struct block) + ((len + 15) & ~(size_t)15);
    struct block *block;

    if (arena == NULL || arena->size - arena->used < need) {
        size_t size = arena == NULL ? CHUNK_MIN : arena->size * 2;
        struct chunk *chunk;

        while (size < need)
            size *= 2;
        chunk = malloc(sizeof *chunk + size);
        if (chunk == NULL)
            return NULL; /* tpl calls its fatal hook */
        chunk->next = arena;
        chunk->size = size;
        chunk->used = 0;
        arena = chunk;
        (void)pthread_setspecific(arena_key, arena); /* freed with the thread */
    }
    block =
        (void *)(arena->bytes + arena->used); /* sizes are multiples of 16 */
    arena->used += need;
    block->len = len;
    return block + 1;
}

static void *
arena_realloc(void *old, size_t len)
{
    void *new = arena_malloc(len);
    size_t old_len;

    if (new == NULL || old == NULL)
        return new;
    old_len = ((struct block *)old - 1)->len;
    memcpy(new, old, old_len < len ? old_len : len);
    return new;
}

static void
arena_free(void *p)
{
    (void)p; /* all at once, in arena_empty() */
}

static int
be_silent(const char *format, ...)
{
    (void)format; /* we have refused the image already, and said why */
    return 0;
}

static void
give_up(const char *format, ...)
{
    (void)format;
    abort(); /* systemd starts us again; tpl's default would call exit() */
}

extern tpl_hook_t tpl_hook;

static void
set_hooks(void)
{
    if (pthread_key_create(&arena_key, arena_release) != 0)
        abort();
    tpl_hook = (tpl_hook_t){
        .oops = be_silent,
        .malloc = arena_malloc,
        .realloc = arena_realloc,
        .free = arena_free,
        .fatal = give_up,
        .gather_max = 1, /* gathering is not used */
    };
}

void
arena_begin(void)
{
    (void)pthread_once(&arena_once, set_hooks);
}
