/* SPDX-License-Identifier: MPL-2.0 */
#include "cairn/timings.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cairn/cli.h"

static const struct {
    const char *name;
    double share;
} quantiles[] = {
    { "p50", 0.5 },     { "p90", 0.9 }, { "p99", 0.99 },
    { "p99.9", 0.999 }, { "max", 1.0 },
};

#define QUANTILE_COUNT (sizeof quantiles / sizeof *quantiles)

double
timings_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void
timings_add(struct timings *t, double seconds)
{
    t->count++;
    if (t->kept == t->room && t->room < TIMINGS_MAX) {
        uint32_t room = t->room == 0 ? 4096 : t->room * 2;
        float *us = reallocarray(t->us, room, sizeof *us);

        if (us == NULL)
            return; /* what is kept stays a fair sample of the beginning */
        t->us = us;
        t->room = room;
    }
    if (t->kept == t->room)
        return;
    t->us[t->kept++] = (float)(seconds * 1e6);
    t->sorted = false;
}

void
timings_merge(struct timings *t, const struct timings *other)
{
    for (uint32_t i = 0; i < other->kept; i++)
        timings_add(t, (double)other->us[i] * 1e-6);
    t->count += other->count - other->kept;
}

void
timings_clear(struct timings *t)
{
    free(t->us);
    *t = (struct timings){ 0 };
}

static int
compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

double
timings_quantile(struct timings *t, double share)
{
    if (t->kept == 0)
        return 0;
    if (!t->sorted)
        qsort(t->us, t->kept, sizeof *t->us, compare);
    t->sorted = true;
    return (double)t->us[(uint32_t)(share * (t->kept - 1))];
}

void
timings_print_head(void)
{
    printf("%-24s %10s", "microseconds", "count");
    for (size_t i = 0; i < QUANTILE_COUNT; i++)
        printf(" %8s", quantiles[i].name);
    printf("\n");
}

void
timings_print(const char *what, struct timings *t)
{
    printf("%-24s %10s", what, cli_number(t->count));
    for (size_t i = 0; i < QUANTILE_COUNT; i++)
        printf(" %8.0f", timings_quantile(t, quantiles[i].share));
    printf("\n");
}

void
timings_print_json(struct timings *t)
{
    printf("{\"count\":%llu", (unsigned long long)t->count);
    for (size_t i = 0; i < QUANTILE_COUNT; i++)
        printf(",\"%s_us\":%.1f", quantiles[i].name,
               timings_quantile(t, quantiles[i].share));
    printf("}");
}
