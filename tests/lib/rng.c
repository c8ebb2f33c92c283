/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/rng.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

/* ---- libsodium --------------------------------------------------------- */

static struct rng sodium_rng;

static const char *
sodium_name(void)
{
    return "seeded";
}

static uint32_t
sodium_random(void)
{
    return (uint32_t)rng_next(&sodium_rng);
}

static void
sodium_buf(void *const buf, const size_t size)
{
    uint8_t *out = buf;

    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t word = rng_next(&sodium_rng);
        size_t left = size - at;

        memcpy(out + at, &word, left < sizeof word ? left : sizeof word);
    }
}

static struct randombytes_implementation sodium_seeded = {
    .implementation_name = sodium_name,
    .random = sodium_random,
    .buf = sodium_buf,
};

void
rng_own_sodium(uint64_t seed)
{
    sodium_rng.state = seed;
    (void)randombytes_set_implementation(&sodium_seeded);
}

/* ---- many seeds -------------------------------------------------------- */

static volatile uint64_t seed_now;
static bool printing_seeds;

uint64_t
seeds_now(void)
{
    return seed_now;
}

/* Says which seed it was when a test aborts.  No printf: it may be a crash
 * inside the memory allocator. */
static void
print_seed(void)
{
    static const char before[] = "to run it again: SEED=";
    char digits[24];
    size_t at = sizeof digits;
    uint64_t left = seed_now;

    if (seed_now == 0)
        return;
    digits[--at] = '\n';
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    (void)!write(STDERR_FILENO, before, sizeof before - 1);
    (void)!write(STDERR_FILENO, digits + at, sizeof digits - at);
}

static void
on_abort(int signo)
{
    print_seed();
    (void)signal(signo, SIG_DFL);
    (void)raise(signo);
}

/* A sanitizer ends the process without a signal. */
void __sanitizer_set_death_callback(void (*callback)(void))
    __attribute__((weak));

/* Except the one for undefined behaviour, when it is asked to. */
const char *__ubsan_default_options(void);

const char *
__ubsan_default_options(void)
{
    return "abort_on_error=1";
}

static uint64_t
number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 0);
}

void
seeds_run(const char *what, uint64_t count, void (*one)(uint64_t seed),
          uint64_t *ret_count)
{
    uint64_t only = number_of("SEED", 0), first = only, done = 0;
    struct timespec start, end;
    double s;

    if (!printing_seeds) {
        (void)signal(SIGABRT, on_abort);
        if (__sanitizer_set_death_callback != NULL)
            __sanitizer_set_death_callback(print_seed);
        printing_seeds = true;
    }
    if (only != 0)
        count = 1;
    else
        count = number_of("SEEDS", count);
    if (only == 0)
        first = number_of("FIRST_SEED", 1);
    printf("%s: seeds %" PRIu64 " to %" PRIu64 "\n", what, first,
           first + count - 1);
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    for (; done < count; done++) {
        seed_now = first + done;
        one(seed_now);
    }
    seed_now = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    s = (double)(end.tv_sec - start.tv_sec) +
        (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    printf("%s: %.1f s, %.0f seeds/s\n", what, s, (double)done / s);
    if (ret_count != NULL)
        *ret_count = done;
}
