/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Every message: headers through the strict check and tpl, bodies through
 * the decoders of their kind; commands on through the gateway's checks and
 * encoder, read requests through the publisher's.
 *
 * Input: a byte (bits 0 to 4: kind of message; bit 7: write tpl's own head,
 * the format and the kind in front of the header), the length of the header
 * (2 bytes), the header, the body.
 */
#include "fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/commands.h"
#include "publisher/query.h"
#include "wire/append.h"
#include "wire/hop.h"
#include "wire/image.h"
#include "wire/projection.h"
#include "wire/query.h"
#include "writer/request.h"

static volatile uint64_t used;

static void
look_at(const void *p, size_t len)
{
    const uint8_t *bytes = p;

    for (size_t i = 0; i < len; i++)
        used += bytes[i];
}

static void
look_at_checks(const struct wire_check *checks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        look_at(checks[i].stream, checks[i].stream_len);
        for (uint32_t k = 0; k < checks[i].item_count; k++) {
            uint32_t index = 0, at = 0;
            struct wire_name name;

            look_at(checks[i].items[k].text,
                    (size_t)wire_item_text_len(&checks[i].items[k]));
            while (wire_item_next(&checks[i].items[k], &index, &at, &name))
                look_at(name.p, name.len);
        }
    }
}

/* The names of conditions, as the store is given them. */
static void
look_at_request(const struct append_request *request)
{
    for (uint32_t i = 0; i < request->check_count; i++)
        for (uint32_t k = 0; k < request->checks[i].item_count; k++) {
            const struct query_item *item = &request->checks[i].items[k];

            for (uint32_t n = 0; n < item->type_count; n++)
                look_at(item->types[n].p, item->types[n].len);
            for (uint32_t n = 0; n < item->tag_count; n++)
                look_at(item->tags[n].p, item->tags[n].len);
        }
}

/* ---- what is done with a message --------------------------------------- */

static void
take_append(zmq_msg_t *header, zmq_msg_t *body)
{
    const struct command_limits limits = {
        .events_max = 100,
        .checks_max = 100,
        .items_max = 10,
        .types_max = 20,
        .tags_max = 20,
        .data_max = 4096,
        .meta_max = 1024,
        .commit_max = 65536,
    };
    static struct append_batch batch;

    if (append_decode(header, body, &batch) < 0)
        return;
    for (uint32_t i = 0; i < batch.command_count; i++) {
        char reason[REASON_LEN];
        struct commit commit;
        uint32_t len;
        uint8_t *out;

        look_at_checks(batch.commands[i].checks, batch.commands[i].check_count);
        if (command_check(&batch.commands[i], &limits, &len, reason) !=
            ANSWER_ACCEPTED) {
            input_must(reason[0] != '\0', "a refusal has a reason");
            continue;
        }
        out = malloc(len);
        input_must(out != NULL, "memory");
        command_encode(&batch.commands[i], len, out);
        input_must(commit_check_unstamped(out, len, &commit) == 0,
                   "the writer takes what the gateway has checked");
        free(out);
    }
}

static void
take_outcomes(zmq_msg_t *header, zmq_msg_t *body, enum message_kind kind)
{
    static struct outcome_batch batch;

    if (appended_decode(header, body, kind, &batch) < 0)
        return;
    for (uint32_t i = 0; i < batch.outcome_count; i++) {
        const struct wire_outcome *o = &batch.outcomes[i];

        look_at(o->versions, o->version_count * sizeof *o->versions);
        for (uint32_t k = 0; k < o->verdict_count; k++)
            used += o->verdicts[k].check + o->verdicts[k].actual;
        look_at(o->records, o->records_len);
        look_at(o->detail, o->detail_len);
        used += answer_name(o->code)[0] != '\0';
    }
}

static void
take_submit(zmq_msg_t *header, zmq_msg_t *body)
{
    static struct submit_batch batch;
    static struct request_memory memory;
    struct append_request request;
    struct commit commit;

    if (submit_decode(header, body, &batch) < 0)
        return;
    for (uint32_t i = 0; i < batch.command_count; i++) {
        const struct submit_command *c = &batch.commands[i];

        look_at_checks(c->checks, c->check_count);
        if (request_make(&memory, c, &request) == 0)
            look_at_request(&request);
        look_at(c->commit, c->commit_len);
        used +=
            (uint64_t)commit_check_unstamped(c->commit, c->commit_len, &commit);
    }
}

static void
take_read(zmq_msg_t *header, zmq_msg_t *body)
{
    struct read_request request;
    enum answer_code code;

    if (read_decode(header, body, &request) < 0)
        return;
    input_must(request.selector_count <= SELECTORS_MAX, "few selectors");
    for (uint32_t i = 0; i < request.selector_count; i++)
        look_at(request.selectors[i].text, request.selectors[i].len);
    if (query_check(&request, &code) == NULL)
        input_must(request.event_max <= ANSWER_EVENTS_MAX &&
                       request.len_max <= ANSWER_LEN_MAX &&
                       request.wait_ms <= WAIT_MS_MAX,
                   "limits hold");
}

static void
take(enum message_kind kind, zmq_msg_t *header, zmq_msg_t *body)
{
    struct projection_request projection;
    struct projection_answer projected;
    struct read_answer events;
    struct doorbell doorbell;
    struct welcome welcome;
    struct hello hello;
    struct farewell farewell;
    struct pong pong;
    uint64_t number;
    uint16_t code;

    switch (kind) {
    case KIND_APPEND:
        take_append(header, body);
        break;
    case KIND_APPENDED:
    case KIND_OUTCOMES:
        take_outcomes(header, body, kind);
        break;
    case KIND_READ:
        take_read(header, body);
        break;
    case KIND_SUBMIT:
        take_submit(header, body);
        break;
    case KIND_EVENTS:
        used += (uint64_t)events_decode(header, &events);
        break;
    case KIND_PING:
        used += (uint64_t)ping_decode(header, &number);
        break;
    case KIND_PONG:
        used += (uint64_t)pong_decode(header, &pong);
        break;
    case KIND_REFUSED:
        used += (uint64_t)refused_decode(header, &code);
        break;
    case KIND_PROJECTION:
        used += (uint64_t)projection_decode(header, &projection);
        break;
    case KIND_PROJECTED:
        if (projected_decode(header, &projected) == 0)
            used += projection_state_name(projected.state)[0] != '\0';
        break;
    case KIND_HELLO:
        used += (uint64_t)hello_decode(header, &hello);
        break;
    case KIND_WELCOME:
        used += (uint64_t)welcome_decode(header, &welcome);
        break;
    case KIND_DOORBELL:
        used += (uint64_t)doorbell_decode(header, &doorbell);
        break;
    case KIND_FAREWELL:
        used += (uint64_t)farewell_decode(header, &farewell);
        break;
    }
}

/* ---- the head that tpl puts in front ----------------------------------- */

static const char *
format_of(enum message_kind kind)
{
    switch (kind) {
    case KIND_APPEND:
        return "vvA(UUuuvv)A(cvU)A(vvu)A(UUUUUUuvvvvvuu)";
    case KIND_APPENDED:
    case KIND_OUTCOMES:
        return "vvA(UUvvuUUUuuuu)A(U)A(uccUU)";
    case KIND_READ:
        return "vvUccUuuuA(cv)";
    case KIND_EVENTS:
        return "vvUvvUUUu";
    case KIND_PING:
    case KIND_HELLO:
        return "vvU";
    case KIND_PONG:
        return "vvUUUUU";
    case KIND_REFUSED:
        return "vvv";
    case KIND_PROJECTION:
        return "vvUcUu";
    case KIND_PROJECTED:
        return "vvUvvUUUUU";
    case KIND_SUBMIT:
        return "vvUA(Uuuuvv)A(cvU)A(vvu)";
    case KIND_WELCOME:
        return "vvUUUuU";
    case KIND_DOORBELL:
        return "vvUU";
    case KIND_FAREWELL:
        return "vvUv";
    }
    return "vv";
}

static uint8_t *
with_head(enum message_kind kind, struct input part, size_t *ret_len)
{
    const char *format = format_of(kind);
    size_t format_len = strlen(format) + 1;
    size_t len = 8 + format_len + 4 + part.left;
    uint8_t *image = malloc(len);

    input_must(image != NULL, "memory");
    memcpy(image, "tpl", 4);
    for (unsigned i = 0; i < 4; i++)
        image[4 + i] = (uint8_t)(len >> 8 * i);
    memcpy(image + 8, format, format_len);
    memcpy(image + 8 + format_len,
           (uint8_t[]){ PROTOCOL_VERSION, 0, (uint8_t)kind, 0 }, 4);
    if (part.left > 0)
        memcpy(image + len - part.left, part.p, part.left);
    *ret_len = len;
    return image;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct input input = { data, len };
    uint64_t flags = input_number(&input, 1);
    enum message_kind kind = flags & 31;
    size_t header_len = (size_t)input_number(&input, 2);
    struct input part = input_part(&input, header_len);
    zmq_msg_t header, body;
    uint16_t version, said;

    if (flags & 128) {
        uint8_t *image = with_head(kind, part, &part.left);

        part.p = image;
        input_frame(&header, part);
        free(image);
    } else {
        input_frame(&header, part);
    }
    input_frame(&body, input);
    (void)image_kind(zmq_msg_data(&header), zmq_msg_size(&header), &version,
                     &said);
    take(kind, &header, &body);
    (void)zmq_msg_close(&header);
    (void)zmq_msg_close(&body);
    return 0;
}
