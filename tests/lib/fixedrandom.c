/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/fixedrandom.h"

#include <stddef.h>

#include <sodium.h>

static uint64_t state;
static uint64_t skip_after, skip_count; /* 0: nothing to skip */

/* SplitMix64 (Steele, Lea, Flood, 2014). */
static uint64_t
next(void)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static const char *
fixed_name(void)
{
    return "fixed";
}

static uint32_t
fixed_random(void)
{
    return (uint32_t)next();
}

static void
fixed_buf(void *const buf, const size_t len)
{
    uint8_t *p = buf;

    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)next();
        if (skip_count > 0 && --skip_after == 0)
            for (; skip_count > 0; skip_count--)
                (void)next();
    }
}

static randombytes_implementation fixed = {
    .implementation_name = fixed_name,
    .random = fixed_random,
    .buf = fixed_buf,
};

void
fixedrandom_skip(uint64_t after, uint64_t skip)
{
    skip_after = after;
    skip_count = skip;
}

void
fixedrandom_begin(uint64_t seed)
{
    state = seed;
    (void)randombytes_set_implementation(&fixed); /* says 0 always */
}
