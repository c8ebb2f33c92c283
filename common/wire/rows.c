/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/rows.h"

#include <assert.h>
#include <string.h>

#include "base/err.h"

/* What is in front of the format. */
struct image_head {
    uint8_t magic[3], flags;
    struct le32 len;
};

_Static_assert(sizeof(struct image_head) == 8, "format");

int
rows_open(struct rows_in *in, const char *format, zmq_msg_t *frame,
          uint32_t row_max)
{
    const struct image_head *head = zmq_msg_data(frame);
    size_t len = zmq_msg_size(frame), format_len = strlen(format) + 1;

    *in = (struct rows_in){ .failed = true };
    if (len < sizeof *head + format_len || memcmp(head->magic, "tpl", 3) != 0 ||
        head->flags != 0 || le32_get(head->len) != len ||
        memcmp(head + 1, format, format_len) != 0)
        return -CAIRN_EMESSAGE;
    *in = (struct rows_in){
        .p = (const uint8_t *)(head + 1) + format_len,
        .left = len - sizeof *head - format_len,
        .budget = row_max,
    };
    return 0;
}

const void *
rows_get(struct rows_in *in, size_t len)
{
    const uint8_t *p = in->p;

    if (in->failed || len > in->left) {
        in->failed = true;
        return NULL;
    }
    in->p += len;
    in->left -= len;
    return p;
}

const void *
rows_get_array(struct rows_in *in, size_t row_len, uint32_t *ret_count)
{
    const struct le32 *head = rows_get(in, sizeof *head);
    uint32_t count = head == NULL ? 0 : le32_get(*head);

    *ret_count = 0;
    if (count > in->budget || count > in->left / row_len) {
        in->failed = true;
        in->too_many = count <= in->left / row_len;
        return NULL;
    }
    in->budget -= count;
    *ret_count = count;
    return rows_get(in, count * row_len);
}

bool
rows_end(const struct rows_in *in)
{
    return !in->failed && in->left == 0;
}

int
rows_begin(struct rows_out *out, const char *format, size_t len)
{
    size_t format_len = strlen(format) + 1;
    size_t total = sizeof(struct image_head) + format_len + len;
    struct image_head *head;

    if (total > UINT32_MAX || zmq_msg_init_size(&out->frame, total) != 0)
        return -ENOMEM;
    head = zmq_msg_data(&out->frame);
    *head = (struct image_head){ .magic = { 't', 'p', 'l' },
                                 .len = le32_of((uint32_t)total) };
    memcpy(head + 1, format, format_len);
    out->p = (uint8_t *)(head + 1) + format_len;
    out->end = out->p + len;
    return 0;
}

void *
rows_put(struct rows_out *out, size_t len)
{
    uint8_t *p = out->p;

    assert(len <= (size_t)(out->end - p));
    out->p += len;
    return p;
}

void *
rows_put_array(struct rows_out *out, uint32_t count, size_t row_len)
{
    struct le32 *head = rows_put(out, sizeof *head);

    *head = le32_of(count);
    return rows_put(out, count * row_len);
}

int
rows_finish(struct rows_out *out, struct message *message, const uint8_t *body,
            size_t body_len)
{
    assert(out->p == out->end);
    message_move(message, &out->frame);
    return message_add(message, body, body_len);
}
