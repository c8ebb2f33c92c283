/* SPDX-License-Identifier: MPL-2.0 */
/*
 * writer - the process that alone appends to the log.
 *
 * It takes commits from gateways, decides them one after the other in memory,
 * and makes groups of them durable, one sync each.  While a group is being
 * synced in a thread of its own, the next is put together.  Outcomes leave
 * after the sync of the group that they hang on, one message per gateway.
 */
#ifndef CAIRN_WRITER_WRITER_H
#define CAIRN_WRITER_WRITER_H

#include "base/daemon.h"
#include "base/worker.h"
#include "store/appender.h"
#include "wire/hop.h"
#include "wire/ready.h"
#include "writer/fence.h"
#include "writer/outbox.h"
#include "writer/request.h"

extern const struct conf_key writer_keys[];

/* Commands that are looked at together before they are decided, twice; the
 * hints of three times as many are in use. */
#define LOOK_TOGETHER 8u
#define HINTS (4 * LOOK_TOGETHER) /* a power of two */

struct writer {
    struct daemon *daemon;
    bool accept_tail_loss;
    struct appender_options options;
    struct appender *appender;
    uint64_t instance; /* random: tells one life of the writer from another */
    struct sock commands; /* ROUTER, private */
    struct fence fence;   /* whose commands count */
    struct ready ready;   /* commands; paused: no room, nothing is read */
    struct sock doorbell; /* PUB */
    struct worker *syncer;
    struct worker *keeper;  /* does jobs */
    enum appender_job job;  /* that the keeper is doing */
    struct message message; /* the one that is being worked through */
    struct submit_batch batch;
    struct request_memory request; /* of the command that is being decided */
    uint32_t next_command;         /* of the batch */
    uint64_t time_us;              /* when its commands are decided */
    uint32_t looked_ahead, looked_closer; /* commands that were looked at */
    struct append_hint hints[HINTS];      /* of command n at n % HINTS */
    bool failed;                          /* nothing is acknowledged any more */
    bool dropped;                         /* some outcome never left */
    struct outbox now;                    /* outcomes that hang on no group */
    struct outbox boxes[2];               /* by group number modulo 2 */
    bool overlap;              /* the next group is synced beside the loop */
    uint64_t sync_began_ms;    /* 0: no sync is running */
    uint64_t next_progress_ms; /* of a start */
    bool no_space_logged;
    struct log_limit odd_messages;
};

int writer_start(void *self, struct daemon *daemon, struct err *err);
void writer_stop(void *self, struct daemon *daemon);
void writer_status(void *self, char *text, size_t len);
bool writer_healthy(void *self);

#endif
