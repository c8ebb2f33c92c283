/* SPDX-License-Identifier: MPL-2.0 */
/*
 * projector - one process per projection: takes events in order, runs the
 * statements of the projection, and keeps its checkpoint in the same
 * transaction as its rows.
 *
 * Transactions grow with the lag: one group when it is live, up to batch.max
 * positions when it is behind.  An event that cannot be applied stops the
 * projection, not the process: what lies before it is kept, and the control
 * endpoint tells its position and the reason.
 */
#ifndef CAIRN_PROJECTOR_PROJECTOR_H
#define CAIRN_PROJECTOR_PROJECTOR_H

#include "base/daemon.h"
#include "projector/model.h"
#include "projector/source.h"
#include "wire/front.h"
#include "wire/hop.h"
#include "wire/intake.h"
#include "wire/projection.h"

extern const struct conf_key projector_keys[];

/* Somebody who waits for the checkpoint to reach a position. */
struct waiter {
    uint8_t routing_id[ROUTING_ID_LEN];
    bool delimiter;
    uint64_t request, position, deadline_ms;
};

#define WAITERS_MAX 1024u

struct projector {
    struct daemon *daemon;
    const struct conf *conf;
    struct definition definition;
    struct source *source; /* NULL: not there yet */
    struct model *model;   /* NULL: not open */
    struct sock control;   /* ROUTER */
    struct sock doorbell;  /* SUB; only for the mapped log */
    uint64_t instance;     /* of this life of ours */
    uint32_t batch_max;
    enum projection_state state;
    struct err reason;       /* why it waits or has failed */
    uint64_t position;       /* taken in, if not all of it written down yet */
    struct source_mark mark; /* of it */
    bool checked;            /* the log has the event that was taken in there */
    uint64_t stop_before; /* the position of an event that cannot be applied */
    uint64_t watermark, events, transactions, time_us;
    bool more_scheduled; /* a timer will call at once */
    uint64_t retry_ms;   /* not before */
    uint64_t told_ms;    /* the reason was logged */
    struct waiter *waiters;
    uint32_t waiter_count;
};

int projector_start(void *self, struct daemon *daemon, struct err *err);
void projector_stop(void *self, struct daemon *daemon);
void projector_status(void *self, char *text, size_t len);

#endif
