/* SPDX-License-Identifier: MPL-2.0 */
#include "writer/outbox.h"

#include "wire/array.h"

static int
find_part(struct outbox *outbox, zmq_msg_t *routing_id,
          struct outbox_part **ret_part)
{
    size_t len = zmq_msg_size(routing_id);
    struct outbox_part *part;
    uint32_t room = outbox->room;
    int rc;

    for (uint32_t i = 0; i < outbox->count; i++) {
        part = &outbox->parts[i];
        if (part->routing_id_len == len &&
            memcmp(part->routing_id, zmq_msg_data(routing_id), len) == 0) {
            *ret_part = part;
            return 0;
        }
    }
    rc = array_reserve(&outbox->parts, &outbox->room,
                       outbox->count + UINT64_C(1), sizeof *outbox->parts);
    if (rc < 0)
        return rc;
    if (outbox->room > room)
        memset(outbox->parts + room, 0,
               (outbox->room - room) * sizeof *outbox->parts);
    part = &outbox->parts[outbox->count++];
    memcpy(part->routing_id, zmq_msg_data(routing_id), len);
    part->routing_id_len = len;
    *ret_part = part;
    return 0;
}

int
outbox_add(struct outbox *outbox, zmq_msg_t *routing_id,
           const struct wire_outcome *outcome)
{
    struct outbox_part *part;
    int rc = find_part(outbox, routing_id, &part);

    return rc < 0 ? rc : appended_builder_add(&part->builder, outcome);
}

int
outbox_send(struct outbox *outbox, struct sock *sock)
{
    int dropped = 0;

    for (uint32_t i = 0; i < outbox->count; i++) {
        struct outbox_part *part = &outbox->parts[i];
        struct message message = { .count = 0 };
        int rc;

        if (part->builder.outcome_count == 0)
            continue;
        rc = message_add(&message, part->routing_id, part->routing_id_len);
        if (rc == 0)
            rc = appended_builder_finish(&part->builder, KIND_OUTCOMES,
                                         &message);
        if (rc == 0)
            rc = message_send(sock, &message);
        message_clear(&message);
        if (rc == -ENOMEM)
            return rc;
        dropped += rc < 0;
    }
    outbox->count = 0;
    return dropped;
}

void
outbox_spoil(struct outbox *outbox, enum answer_code code)
{
    for (uint32_t i = 0; i < outbox->count; i++)
        appended_builder_spoil(&outbox->parts[i].builder, code);
}

void
outbox_free(struct outbox *outbox)
{
    for (uint32_t i = 0; i < outbox->room; i++)
        appended_builder_free(&outbox->parts[i].builder);
    free(outbox->parts);
    *outbox = (struct outbox){ 0 };
}
