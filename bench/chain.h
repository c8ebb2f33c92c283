/* SPDX-License-Identifier: MPL-2.0 */
/*
 * chain - the bare chain: a dummy gateway and a dummy writer that coalesce,
 * copy, sync and answer, and do nothing else.
 *
 * Same number of ZeroMQ hops, same transport, as many bytes per command as a
 * real one, one sync per group in a thread of its own; but nothing is checked,
 * decided, indexed or remembered.  What the real ones can be held against.
 *
 * The steps of a ladder add what an event store must do besides, and show what
 * that alone takes away: with them, the chain is told what it can be.
 *
 * Dry, it does not write either: with one command outstanding that is the
 * round trip over the same hops, with many the message chain at saturation.
 */
#ifndef CAIRN_BENCH_CHAIN_H
#define CAIRN_BENCH_CHAIN_H

#include <stdbool.h>
#include <sys/types.h>

#include "load.h"

/* From the bare chain to an event store, each with all that is before it. */
enum chain_step {
    CHAIN_BARE,
    CHAIN_EACH, /* a command has an id, a stream, a position, its own answer */
    CHAIN_SUMS, /* and a checksum, as its group has */
    CHAIN_IDS,  /* the id is looked up and remembered */
    CHAIN_VERSIONS, /* the version of its stream likewise, and its last event */
    CHAIN_FILE,     /* as many zeros go to files that are new: the log grows */
    CHAIN_STEPS,
};

struct chain {
    enum chain_step step;
    bool dry; /* nothing is written or synced: messages only */
    pid_t gateway, writer;
    char front[256], back[256], file[256];
};

/* Starts both, with their sockets and their file in `dir`. */
void chain_start(struct chain *chain, const char *dir, enum chain_step step,
                 bool dry);
void chain_stop(struct chain *chain);

/* self is a struct chain that has been started. */
uint64_t chain_run(void *self, const struct load *load, uint32_t connection);

#endif
