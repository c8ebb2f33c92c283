/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/append.h"

#include "wire/array.h"
#include "wire/image.h"

#define APPEND_FORMAT "vvA(UUuu)A(cvU)A(UUUUUUuvvvvvuu)"
#define APPENDED_FORMAT "vvA(UUvvuUUUuuu)A(U)A(uU)"

#define APPEND_ELEMENTS_MAX \
    (COMMANDS_PER_MESSAGE_MAX + CHECKS_PER_MESSAGE_MAX + EVENTS_PER_MESSAGE_MAX)

const char *
answer_name(uint16_t code)
{
    static const char *const names[] = {
        "accepted", "conflict", "rejected", "invalid", "too large", "denied",
        "busy",     "no space", "stopping", "unknown", "damaged",
    };

    return code < sizeof names / sizeof *names ? names[code] : "unheard-of";
}

/* ---- commands ---------------------------------------------------------- */

/* The fields of an APPEND, where tpl packs them from and unpacks them to. */
struct append_fields {
    uint16_t version, kind;
    uint64_t id_high, id_low;
    uint32_t check_count, event_count;
    int8_t expect;
    uint16_t name_len;
    uint64_t stream_version;
    uint64_t ids[6];
    uint32_t schema, meta_len, data_len;
    uint16_t stream_len, type_len, content_type_len, tag_count, tags_len;
};

static tpl_node *
append_map(struct append_fields *f)
{
    return image_map(APPEND_FORMAT, &f->version, &f->kind, &f->id_high,
                     &f->id_low, &f->check_count, &f->event_count, &f->expect,
                     &f->name_len, &f->stream_version, &f->ids[0], &f->ids[1],
                     &f->ids[2], &f->ids[3], &f->ids[4], &f->ids[5], &f->schema,
                     &f->stream_len, &f->type_len, &f->content_type_len,
                     &f->tag_count, &f->tags_len, &f->meta_len, &f->data_len);
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

    batch->command_count = batch->check_count = batch->event_count = 0;
    (void)tpl_unpack(node, 0);
    while (rc == 0 && tpl_unpack(node, 1) > 0) {
        rc = array_reserve(&batch->commands, &batch->command_room,
                           batch->command_count + UINT64_C(1),
                           sizeof *batch->commands);
        if (rc == 0)
            batch->commands[batch->command_count++] = (struct wire_command){
                .id = uuid_of_halves(f->id_high, f->id_low),
                .check_count = f->check_count,
                .event_count = f->event_count,
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
    while (rc == 0 && tpl_unpack(node, 3) > 0) {
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
    uint64_t check = 0, event = 0;
    uint64_t at = 0;

    for (uint32_t i = 0; i < batch->command_count; i++) {
        struct wire_command *c = &batch->commands[i];

        if (c->check_count > batch->check_count - check ||
            c->event_count > batch->event_count - event)
            return -CAIRN_EMESSAGE;
        c->checks = batch->checks + check;
        c->events = batch->events + event;
        for (uint32_t k = 0; k < c->check_count; k++) {
            struct wire_check *w = &batch->checks[check++];

            if (w->stream_len > body_len - at)
                return -CAIRN_EMESSAGE;
            w->stream = (const char *)body + at;
            at += w->stream_len;
        }
        for (uint32_t k = 0; k < c->event_count; k++) {
            struct wire_event *w = &batch->events[event++];
            uint64_t len = wire_event_text_len(w);

            if (len > body_len - at)
                return -CAIRN_EMESSAGE;
            w->text = body + at;
            at += len;
        }
    }
    return check == batch->check_count && event == batch->event_count &&
            at == body_len
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
    free(batch->checks);
    free(batch->events);
    *batch = (struct append_batch){ 0 };
}

static int
put_bytes(uint8_t **body, size_t *len, size_t *room, const void *data,
          size_t data_len)
{
    int rc = bytes_reserve(body, room, *len + data_len);

    if (rc < 0)
        return rc;
    if (data_len > 0)
        memcpy(*body + *len, data, data_len);
    *len += data_len;
    return 0;
}

int
append_builder_add(struct append_builder *b, const struct wire_command *c)
{
    int rc = array_reserve(&b->commands, &b->command_room,
                           b->command_count + UINT64_C(1), sizeof *b->commands);

    if (rc == 0)
        rc = array_reserve(&b->checks, &b->check_room,
                           (uint64_t)b->check_count + c->check_count,
                           sizeof *b->checks);
    if (rc == 0)
        rc = array_reserve(&b->events, &b->event_room,
                           (uint64_t)b->event_count + c->event_count,
                           sizeof *b->events);
    for (uint32_t i = 0; rc == 0 && i < c->check_count; i++) {
        b->checks[b->check_count + i] = c->checks[i];
        rc = put_bytes(&b->body, &b->body_len, &b->body_room,
                       c->checks[i].stream, c->checks[i].stream_len);
    }
    for (uint32_t i = 0; rc == 0 && i < c->event_count; i++) {
        b->events[b->event_count + i] = c->events[i];
        rc = put_bytes(&b->body, &b->body_len, &b->body_room, c->events[i].text,
                       (size_t)wire_event_text_len(&c->events[i]));
    }
    if (rc < 0)
        return rc;
    b->commands[b->command_count++] = *c;
    b->check_count += c->check_count;
    b->event_count += c->event_count;
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
        (void)tpl_pack(node, 1);
    }
    for (uint32_t i = 0; i < b->check_count; i++) {
        f->expect = (int8_t)b->checks[i].expect;
        f->name_len = b->checks[i].stream_len;
        f->stream_version = b->checks[i].version;
        (void)tpl_pack(node, 2);
    }
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
        (void)tpl_pack(node, 3);
    }
}

/* Makes the header of a packed node and the body into frames. */
static int
finish(tpl_node *node, struct message *message, const uint8_t *body,
       size_t body_len)
{
    zmq_msg_t header;
    int rc = image_dump(node, &header);

    image_free(node);
    if (rc < 0)
        return rc;
    message_move(message, &header);
    return message_add(message, body, body_len);
}

int
append_builder_finish(struct append_builder *b, struct message *message)
{
    struct append_fields f = { .version = PROTOCOL_VERSION,
                               .kind = KIND_APPEND };
    tpl_node *node = append_map(&f);
    int rc;

    pack_append(node, &f, b);
    rc = finish(node, message, b->body, b->body_len);
    b->command_count = b->check_count = b->event_count = 0;
    b->body_len = 0;
    return rc;
}

void
append_builder_free(struct append_builder *b)
{
    free(b->commands);
    free(b->checks);
    free(b->events);
    free(b->body);
    *b = (struct append_builder){ 0 };
}

/* ---- outcomes ---------------------------------------------------------- */

struct appended_fields {
    uint16_t version, kind;
    uint64_t id_high, id_low;
    uint16_t code, flags;
    uint32_t retry_ms;
    uint64_t first, last, time_us;
    uint32_t version_count, failure_count, detail_len;
    uint64_t stream_version;
    uint32_t check;
    uint64_t actual;
};

static tpl_node *
appended_map(struct appended_fields *f)
{
    return image_map(APPENDED_FORMAT, &f->version, &f->kind, &f->id_high,
                     &f->id_low, &f->code, &f->flags, &f->retry_ms, &f->first,
                     &f->last, &f->time_us, &f->version_count,
                     &f->failure_count, &f->detail_len, &f->stream_version,
                     &f->check, &f->actual);
}

static int
unpack_appended(tpl_node *node, struct appended_fields *f,
                struct outcome_batch *batch)
{
    int rc = 0;

    batch->outcome_count = batch->version_count = batch->failure_count = 0;
    (void)tpl_unpack(node, 0);
    while (rc == 0 && tpl_unpack(node, 1) > 0) {
        rc = array_reserve(&batch->outcomes, &batch->outcome_room,
                           batch->outcome_count + UINT64_C(1),
                           sizeof *batch->outcomes);
        if (rc == 0)
            batch->outcomes[batch->outcome_count++] = (struct wire_outcome){
                .id = uuid_of_halves(f->id_high, f->id_low),
                .code = f->code,
                .repeated = (f->flags & ANSWER_FLAG_REPEATED) != 0,
                .retry_ms = f->retry_ms,
                .first_position = f->first,
                .last_position = f->last,
                .time_us = f->time_us,
                .version_count = f->version_count,
                .failure_count = f->failure_count,
                .detail_len = f->detail_len,
            };
    }
    while (rc == 0 && tpl_unpack(node, 2) > 0) {
        rc = array_reserve(&batch->versions, &batch->version_room,
                           batch->version_count + UINT64_C(1),
                           sizeof *batch->versions);
        if (rc == 0)
            batch->versions[batch->version_count++] = f->stream_version;
    }
    while (rc == 0 && tpl_unpack(node, 3) > 0) {
        rc = array_reserve(&batch->failures, &batch->failure_room,
                           batch->failure_count + UINT64_C(1),
                           sizeof *batch->failures);
        if (rc == 0)
            batch->failures[batch->failure_count++] =
                (struct wire_failure){ f->check, f->actual };
    }
    return rc;
}

static int
share_out_outcomes(struct outcome_batch *batch, const char *body,
                   size_t body_len)
{
    uint64_t version = 0, failure = 0, at = 0;

    for (uint32_t i = 0; i < batch->outcome_count; i++) {
        struct wire_outcome *o = &batch->outcomes[i];

        if (o->version_count > batch->version_count - version ||
            o->failure_count > batch->failure_count - failure ||
            o->detail_len > body_len - at)
            return -CAIRN_EMESSAGE;
        o->versions = batch->versions + version;
        o->failures = batch->failures + failure;
        o->detail = body + at;
        version += o->version_count;
        failure += o->failure_count;
        at += o->detail_len;
    }
    return version == batch->version_count && failure == batch->failure_count &&
            at == body_len
        ? 0
        : -CAIRN_EMESSAGE;
}

int
appended_decode(zmq_msg_t *header, zmq_msg_t *body, enum message_kind kind,
                struct outcome_batch *batch)
{
    struct appended_fields f = { 0 };
    tpl_node *node = appended_map(&f);
    int rc = image_load(node, APPENDED_FORMAT, header, APPEND_ELEMENTS_MAX);

    if (rc == 0)
        rc = unpack_appended(node, &f, batch);
    image_free(node);
    if (rc < 0)
        return rc;
    if (f.version != PROTOCOL_VERSION || f.kind != kind)
        return -CAIRN_EMESSAGE;
    return share_out_outcomes(batch, zmq_msg_data(body), zmq_msg_size(body));
}

void
outcome_batch_free(struct outcome_batch *batch)
{
    free(batch->outcomes);
    free(batch->versions);
    free(batch->failures);
    *batch = (struct outcome_batch){ 0 };
}

int
appended_builder_add(struct appended_builder *b, const struct wire_outcome *o)
{
    int rc = array_reserve(&b->outcomes, &b->outcome_room,
                           b->outcome_count + UINT64_C(1), sizeof *b->outcomes);

    if (rc == 0)
        rc = array_reserve(&b->versions, &b->version_room,
                           (uint64_t)b->version_count + o->version_count,
                           sizeof *b->versions);
    if (rc == 0)
        rc = array_reserve(&b->failures, &b->failure_room,
                           (uint64_t)b->failure_count + o->failure_count,
                           sizeof *b->failures);
    if (rc == 0)
        rc = put_bytes(&b->body, &b->body_len, &b->body_room, o->detail,
                       o->detail_len);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < o->version_count; i++)
        b->versions[b->version_count++] = o->versions[i];
    for (uint32_t i = 0; i < o->failure_count; i++)
        b->failures[b->failure_count++] = o->failures[i];
    b->outcomes[b->outcome_count++] = *o;
    return 0;
}

static void
pack_appended(tpl_node *node, struct appended_fields *f,
              const struct appended_builder *b)
{
    (void)tpl_pack(node, 0);
    for (uint32_t i = 0; i < b->outcome_count; i++) {
        const struct wire_outcome *o = &b->outcomes[i];

        f->id_high = uuid_high(o->id);
        f->id_low = uuid_low(o->id);
        f->code = o->code;
        f->flags = o->repeated ? ANSWER_FLAG_REPEATED : 0;
        f->retry_ms = o->retry_ms;
        f->first = o->first_position;
        f->last = o->last_position;
        f->time_us = o->time_us;
        f->version_count = o->version_count;
        f->failure_count = o->failure_count;
        f->detail_len = o->detail_len;
        (void)tpl_pack(node, 1);
    }
    for (uint32_t i = 0; i < b->version_count; i++) {
        f->stream_version = b->versions[i];
        (void)tpl_pack(node, 2);
    }
    for (uint32_t i = 0; i < b->failure_count; i++) {
        f->check = b->failures[i].check;
        f->actual = b->failures[i].actual;
        (void)tpl_pack(node, 3);
    }
}

int
appended_builder_finish(struct appended_builder *b, enum message_kind kind,
                        struct message *message)
{
    struct appended_fields f = { .version = PROTOCOL_VERSION,
                                 .kind = (uint16_t)kind };
    tpl_node *node = appended_map(&f);
    int rc;

    pack_appended(node, &f, b);
    rc = finish(node, message, b->body, b->body_len);
    b->outcome_count = b->version_count = b->failure_count = 0;
    b->body_len = 0;
    return rc;
}

void
appended_builder_free(struct appended_builder *b)
{
    free(b->outcomes);
    free(b->versions);
    free(b->failures);
    free(b->body);
    *b = (struct appended_builder){ 0 };
}
