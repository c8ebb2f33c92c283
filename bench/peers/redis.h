/* SPDX-License-Identifier: MPL-2.0 */
/*
 * redis - Redis streams as an engine: a script checks the expected version
 * and adds the events, and the server syncs before it answers (appendfsync
 * always).  Commands are pipelined, so that one sync serves many.
 *
 * What it does not do and the others do: one order over all streams, and
 * commands that may be sent twice.
 */
#ifndef CAIRN_BENCH_REDIS_H
#define CAIRN_BENCH_REDIS_H

#include "load.h"

struct redis {
    const char *socket; /* path */
    char script[64];    /* its SHA-1 */
    uint64_t versions[LOAD_STREAMS];
};

/* Loads the script into the server at `socket`. */
void redis_start(struct redis *redis, const char *socket);

/* self is a struct redis. */
uint64_t redis_run(void *self, const struct load *load, uint32_t connection);

#endif
