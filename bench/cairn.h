/* SPDX-License-Identifier: MPL-2.0 */
/*
 * cairn - the real gateway and writer as an engine, through the C client.
 */
#ifndef CAIRN_BENCH_CAIRN_H
#define CAIRN_BENCH_CAIRN_H

#include "lib/pipeline.h"
#include "load.h"

struct cairn {
    struct pipeline pipeline; /* has been started */
    uint64_t versions[LOAD_STREAMS];
};

/* self is a struct cairn. */
uint64_t cairn_run(void *self, const struct load *load, uint32_t connection);

#endif
