/* SPDX-License-Identifier: MPL-2.0 */
#include "libcairn/impl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "wire/array.h"

#define TEXT_LEN_MAX UINT16_MAX /* what a length of the protocol can say */
#define TAG_LEN_MAX UINT8_MAX
#define TAG_COUNT_MAX UINT8_MAX
#define PUMP_MS 1000u

/* One piece of an event's text, in the order of the protocol. */
enum piece { TAG_LENS, STREAM, TYPE, CONTENT_TYPE, TAGS, META, DATA, PIECES };

struct piece_bytes {
    uint8_t *p;
    size_t len;
};

struct event_parts {
    struct wire_event wire;
    struct piece_bytes pieces[PIECES];
};

struct cairn_command {
    struct uuid id;
    struct wire_check *checks; /* each name is a copy */
    uint32_t check_count, check_room;
    struct event_parts *events;
    uint32_t event_count, event_room;
};

static struct uuid
uuid_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return uuid_v7((uint64_t)now.tv_sec * 1000 +
                   (uint64_t)now.tv_nsec / 1000000);
}

int
cairn_command_new(struct cairn_command **ret_command)
{
    struct cairn_command *command = calloc(1, sizeof *command);

    if (command == NULL)
        return CAIRN_ERR_MEMORY;
    command->id = uuid_now();
    *ret_command = command;
    return CAIRN_OK;
}

static void
free_event(struct event_parts *event)
{
    for (int i = 0; i < PIECES; i++)
        free(event->pieces[i].p);
}

void
cairn_command_free(struct cairn_command **command)
{
    struct cairn_command *c = *command;

    *command = NULL;
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < c->check_count; i++)
        free((char *)(uintptr_t)c->checks[i].stream); /* made by us */
    for (uint32_t i = 0; i < c->event_count; i++)
        free_event(&c->events[i]);
    free(c->checks);
    free(c->events);
    free(c);
}

void
cairn_command_id(const struct cairn_command *command,
                 uint8_t ret_id[CAIRN_ID_LEN])
{
    memcpy(ret_id, command->id.b, CAIRN_ID_LEN);
}

void
cairn_command_set_id(struct cairn_command *command,
                     const uint8_t id[CAIRN_ID_LEN])
{
    memcpy(command->id.b, id, CAIRN_ID_LEN);
}

int
cairn_command_expect(struct cairn_command *c, const char *stream,
                     enum cairn_expect expect, uint64_t version)
{
    size_t len = strlen(stream);
    char *copy;

    if (len > TEXT_LEN_MAX || (unsigned)expect > CAIRN_EXPECT_EXACT)
        return CAIRN_ERR_ARGUMENT;
    if (array_reserve(&c->checks, &c->check_room, c->check_count + UINT64_C(1),
                      sizeof *c->checks) < 0)
        return CAIRN_ERR_MEMORY;
    copy = strdup(stream);
    if (copy == NULL)
        return CAIRN_ERR_MEMORY;
    c->checks[c->check_count++] = (struct wire_check){
        .stream = copy,
        .stream_len = (uint16_t)len,
        .expect = (uint8_t)expect,
        .version = expect == CAIRN_EXPECT_EXACT ? version : 0,
    };
    return CAIRN_OK;
}

/* ---- events ------------------------------------------------------------ */

/* Puts bytes behind what a piece has. */
static int
add_bytes(struct piece_bytes *piece, const void *data, size_t len)
{
    uint8_t *grown;

    if (len == 0)
        return CAIRN_OK;
    grown = realloc(piece->p, piece->len + len);
    if (grown == NULL)
        return CAIRN_ERR_MEMORY;
    memcpy(grown + piece->len, data, len);
    piece->p = grown;
    piece->len += len;
    return CAIRN_OK;
}

static int
set_bytes(struct piece_bytes *piece, const void *data, size_t len)
{
    struct piece_bytes other = { 0 };
    int rc = add_bytes(&other, data, len);

    if (rc == 0) {
        free(piece->p);
        *piece = other;
    }
    return rc;
}

int
cairn_command_event(struct cairn_command *c, const char *stream,
                    const char *type, const void *data, size_t data_len)
{
    struct event_parts event = { .wire = { .schema = 1 } };
    int rc;

    if (strlen(stream) > TEXT_LEN_MAX || strlen(type) > TEXT_LEN_MAX ||
        data_len > UINT32_MAX)
        return CAIRN_ERR_ARGUMENT;
    if (array_reserve(&c->events, &c->event_room, c->event_count + UINT64_C(1),
                      sizeof *c->events) < 0)
        return CAIRN_ERR_MEMORY;
    rc = add_bytes(&event.pieces[STREAM], stream, strlen(stream));
    if (rc == 0)
        rc = add_bytes(&event.pieces[TYPE], type, strlen(type));
    if (rc == 0)
        rc = add_bytes(&event.pieces[DATA], data, data_len);
    if (rc < 0) {
        free_event(&event);
        return rc;
    }
    c->events[c->event_count++] = event;
    return CAIRN_OK;
}

static struct event_parts *
last_event(struct cairn_command *c)
{
    return c->event_count == 0 ? NULL : &c->events[c->event_count - 1];
}

int
cairn_command_event_tag(struct cairn_command *command, const char *tag)
{
    struct event_parts *event = last_event(command);
    size_t len = strlen(tag);
    uint8_t len_byte = (uint8_t)len;
    int rc;

    if (event == NULL || len > TAG_LEN_MAX ||
        event->pieces[TAG_LENS].len == TAG_COUNT_MAX)
        return CAIRN_ERR_ARGUMENT;
    rc = add_bytes(&event->pieces[TAGS], tag, len);
    if (rc == 0) {
        rc = add_bytes(&event->pieces[TAG_LENS], &len_byte, 1);
        if (rc < 0)
            event->pieces[TAGS].len -= len;
    }
    return rc;
}

int
cairn_command_event_meta(struct cairn_command *command, const void *meta,
                         size_t meta_len)
{
    struct event_parts *event = last_event(command);

    if (event == NULL || meta_len > UINT32_MAX)
        return CAIRN_ERR_ARGUMENT;
    return set_bytes(&event->pieces[META], meta, meta_len);
}

int
cairn_command_event_content_type(struct cairn_command *command,
                                 const char *content_type)
{
    struct event_parts *event = last_event(command);

    if (event == NULL || strlen(content_type) > TEXT_LEN_MAX)
        return CAIRN_ERR_ARGUMENT;
    return set_bytes(&event->pieces[CONTENT_TYPE], content_type,
                     strlen(content_type));
}

int
cairn_command_event_schema(struct cairn_command *command, uint32_t schema)
{
    struct event_parts *event = last_event(command);

    if (event == NULL)
        return CAIRN_ERR_ARGUMENT;
    event->wire.schema = schema;
    return CAIRN_OK;
}

static void
set_id(struct uuid *id, const uint8_t *bytes)
{
    *id = (struct uuid){ { 0 } };
    if (bytes != NULL)
        memcpy(id->b, bytes, sizeof id->b);
}

int
cairn_command_event_ids(struct cairn_command *command,
                        const uint8_t id[CAIRN_ID_LEN],
                        const uint8_t correlation_id[CAIRN_ID_LEN],
                        const uint8_t causation_id[CAIRN_ID_LEN])
{
    struct event_parts *event = last_event(command);

    if (event == NULL)
        return CAIRN_ERR_ARGUMENT;
    set_id(&event->wire.id, id);
    set_id(&event->wire.correlation_id, correlation_id);
    set_id(&event->wire.causation_id, causation_id);
    return CAIRN_OK;
}

/* ---- sending ----------------------------------------------------------- */

static size_t
text_len(const struct event_parts *event)
{
    size_t len = 0;

    for (int i = 0; i < PIECES; i++)
        len += event->pieces[i].len;
    return len;
}

/* Writes the text of an event, and the lengths of its parts. */
static uint8_t *
put_event(const struct event_parts *event, struct wire_event *wire,
          uint8_t *text)
{
    const struct piece_bytes *pieces = event->pieces;

    *wire = event->wire;
    wire->tag_count = (uint16_t)pieces[TAG_LENS].len;
    wire->stream_len = (uint16_t)pieces[STREAM].len;
    wire->type_len = (uint16_t)pieces[TYPE].len;
    wire->content_type_len = (uint16_t)pieces[CONTENT_TYPE].len;
    wire->tags_len = (uint16_t)pieces[TAGS].len;
    wire->meta_len = (uint32_t)pieces[META].len;
    wire->data_len = (uint32_t)pieces[DATA].len;
    wire->text = text;
    for (int i = 0; i < PIECES; i++) {
        if (pieces[i].len > 0)
            memcpy(text, pieces[i].p, pieces[i].len);
        text += pieces[i].len;
    }
    return text;
}

/* Hands it to the append client, which copies it once more. */
static int
queue_command(struct append_client *client, const struct cairn_command *c,
              struct cairn_outcome *outcome)
{
    struct wire_command wire = {
        .id = c->id,
        .checks = c->checks,
        .check_count = c->check_count,
        .event_count = c->event_count,
    };
    size_t len = 1 + c->event_count * sizeof(struct wire_event);
    struct wire_event *events;
    uint8_t *text;
    int rc;

    for (uint32_t i = 0; i < c->event_count; i++)
        len += text_len(&c->events[i]);
    events = malloc(len);
    if (events == NULL)
        return -ENOMEM;
    text = (uint8_t *)(events + c->event_count);
    for (uint32_t i = 0; i < c->event_count; i++)
        text = put_event(&c->events[i], &events[i], text);
    wire.events = events;
    rc = append_client_queue(client, &wire, (uint64_t)(uintptr_t)outcome);
    free(events);
    return rc;
}

static int
begin(struct cairn *c)
{
    struct append_client_options options;
    int rc = client_begin(c);

    if (rc < 0 || c->append != NULL)
        return rc;
    options = (struct append_client_options){
        .endpoint = c->commands,
        .window = (uint32_t)c->window,
        .deadline_ms = (uint32_t)c->deadline_ms,
        .context = c->context,
        .keys = client_peer(c, c->commands).keys,
    };
    return client_result(
        append_client_open(&options, outcome_take, c, &c->append, &c->err));
}

/* A code of the append client, which has no text. */
static int
failed(struct cairn *c, int rc)
{
    (void)err_sys(&c->err, rc, "sending commands");
    return client_result(rc);
}

static int
queue_outcome(struct cairn *c, const struct cairn_command *command,
              uint64_t tag, bool awaited, struct cairn_outcome **ret_outcome)
{
    struct cairn_outcome *outcome;
    int rc = begin(c);

    if (rc < 0)
        return rc;
    outcome = calloc(1, sizeof *outcome);
    if (outcome == NULL)
        return failed(c, -ENOMEM);
    outcome->tag = tag;
    outcome->awaited = awaited;
    TAILQ_INSERT_TAIL(&c->in_flight, outcome, at);
    rc = queue_command(c->append, command, outcome);
    if (rc < 0) {
        TAILQ_REMOVE(&c->in_flight, outcome, at);
        cairn_outcome_free(&outcome);
        return failed(c, rc);
    }
    *ret_outcome = outcome;
    return CAIRN_OK;
}

int
cairn_append(struct cairn *c, const struct cairn_command *command,
             struct cairn_outcome **ret_outcome)
{
    struct cairn_outcome *outcome;
    int rc = queue_outcome(c, command, 0, true, &outcome);

    if (rc < 0)
        return rc;
    /* Its deadline bounds this. */
    while (rc == 0 && !outcome->done)
        rc = append_client_pump(c->append, PUMP_MS);
    if (rc < 0) {
        outcome->awaited = false; /* it stays in flight, for nobody */
        return failed(c, rc);
    }
    *ret_outcome = outcome;
    return CAIRN_OK;
}

int
cairn_send(struct cairn *c, const struct cairn_command *command, uint64_t tag)
{
    struct cairn_outcome *outcome;
    int rc = queue_outcome(c, command, tag, false, &outcome);

    if (rc == 0)
        c->queued++;
    return rc;
}

int
cairn_receive(struct cairn *c, uint32_t wait_ms,
              struct cairn_outcome **ret_outcome)
{
    uint64_t until = clock_ms() + wait_ms;
    struct cairn_outcome *outcome;
    int rc = 0;

    for (;;) {
        uint64_t now = clock_ms(), left = until > now ? until - now : 0;

        outcome = TAILQ_FIRST(&c->received);
        if (rc < 0 || outcome != NULL || c->queued == 0)
            break;
        rc = append_client_pump(c->append, (uint32_t)left);
        if (rc == 0 && left == 0 && TAILQ_EMPTY(&c->received))
            return 0;
    }
    if (rc < 0)
        return failed(c, rc);
    if (outcome == NULL)
        return 0;
    TAILQ_REMOVE(&c->received, outcome, at);
    c->queued--;
    *ret_outcome = outcome;
    return 1;
}

uint32_t
cairn_in_flight(const struct cairn *cairn)
{
    return cairn->queued;
}
