/* SPDX-License-Identifier: MPL-2.0 */
#include "wire/outcome.h"

#include "wire/array.h"
#include "wire/rows.h"

#define APPENDED_FORMAT "vvA(UUvvuUUUuuuu)A(U)A(uccUU)"

/* The outcomes of one group go out together, whichever messages their
 * commands came in; the length of a frame is the narrower bound. */
#define APPENDED_ROWS_MAX (UINT32_C(1) << 21)

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

/* The rows of the format. */
struct outcome_row {
    struct le64 id_high, id_low;
    struct le16 code, flags;
    struct le32 retry_ms;
    struct le64 first, last, time_us;
    struct le32 version_count, verdict_count, detail_len, records_len;
};

struct verdict_row {
    struct le32 check;
    uint8_t holds, expect;
    struct le64 expected, actual;
};

_Static_assert(sizeof(struct outcome_row) == 64 &&
                   sizeof(struct verdict_row) == 22,
               "format");

static int
reserve(struct outcome_batch *batch, uint32_t outcomes, uint32_t versions,
        uint32_t verdicts)
{
    int rc = array_reserve(&batch->outcomes, &batch->outcome_room, outcomes,
                           sizeof *batch->outcomes);

    if (rc == 0)
        rc = array_reserve(&batch->versions, &batch->version_room, versions,
                           sizeof *batch->versions);
    if (rc == 0)
        rc = array_reserve(&batch->verdicts, &batch->verdict_room, verdicts,
                           sizeof *batch->verdicts);
    batch->outcome_count = outcomes;
    batch->version_count = versions;
    batch->verdict_count = verdicts;
    return rc;
}

static struct wire_outcome
outcome_get(const struct outcome_row *row)
{
    uint16_t flags = le16_get(row->flags);

    return (struct wire_outcome){
        .id = uuid_of_halves(le64_get(row->id_high), le64_get(row->id_low)),
        .code = le16_get(row->code),
        .repeated = (flags & ANSWER_FLAG_REPEATED) != 0,
        .dry_run = (flags & ANSWER_FLAG_DRY_RUN) != 0,
        .more = (flags & ANSWER_FLAG_MORE) != 0,
        .retry_ms = le32_get(row->retry_ms),
        .first_position = le64_get(row->first),
        .last_position = le64_get(row->last),
        .time_us = le64_get(row->time_us),
        .version_count = le32_get(row->version_count),
        .verdict_count = le32_get(row->verdict_count),
        .detail_len = le32_get(row->detail_len),
        .records_len = le32_get(row->records_len),
    };
}

static int
take_rows(struct outcome_batch *batch, struct rows_in *in,
          enum message_kind kind)
{
    uint32_t outcomes, versions, verdicts;
    const struct rows_head *head = rows_get(in, sizeof *head);
    const struct outcome_row *outcome =
        rows_get_array(in, sizeof *outcome, &outcomes);
    const struct le64 *version = rows_get_array(in, sizeof *version, &versions);
    const struct verdict_row *verdict =
        rows_get_array(in, sizeof *verdict, &verdicts);
    int rc;

    if (!rows_end(in) || le16_get(head->version) != PROTOCOL_VERSION ||
        le16_get(head->kind) != kind)
        return -CAIRN_EMESSAGE;
    rc = reserve(batch, outcomes, versions, verdicts);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < outcomes; i++)
        batch->outcomes[i] = outcome_get(&outcome[i]);
    for (uint32_t i = 0; i < versions; i++)
        batch->versions[i] = le64_get(version[i]);
    for (uint32_t i = 0; i < verdicts; i++)
        batch->verdicts[i] = (struct wire_verdict){
            .check = le32_get(verdict[i].check),
            .holds = verdict[i].holds != 0,
            .expect = verdict[i].expect,
            .expected = le64_get(verdict[i].expected),
            .actual = le64_get(verdict[i].actual),
        };
    return 0;
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
    struct rows_in in;
    int rc = rows_open(&in, APPENDED_FORMAT, header, APPENDED_ROWS_MAX);

    batch->outcome_count = batch->version_count = batch->verdict_count = 0;
    if (rc == 0)
        rc = take_rows(batch, &in, kind);
    return rc < 0
        ? rc
        : share_out_outcomes(batch, zmq_msg_data(body), zmq_msg_size(body));
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
put_outcomes(const struct appended_builder *b, struct outcome_row *row)
{
    for (uint32_t i = 0; i < b->outcome_count; i++, row++) {
        const struct wire_outcome *o = &b->outcomes[i];

        *row = (struct outcome_row){
            .id_high = le64_of(uuid_high(o->id)),
            .id_low = le64_of(uuid_low(o->id)),
            .code = le16_of(o->code),
            .flags = le16_of(flags_of(o)),
            .retry_ms = le32_of(o->retry_ms),
            .first = le64_of(o->first_position),
            .last = le64_of(o->last_position),
            .time_us = le64_of(o->time_us),
            .version_count = le32_of(o->version_count),
            .verdict_count = le32_of(o->verdict_count),
            .detail_len = le32_of(o->detail_len),
            .records_len = le32_of(o->records_len),
        };
    }
}

static void
put_rows(const struct appended_builder *b, enum message_kind kind,
         struct rows_out *out)
{
    struct rows_head *head = rows_put(out, sizeof *head);
    struct verdict_row *verdict;
    struct le64 *version;

    *head = (struct rows_head){ le16_of(PROTOCOL_VERSION),
                                le16_of((uint16_t)kind) };
    put_outcomes(
        b, rows_put_array(out, b->outcome_count, sizeof(struct outcome_row)));
    version = rows_put_array(out, b->version_count, sizeof *version);
    for (uint32_t i = 0; i < b->version_count; i++)
        version[i] = le64_of(b->versions[i]);
    verdict = rows_put_array(out, b->verdict_count, sizeof *verdict);
    for (uint32_t i = 0; i < b->verdict_count; i++)
        verdict[i] = (struct verdict_row){
            .check = le32_of(b->verdicts[i].check),
            .holds = b->verdicts[i].holds,
            .expect = b->verdicts[i].expect,
            .expected = le64_of(b->verdicts[i].expected),
            .actual = le64_of(b->verdicts[i].actual),
        };
}

int
appended_builder_finish(struct appended_builder *b, enum message_kind kind,
                        struct message *message)
{
    struct rows_out out;
    int rc =
        rows_begin(&out, APPENDED_FORMAT,
                   sizeof(struct rows_head) +
                       rows_len(b->outcome_count, sizeof(struct outcome_row)) +
                       rows_len(b->version_count, sizeof(struct le64)) +
                       rows_len(b->verdict_count, sizeof(struct verdict_row)));

    if (rc == 0) {
        put_rows(b, kind, &out);
        rc = rows_finish(&out, message, b->body, b->body_len);
    }
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
