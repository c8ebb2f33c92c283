/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/query.h"

#include <errno.h>

#include "wire/image.h"

#define READ_FORMAT "vvUccUuuuA(cv)"
#define EVENTS_FORMAT "vvUvvUUUu"
#define PING_FORMAT "vvU"
#define PONG_FORMAT "vvUUUUU"
#define REFUSED_FORMAT "vvv"

/* ---- reading ----------------------------------------------------------- */

struct read_fields {
    uint16_t version, kind;
    uint64_t request, from;
    int8_t direction, from_kind;
    uint32_t event_max, len_max, wait_ms;
    int8_t select;
    uint16_t text_len;
};

static tpl_node *
read_map(struct read_fields *f)
{
    return image_map(READ_FORMAT, &f->version, &f->kind, &f->request,
                     &f->direction, &f->from_kind, &f->from, &f->event_max,
                     &f->len_max, &f->wait_ms, &f->select, &f->text_len);
}

int
read_encode(const struct read_request *r, struct message *message)
{
    struct read_fields f = {
        .version = PROTOCOL_VERSION,
        .kind = KIND_READ,
        .request = r->request,
        .from = r->from,
        .direction = (int8_t)r->direction,
        .from_kind = (int8_t)r->from_kind,
        .event_max = r->event_max,
        .len_max = r->len_max,
        .wait_ms = r->wait_ms,
    };
    tpl_node *node = read_map(&f);
    uint8_t body[SELECTORS_MAX * 256];
    size_t body_len = 0;
    zmq_msg_t header;
    int rc;

    (void)tpl_pack(node, 0);
    for (uint32_t i = 0; i < r->selector_count; i++) {
        const struct read_selector *s = &r->selectors[i];

        if (s->len > 255) {
            image_free(node);
            return -CAIRN_EMESSAGE;
        }
        f.select = (int8_t)s->kind;
        f.text_len = s->len;
        (void)tpl_pack(node, 1);
        memcpy(body + body_len, s->text, s->len);
        body_len += s->len;
    }
    rc = image_dump(node, &header);
    image_free(node);
    if (rc < 0)
        return rc;
    message_move(message, &header);
    return message_add(message, body, body_len);
}

int
read_decode(zmq_msg_t *header, zmq_msg_t *body,
            struct read_request *ret_request)
{
    struct read_fields f = { 0 };
    tpl_node *node = read_map(&f);
    struct read_request *r = ret_request;
    const char *text = zmq_msg_data(body);
    size_t left = zmq_msg_size(body);
    int rc = image_load(node, READ_FORMAT, header, SELECTORS_MAX);

    r->selector_count = 0;
    if (rc == 0)
        (void)tpl_unpack(node, 0);
    while (rc == 0 && tpl_unpack(node, 1) > 0) {
        if (f.text_len > left) {
            rc = -CAIRN_EMESSAGE;
            break;
        }
        r->selectors[r->selector_count++] = (struct read_selector){
            .kind = (uint8_t)f.select,
            .len = f.text_len,
            .text = text,
        };
        text += f.text_len;
        left -= f.text_len;
    }
    image_free(node);
    rc = image_check_kind(rc, f.version, f.kind, KIND_READ);
    if (rc < 0 || left > 0)
        return rc == -EMSGSIZE ? rc : -CAIRN_EMESSAGE;
    r->request = f.request;
    r->from = f.from;
    r->direction = (uint8_t)f.direction;
    r->from_kind = (uint8_t)f.from_kind;
    r->event_max = f.event_max;
    r->len_max = f.len_max;
    r->wait_ms = f.wait_ms;
    return 0;
}

/* ---- answers ----------------------------------------------------------- */

struct events_fields {
    uint16_t version, kind, code, flags;
    uint64_t request, next, watermark, stream_version;
    uint32_t event_count;
};

static tpl_node *
events_map(struct events_fields *f)
{
    return image_map(EVENTS_FORMAT, &f->version, &f->kind, &f->request,
                     &f->code, &f->flags, &f->next, &f->watermark,
                     &f->stream_version, &f->event_count);
}

static int
add_text(int rc, struct message *message, const char *text)
{
    return rc < 0 ? rc : message_add(message, text, strlen(text));
}

int
events_encode(const struct read_answer *a, const char *text,
              struct message *message)
{
    struct events_fields f = {
        .version = PROTOCOL_VERSION,
        .kind = KIND_EVENTS,
        .code = a->code,
        .flags = a->at_end ? READ_FLAG_END : 0,
        .request = a->request,
        .next = a->next,
        .watermark = a->watermark,
        .stream_version = a->stream_version,
        .event_count = a->event_count,
    };
    int rc = image_pack_small(events_map(&f), message);

    return a->code == ANSWER_OK ? rc : add_text(rc, message, text);
}

int
events_decode(zmq_msg_t *header, struct read_answer *ret_answer)
{
    struct events_fields f = { 0 };
    int rc = image_unpack_small(events_map(&f), EVENTS_FORMAT, header);

    rc = image_check_kind(rc, f.version, f.kind, KIND_EVENTS);
    if (rc == 0)
        *ret_answer = (struct read_answer){
            .request = f.request,
            .code = f.code,
            .at_end = (f.flags & READ_FLAG_END) != 0,
            .next = f.next,
            .watermark = f.watermark,
            .stream_version = f.stream_version,
            .event_count = f.event_count,
        };
    return rc;
}

/* ---- ping, pong, refused ----------------------------------------------- */

int
ping_encode(uint64_t request, struct message *message)
{
    uint16_t version = PROTOCOL_VERSION, kind = KIND_PING;

    return image_pack_small(image_map(PING_FORMAT, &version, &kind, &request),
                            message);
}

int
ping_decode(zmq_msg_t *header, uint64_t *ret_request)
{
    uint16_t version = 0, kind = 0;
    int rc =
        image_unpack_small(image_map(PING_FORMAT, &version, &kind, ret_request),
                           PING_FORMAT, header);

    return image_check_kind(rc, version, kind, KIND_PING);
}

int
pong_encode(const struct pong *pong, const char *name, struct message *message)
{
    uint16_t version = PROTOCOL_VERSION, kind = KIND_PONG;
    struct pong p = *pong;
    uint64_t high = uuid_high(p.log_id), low = uuid_low(p.log_id);
    int rc =
        image_pack_small(image_map(PONG_FORMAT, &version, &kind, &p.request,
                                   &p.instance, &high, &low, &p.watermark),
                         message);

    return add_text(rc, message, name);
}

int
pong_decode(zmq_msg_t *header, struct pong *ret_pong)
{
    uint16_t version = 0, kind = 0;
    uint64_t high = 0, low = 0;
    struct pong p = { 0 };
    int rc =
        image_unpack_small(image_map(PONG_FORMAT, &version, &kind, &p.request,
                                     &p.instance, &high, &low, &p.watermark),
                           PONG_FORMAT, header);

    rc = image_check_kind(rc, version, kind, KIND_PONG);
    p.log_id = uuid_of_halves(high, low);
    if (rc == 0)
        *ret_pong = p;
    return rc;
}

int
refused_encode(uint16_t code, const char *text, struct message *message)
{
    uint16_t version = PROTOCOL_VERSION, kind = KIND_REFUSED;

    return add_text(
        image_pack_small(image_map(REFUSED_FORMAT, &version, &kind, &code),
                         message),
        message, text);
}

int
refused_decode(zmq_msg_t *header, uint16_t *ret_code)
{
    uint16_t version = 0, kind = 0;
    int rc =
        image_unpack_small(image_map(REFUSED_FORMAT, &version, &kind, ret_code),
                           REFUSED_FORMAT, header);

    return image_check_kind(rc, version, kind, KIND_REFUSED);
}
