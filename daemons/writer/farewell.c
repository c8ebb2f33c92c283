/* SPDX-License-Identifier: MPL-2.0 */
#include "writer/farewell.h"

#include "base/log.h"

#define MESSAGES_PER_TURN 256 /* between looks at the clock */

/* Returns whether the gateway is there. */
static bool
say(struct sock *sock, const uint8_t *routing_id,
    const struct farewell *farewell)
{
    struct message message = { .count = 0 };
    int rc = message_add(&message, routing_id, ROUTING_ID_LEN);

    if (rc == 0)
        rc = farewell_encode(farewell, &message);
    if (rc == 0)
        rc = message_send(sock, &message);
    message_clear(&message);
    return rc == 0;
}

static bool
is_answer(struct message *message, const struct farewell *farewell)
{
    struct farewell said;

    return message->count == 2 &&
        farewell_decode(&message->frames[1], &said) == 0 &&
        said.writer == farewell->writer;
}

/* Takes in what there is; returns how many gateways have answered. */
static uint32_t
take_answers(struct sock *sock, const struct fence *fence,
             const struct farewell *farewell)
{
    struct message message;
    uint32_t count = 0;

    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        int rc = message_receive(sock, &message);

        if (rc == 0)
            break;
        if (rc > 0 && is_answer(&message, farewell))
            count += fence_counts(fence, message_data(&message, 0),
                                  message_len(&message, 0));
        message_clear(&message);
    }
    return count;
}

void
farewell_say(struct sock *sock, const struct fence *fence,
             const struct farewell *farewell, uint32_t wait_ms)
{
    uint64_t deadline = clock_ms() + wait_ms, now;
    uint32_t open = 0;

    for (uint32_t i = 0; i < fence->count; i++)
        open += say(sock, fence->places[i].routing_id, farewell);
    while (open > 0 && (now = clock_ms()) < deadline) {
        zmq_pollitem_t item = { .socket = sock->handle, .events = ZMQ_POLLIN };
        uint32_t answered;

        (void)zmq_poll(&item, 1, (long)(deadline - now));
        answered = take_answers(sock, fence, farewell);
        open -= answered < open ? answered : open;
    }
    if (open > 0)
        log_warn("%u gateways did not take in their last outcomes in %u ms; "
                 "clients will ask again",
                 open, wait_ms);
}
