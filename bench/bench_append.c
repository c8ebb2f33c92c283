/* SPDX-License-Identifier: MPL-2.0 */
/*
 * bench_append - appends through the real gateway and writer, next to the
 * machine's floors in the same rounds:
 *
 *   S  a bare pwrite and fdatasync loop of the same shape: it writes, into a
 *      zero-filled file on the same file system, what one sync of the engine
 *      covers if all that is outstanding lies in one group
 *   P  the bare chain of bench/chain.h
 *   L  the last step of its ladder: the chain with the least that an event
 *      store must do, which is the bound of what this pipeline can reach
 *   M  P without the disk: one outstanding, R, is the round trip over as many
 *      ZeroMQ hops; many are the chain of messages at saturation
 *
 *   bench_append BUILD SECONDS-PER-RUN ROUNDS [NAME-PART [ladder]]
 *
 * With `ladder` it is P and each of its steps towards an event store instead.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cairn.h"
#include "chain.h"
#include "contest.h"
#include "syncs.h"

static const struct {
    const char *name;
    uint32_t connections, outstanding, batch;
} shapes[] = {
    { "1 outstanding", 1, 1, 1 },
    { "4 outstanding", 1, 4, 1 },
    { "16 outstanding", 1, 16, 1 },
    { "64 outstanding", 1, 64, 1 },
    { "256 outstanding", 1, 256, 1 },
    { "1024 outstanding", 1, 1024, 1 },
    { "64 on 4 connections", 4, 64, 1 },
    { "256 on 4 connections", 4, 256, 1 },
    { "1024 on 4 connections", 4, 1024, 1 },
    { "batches of 100, 8 outstanding", 1, 8, 100 },
};

int
main(int argc, char **argv)
{
    static struct cairn cairn;
    static struct chain steps[CHAIN_STEPS];
    struct chain dry;
    struct syncs syncs, block, block64;
    const struct engine floors[] = {
        { "cairn", &cairn, cairn_run },
        { "P", &steps[CHAIN_BARE], chain_run },
        { "L", &steps[CHAIN_FILE], chain_run },
        { "M", &dry, chain_run },
        { "S", &syncs, syncs_run },
        { "S512", &block, syncs_run },
        { "S64K", &block64, syncs_run },
    };
    const struct engine ladder[] = {
        { "cairn", &cairn, cairn_run },
        { "P", &steps[CHAIN_BARE], chain_run },
        { "+each", &steps[CHAIN_EACH], chain_run },
        { "+sums", &steps[CHAIN_SUMS], chain_run },
        { "+ids", &steps[CHAIN_IDS], chain_run },
        { "+versions", &steps[CHAIN_VERSIONS], chain_run },
        { "+file", &steps[CHAIN_FILE], chain_run },
    };
    bool climb = argc > 5 && strcmp(argv[5], "ladder") == 0;
    const struct engine *engines = climb ? ladder : floors;
    const char *part = argc > 4 ? argv[4] : "";
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 0;
    int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0;

    if (argc < 4 || argc > 6 || (argc > 5 && !climb) || seconds <= 0 ||
        rounds < 1 || rounds > 64) {
        fprintf(stderr,
                "usage: bench_append BUILD SECONDS ROUNDS [NAME [ladder]]\n");
        return 64;
    }
    cairn_init(&cairn, LOAD_STREAMS, 0);
    pipeline_start(&cairn.pipeline, argv[1], NULL);
    for (int i = 0; i < CHAIN_STEPS; i++)
        if (climb || i == CHAIN_BARE || i == CHAIN_FILE)
            chain_start(&steps[i], cairn.pipeline.dir, (enum chain_step)i,
                        false);
    chain_start(&dry, cairn.pipeline.dir, CHAIN_BARE, true);
    syncs_open(&syncs, cairn.pipeline.dir, 0);
    syncs_open(&block, cairn.pipeline.dir, 512);
    syncs_open(&block64, cairn.pipeline.dir, 65536);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct contest c = {
            .row = "append",
            .name = shapes[i].name,
            .unit = "commits/s",
            .load = { .connections = shapes[i].connections,
                      .outstanding = shapes[i].outstanding,
                      .batch = shapes[i].batch,
                      .seconds = seconds },
            .rounds = rounds,
        };

        if (strstr(shapes[i].name, part) == NULL)
            continue;
        /* The floors that do not depend on the load: once will do. */
        for (size_t k = 0; k < (climb || i == 0 ? 7 : 5); k++)
            c.engines[k] = &engines[k];
        contest_run(&c);
    }
    syncs_close(&syncs);
    syncs_close(&block);
    syncs_close(&block64);
    for (int i = 0; i < CHAIN_STEPS; i++)
        if (climb || i == CHAIN_BARE || i == CHAIN_FILE)
            chain_stop(&steps[i]);
    chain_stop(&dry);
    pipeline_stop(&cairn.pipeline);
    return 0;
}
