/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/outcome.h"

#include "wire/array.h"
#include "wire/image.h"

#define APPENDED_FORMAT "vvA(UUvvuUUUuuuu)A(U)A(uccUU)"

/* The outcomes of one group go out together, whichever messages their
 * commands came in; the length of a frame is the narrower bound. */
#define APPENDED_ELEMENTS_MAX (UINT32_C(1) << 21)

#define BUSY_RETRY_MS 100u
#define BODY_KEPT_MAX ((size_t)1 << 20) /* bytes that a builder keeps */

const char *
answer_name(uint16_t code)
{
    static const char *const names[] = {
        "accepted", "conflict", "rejected", "invalid", "too large", "denied",
        "busy",     "no space", "stopping", "unknown", "damaged",
    };

    return code < sizeof names / sizeof *names ? names[code] : "unheard-of";
}

struct appended_fields {
    uint16_t version, kind;
    uint64_t id_high, id_low;
    uint16_t code, flags;
    uint32_t retry_ms;
    uint64_t first, last, time_us;
    uint32_t version_count, verdict_count, detail_len, records_len;
    uint64_t stream_version;
    uint32_t check;
    int8_t holds, expect;
    uint64_t expected, actual;
};

static tpl_node *
appended_map(struct appended_fields *f)
{
    return image_map(APPENDED_FORMAT, &f->version, &f->kind, &f->id_high,
                     &f->id_low, &f->code, &f->flags, &f->retry_ms, &f->first,
                     &f->last, &f->time_us, &f->version_count,
                     &f->verdict_count, &f->detail_len, &f->records_len,
                     &f->stream_version, &f->check, &f->holds, &f->expect,
                     &f->expected, &f->actual);
}

static int
unpack_appended(tpl_node *node, struct appended_fields *f,
                struct outcome_batch *batch)
{
    int rc = 0;

    batch->outcome_count = batch->version_count = batch->verdict_count = 0;
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
                .dry_run = (f->flags & ANSWER_FLAG_DRY_RUN) != 0,
                .more = (f->flags & ANSWER_FLAG_MORE) != 0,
                .retry_ms = f->retry_ms,
                .first_position = f->first,
                .last_position = f->last,
                .time_us = f->time_us,
                .version_count = f->version_count,
                .verdict_count = f->verdict_count,
                .detail_len = f->detail_len,
                .records_len = f->records_len,
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
        rc = array_reserve(&batch->verdicts, &batch->verdict_room,
                           batch->verdict_count + UINT64_C(1),
                           sizeof *batch->verdicts);
        if (rc == 0)
            batch->verdicts[batch->verdict_count++] = (struct wire_verdict){
                .check = f->check,
                .holds = f->holds != 0,
                .expect = (uint8_t)f->expect,
                .expected = f->expected,
                .actual = f->actual,
            };
    }
    return rc;
}

static int
share_out_outcomes(struct outcome_batch *batch, const char *body,
                   size_t body_len)
{
    uint64_t version = 0, verdict = 0, at = 0;

    for (uint32_t i = 0; i < batch->outcome_count; i++) {
        struct wire_outcome *o = &batch->outcomes[i];

        if (o->version_count > batch->version_count - version ||
            o->verdict_count > batch->verdict_count - verdict ||
            (uint64_t)o->detail_len + o->records_len > body_len - at)
            return -CAIRN_EMESSAGE;
        o->versions = batch->versions + version;
        o->verdicts = batch->verdicts + verdict;
        o->detail = body + at;
        o->records = (const uint8_t *)body + at + o->detail_len;
        version += o->version_count;
        verdict += o->verdict_count;
        at += (uint64_t)o->detail_len + o->records_len;
    }
    return version == batch->version_count && verdict == batch->verdict_count &&
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
    int rc = image_load(node, APPENDED_FORMAT, header, APPENDED_ELEMENTS_MAX);

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
    free(batch->verdicts);
    *batch = (struct outcome_batch){ 0 };
}

/* Nothing of the command was stored, so it may as well be asked later. */
static int
add_busy(struct appended_builder *b, struct uuid id)
{
    static const char detail[] =
        "too many checks failed at once to tell them all";
    const struct wire_outcome busy = {
        .id = id,
        .code = ANSWER_BUSY,
        .retry_ms = BUSY_RETRY_MS,
        .detail = detail,
        .detail_len = sizeof detail - 1,
    };

    return appended_builder_add(b, &busy);
}

int
appended_builder_add(struct appended_builder *b, const struct wire_outcome *o)
{
    bool shown = o->records_len <= SHOWN_PER_MESSAGE_MAX - b->shown_len;
    size_t records_len = shown ? o->records_len : 0;
    int rc;

    if (o->verdict_count > 0 &&
        o->verdict_count > VERDICTS_PER_MESSAGE_MAX - b->verdict_count)
        return add_busy(b, o->id);
    rc = array_reserve(&b->outcomes, &b->outcome_room,
                       b->outcome_count + UINT64_C(1), sizeof *b->outcomes);
    if (rc == 0)
        rc = array_reserve(&b->versions, &b->version_room,
                           (uint64_t)b->version_count + o->version_count,
                           sizeof *b->versions);
    if (rc == 0)
        rc = array_reserve(&b->verdicts, &b->verdict_room,
                           (uint64_t)b->verdict_count + o->verdict_count,
                           sizeof *b->verdicts);
    if (rc == 0)
        rc = bytes_reserve(&b->body, &b->body_room,
                           b->body_len + o->detail_len + records_len);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < o->version_count; i++)
        b->versions[b->version_count++] = o->versions[i];
    for (uint32_t i = 0; i < o->verdict_count; i++)
        b->verdicts[b->verdict_count++] = o->verdicts[i];
    if (o->detail_len > 0)
        memcpy(b->body + b->body_len, o->detail, o->detail_len);
    b->body_len += o->detail_len;
    if (records_len > 0)
        memcpy(b->body + b->body_len, o->records, records_len);
    b->body_len += records_len;
    b->shown_len += records_len;
    b->outcomes[b->outcome_count] = *o;
    b->outcomes[b->outcome_count].records_len = (uint32_t)records_len;
    b->outcomes[b->outcome_count++].more = o->more || !shown;
    return 0;
}

static uint16_t
flags_of(const struct wire_outcome *o)
{
    return (uint16_t)((o->repeated ? ANSWER_FLAG_REPEATED : 0) |
                      (o->dry_run ? ANSWER_FLAG_DRY_RUN : 0) |
                      (o->more ? ANSWER_FLAG_MORE : 0));
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
        f->flags = flags_of(o);
        f->retry_ms = o->retry_ms;
        f->first = o->first_position;
        f->last = o->last_position;
        f->time_us = o->time_us;
        f->version_count = o->version_count;
        f->verdict_count = o->verdict_count;
        f->detail_len = o->detail_len;
        f->records_len = o->records_len;
        (void)tpl_pack(node, 1);
    }
    for (uint32_t i = 0; i < b->version_count; i++) {
        f->stream_version = b->versions[i];
        (void)tpl_pack(node, 2);
    }
    for (uint32_t i = 0; i < b->verdict_count; i++) {
        f->check = b->verdicts[i].check;
        f->holds = b->verdicts[i].holds;
        f->expect = (int8_t)b->verdicts[i].expect;
        f->expected = b->verdicts[i].expected;
        f->actual = b->verdicts[i].actual;
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
    rc = image_finish(node, message, b->body, b->body_len);
    b->outcome_count = b->version_count = b->verdict_count = 0;
    b->body_len = b->shown_len = 0;
    if (b->body_room > BODY_KEPT_MAX) { /* once, for many shown events */
        free(b->body);
        b->body = NULL;
        b->body_room = 0;
    }
    return rc;
}

void
appended_builder_spoil(struct appended_builder *b, enum answer_code code)
{
    for (uint32_t i = 0; i < b->outcome_count; i++)
        b->outcomes[i] = (struct wire_outcome){
            .id = b->outcomes[i].id,
            .code = (uint16_t)code,
        };
    b->version_count = b->verdict_count = 0;
    b->body_len = b->shown_len = 0;
}

void
appended_builder_free(struct appended_builder *b)
{
    free(b->outcomes);
    free(b->versions);
    free(b->verdicts);
    free(b->body);
    *b = (struct appended_builder){ 0 };
}
