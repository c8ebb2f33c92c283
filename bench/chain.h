/* SPDX-License-Identifier: MPL-2.0 */
/*
 * chain - the bare chain: a dummy gateway and a dummy writer that coalesce,
 * copy, sync and answer, and do nothing else.
 *
 * Same number of ZeroMQ hops, same transport, as many bytes per command as a
 * real one, one sync per group in a thread of its own; but nothing is checked,
 * decided, indexed or remembered.  What the real ones can be held against.
 *
 * Dry, it does not write either: with one command outstanding that is the
 * round trip over the same hops, with many the message chain at saturation.
 */
#ifndef CAIRN_BENCH_CHAIN_H
#define CAIRN_BENCH_CHAIN_H

#include <stdbool.h>
#include <sys/types.h>

#include "load.h"

struct chain {
    bool dry; /* nothing is written or synced: messages only */
    pid_t gateway, writer;
    char front[256], back[256], file[256];
};

/* Starts both, with their sockets and their file in `dir`. */
void chain_start(struct chain *chain, const char *dir, bool dry);
void chain_stop(struct chain *chain);

/* self is a struct chain that has been started. */
uint64_t chain_run(void *self, const struct load *load, uint32_t connection);

#endif
