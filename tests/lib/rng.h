/* SPDX-License-Identifier: MPL-2.0 */
/*
 * rng - random numbers that follow from a seed, and tests that run over many
 * seeds.
 *
 * The environment chooses: SEED=x runs one seed, SEEDS=n runs n of them.
 * Whatever fails or aborts under seeds_run() prints the seed to run again.
 *
 * Generator: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom
 * number generators", 2014).
 */
#ifndef CAIRN_TESTS_RNG_H
#define CAIRN_TESTS_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t
rng_next(struct rng *rng)
{
    uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A number below `limit`, which is not 0. */
static inline uint64_t
rng_below(struct rng *rng, uint64_t limit)
{
    return rng_next(rng) % limit; /* the bias is of no matter here */
}

/* True once in n times. */
static inline bool
rng_one_in(struct rng *rng, uint64_t n)
{
    return rng_below(rng, n) == 0;
}

/*
 * From now on libsodium's random bytes follow from `seed`, too: hash keys and
 * identifiers that the store draws are the same in every run.
 */
void rng_own_sodium(uint64_t seed);

/*
 * Calls one() for `count` seeds, or as the environment says; *ret_count, if
 * not NULL, is how many there were.
 */
void seeds_run(const char *what, uint64_t count, void (*one)(uint64_t seed),
               uint64_t *ret_count);

/* The seed that is running, for messages; 0 outside seeds_run(). */
uint64_t seeds_now(void);

#endif
