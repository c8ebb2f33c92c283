/* SPDX-License-Identifier: MPL-2.0 */
/*
 * cairn - the real gateway and writer as an engine, through the C client.
 */
#ifndef CAIRN_BENCH_CAIRN_H
#define CAIRN_BENCH_CAIRN_H

#include "lib/pipeline.h"
#include "load.h"

#define CAIRN_PREFIX "bench" /* of the streams, see clients/cairn/feeder.h */

struct cairn {
    struct pipeline pipeline; /* has been started */
    uint32_t stream_count;
    uint64_t *versions; /* of each stream */
};

/* Makes room for the versions, all of them `version`. */
void cairn_init(struct cairn *cairn, uint32_t stream_count, uint64_t version);

/* self is a struct cairn. */
uint64_t cairn_run(void *self, const struct load *load, uint32_t connection);

#endif
