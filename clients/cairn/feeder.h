/* SPDX-License-Identifier: MPL-2.0 */
/*
 * feeder - appends that measure: made-up events with expected versions over
 * one connection, so many outstanding, until a time or a number is reached.
 *
 * Several feeders may run at once, each in a thread of its own, if no two of
 * them share a stream.
 */
#ifndef CAIRN_CLIENTS_FEEDER_H
#define CAIRN_CLIENTS_FEEDER_H

#include <stdbool.h>
#include <stdint.h>

#include "c/peer.h"

#define FEEDER_BATCH_MAX 1024u
#define FEEDER_DATA_MAX (UINT32_C(1) << 20)
#define FEEDER_WINDOW_MAX 16384u
#define FEEDER_STREAMS_MAX 10000000u /* seven digits */
#define FEEDER_PREFIX_MAX 64u

struct feeder {
    const char *endpoint;
    const struct peer_keys *keys; /* for tcp; NULL: none */
    uint32_t deadline_ms;         /* of one command */
    uint32_t window;              /* commands outstanding */
    uint32_t batch;               /* events in a command, all to one stream */
    uint32_t data_len;            /* of each event */
    const char *prefix;           /* the streams are PREFIX-0000000 and so on */
    /* Goes round among stream_count streams, each first + n * step, in an
     * order that jumps about. */
    uint32_t stream_first, stream_step, stream_count;
    uint64_t *versions; /* by number of the stream; kept up to date */
    double seconds;
    uint64_t commits_max;
    bool (*stopped)(void); /* ends it when true; may be NULL */
    void (*on_latency)(void *arg, double seconds); /* of an answer */
    void *arg;

    uint64_t accepted, refused; /* results */
    uint16_t refused_code;      /* enum answer_code of the last one */
};

/* Runs it to its end; -ENOMEM, or what append_client_open() says. */
int feeder_run(struct feeder *feeder, struct err *err);

#endif
