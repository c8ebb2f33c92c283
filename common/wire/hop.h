/* SPDX-License-Identifier: MPL-2.0 */
/*
 * hop - between the gateway and the writer, and the writer's doorbell.
 *
 *   HELLO     vvUU      instance of the gateway; its place, the same for all that
 *                       serve one endpoint, one after the other
 *   WELCOME   vvUUUuU   instance of the writer; log id (two halves); longest
 *                       commit in bytes; watermark
 *   SUBMIT    header    vvUA(Uuuuvv)A(cvU)A(vvu)
 *             body      for each command: the text of its checks, zeros up to
 *                       a multiple of 8, and the commit as it will lie in the
 *                       log, but for what the writer stamps (store/record.h)
 *
 *     U         instance of the gateway
 *     A(Uuuuvv) commands: token, checks, bytes of all their text, bytes of
 *               the commit, flags, events of a conflict to show
 *     A(cvU)A(vvu)
 *               checks and items: wire/check.h
 *
 *   OUTCOMES  as in wire/outcome.h
 *   DOORBELL  vvUU      watermark; instance of the writer
 *   FAREWELL  vvUv      instance of the writer; 1 if the outcomes of all that it
 *                       has read of this gateway have gone before, so that what
 *                       has none is not stored.  Sent back when it was read
 *
 * Errors:   -CAIRN_EMESSAGE, -ENOMEM.
 * Threads:  builders and batches belong to one thread.
 */
#ifndef CAIRN_WIRE_HOP_H
#define CAIRN_WIRE_HOP_H

#include "wire/append.h"

struct hello {
    uint64_t gateway, place;
};

struct welcome {
    uint64_t writer;
    struct uuid log_id;
    uint32_t commit_len_max;
    uint64_t watermark;
};

struct doorbell {
    uint64_t watermark, writer;
};

struct farewell {
    uint64_t writer;
    bool complete;
};

int hello_encode(const struct hello *hello, struct message *message);
int hello_decode(zmq_msg_t *header, struct hello *ret_hello);
int welcome_encode(const struct welcome *welcome, struct message *message);
int welcome_decode(zmq_msg_t *header, struct welcome *ret_welcome);
int doorbell_encode(const struct doorbell *doorbell, struct message *message);
int doorbell_decode(zmq_msg_t *header, struct doorbell *ret_doorbell);
int farewell_encode(const struct farewell *farewell, struct message *message);
int farewell_decode(zmq_msg_t *header, struct farewell *ret_farewell);

struct submit_command {
    uint64_t token;
    const struct wire_check *checks;
    uint32_t check_count, texts_len, commit_len;
    uint16_t flags, show; /* as in struct wire_command */
    const uint8_t *commit;
};

/* A received SUBMIT; borrows from the body. */
struct submit_batch {
    uint64_t gateway;
    struct submit_command *commands;
    struct check_list checks;
    uint32_t command_count, command_room;
};

int submit_decode(zmq_msg_t *header, zmq_msg_t *body,
                  struct submit_batch *batch);
void submit_batch_free(struct submit_batch *batch);

/* A SUBMIT under construction.  Zeroed memory is an empty one. */
struct submit_builder {
    struct submit_command *commands;
    struct check_list checks;
    uint32_t command_count, command_room;
    uint8_t *body;
    size_t body_len, body_room;
};

/*
 * Adds a command for `from` and returns where its commit of commit_len bytes,
 * a multiple of 8, has to be written; borrowed until the next call.  Copies
 * what it needs of `from`.
 */
int submit_builder_add(struct submit_builder *builder, uint64_t token,
                       const struct wire_command *from, uint32_t commit_len,
                       uint8_t **ret_commit);

/* Makes header and body frames, and empties the builder. */
int submit_builder_finish(struct submit_builder *builder, uint64_t gateway,
                          struct message *message);
void submit_builder_free(struct submit_builder *builder);

#endif
