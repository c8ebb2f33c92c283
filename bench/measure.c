/* SPDX-License-Identifier: MPL-2.0 */
#include "measure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

double
seconds_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void
samples_add(struct samples *samples, double value)
{
    if (samples->count < SAMPLES_MAX)
        samples->values[samples->count++] = value;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double
samples_quantile(const struct samples *samples, double share)
{
    double sorted[SAMPLES_MAX];
    double place;
    int below;

    if (samples->count == 0)
        return 0;
    memcpy(sorted, samples->values, (size_t)samples->count * sizeof *sorted);
    qsort(sorted, (size_t)samples->count, sizeof *sorted, compare);
    place = share * (samples->count - 1);
    below = (int)place;
    if (below + 1 >= samples->count)
        return sorted[samples->count - 1];
    return sorted[below] +
        (place - below) * (sorted[below + 1] - sorted[below]);
}

double
samples_median(const struct samples *samples)
{
    return samples_quantile(samples, 0.5);
}

struct ratio
samples_ratio(const struct samples *a, const struct samples *b)
{
    struct samples ratios = { .count = 0 };

    for (int i = 0; i < a->count && i < b->count; i++)
        if (b->values[i] > 0)
            samples_add(&ratios, a->values[i] / b->values[i]);
    return (struct ratio){ samples_quantile(&ratios, 0.25),
                           samples_median(&ratios),
                           samples_quantile(&ratios, 0.75) };
}
