/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/append.h"

#include "wire/array.h"
#include "wire/image.h"

#define APPEND_FORMAT "vvA(UUuuvv)" CHECK_FORMAT "A(UUUUUUuvvvvvuu)"

#define APPEND_ELEMENTS_MAX                              \
    (COMMANDS_PER_MESSAGE_MAX + CHECKS_PER_MESSAGE_MAX + \
     ITEMS_PER_MESSAGE_MAX + EVENTS_PER_MESSAGE_MAX)

/* Arrays of the format, as tpl counts them. */
enum { ARRAY_COMMANDS = 1, ARRAY_CHECKS = 2, ARRAY_EVENTS = 4 };

/* The fields of an APPEND, where tpl packs them from and unpacks them to. */
struct append_fields {
    uint16_t version, kind;
    uint64_t id_high, id_low;
    uint32_t check_count, event_count;
    uint16_t flags, show;
    struct check_fields check;
    uint64_t ids[6];
    uint32_t schema, meta_len, data_len;
    uint16_t stream_len, type_len, content_type_len, tag_count, tags_len;
};

static tpl_node *
append_map(struct append_fields *f)
{
    return image_map(
        APPEND_FORMAT, &f->version, &f->kind, &f->id_high, &f->id_low,
        &f->check_count, &f->event_count, &f->flags, &f->show, &f->check.expect,
        &f->check.len, &f->check.number, &f->check.type_count,
        &f->check.tag_count, &f->check.names_len, &f->ids[0], &f->ids[1],
        &f->ids[2], &f->ids[3], &f->ids[4], &f->ids[5], &f->schema,
        &f->stream_len, &f->type_len, &f->content_type_len, &f->tag_count,
        &f->tags_len, &f->meta_len, &f->data_len);
}

uint64_t
wire_event_text_len(const struct wire_event *e)
{
    return (uint64_t)e->tag_count + e->stream_len + e->type_len +
        e->content_type_len + e->tags_len + e->meta_len + e->data_len;
}

static int
unpack_append(tpl_node *node, struct append_fields *f,
              struct append_batch *batch)
{
    int rc = 0;

    batch->command_count = batch->event_count = 0;
    (void)tpl_unpack(node, 0);
    while (rc == 0 && tpl_unpack(node, ARRAY_COMMANDS) > 0) {
        rc = array_reserve(&batch->commands, &batch->command_room,
                           batch->command_count + UINT64_C(1),
                           sizeof *batch->commands);
        if (rc == 0)
            batch->commands[batch->command_count++] = (struct wire_command){
                .id = uuid_of_halves(f->id_high, f->id_low),
                .check_count = f->check_count,
                .event_count = f->event_count,
                .flags = f->flags,
                .show = f->show,
            };
    }
    if (rc == 0)
        rc = check_list_unpack(&batch->checks, node, ARRAY_CHECKS, &f->check);
    while (rc == 0 && tpl_unpack(node, ARRAY_EVENTS) > 0) {
        rc = array_reserve(&batch->events, &batch->event_room,
                           batch->event_count + UINT64_C(1),
                           sizeof *batch->events);
        if (rc == 0)
            batch->events[batch->event_count++] = (struct wire_event){
                .id = uuid_of_halves(f->ids[0], f->ids[1]),
                .correlation_id = uuid_of_halves(f->ids[2], f->ids[3]),
                .causation_id = uuid_of_halves(f->ids[4], f->ids[5]),
                .schema = f->schema,
                .meta_len = f->meta_len,
                .data_len = f->data_len,
                .stream_len = f->stream_len,
                .type_len = f->type_len,
                .content_type_len = f->content_type_len,
                .tag_count = f->tag_count,
                .tags_len = f->tags_len,
            };
    }
    return rc;
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
    struct append_fields f = { 0 };
    tpl_node *node = append_map(&f);
    int rc = image_load(node, APPEND_FORMAT, header, APPEND_ELEMENTS_MAX);

    if (rc == 0)
        rc = unpack_append(node, &f, batch);
    image_free(node);
    if (rc < 0)
        return rc;
    if (f.version != PROTOCOL_VERSION || f.kind != KIND_APPEND)
        return -CAIRN_EMESSAGE;
    return share_out(batch, zmq_msg_data(body), zmq_msg_size(body));
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
pack_append(tpl_node *node, struct append_fields *f,
            const struct append_builder *b)
{
    (void)tpl_pack(node, 0);
    for (uint32_t i = 0; i < b->command_count; i++) {
        f->id_high = uuid_high(b->commands[i].id);
        f->id_low = uuid_low(b->commands[i].id);
        f->check_count = b->commands[i].check_count;
        f->event_count = b->commands[i].event_count;
        f->flags = b->commands[i].flags;
        f->show = b->commands[i].show;
        (void)tpl_pack(node, ARRAY_COMMANDS);
    }
    check_list_pack(&b->checks, node, ARRAY_CHECKS, &f->check);
    for (uint32_t i = 0; i < b->event_count; i++) {
        const struct wire_event *e = &b->events[i];

        f->ids[0] = uuid_high(e->id);
        f->ids[1] = uuid_low(e->id);
        f->ids[2] = uuid_high(e->correlation_id);
        f->ids[3] = uuid_low(e->correlation_id);
        f->ids[4] = uuid_high(e->causation_id);
        f->ids[5] = uuid_low(e->causation_id);
        f->schema = e->schema;
        f->stream_len = e->stream_len;
        f->type_len = e->type_len;
        f->content_type_len = e->content_type_len;
        f->tag_count = e->tag_count;
        f->tags_len = e->tags_len;
        f->meta_len = e->meta_len;
        f->data_len = e->data_len;
        (void)tpl_pack(node, ARRAY_EVENTS);
    }
}

int
append_builder_finish(struct append_builder *b, struct message *message)
{
    struct append_fields f = { .version = PROTOCOL_VERSION,
                               .kind = KIND_APPEND };
    tpl_node *node = append_map(&f);
    int rc;

    pack_append(node, &f, b);
    rc = image_finish(node, message, b->body, b->body_len);
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
