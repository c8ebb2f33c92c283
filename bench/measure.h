/* SPDX-License-Identifier: MPL-2.0 */
/*
 * measure - numbers that can be trusted on a noisy machine.
 *
 * What is compared runs in turn, A B B A, several times over; what counts is
 * the ratio of the medians, with an interval from the ratios of the rounds.
 */
#ifndef CAIRN_BENCH_MEASURE_H
#define CAIRN_BENCH_MEASURE_H

#include <stdint.h>

#define SAMPLES_MAX 256

struct samples {
    double values[SAMPLES_MAX];
    int count;
};

/* Seconds of a clock that never goes back. */
double seconds_now(void);

void samples_add(struct samples *samples, double value);
double samples_median(const struct samples *samples);

/* The value below which this share (0 to 1) of the samples lies. */
double samples_quantile(const struct samples *samples, double share);

/*
 * The ratio of two sets that were taken in the same rounds: the median of the
 * ratios of the pairs, and the quartiles of these ratios around it.
 */
struct ratio {
    double low, middle, high;
};

struct ratio samples_ratio(const struct samples *a, const struct samples *b);

#endif
