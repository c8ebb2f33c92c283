/* SPDX-License-Identifier: MPL-2.0 */
/*
 * postgres - PostgreSQL as an engine, the way stores in it are built: a table
 * of events, unique by stream and version, and a function that locks the
 * stream, checks its version and inserts.  Each command is a transaction of
 * its own, synced before it is answered; commands are pipelined.
 */
#ifndef CAIRN_BENCH_POSTGRES_H
#define CAIRN_BENCH_POSTGRES_H

#include "load.h"

struct postgres {
    const char *conninfo;
    uint64_t versions[LOAD_STREAMS];
};

/* Makes the table and the functions, from the text of bench/peers/schema.sql. */
void postgres_start(struct postgres *postgres, const char *conninfo,
                    const char *schema_path);

/* self is a struct postgres. */
uint64_t postgres_run(void *self, const struct load *load, uint32_t connection);

#endif
