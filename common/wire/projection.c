/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/projection.h"

#include "wire/image.h"

#define PROJECTION_FORMAT "vvUcUu"
#define PROJECTED_FORMAT "vvUvvUUUUU"

const char *
projection_state_name(uint16_t state)
{
    static const char *const names[] = { "waiting", "catching up", "live",
                                         "failed" };

    return state < sizeof names / sizeof *names ? names[state] : "unheard-of";
}

int
projection_encode(const struct projection_request *request,
                  struct message *message)
{
    uint16_t version = PROTOCOL_VERSION, kind = KIND_PROJECTION;
    struct projection_request r = *request;
    int8_t op = (int8_t)r.op;

    return image_pack_small(image_map(PROJECTION_FORMAT, &version, &kind,
                                      &r.request, &op, &r.position, &r.wait_ms),
                            message);
}

int
projection_decode(zmq_msg_t *header, struct projection_request *ret_request)
{
    uint16_t version = 0, kind = 0;
    struct projection_request r = { 0 };
    int8_t op = 0;
    int rc =
        image_unpack_small(image_map(PROJECTION_FORMAT, &version, &kind,
                                     &r.request, &op, &r.position, &r.wait_ms),
                           PROJECTION_FORMAT, header);

    rc = image_check_kind(rc, version, kind, KIND_PROJECTION);
    r.op = (uint8_t)op;
    if (rc == 0)
        *ret_request = r;
    return rc;
}

struct projected_fields {
    uint16_t version, kind;
    struct projection_answer a;
};

static tpl_node *
projected_map(struct projected_fields *f)
{
    return image_map(PROJECTED_FORMAT, &f->version, &f->kind, &f->a.request,
                     &f->a.code, &f->a.state, &f->a.checkpoint, &f->a.watermark,
                     &f->a.events, &f->a.transactions, &f->a.time_us);
}

int
projected_encode(const struct projection_answer *answer, const char *name,
                 const char *text, struct message *message)
{
    struct projected_fields f = { .version = PROTOCOL_VERSION,
                                  .kind = KIND_PROJECTED,
                                  .a = *answer };
    int rc = image_pack_small(projected_map(&f), message);

    if (rc == 0)
        rc = message_add(message, name, strlen(name));
    if (rc == 0)
        rc = message_add(message, text, strlen(text));
    return rc;
}

int
projected_decode(zmq_msg_t *header, struct projection_answer *ret_answer)
{
    struct projected_fields f = { 0 };
    int rc = image_unpack_small(projected_map(&f), PROJECTED_FORMAT, header);

    rc = image_check_kind(rc, f.version, f.kind, KIND_PROJECTED);
    if (rc == 0)
        *ret_answer = f.a;
    return rc;
}
