/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/hop.h"

#include "base/bytes.h"
#include "wire/array.h"
#include "wire/image.h"

#define HELLO_FORMAT "vvUU"
#define WELCOME_FORMAT "vvUUUuU"
#define DOORBELL_FORMAT "vvUU"
#define FAREWELL_FORMAT "vvUv"
#define SUBMIT_FORMAT "vvUA(Uuuuvv)" CHECK_FORMAT

#define SUBMIT_ROWS_MAX \
    (COMMANDS_PER_MESSAGE_MAX + CHECKS_PER_MESSAGE_MAX + ITEMS_PER_MESSAGE_MAX)

#define COMMIT_UNIT 8u

/* ---- small ones -------------------------------------------------------- */

int
hello_encode(const struct hello *hello, struct message *message)
{
    uint16_t version = PROTOCOL_VERSION, kind = KIND_HELLO;
    uint64_t gateway = hello->gateway, place = hello->place;

    return image_pack_small(
        image_map(HELLO_FORMAT, &version, &kind, &gateway, &place), message);
}

int
hello_decode(zmq_msg_t *header, struct hello *ret_hello)
{
    uint16_t version = 0, kind = 0;
    int rc =
        image_unpack_small(image_map(HELLO_FORMAT, &version, &kind,
                                     &ret_hello->gateway, &ret_hello->place),
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

int
farewell_encode(const struct farewell *farewell, struct message *message)
{
    uint16_t version = PROTOCOL_VERSION, kind = KIND_FAREWELL;
    uint16_t complete = farewell->complete;
    uint64_t writer = farewell->writer;

    return image_pack_small(
        image_map(FAREWELL_FORMAT, &version, &kind, &writer, &complete),
        message);
}

int
farewell_decode(zmq_msg_t *header, struct farewell *ret_farewell)
{
    uint16_t version = 0, kind = 0, complete = 0;
    uint64_t writer = 0;
    int rc = image_unpack_small(
        image_map(FAREWELL_FORMAT, &version, &kind, &writer, &complete),
        FAREWELL_FORMAT, header);

    rc = image_check_kind(rc, version, kind, KIND_FAREWELL);
    if (rc == 0)
        *ret_farewell = (struct farewell){ writer, complete == 1 };
    return rc;
}

/* ---- commits ----------------------------------------------------------- */

struct submit_head {
    struct rows_head head;
    struct le64 gateway;
};

struct submit_row {
    struct le64 token;
    struct le32 check_count, texts_len, commit_len;
    struct le16 flags, show;
};

_Static_assert(sizeof(struct submit_head) == 12 &&
                   sizeof(struct submit_row) == 24,
               "format");

static int
take_commands(struct submit_batch *batch, const struct submit_row *row,
              uint32_t count)
{
    int rc = array_reserve(&batch->commands, &batch->command_room, count,
                           sizeof *batch->commands);

    if (rc < 0)
        return rc;
    batch->command_count = count;
    for (uint32_t i = 0; i < count; i++, row++)
        batch->commands[i] = (struct submit_command){
            .token = le64_get(row->token),
            .check_count = le32_get(row->check_count),
            .texts_len = le32_get(row->texts_len),
            .commit_len = le32_get(row->commit_len),
            .flags = le16_get(row->flags),
            .show = le16_get(row->show),
        };
    return 0;
}

static int
share_out(struct submit_batch *batch, const uint8_t *body, size_t body_len)
{
    struct check_cursor cursor = { 0 };
    uint64_t at = 0;

    for (uint32_t i = 0; i < batch->command_count; i++) {
        struct submit_command *c = &batch->commands[i];
        uint64_t start = at, padded = align_up(c->texts_len, COMMIT_UNIT);

        if (padded + c->commit_len > body_len - at)
            return -CAIRN_EMESSAGE;
        c->checks = batch->checks.checks + cursor.check;
        if (check_list_share(&batch->checks, &cursor, c->check_count, body,
                             start + c->texts_len, &at) < 0 ||
            at != start + c->texts_len)
            return -CAIRN_EMESSAGE;
        c->commit = body + start + padded;
        at = start + padded + c->commit_len;
    }
    return check_list_shared(&batch->checks, &cursor) && at == body_len
        ? 0
        : -CAIRN_EMESSAGE;
}

int
submit_decode(zmq_msg_t *header, zmq_msg_t *body, struct submit_batch *batch)
{
    const struct submit_head *head;
    const struct submit_row *row;
    struct rows_in in;
    uint32_t count;
    int rc = rows_open(&in, SUBMIT_FORMAT, header, SUBMIT_ROWS_MAX);

    batch->command_count = 0;
    head = rows_get(&in, sizeof *head);
    row = rows_get_array(&in, sizeof *row, &count);
    if (rc == 0)
        rc = check_list_get(&batch->checks, &in);
    if (rc == 0 &&
        (!rows_end(&in) || le16_get(head->head.version) != PROTOCOL_VERSION ||
         le16_get(head->head.kind) != KIND_SUBMIT))
        rc = -CAIRN_EMESSAGE;
    if (rc == 0)
        rc = take_commands(batch, row, count);
    if (rc < 0)
        return rc;
    batch->gateway = le64_get(head->gateway);
    return share_out(batch, zmq_msg_data(body), zmq_msg_size(body));
}

void
submit_batch_free(struct submit_batch *batch)
{
    free(batch->commands);
    check_list_free(&batch->checks);
    *batch = (struct submit_batch){ 0 };
}

int
submit_builder_add(struct submit_builder *b, uint64_t token,
                   const struct wire_command *from, uint32_t commit_len,
                   uint8_t **ret_commit)
{
    uint64_t texts_len = 0, padded;
    uint8_t *out;
    int rc;

    for (uint32_t i = 0; i < from->check_count; i++)
        texts_len += wire_check_text_len(&from->checks[i]);
    padded = align_up(texts_len, COMMIT_UNIT);
    rc = array_reserve(&b->commands, &b->command_room,
                       b->command_count + UINT64_C(1), sizeof *b->commands);
    if (rc == 0)
        rc = bytes_reserve(&b->body, &b->body_room,
                           b->body_len + (size_t)padded + commit_len);
    if (rc == 0)
        rc = check_list_add(&b->checks, from->checks, from->check_count);
    if (rc < 0)
        return rc;
    out = b->body + b->body_len;
    for (uint32_t i = 0; i < from->check_count; i++)
        out = wire_check_put_text(out, &from->checks[i]);
    memset(out, 0, (size_t)(padded - texts_len));
    b->commands[b->command_count++] = (struct submit_command){
        .token = token,
        .check_count = from->check_count,
        .texts_len = (uint32_t)texts_len,
        .commit_len = commit_len,
        .flags = from->flags,
        .show = from->show,
    };
    *ret_commit = b->body + b->body_len + padded;
    b->body_len += (size_t)padded + commit_len;
    return 0;
}

int
submit_builder_finish(struct submit_builder *b, uint64_t gateway,
                      struct message *message)
{
    struct rows_out out;
    struct submit_head *head;
    struct submit_row *row;
    int rc = rows_begin(&out, SUBMIT_FORMAT,
                        sizeof *head + rows_len(b->command_count, sizeof *row) +
                            check_list_len(&b->checks));

    if (rc == 0) {
        head = rows_put(&out, sizeof *head);
        *head = (struct submit_head){ { le16_of(PROTOCOL_VERSION),
                                        le16_of(KIND_SUBMIT) },
                                      le64_of(gateway) };
        row = rows_put_array(&out, b->command_count, sizeof *row);
        for (uint32_t i = 0; i < b->command_count; i++)
            row[i] = (struct submit_row){
                .token = le64_of(b->commands[i].token),
                .check_count = le32_of(b->commands[i].check_count),
                .texts_len = le32_of(b->commands[i].texts_len),
                .commit_len = le32_of(b->commands[i].commit_len),
                .flags = le16_of(b->commands[i].flags),
                .show = le16_of(b->commands[i].show),
            };
        check_list_put(&b->checks, &out);
        rc = rows_finish(&out, message, b->body, b->body_len);
    }
    check_list_clear(&b->checks);
    b->command_count = 0;
    b->body_len = 0;
    return rc;
}

void
submit_builder_free(struct submit_builder *b)
{
    free(b->commands);
    check_list_free(&b->checks);
    free(b->body);
    *b = (struct submit_builder){ 0 };
}
