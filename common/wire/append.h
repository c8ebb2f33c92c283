/* SPDX-License-Identifier: MPL-2.0 */
/*
 * append - commands to the gateway; what becomes of them is wire/outcome.h.
 *
 *   APPEND      header  vvA(UUuuvv)A(cvU)A(vvu)A(UUUUUUuvvvvvuu)
 *               body    for each command: the text of each check, then the
 *                       text of each event
 *
 *     A(UUuuvv) commands: command id (first 8 bytes, last 8, big-endian),
 *               checks, events, flags, events of a conflict to show
 *     A(cvU)A(vvu)
 *               checks and the items of their conditions: wire/check.h
 *     A(UUUUUUuvvvvvuu)
 *               events: id, correlation id, causation id; schema; bytes of
 *               stream, type and content type; tags; bytes of all tags;
 *               bytes of meta and data.  An id of zeros: none given
 *
 *     text of an event: a byte with the length of each tag; stream, type,
 *               content type, tags, meta, data, one behind the other
 *
 * Decoded arrays lie in the batch and are used again for the next message:
 * after warm-up nothing is allocated.  Texts borrow from the body frame.
 *
 * Errors:   -CAIRN_EMESSAGE, -ENOMEM.
 * Threads:  a batch belongs to one thread.
 */
#ifndef CAIRN_WIRE_APPEND_H
#define CAIRN_WIRE_APPEND_H

#include <stdbool.h>

#include "base/uuid.h"
#include "wire/check.h"
#include "wire/outcome.h"

struct wire_event {
    struct uuid id, correlation_id, causation_id;
    uint32_t schema, meta_len, data_len;
    uint16_t stream_len, type_len, content_type_len, tag_count, tags_len;
    const uint8_t *text; /* tag lengths, names, tags, meta, data */
};

struct wire_command {
    struct uuid id;
    const struct wire_check *checks;
    uint32_t check_count;
    const struct wire_event *events;
    uint32_t event_count;
    uint16_t flags; /* COMMAND_FLAG_... */
    uint16_t show;  /* so many events of a conflict at most */
};

/* A received APPEND. */
struct append_batch {
    struct wire_command *commands;
    struct check_list checks;
    struct wire_event *events;
    uint32_t command_count, event_count;
    uint32_t command_room, event_room;
};

/* Bytes of the text of an event. */
uint64_t wire_event_text_len(const struct wire_event *event);

/*
 * Decodes header and body; the batch borrows from the body.  Every length
 * lies inside the body and all of it is used; nothing else is judged here.
 * -EMSGSIZE: there is more of something in it than a message may have.
 */
int append_decode(zmq_msg_t *header, zmq_msg_t *body,
                  struct append_batch *batch);

void append_batch_free(struct append_batch *batch);

/* An APPEND under construction.  Zeroed memory is an empty one. */
struct append_builder {
    struct wire_command *commands; /* numbers only */
    struct check_list checks;
    struct wire_event *events;
    uint32_t command_count, event_count;
    uint32_t command_room, event_room;
    uint8_t *body;
    size_t body_len, body_room;
};

/* Adds one command; copies everything. */
int append_builder_add(struct append_builder *builder,
                       const struct wire_command *command);

/* Makes header and body frames, and empties the builder. */
int append_builder_finish(struct append_builder *builder,
                          struct message *message);

/* Drops what was added, but keeps the memory. */
void append_builder_clear(struct append_builder *builder);

void append_builder_free(struct append_builder *builder);

#endif
