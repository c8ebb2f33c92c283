/* SPDX-License-Identifier: MPL-2.0 */
/*
 * bench_peers - the same appends into Cairn, Redis and PostgreSQL, in turn;
 * and into L, the last step of the ladder of bench/chain.h, which is the bound
 * of what a pipeline over these hops can reach against them.
 *
 *   bench_peers BUILD SECONDS-PER-RUN ROUNDS REDIS-SOCKET PG-CONNINFO SCHEMA
 *               [NAME-PART]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cairn.h"
#include "chain.h"
#include "contest.h"
#include "peers/postgres.h"
#include "peers/redis.h"

static const struct {
    const char *name;
    uint32_t connections, outstanding, batch;
} shapes[] = {
    { "1 outstanding", 1, 1, 1 },
    { "64 on 4 connections", 4, 64, 1 },
    { "256 on 4 connections", 4, 256, 1 },
    { "1024 on 4 connections", 4, 1024, 1 },
    { "batches of 100, 4 on 4 connections", 4, 4, 100 },
    { "batches of 100, 16 on 4 connections", 4, 16, 100 },
    { "batches of 100, 64 on 4 connections", 4, 64, 100 },
};

int
main(int argc, char **argv)
{
    static struct cairn cairn;
    static struct redis redis;
    static struct postgres postgres;
    static struct chain bound;
    const struct engine engines[] = {
        { "cairn", &cairn, cairn_run },
        { "redis", &redis, redis_run },
        { "postgres", &postgres, postgres_run },
        { "L", &bound, chain_run },
    };
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 0;
    int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0;
    const char *part = argc > 7 ? argv[7] : "";

    if (argc < 7 || argc > 8 || seconds <= 0 || rounds < 1 || rounds > 64) {
        fprintf(stderr,
                "usage: bench_peers BUILD SECONDS ROUNDS "
                "REDIS-SOCKET PG-CONNINFO SCHEMA [NAME]\n");
        return 64;
    }
    redis_start(&redis, argv[4]);
    postgres_start(&postgres, argv[5], argv[6]);
    cairn_init(&cairn, LOAD_STREAMS, 0);
    pipeline_start(&cairn.pipeline, argv[1], NULL);
    chain_start(&bound, cairn.pipeline.dir, CHAIN_FILE, false);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct contest c = {
            .row = "peers",
            .name = shapes[i].name,
            .unit = "commits/s",
            .load = { .connections = shapes[i].connections,
                      .outstanding = shapes[i].outstanding,
                      .batch = shapes[i].batch,
                      .seconds = seconds },
            .engines = { &engines[0], &engines[1], &engines[2], &engines[3] },
            .rounds = rounds,
        };

        if (strstr(shapes[i].name, part) != NULL)
            contest_run(&c);
    }
    chain_stop(&bound);
    pipeline_stop(&cairn.pipeline);
    return 0;
}
