/* SPDX-License-Identifier: MPL-2.0 */
/*
 * outbox - outcomes that wait for their group, sorted by gateway, so that
 * each gateway gets one message per group.
 *
 * Threads: one.
 */
#ifndef CAIRN_WRITER_OUTBOX_H
#define CAIRN_WRITER_OUTBOX_H

#include "wire/append.h"

#define ROUTING_ID_MAX 255

/* The outcomes for one gateway. */
struct outbox_part {
    uint8_t routing_id[ROUTING_ID_MAX];
    size_t routing_id_len;
    struct appended_builder builder;
};

struct outbox {
    struct outbox_part *parts; /* kept for the next group */
    uint32_t count, room;
};

/* Adds an outcome for a gateway; copies it. */
int outbox_add(struct outbox *outbox, zmq_msg_t *routing_id,
               const struct wire_outcome *outcome);

/*
 * Sends everything and empties the outbox.  What a gateway that has gone
 * cannot take is dropped: its clients ask again.  Returns how many messages
 * were dropped, or -ENOMEM.
 */
int outbox_send(struct outbox *outbox, struct sock *sock);

/* Turns every outcome into another, without versions and positions. */
void outbox_spoil(struct outbox *outbox, enum answer_code code);

void outbox_free(struct outbox *outbox);

#endif
