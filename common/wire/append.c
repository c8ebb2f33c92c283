/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/append.h"

#include <errno.h>

#include "wire/array.h"

#define APPEND_FORMAT "vvA(UUuuvv)" CHECK_FORMAT "A(UUUUUUuvvvvvuu)"

#define APPEND_ROWS_MAX                                  \
    (COMMANDS_PER_MESSAGE_MAX + CHECKS_PER_MESSAGE_MAX + \
     ITEMS_PER_MESSAGE_MAX + EVENTS_PER_MESSAGE_MAX)

/* The rows of the format. */
struct command_row {
    struct le64 id_high, id_low;
    struct le32 check_count, event_count;
    struct le16 flags, show;
};

struct event_row {
    struct le64 ids[6]; /* of the event, correlation, causation: high, low */
    struct le32 schema;
    struct le16 stream_len, type_len, content_type_len, tag_count, tags_len;
    struct le32 meta_len, data_len;
};

_Static_assert(sizeof(struct command_row) == 28 &&
                   sizeof(struct event_row) == 70,
               "format");

static struct uuid
uuid_get(const struct le64 *halves)
{
    return uuid_of_halves(le64_get(halves[0]), le64_get(halves[1]));
}

static void
uuid_put(struct le64 *halves, struct uuid id)
{
    halves[0] = le64_of(uuid_high(id));
    halves[1] = le64_of(uuid_low(id));
}

uint64_t
wire_event_text_len(const struct wire_event *e)
{
    return (uint64_t)e->tag_count + e->stream_len + e->type_len +
        e->content_type_len + e->tags_len + e->meta_len + e->data_len;
}

static int
take_commands(struct append_batch *batch, const struct command_row *row,
              uint32_t count)
{
    int rc = array_reserve(&batch->commands, &batch->command_room, count,
                           sizeof *batch->commands);

    if (rc < 0)
        return rc;
    batch->command_count = count;
    for (uint32_t i = 0; i < count; i++, row++)
        batch->commands[i] = (struct wire_command){
            .id = uuid_of_halves(le64_get(row->id_high), le64_get(row->id_low)),
            .check_count = le32_get(row->check_count),
            .event_count = le32_get(row->event_count),
            .flags = le16_get(row->flags),
            .show = le16_get(row->show),
        };
    return 0;
}

static int
take_events(struct append_batch *batch, const struct event_row *row,
            uint32_t count)
{
    int rc = array_reserve(&batch->events, &batch->event_room, count,
                           sizeof *batch->events);

    if (rc < 0)
        return rc;
    batch->event_count = count;
    for (uint32_t i = 0; i < count; i++, row++)
        batch->events[i] = (struct wire_event){
            .id = uuid_get(&row->ids[0]),
            .correlation_id = uuid_get(&row->ids[2]),
            .causation_id = uuid_get(&row->ids[4]),
            .schema = le32_get(row->schema),
            .meta_len = le32_get(row->meta_len),
            .data_len = le32_get(row->data_len),
            .stream_len = le16_get(row->stream_len),
            .type_len = le16_get(row->type_len),
            .content_type_len = le16_get(row->content_type_len),
            .tag_count = le16_get(row->tag_count),
            .tags_len = le16_get(row->tags_len),
        };
    return 0;
}

static int
take_rows(struct append_batch *batch, struct rows_in *in)
{
    const struct rows_head *head = rows_get(in, sizeof *head);
    uint32_t command_count, event_count;
    const struct command_row *commands =
        rows_get_array(in, sizeof *commands, &command_count);
    int rc = check_list_get(&batch->checks, in);
    const struct event_row *events =
        rows_get_array(in, sizeof *events, &event_count);

    if (rc == 0 &&
        (!rows_end(in) || le16_get(head->version) != PROTOCOL_VERSION ||
         le16_get(head->kind) != KIND_APPEND))
        rc = -CAIRN_EMESSAGE;
    if (rc == 0)
        rc = take_commands(batch, commands, command_count);
    return rc < 0 ? rc : take_events(batch, events, event_count);
}

/* Shares checks, events and the bytes of the body out to the commands. */
static int
share_out(struct append_batch *batch, const uint8_t *body, size_t body_len)
{
    struct check_cursor cursor = { 0 };
    uint64_t event = 0, at = 0;

    for (uint32_t i = 0; i < batch->command_count; i++) {
        struct wire_command *c = &batch->commands[i];

        c->checks = batch->checks.checks + cursor.check;
        if (check_list_share(&batch->checks, &cursor, c->check_count, body,
                             body_len, &at) < 0 ||
            c->event_count > batch->event_count - event)
            return -CAIRN_EMESSAGE;
        c->events = batch->events + event;
        for (uint32_t k = 0; k < c->event_count; k++) {
            struct wire_event *w = &batch->events[event++];
            uint64_t len = wire_event_text_len(w);

            if (len > body_len - at)
                return -CAIRN_EMESSAGE;
            w->text = body + at;
            at += len;
        }
    }
    return check_list_shared(&batch->checks, &cursor) &&
            event == batch->event_count && at == body_len
        ? 0
        : -CAIRN_EMESSAGE;
}

int
append_decode(zmq_msg_t *header, zmq_msg_t *body, struct append_batch *batch)
{
    struct rows_in in;
    int rc = rows_open(&in, APPEND_FORMAT, header, APPEND_ROWS_MAX);

    batch->command_count = batch->event_count = 0;
    if (rc == 0)
        rc = take_rows(batch, &in);
    if (rc < 0 && in.too_many)
        return -EMSGSIZE;
    return rc < 0 ? rc
                  : share_out(batch, zmq_msg_data(body), zmq_msg_size(body));
}

void
append_batch_free(struct append_batch *batch)
{
    free(batch->commands);
    check_list_free(&batch->checks);
    free(batch->events);
    *batch = (struct append_batch){ 0 };
}

int
append_builder_add(struct append_builder *b, const struct wire_command *c)
{
    uint64_t len = b->body_len;
    uint8_t *out;
    int rc = array_reserve(&b->commands, &b->command_room,
                           b->command_count + UINT64_C(1), sizeof *b->commands);

    for (uint32_t i = 0; i < c->check_count; i++)
        len += wire_check_text_len(&c->checks[i]);
    for (uint32_t i = 0; i < c->event_count; i++)
        len += wire_event_text_len(&c->events[i]);
    if (rc == 0)
        rc = array_reserve(&b->events, &b->event_room,
                           (uint64_t)b->event_count + c->event_count,
                           sizeof *b->events);
    if (rc == 0)
        rc = bytes_reserve(&b->body, &b->body_room, (size_t)len);
    if (rc == 0)
        rc = check_list_add(&b->checks, c->checks, c->check_count);
    if (rc < 0)
        return rc;
    out = b->body + b->body_len;
    for (uint32_t i = 0; i < c->check_count; i++)
        out = wire_check_put_text(out, &c->checks[i]);
    for (uint32_t i = 0; i < c->event_count; i++) {
        size_t text_len = (size_t)wire_event_text_len(&c->events[i]);

        b->events[b->event_count++] = c->events[i];
        memcpy(out, c->events[i].text, text_len);
        out += text_len;
    }
    b->body_len = (size_t)len;
    b->commands[b->command_count++] = *c;
    return 0;
}

static void
put_events(const struct append_builder *b, struct event_row *row)
{
    for (uint32_t i = 0; i < b->event_count; i++, row++) {
        const struct wire_event *e = &b->events[i];

        uuid_put(&row->ids[0], e->id);
        uuid_put(&row->ids[2], e->correlation_id);
        uuid_put(&row->ids[4], e->causation_id);
        row->schema = le32_of(e->schema);
        row->stream_len = le16_of(e->stream_len);
        row->type_len = le16_of(e->type_len);
        row->content_type_len = le16_of(e->content_type_len);
        row->tag_count = le16_of(e->tag_count);
        row->tags_len = le16_of(e->tags_len);
        row->meta_len = le32_of(e->meta_len);
        row->data_len = le32_of(e->data_len);
    }
}

int
append_builder_finish(struct append_builder *b, struct message *message)
{
    struct rows_out out;
    struct rows_head *head;
    struct command_row *command;
    int rc =
        rows_begin(&out, APPEND_FORMAT,
                   sizeof *head + rows_len(b->command_count, sizeof *command) +
                       check_list_len(&b->checks) +
                       rows_len(b->event_count, sizeof(struct event_row)));

    if (rc == 0) {
        head = rows_put(&out, sizeof *head);
        *head = (struct rows_head){ le16_of(PROTOCOL_VERSION),
                                    le16_of(KIND_APPEND) };
        command = rows_put_array(&out, b->command_count, sizeof *command);
        for (uint32_t i = 0; i < b->command_count; i++)
            command[i] = (struct command_row){
                .id_high = le64_of(uuid_high(b->commands[i].id)),
                .id_low = le64_of(uuid_low(b->commands[i].id)),
                .check_count = le32_of(b->commands[i].check_count),
                .event_count = le32_of(b->commands[i].event_count),
                .flags = le16_of(b->commands[i].flags),
                .show = le16_of(b->commands[i].show),
            };
        check_list_put(&b->checks, &out);
        put_events(
            b, rows_put_array(&out, b->event_count, sizeof(struct event_row)));
        rc = rows_finish(&out, message, b->body, b->body_len);
    }
    append_builder_clear(b);
    return rc;
}

void
append_builder_clear(struct append_builder *b)
{
    check_list_clear(&b->checks);
    b->command_count = b->event_count = 0;
    b->body_len = 0;
}

void
append_builder_free(struct append_builder *b)
{
    free(b->commands);
    check_list_free(&b->checks);
    free(b->events);
    free(b->body);
    *b = (struct append_builder){ 0 };
}
