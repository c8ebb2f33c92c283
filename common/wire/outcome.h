/* SPDX-License-Identifier: MPL-2.0 */
/*
 * outcome - what became of commands.
 *
 *   APPENDED, and OUTCOMES from the writer to the gateway
 *               header  vvA(UUvvuUUUuuuu)A(U)A(uccUU)
 *               body    for each outcome: the detail, then event records as
 *                       they lie in the log
 *
 *     A(UUvvuUUUuuuu)
 *               outcomes: command id (OUTCOMES: the gateway's token for the
 *               command, and 0); enum answer_code; flags; retry_ms;
 *               first and last position; time in microseconds; versions;
 *               verdicts; bytes of detail, of records
 *     A(U)      versions: of each stream of the commit, in the order in which
 *               they first appear in it
 *     A(uccUU)  verdicts: which check, from 0; whether it holds; enum expect;
 *               expected and actual number
 *
 * Decoded arrays lie in the batch and are used again for the next message:
 * after warm-up nothing is allocated.  Texts borrow from the body frame.
 *
 * Errors:   -CAIRN_EMESSAGE, -ENOMEM.
 * Threads:  a batch belongs to one thread.
 */
#ifndef CAIRN_WIRE_OUTCOME_H
#define CAIRN_WIRE_OUTCOME_H

#include <stdbool.h>

#include "base/uuid.h"
#include "wire/protocol.h"
#include "wire/sock.h"

/* How a check of a command came out. */
struct wire_verdict {
    uint32_t check; /* which one, from 0 */
    bool holds;
    uint8_t expect;    /* enum expect, as the command had it */
    uint64_t expected; /* likewise: version, or position */
    uint64_t actual;   /* version of the stream, 0: none; of a condition the
                          newest event that matches, 0: none */
};

struct wire_outcome {
    struct uuid id;
    uint16_t code; /* enum answer_code */
    bool repeated;
    bool dry_run; /* nothing was stored */
    bool more;    /* not all events that caused it are shown */
    uint32_t retry_ms;
    uint64_t first_position, last_position, time_us;
    const uint64_t *versions;
    uint32_t version_count;
    const struct wire_verdict *verdicts; /* of a conflict: failed checks; of
                                            a dry run: every one */
    uint32_t verdict_count;
    const char *detail; /* field and reason; not terminated */
    uint32_t detail_len;
    const uint8_t *records; /* events that caused a conflict, as in the log */
    uint32_t records_len;
};

/* A received APPENDED. */
struct outcome_batch {
    struct wire_outcome *outcomes;
    uint64_t *versions;
    struct wire_verdict *verdicts;
    uint32_t outcome_count, version_count, verdict_count;
    uint32_t outcome_room, version_room, verdict_room;
};

/* Decodes an APPENDED or OUTCOMES, whichever `kind` says it must be. */
int appended_decode(zmq_msg_t *header, zmq_msg_t *body, enum message_kind kind,
                    struct outcome_batch *batch);

void outcome_batch_free(struct outcome_batch *batch);

/* An APPENDED under construction.  Zeroed memory is an empty one. */
struct appended_builder {
    struct wire_outcome *outcomes; /* counts only */
    uint64_t *versions;
    struct wire_verdict *verdicts;
    uint32_t outcome_count, version_count, verdict_count;
    uint32_t outcome_room, version_room, verdict_room;
    uint8_t *body;
    size_t body_len, body_room, shown_len;
};

/*
 * Adds an outcome; copies it.  Records that do not fit into the message any
 * more are left out, which the outcome then says; an outcome whose verdicts
 * do not fit becomes ANSWER_BUSY: only what stored nothing has any.
 */
int appended_builder_add(struct appended_builder *builder,
                         const struct wire_outcome *outcome);

/* Makes header and body frames, and empties the builder. */
int appended_builder_finish(struct appended_builder *builder,
                            enum message_kind kind, struct message *message);

/* Gives every outcome this code, and nothing else but its id. */
void appended_builder_spoil(struct appended_builder *builder,
                            enum answer_code code);
void appended_builder_free(struct appended_builder *builder);

#endif
