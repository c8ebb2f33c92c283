/* SPDX-License-Identifier: MPL-2.0 */
/*
 * append - commands to the gateway, and their outcomes.
 *
 *   APPEND      header  vvA(UUuu)A(cvU)A(UUUUUUuvvvvvuu)
 *               body    for each command: the names of the streams that it
 *                       checks, then the text of each event
 *
 *     A(UUuu)   commands: command id (first 8 bytes, last 8, big-endian),
 *               checks, events
 *     A(cvU)    checks: enum expect, bytes of the stream's name, version
 *     A(UUUUUUuvvvvvuu)
 *               events: id, correlation id, causation id; schema; bytes of
 *               stream, type and content type; tags; bytes of all tags;
 *               bytes of meta and data.  An id of zeros: none given
 *
 *     text of an event: a byte with the length of each tag; stream, type,
 *               content type, tags, meta, data, one behind the other
 *
 *   APPENDED, and OUTCOMES from the writer to the gateway
 *               header  vvA(UUvvuUUUuuu)A(U)A(uU)
 *               body    the detail texts
 *
 *     A(UUvvuUUUuuu)
 *               outcomes: command id (OUTCOMES: the gateway's token for the
 *               command, and 0); enum answer_code; flags; retry_ms;
 *               first and last position; time in microseconds; versions;
 *               failures; bytes of detail
 *     A(U)      versions: of each stream of the commit, in the order in which
 *               they first appear in it
 *     A(uU)     failures: which check, from 0; the actual version
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
#include "wire/protocol.h"
#include "wire/sock.h"

struct wire_check {
    const char *stream;
    uint16_t stream_len;
    uint8_t expect;
    uint64_t version;
};

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
};

/* A received APPEND. */
struct append_batch {
    struct wire_command *commands;
    struct wire_check *checks;
    struct wire_event *events;
    uint32_t command_count, check_count, event_count;
    uint32_t command_room, check_room, event_room;
};

/* Bytes of the text of an event. */
uint64_t wire_event_text_len(const struct wire_event *event);

/*
 * Decodes header and body; the batch borrows from the body.  Every length
 * lies inside the body and all of it is used; nothing else is judged here.
 */
int append_decode(zmq_msg_t *header, zmq_msg_t *body,
                  struct append_batch *batch);

void append_batch_free(struct append_batch *batch);

/* An APPEND under construction.  Zeroed memory is an empty one. */
struct append_builder {
    struct wire_command *commands; /* ids and counts only */
    struct wire_check *checks;
    struct wire_event *events;
    uint32_t command_count, check_count, event_count;
    uint32_t command_room, check_room, event_room;
    uint8_t *body;
    size_t body_len, body_room;
};

/* Adds one command; copies everything. */
int append_builder_add(struct append_builder *builder,
                       const struct wire_command *command);

/* Makes header and body frames, and empties the builder. */
int append_builder_finish(struct append_builder *builder,
                          struct message *message);

void append_builder_free(struct append_builder *builder);

/* ---- outcomes ---------------------------------------------------------- */

struct wire_failure {
    uint32_t check;
    uint64_t actual;
};

struct wire_outcome {
    struct uuid id;
    uint16_t code; /* enum answer_code */
    bool repeated;
    uint32_t retry_ms;
    uint64_t first_position, last_position, time_us;
    const uint64_t *versions;
    uint32_t version_count;
    const struct wire_failure *failures;
    uint32_t failure_count;
    const char *detail; /* field and reason; not terminated */
    uint32_t detail_len;
};

/* A received APPENDED. */
struct outcome_batch {
    struct wire_outcome *outcomes;
    uint64_t *versions;
    struct wire_failure *failures;
    uint32_t outcome_count, version_count, failure_count;
    uint32_t outcome_room, version_room, failure_room;
};

/* Decodes an APPENDED or OUTCOMES, whichever `kind` says it must be. */
int appended_decode(zmq_msg_t *header, zmq_msg_t *body, enum message_kind kind,
                    struct outcome_batch *batch);

void outcome_batch_free(struct outcome_batch *batch);

/* An APPENDED under construction.  Zeroed memory is an empty one. */
struct appended_builder {
    struct wire_outcome *outcomes; /* counts only */
    uint64_t *versions;
    struct wire_failure *failures;
    uint32_t outcome_count, version_count, failure_count;
    uint32_t outcome_room, version_room, failure_room;
    uint8_t *body;
    size_t body_len, body_room;
};

int appended_builder_add(struct appended_builder *builder,
                         const struct wire_outcome *outcome);
int appended_builder_finish(struct appended_builder *builder,
                            enum message_kind kind, struct message *message);
void appended_builder_free(struct appended_builder *builder);

#endif
