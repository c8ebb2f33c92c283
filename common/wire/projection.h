/* SPDX-License-Identifier: MPL-2.0 */
/*
 * projection - what one says to a projector, and what it says.
 *
 *   PROJECTION  vvUcUu           request; enum projection_op; position;
 *                                how long to wait, in ms
 *   PROJECTED   vvUvvUUUUU       request; enum answer_code; enum
 *                                projection_state; checkpoint; watermark;
 *                                events and transactions since it started;
 *                                time of the last event, in microseconds
 *               + frame          name of the projection
 *               + frame          text: what it waits for, or what went wrong
 *
 * Errors:   -CAIRN_EMESSAGE, -ENOMEM.
 * Threads:  no state.
 */
#ifndef CAIRN_WIRE_PROJECTION_H
#define CAIRN_WIRE_PROJECTION_H

#include "wire/protocol.h"
#include "wire/sock.h"

enum projection_op {
    PROJECTION_INFO = 0,
    PROJECTION_WAIT = 1,  /* answer when the checkpoint reaches `position` */
    PROJECTION_RESET = 2, /* drop the read model and begin at position 1 */
};

enum projection_state {
    PROJECTION_WAITING = 0, /* for its source */
    PROJECTION_CATCHING_UP = 1,
    PROJECTION_LIVE = 2,
    PROJECTION_FAILED = 3, /* an event could not be applied */
};

const char *projection_state_name(uint16_t state);

struct projection_request {
    uint64_t request, position;
    uint8_t op;
    uint32_t wait_ms;
};

struct projection_answer {
    uint64_t request;
    uint16_t code, state;
    uint64_t checkpoint, watermark, events, transactions, time_us;
};

int projection_encode(const struct projection_request *request,
                      struct message *message);
int projection_decode(zmq_msg_t *header,
                      struct projection_request *ret_request);
int projected_encode(const struct projection_answer *answer, const char *name,
                     const char *text, struct message *message);
int projected_decode(zmq_msg_t *header, struct projection_answer *ret_answer);

#endif
