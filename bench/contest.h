/* SPDX-License-Identifier: MPL-2.0 */
/*
 * contest - engines side by side on the same work, so that the noise of the
 * machine meets all of them.
 *
 * Each round runs the engines forward and then backward (A B B A), so what
 * drifts slowly falls out of the ratio of a round.  An engine may be there
 * twice: two runs of the same engine in one round are an A/A control.  What
 * came out goes to standard output as one line of JSON; bench/report.py judges.
 */
#ifndef CAIRN_BENCH_CONTEST_H
#define CAIRN_BENCH_CONTEST_H

#include "load.h"

#define CONTEST_ENGINES_MAX 8 /* a NULL behind them included */

struct contest {
    const char *row;  /* what kind of measurement: "append", "scan", ... */
    const char *name; /* this one */
    const char *unit; /* what the rates count */
    struct load load;
    const struct engine *engines[CONTEST_ENGINES_MAX]; /* up to a NULL */
    int rounds;
};

void contest_run(const struct contest *contest);

#endif
