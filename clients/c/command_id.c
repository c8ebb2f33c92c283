/* SPDX-License-Identifier: MPL-2.0 */
#include "c/command_id.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <sodium.h>

#define POOL_IDS 64

static _Thread_local struct {
    struct uuid ids[POOL_IDS];
    unsigned left;
} pool;

static pthread_once_t pool_once = PTHREAD_ONCE_INIT;

/* In a child, which must not hand out what its parent will. */
static void
empty_pool(void)
{
    pool.left = 0;
}

static void
watch_forks(void)
{
    if (pthread_atfork(NULL, NULL, empty_pool) != 0)
        abort();
}

struct uuid
command_id_new(void)
{
    struct timespec now;

    if (pool.left == 0) {
        (void)pthread_once(&pool_once, watch_forks);
        randombytes_buf(pool.ids, sizeof pool.ids);
        pool.left = POOL_IDS;
    }
    /* A tick late is early enough to find it by, and a tenth of the price. */
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return uuid_v7_of((uint64_t)now.tv_sec * 1000 +
                          (uint64_t)now.tv_nsec / 1000000,
                      pool.ids[--pool.left]);
}
