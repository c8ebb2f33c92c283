/* SPDX-License-Identifier: MPL-2.0 */
/*
 * gateway - the process that faces clients: it takes commands, checks every
 * field and limit, hands them to the writer, and gives the outcomes back.
 *
 * It owns nothing on disk and may be restarted at any time.  All commands of
 * one turn of its loop go to the writer as one message, and all outcomes of
 * one message of the writer go to each client as one message.
 */
#ifndef CAIRN_GATEWAY_GATEWAY_H
#define CAIRN_GATEWAY_GATEWAY_H

#include "base/daemon.h"
#include "gateway/clients.h"
#include "gateway/commands.h"
#include "wire/door.h"
#include "wire/hop.h"
#include "wire/ready.h"

extern const struct conf_key gateway_keys[];

struct gateway {
    struct daemon *daemon;
    struct command_limits limits;
    uint16_t show_max; /* events shown with a conflict */
    uint32_t streams_max;
    uint64_t instance;
    struct door door;          /* public */
    struct sock back;          /* DEALER to the writer */
    struct ready ready;        /* front and back */
    zactor_t *monitor;         /* says when the writer comes and goes */
    bool connected;            /* to the writer's socket */
    struct welcome writer;     /* what it said; .writer is 0 before that */
    uint64_t waiting_since_ms; /* for the writer; 0: it is there */
    struct clients clients;
    struct append_batch batch;
    struct submit_builder submit;
    struct outcome_batch outcomes;
    uint64_t last_position; /* the highest that it has heard of */
    uint64_t commands;      /* counted for status */
    struct log_limit odd_messages;
};

int gateway_start(void *self, struct daemon *daemon, struct err *err);
void gateway_stop(void *self, struct daemon *daemon);
void gateway_reload(void *self);
void gateway_status(void *self, char *text, size_t len);

#endif
