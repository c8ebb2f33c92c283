/* SPDX-License-Identifier: MPL-2.0 */
#include "libcairn/impl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/array.h"

#define TEXT_LEN_MAX UINT16_MAX /* what a length of the protocol can say */
#define SHORT_LEN_MAX UINT8_MAX
#define TAG_COUNT_MAX UINT8_MAX

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

/* The pieces of an item, likewise. */
enum { TYPE_LENS, ITEM_TAG_LENS, TYPES, ITEM_TAGS, ITEM_PIECES };

struct item_parts {
    struct piece_bytes pieces[ITEM_PIECES];
};

struct check_parts {
    struct wire_check wire;
    char *stream; /* or NULL */
    struct item_parts *items;
    uint32_t item_count, item_room;
};

struct cairn_command {
    struct uuid id;
    bool dry_run;
    uint16_t show;
    struct check_parts *checks;
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
free_pieces(struct piece_bytes *pieces, int count)
{
    for (int i = 0; i < count; i++)
        free(pieces[i].p);
}

void
cairn_command_free(struct cairn_command **command)
{
    struct cairn_command *c;

    if (command == NULL || *command == NULL)
        return;
    c = *command;
    *command = NULL;
    for (uint32_t i = 0; i < c->check_count; i++) {
        for (uint32_t k = 0; k < c->checks[i].item_count; k++)
            free_pieces(c->checks[i].items[k].pieces, ITEM_PIECES);
        free(c->checks[i].items);
        free(c->checks[i].stream);
    }
    for (uint32_t i = 0; i < c->event_count; i++)
        free_pieces(c->events[i].pieces, PIECES);
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

void
cairn_command_dry_run(struct cairn_command *command, int is_dry_run)
{
    command->dry_run = is_dry_run != 0;
}

void
cairn_command_show(struct cairn_command *command, uint16_t events)
{
    command->show = events;
}

/* ---- pieces ------------------------------------------------------------ */

/* Puts bytes behind what a piece has. */
static int
add_bytes(struct piece_bytes *piece, const void *data, size_t len)
{
    uint8_t *grown;

    if (len == 0)
        return CAIRN_OK;
    if (data == NULL)
        return CAIRN_ERR_ARGUMENT;
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

/* Adds a name that is told apart by a byte with its length. */
static int
add_short_name(struct piece_bytes *lens, struct piece_bytes *names,
               const char *name)
{
    size_t len = strlen(name);
    uint8_t len_byte = (uint8_t)len;
    int rc;

    if (len > SHORT_LEN_MAX || lens->len == TEXT_LEN_MAX)
        return CAIRN_ERR_ARGUMENT;
    rc = add_bytes(names, name, len);
    if (rc == 0) {
        rc = add_bytes(lens, &len_byte, 1);
        if (rc < 0)
            names->len -= len;
    }
    return rc;
}

static size_t
pieces_len(const struct piece_bytes *pieces, int count)
{
    size_t len = 0;

    for (int i = 0; i < count; i++)
        len += pieces[i].len;
    return len;
}

static uint8_t *
put_pieces(uint8_t *text, const struct piece_bytes *pieces, int count)
{
    for (int i = 0; i < count; i++) {
        if (pieces[i].len > 0)
            memcpy(text, pieces[i].p, pieces[i].len);
        text += pieces[i].len;
    }
    return text;
}

/* ---- checks ------------------------------------------------------------ */

static int
add_check(struct cairn_command *c, const struct check_parts *check)
{
    if (c->check_count == CHECKS_PER_MESSAGE_MAX)
        return CAIRN_ERR_ARGUMENT;
    if (array_reserve(&c->checks, &c->check_room, c->check_count + UINT64_C(1),
                      sizeof *c->checks) < 0)
        return CAIRN_ERR_MEMORY;
    c->checks[c->check_count++] = *check;
    return CAIRN_OK;
}

int
cairn_command_expect(struct cairn_command *c, const char *stream,
                     enum cairn_expect expect, uint64_t version)
{
    size_t len = strlen(stream);
    struct check_parts check = {
        .wire = { .stream_len = (uint16_t)len,
                  .expect = (uint8_t)expect,
                  .version = expect == CAIRN_EXPECT_EXACT ? version : 0 },
    };
    int rc;

    if (len > TEXT_LEN_MAX || (unsigned)expect > CAIRN_EXPECT_EXACT)
        return CAIRN_ERR_ARGUMENT;
    check.wire.stream = check.stream = strdup(stream);
    if (check.stream == NULL)
        return CAIRN_ERR_MEMORY;
    rc = add_check(c, &check);
    if (rc < 0)
        free(check.stream);
    return rc;
}

int
cairn_command_expect_no_event(struct cairn_command *c, uint64_t after)
{
    struct check_parts check = { .wire = { .expect = CAIRN_EXPECT_NO_EVENT,
                                           .version = after } };

    return add_check(c, &check);
}

int
cairn_command_expect_no_match(struct cairn_command *c, uint64_t after)
{
    struct check_parts check = { .wire = { .expect = CAIRN_EXPECT_NO_MATCH,
                                           .version = after } };

    return add_check(c, &check);
}

int
cairn_command_match_item(struct cairn_command *c)
{
    struct check_parts *check =
        c->check_count == 0 ? NULL : &c->checks[c->check_count - 1];

    if (check == NULL || check->wire.expect != CAIRN_EXPECT_NO_MATCH ||
        check->item_count == TEXT_LEN_MAX)
        return CAIRN_ERR_ARGUMENT;
    if (array_reserve(&check->items, &check->item_room,
                      check->item_count + UINT64_C(1),
                      sizeof *check->items) < 0)
        return CAIRN_ERR_MEMORY;
    check->items[check->item_count++] = (struct item_parts){ 0 };
    return CAIRN_OK;
}

/* The pieces of the item that was added last; NULL: there is none. */
static struct piece_bytes *
last_item(struct cairn_command *c)
{
    struct check_parts *check =
        c->check_count == 0 ? NULL : &c->checks[c->check_count - 1];

    return check == NULL || check->item_count == 0
        ? NULL
        : check->items[check->item_count - 1].pieces;
}

int
cairn_command_match_type(struct cairn_command *command, const char *type)
{
    struct piece_bytes *item = last_item(command);

    return item == NULL ? CAIRN_ERR_ARGUMENT
                        : add_short_name(&item[TYPE_LENS], &item[TYPES], type);
}

int
cairn_command_match_tag(struct cairn_command *command, const char *tag)
{
    struct piece_bytes *item = last_item(command);

    return item == NULL
        ? CAIRN_ERR_ARGUMENT
        : add_short_name(&item[ITEM_TAG_LENS], &item[ITEM_TAGS], tag);
}

/* ---- events ------------------------------------------------------------ */

int
cairn_command_event(struct cairn_command *c, const char *stream,
                    const char *type, const void *data, size_t data_len)
{
    struct event_parts event = { .wire = { .schema = 1 } };
    int rc;

    if (strlen(stream) > TEXT_LEN_MAX || strlen(type) > TEXT_LEN_MAX ||
        data_len > FRAME_LEN_MAX || c->event_count == EVENTS_PER_MESSAGE_MAX)
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
        free_pieces(event.pieces, PIECES);
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

    if (event == NULL || event->pieces[TAG_LENS].len == TAG_COUNT_MAX)
        return CAIRN_ERR_ARGUMENT;
    return add_short_name(&event->pieces[TAG_LENS], &event->pieces[TAGS], tag);
}

int
cairn_command_event_meta(struct cairn_command *command, const void *meta,
                         size_t meta_len)
{
    struct event_parts *event = last_event(command);

    if (event == NULL || meta_len > FRAME_LEN_MAX)
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

/* Where the parts of a command go, one behind the other. */
struct layout {
    struct wire_check *checks;
    struct wire_item *items;
    struct wire_event *events;
    uint8_t *text;
};

/* Writes the text of an event, and the lengths of its parts. */
static void
put_event(const struct event_parts *event, struct wire_event *wire,
          struct layout *out)
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
    wire->text = out->text;
    out->text = put_pieces(out->text, pieces, PIECES);
}

static void
put_check(const struct check_parts *check, struct wire_check *wire,
          struct layout *out)
{
    *wire = check->wire;
    wire->items = out->items;
    wire->item_count = (uint16_t)check->item_count;
    for (uint32_t i = 0; i < check->item_count; i++) {
        const struct piece_bytes *pieces = check->items[i].pieces;

        *out->items++ = (struct wire_item){
            .type_count = (uint16_t)pieces[TYPE_LENS].len,
            .tag_count = (uint16_t)pieces[ITEM_TAG_LENS].len,
            .names_len = (uint32_t)(pieces[TYPES].len + pieces[ITEM_TAGS].len),
            .text = out->text,
        };
        out->text = put_pieces(out->text, pieces, ITEM_PIECES);
    }
}

/* Memory for all parts; -ENOMEM, or -EMSGSIZE if no message can carry it. */
static int
make_layout(const struct cairn_command *c, struct layout *ret_layout)
{
    size_t checks_len = c->check_count * sizeof(struct wire_check);
    size_t events_len = c->event_count * sizeof(struct wire_event);
    size_t items_len = 0, text_len = 0;
    uint8_t *memory;

    for (uint32_t i = 0; i < c->check_count; i++) {
        const struct check_parts *check = &c->checks[i];

        items_len += check->item_count * sizeof(struct wire_item);
        text_len += check->wire.stream_len;
        for (uint32_t k = 0; k < check->item_count; k++)
            text_len += pieces_len(check->items[k].pieces, ITEM_PIECES);
    }
    for (uint32_t i = 0; i < c->event_count; i++)
        text_len += pieces_len(c->events[i].pieces, PIECES);
    if (text_len > FRAME_LEN_MAX)
        return -EMSGSIZE;
    memory = malloc(checks_len + items_len + events_len + text_len + 1);
    if (memory == NULL)
        return -ENOMEM;
    ret_layout->checks = (void *)memory;
    ret_layout->items = (void *)(memory + checks_len);
    ret_layout->events = (void *)(memory + checks_len + items_len);
    ret_layout->text = memory + checks_len + items_len + events_len;
    return 0;
}

int
command_queue(const struct cairn_command *c, struct append_client *client,
              uint64_t tag)
{
    struct wire_command wire = {
        .id = c->id,
        .check_count = c->check_count,
        .event_count = c->event_count,
        .flags = c->dry_run ? COMMAND_FLAG_DRY_RUN : 0,
        .show = c->show,
    };
    struct layout layout;
    void *memory;
    int rc = make_layout(c, &layout);

    if (rc < 0)
        return rc;
    memory = layout.checks;
    wire.checks = layout.checks;
    wire.events = layout.events;
    for (uint32_t i = 0; i < c->check_count; i++)
        put_check(&c->checks[i], &layout.checks[i], &layout);
    for (uint32_t i = 0; i < c->event_count; i++)
        put_event(&c->events[i], &layout.events[i], &layout);
    rc = append_client_queue(client, &wire, tag);
    free(memory);
    return rc;
}
