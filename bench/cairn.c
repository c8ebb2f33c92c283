/* SPDX-License-Identifier: MPL-2.0 */
#include "cairn.h"

#include <stdlib.h>

#include "cairn/feeder.h"

#define DEADLINE_MS 30000u

void
cairn_init(struct cairn *cairn, uint32_t stream_count, uint64_t version)
{
    cairn->stream_count = stream_count;
    cairn->versions = calloc(stream_count, sizeof *cairn->versions);
    if (cairn->versions == NULL)
        bench_die("no memory for versions");
    for (uint32_t i = 0; i < stream_count; i++)
        cairn->versions[i] = version;
}

static void
on_latency(void *arg, double seconds)
{
    (void)arg;
    load_latency(seconds);
}

uint64_t
cairn_run(void *self, const struct load *load, uint32_t connection)
{
    struct cairn *cairn = self;
    struct feeder feeder = {
        .endpoint = cairn->pipeline.commands,
        .deadline_ms = DEADLINE_MS,
        .window = load->outstanding / load->connections,
        .batch = load->batch,
        .data_len = LOAD_DATA_LEN,
        .prefix = CAIRN_PREFIX,
        .stream_first = connection,
        .stream_step = load->connections,
        .stream_count = cairn->stream_count / load->connections,
        .versions = cairn->versions,
        .seconds = load->seconds,
        .commits_max = UINT64_MAX,
        .on_latency = on_latency,
    };
    struct err err;

    if (feeder_run(&feeder, &err) < 0)
        bench_die("%s", err.text);
    if (feeder.refused > 0)
        bench_die("%llu commands were not accepted, the last one with code %u",
                  (unsigned long long)feeder.refused, feeder.refused_code);
    return feeder.accepted;
}
