/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/hop.h"

#include "base/bytes.h"
#include "wire/array.h"
#include "wire/image.h"

#define HELLO_FORMAT "vvU"
#define WELCOME_FORMAT "vvUUUuU"
#define DOORBELL_FORMAT "vvUU"
#define SUBMIT_FORMAT "vvUA(Uuuu)A(cvU)"

#define COMMIT_UNIT 8u

/* ---- small ones -------------------------------------------------------- */

int
hello_encode(const struct hello *hello, struct message *message)
{
    uint16_t version = PROTOCOL_VERSION, kind = KIND_HELLO;
    uint64_t gateway = hello->gateway;

    return image_pack_small(image_map(HELLO_FORMAT, &version, &kind, &gateway),
                            message);
}

int
hello_decode(zmq_msg_t *header, struct hello *ret_hello)
{
    uint16_t version = 0, kind = 0;
    int rc = image_unpack_small(
        image_map(HELLO_FORMAT, &version, &kind, &ret_hello->gateway),
        HELLO_FORMAT, header);

    return image_check_kind(rc, version, kind, KIND_HELLO);
}

int
welcome_encode(const struct welcome *welcome, struct message *message)
{
    uint16_t version = PROTOCOL_VERSION, kind = KIND_WELCOME;
    struct welcome w = *welcome;
    uint64_t high = uuid_high(w.log_id), low = uuid_low(w.log_id);

    return image_pack_small(image_map(WELCOME_FORMAT, &version, &kind,
                                      &w.writer, &high, &low, &w.commit_len_max,
                                      &w.watermark),
                            message);
}

int
welcome_decode(zmq_msg_t *header, struct welcome *ret_welcome)
{
    uint16_t version = 0, kind = 0;
    uint64_t high = 0, low = 0;
    struct welcome w = { 0 };
    int rc = image_unpack_small(image_map(WELCOME_FORMAT, &version, &kind,
                                          &w.writer, &high, &low,
                                          &w.commit_len_max, &w.watermark),
                                WELCOME_FORMAT, header);

    rc = image_check_kind(rc, version, kind, KIND_WELCOME);
    w.log_id = uuid_of_halves(high, low);
    if (rc == 0)
        *ret_welcome = w;
    return rc;
}

int
doorbell_encode(const struct doorbell *doorbell, struct message *message)
{
    uint16_t version = PROTOCOL_VERSION, kind = KIND_DOORBELL;
    struct doorbell d = *doorbell;

    return image_pack_small(
        image_map(DOORBELL_FORMAT, &version, &kind, &d.watermark, &d.writer),
        message);
}

int
doorbell_decode(zmq_msg_t *header, struct doorbell *ret_doorbell)
{
    uint16_t version = 0, kind = 0;
    struct doorbell d = { 0 };
    int rc = image_unpack_small(
        image_map(DOORBELL_FORMAT, &version, &kind, &d.watermark, &d.writer),
        DOORBELL_FORMAT, header);

    rc = image_check_kind(rc, version, kind, KIND_DOORBELL);
    if (rc == 0)
        *ret_doorbell = d;
    return rc;
}

/* ---- commits ----------------------------------------------------------- */

struct submit_fields {
    uint16_t version, kind;
    uint64_t gateway, token;
    uint32_t check_count, names_len, commit_len;
    int8_t expect;
    uint16_t name_len;
    uint64_t stream_version;
};

static tpl_node *
submit_map(struct submit_fields *f)
{
    return image_map(SUBMIT_FORMAT, &f->version, &f->kind, &f->gateway,
                     &f->token, &f->check_count, &f->names_len, &f->commit_len,
                     &f->expect, &f->name_len, &f->stream_version);
}

static int
unpack_submit(tpl_node *node, struct submit_fields *f,
              struct submit_batch *batch)
{
    int rc = 0;

    batch->command_count = batch->check_count = 0;
    (void)tpl_unpack(node, 0);
    batch->gateway = f->gateway;
    while (rc == 0 && tpl_unpack(node, 1) > 0) {
        rc = array_reserve(&batch->commands, &batch->command_room,
                           batch->command_count + UINT64_C(1),
                           sizeof *batch->commands);
        if (rc == 0)
            batch->commands[batch->command_count++] = (struct submit_command){
                .token = f->token,
                .check_count = f->check_count,
                .names_len = f->names_len,
                .commit_len = f->commit_len,
            };
    }
    while (rc == 0 && tpl_unpack(node, 2) > 0) {
        rc = array_reserve(&batch->checks, &batch->check_room,
                           batch->check_count + UINT64_C(1),
                           sizeof *batch->checks);
        if (rc == 0)
            batch->checks[batch->check_count++] = (struct wire_check){
                .stream_len = f->name_len,
                .expect = (uint8_t)f->expect,
                .version = f->stream_version,
            };
    }
    return rc;
}

static int
share_out(struct submit_batch *batch, const uint8_t *body, size_t body_len)
{
    uint64_t check = 0, at = 0;

    for (uint32_t i = 0; i < batch->command_count; i++) {
        struct submit_command *c = &batch->commands[i];
        uint64_t names = 0, padded = align_up(c->names_len, COMMIT_UNIT);

        if (c->check_count > batch->check_count - check ||
            padded + c->commit_len > body_len - at)
            return -CAIRN_EMESSAGE;
        c->checks = batch->checks + check;
        for (uint32_t k = 0; k < c->check_count; k++) {
            struct wire_check *w = &batch->checks[check++];

            if (names + w->stream_len > c->names_len)
                return -CAIRN_EMESSAGE;
            w->stream = (const char *)body + at + names;
            names += w->stream_len;
        }
        c->commit = body + at + padded;
        at += padded + c->commit_len;
    }
    return check == batch->check_count && at == body_len ? 0 : -CAIRN_EMESSAGE;
}

int
submit_decode(zmq_msg_t *header, zmq_msg_t *body, struct submit_batch *batch)
{
    struct submit_fields f = { 0 };
    tpl_node *node = submit_map(&f);
    int rc = image_load(node, SUBMIT_FORMAT, header,
                        COMMANDS_PER_MESSAGE_MAX + CHECKS_PER_MESSAGE_MAX);

    if (rc == 0)
        rc = unpack_submit(node, &f, batch);
    image_free(node);
    rc = image_check_kind(rc, f.version, f.kind, KIND_SUBMIT);
    if (rc < 0)
        return rc;
    return share_out(batch, zmq_msg_data(body), zmq_msg_size(body));
}

void
submit_batch_free(struct submit_batch *batch)
{
    free(batch->commands);
    free(batch->checks);
    *batch = (struct submit_batch){ 0 };
}

int
submit_builder_add(struct submit_builder *b, uint64_t token,
                   const struct wire_check *checks, uint32_t check_count,
                   uint32_t commit_len, uint8_t **ret_commit)
{
    uint64_t names_len = 0, padded;
    uint8_t *names;
    int rc;

    for (uint32_t i = 0; i < check_count; i++)
        names_len += checks[i].stream_len;
    padded = align_up(names_len, COMMIT_UNIT);
    rc = array_reserve(&b->commands, &b->command_room,
                       b->command_count + UINT64_C(1), sizeof *b->commands);
    if (rc == 0)
        rc = array_reserve(&b->checks, &b->check_room,
                           (uint64_t)b->check_count + check_count,
                           sizeof *b->checks);
    if (rc == 0)
        rc = bytes_reserve(&b->body, &b->body_room,
                           b->body_len + (size_t)padded + commit_len);
    if (rc < 0)
        return rc;
    names = b->body + b->body_len;
    for (uint32_t i = 0; i < check_count; i++) {
        b->checks[b->check_count++] = checks[i];
        memcpy(names, checks[i].stream, checks[i].stream_len);
        names += checks[i].stream_len;
    }
    memset(names, 0, (size_t)(padded - names_len));
    b->commands[b->command_count++] = (struct submit_command){
        .token = token,
        .check_count = check_count,
        .names_len = (uint32_t)names_len,
        .commit_len = commit_len,
    };
    *ret_commit = b->body + b->body_len + padded;
    b->body_len += (size_t)padded + commit_len;
    return 0;
}

static void
pack_submit(tpl_node *node, struct submit_fields *f,
            const struct submit_builder *b)
{
    (void)tpl_pack(node, 0);
    for (uint32_t i = 0; i < b->command_count; i++) {
        f->token = b->commands[i].token;
        f->check_count = b->commands[i].check_count;
        f->names_len = b->commands[i].names_len;
        f->commit_len = b->commands[i].commit_len;
        (void)tpl_pack(node, 1);
    }
    for (uint32_t i = 0; i < b->check_count; i++) {
        f->expect = (int8_t)b->checks[i].expect;
        f->name_len = b->checks[i].stream_len;
        f->stream_version = b->checks[i].version;
        (void)tpl_pack(node, 2);
    }
}

int
submit_builder_finish(struct submit_builder *b, uint64_t gateway,
                      struct message *message)
{
    struct submit_fields f = { .version = PROTOCOL_VERSION,
                               .kind = KIND_SUBMIT,
                               .gateway = gateway };
    tpl_node *node = submit_map(&f);
    zmq_msg_t header;
    int rc;

    pack_submit(node, &f, b);
    rc = image_dump(node, &header);
    image_free(node);
    if (rc == 0) {
        message_move(message, &header);
        rc = message_add(message, b->body, b->body_len);
    }
    b->command_count = b->check_count = 0;
    b->body_len = 0;
    return rc;
}

void
submit_builder_free(struct submit_builder *b)
{
    free(b->commands);
    free(b->checks);
    free(b->body);
    *b = (struct submit_builder){ 0 };
}
