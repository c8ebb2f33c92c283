/* SPDX-License-Identifier: MPL-2.0 */
#include "cairn/condition.h"

#include <inttypes.h>
#include <time.h>

#include <jansson.h>
#include <sodium.h>

#include "base/text.h"
#include "wire/array.h"

/* Content types of data that was given as JSON, as a text, in base64. */
const char *const line_types[3] = {
    "application/json",
    "text/plain",
    "application/octet-stream",
};

/* ---- the raw text of a member ------------------------------------------ */

/* The functions below walk over text that jansson has found valid. */

static const char *
skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* Behind the string that begins at p. */
static const char *
skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : end;
}

/* Behind the value that begins at p. */
static const char *
skip_value(const char *p, const char *end)
{
    int depth = 0;

    do {
        if (p >= end)
            return end;
        if (*p == '"') {
            p = skip_string(p, end);
            continue;
        }
        if (*p == '{' || *p == '[')
            depth++;
        else if (*p == '}' || *p == ']')
            depth--;
        if (depth == 0 && *p != '}' && *p != ']') { /* a number or a word */
            while (p < end && strchr(",}] \t\r\n", *p) == NULL)
                p++;
            return p;
        }
        p++;
    } while (depth > 0);
    return p;
}

/* The text of a member of the object in [line, line + len). */
static bool
raw_member(const char *line, size_t len, const char *name, struct span *ret_raw)
{
    const char *end = line + len, *p = skip_space(line, end);
    size_t name_len = strlen(name);

    for (p++; p < end;) {
        const char *key, *key_end, *value;

        p = skip_space(p, end);
        if (p >= end || *p != '"')
            return false;
        key = p + 1;
        p = skip_string(p, end);
        key_end = p - 1;
        p = skip_space(p, end) + 1; /* the colon */
        value = skip_space(p, end);
        p = skip_value(value, end);
        if ((size_t)(key_end - key) == name_len &&
            memcmp(key, name, name_len) == 0) {
            *ret_raw = (struct span){ value, (uint32_t)(p - value) };
            return true;
        }
        p = skip_space(p, end) + 1; /* the comma, or the end */
    }
    return false;
}

/* ---- building ---------------------------------------------------------- */

static int
put(struct line_commit *c, const void *data, size_t len)
{
    if (bytes_reserve(&c->text, &c->text_room, c->text_len + len) < 0)
        return -ENOMEM;
    if (len > 0)
        memcpy(c->text + c->text_len, data, len);
    c->text_len += len;
    return 0;
}

static int
check_name(const char *field, const char *text, size_t len, bool is_stream,
           struct err *err)
{
    const char *fault =
        is_stream ? stream_fault(text, len) : name_fault(text, len);

    return fault == NULL ? 0 : err_set(err, -EINVAL, "%s: it %s", field, fault);
}

int
line_add(struct line_commit *c, const struct line_event *e, struct err *err)
{
    struct wire_event *w;
    int rc = check_name("stream", e->stream, strlen(e->stream), true, err);

    if (rc == 0)
        rc = check_name("type", e->type, strlen(e->type), false, err);
    if (rc == 0 && e->content_type[0] != '\0')
        rc = check_name("content_type", e->content_type,
                        strlen(e->content_type), false, err);
    for (uint32_t i = 0; rc == 0 && i < e->tag_count; i++)
        rc = check_name("tags", e->tags[i], strlen(e->tags[i]), false, err);
    if (rc == 0 &&
        (e->data_len > UINT32_MAX || e->meta_len > UINT32_MAX ||
         e->tag_count > TAGS_MAX))
        rc = err_set(err, -EINVAL,
                     "data, meta or tags: there is too much of "
                     "it");
    if (rc < 0)
        return rc;
    if (array_reserve(&c->events, &c->event_room, c->event_count + UINT64_C(1),
                      sizeof *c->events) < 0)
        return err_sys(err, -ENOMEM, "events");
    w = &c->events[c->event_count++];
    *w = (struct wire_event){
        .id = e->id,
        .correlation_id = e->correlation_id,
        .causation_id = e->causation_id,
        .schema = e->schema,
        .meta_len = (uint32_t)e->meta_len,
        .data_len = (uint32_t)e->data_len,
        .stream_len = (uint16_t)strlen(e->stream),
        .type_len = (uint16_t)strlen(e->type),
        .content_type_len = (uint16_t)strlen(e->content_type),
        .tag_count = (uint16_t)e->tag_count,
        .text = (const uint8_t *)c->text_len, /* an offset until the end */
    };
    for (uint32_t i = 0; i < e->tag_count; i++) {
        uint8_t len = (uint8_t)strlen(e->tags[i]);

        rc |= put(c, &len, 1);
        w->tags_len = (uint16_t)(w->tags_len + len);
    }
    rc |= put(c, e->stream, w->stream_len);
    rc |= put(c, e->type, w->type_len);
    rc |= put(c, e->content_type, w->content_type_len);
    for (uint32_t i = 0; i < e->tag_count; i++)
        rc |= put(c, e->tags[i], strlen(e->tags[i]));
    rc |= put(c, e->meta, e->meta_len);
    rc |= put(c, e->data, e->data_len);
    return rc == 0 ? 0 : err_sys(err, -ENOMEM, "events");
}

int
line_add_check(struct line_commit *c, const char *stream, size_t stream_len,
               enum expect expect, uint64_t version, struct err *err)
{
    int rc = check_name("checks", stream, stream_len, true, err);

    if (rc < 0)
        return rc;
    if (array_reserve(&c->checks, &c->check_room, c->check_count + UINT64_C(1),
                      sizeof *c->checks) < 0)
        return err_sys(err, -ENOMEM, "checks");
    c->checks[c->check_count++] = (struct wire_check){
        .stream = (const char *)c->text_len, /* an offset until the end */
        .stream_len = (uint16_t)stream_len,
        .expect = (uint8_t)expect,
        .version = version,
    };
    return put(c, stream, stream_len) < 0 ? err_sys(err, -ENOMEM, "checks") : 0;
}

int
line_begin_condition(struct line_commit *c, enum expect expect, uint64_t after,
                     struct err *err)
{
    if (array_reserve(&c->checks, &c->check_room, c->check_count + UINT64_C(1),
                      sizeof *c->checks) < 0)
        return err_sys(err, -ENOMEM, "fail_if");
    c->checks[c->check_count++] = (struct wire_check){
        .expect = (uint8_t)expect,
        .version = after,
        .items = (void *)(uintptr_t)c->item_count, /* until the end */
    };
    return 0;
}

/* Adds the texts of names behind their lengths; -ENOMEM. */
static int
put_names(struct line_commit *c, struct wire_item *item,
          const struct span *names, uint32_t count, bool lengths)
{
    int rc = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint8_t len = (uint8_t)names[i].len;

        if (lengths)
            rc |= put(c, &len, 1);
        else
            rc |= put(c, names[i].p, len);
        item->names_len += lengths ? len : 0;
    }
    return rc;
}

int
line_add_item(struct line_commit *c, const struct span *types,
              uint32_t type_count, const struct span *tags, uint32_t tag_count,
              struct err *err)
{
    struct wire_item *item;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < type_count; i++)
        rc = check_name("fail_if: type", types[i].p, types[i].len, false, err);
    for (uint32_t i = 0; rc == 0 && i < tag_count; i++)
        rc = check_name("fail_if: tag", tags[i].p, tags[i].len, false, err);
    if (rc < 0)
        return rc;
    if (array_reserve(&c->items, &c->item_room, c->item_count + UINT64_C(1),
                      sizeof *c->items) < 0)
        return err_sys(err, -ENOMEM, "fail_if");
    c->checks[c->check_count - 1].item_count++;
    item = &c->items[c->item_count++];
    *item = (struct wire_item){
        .type_count = (uint16_t)type_count,
        .tag_count = (uint16_t)tag_count,
        .text = (const uint8_t *)c->text_len, /* an offset until the end */
    };
    rc |= put_names(c, item, types, type_count, true);
    rc |= put_names(c, item, tags, tag_count, true);
    rc |= put_names(c, item, types, type_count, false);
    rc |= put_names(c, item, tags, tag_count, false);
    return rc == 0 ? 0 : err_sys(err, -ENOMEM, "fail_if");
}

struct wire_command
line_finish(struct line_commit *c)
{
    for (uint32_t i = 0; i < c->check_count; i++) {
        c->checks[i].stream =
            (const char *)c->text + (uintptr_t)c->checks[i].stream;
        c->checks[i].items = c->checks[i].item_count == 0
            ? NULL
            : c->items + (uintptr_t)c->checks[i].items;
    }
    for (uint32_t i = 0; i < c->item_count; i++)
        c->items[i].text = c->text + (uintptr_t)c->items[i].text;
    for (uint32_t i = 0; i < c->event_count; i++)
        c->events[i].text = c->text + (uintptr_t)c->events[i].text;
    return (struct wire_command){
        .id = c->command,
        .checks = c->checks,
        .check_count = c->check_count,
        .events = c->events,
        .event_count = c->event_count,
    };
}

void
line_clear(struct line_commit *c)
{
    c->command = (struct uuid){ { 0 } };
    c->more = false;
    c->check_count = c->item_count = c->event_count = 0;
    c->text_len = 0;
}

void
line_free(struct line_commit *c)
{
    free(c->checks);
    free(c->items);
    free(c->events);
    free(c->text);
    *c = (struct line_commit){ 0 };
}

/* ---- reading ----------------------------------------------------------- */

/* What a line says, while it is read. */
struct reading {
    const char *line;
    size_t len;
    json_t *root;
    struct line_event event;
    enum expect expect;
    uint64_t version;
    const char *tags[TAGS_MAX];
    char *made_data, *made_meta; /* decoded from base64 */
    struct err *err;
};

static int
bad(struct reading *r, const char *field, const char *reason)
{
    return err_set(r->err, -EINVAL, "%s: %s", field, reason);
}

/* A text without NUL bytes, which no name may hold. */
static int
get_text(struct reading *r, const char *field, const char **ret_text)
{
    json_t *value = json_object_get(r->root, field);

    if (value == NULL)
        return 0;
    if (!json_is_string(value))
        return bad(r, field, "it must be a text");
    if (strlen(json_string_value(value)) != json_string_length(value))
        return bad(r, field, "it holds a control character");
    *ret_text = json_string_value(value);
    return 0;
}

static int
get_uuid(struct reading *r, const char *field, struct uuid *ret_id)
{
    const char *text = NULL;
    int rc = get_text(r, field, &text);

    if (rc < 0 || text == NULL)
        return rc;
    if (uuid_parse(text, strlen(text), ret_id) < 0 || uuid_is_nil(*ret_id))
        return bad(r, field,
                   "it must be a UUID, as in "
                   "0190b0a0-7c1e-7000-8000-000000000001");
    return 0;
}

int
expect_parse(const char *text, enum expect *ret_expect, uint64_t *ret_version)
{
    static const char *const words[] = { "any", "none", "exists" };

    for (unsigned i = 0; i < 3; i++)
        if (strcmp(text, words[i]) == 0) {
            *ret_expect = (enum expect)i;
            return 0;
        }
    *ret_expect = WIRE_EXPECT_EXACT;
    return number_parse(text, ret_version) ? 0 : -EINVAL;
}

static int
get_expect(struct reading *r, const char *field, json_t *value,
           enum expect *ret_expect, uint64_t *ret_version)
{
    if (value == NULL)
        return 0;
    if (json_is_real(value) && json_whole(value, ret_version) == 0) {
        *ret_expect = WIRE_EXPECT_EXACT;
        return 0;
    }
    if (json_is_string(value) &&
        expect_parse(json_string_value(value), ret_expect, ret_version) == 0 &&
        *ret_expect != WIRE_EXPECT_EXACT)
        return 0;
    return bad(r, field,
               "an expectation is \"any\", \"none\", \"exists\" or "
               "a version");
}

static int
get_schema(struct reading *r)
{
    json_t *value = json_object_get(r->root, "schema");
    uint64_t number = 1;

    if (value != NULL &&
        (json_whole(value, &number) < 0 || number > UINT32_MAX))
        return bad(r, "schema", "it must be a number from 0 to 4294967295");
    r->event.schema = (uint32_t)number;
    return 0;
}

static int
get_tags(struct reading *r)
{
    json_t *value = json_object_get(r->root, "tags"), *tag;
    size_t i;

    if (value == NULL)
        return 0;
    if (!json_is_array(value) || json_array_size(value) > TAGS_MAX)
        return bad(r, "tags", "it must be an array of at most 32 texts");
    json_array_foreach(value, i, tag)
    {
        if (!json_is_string(tag) ||
            strlen(json_string_value(tag)) != json_string_length(tag))
            return bad(r, "tags", "each must be a text");
        r->tags[i] = json_string_value(tag);
    }
    r->event.tags = r->tags;
    r->event.tag_count = (uint32_t)i;
    return 0;
}

/*
 * The bytes of data or meta, given as JSON, as a text, or in base64, as
 * `names` has them; *ret_given says which, or is -1.
 */
static int
get_bytes(struct reading *r, const char *const names[3], const void **ret_data,
          size_t *ret_len, char **ret_made, int *ret_given)
{
    json_t *value;
    int given = -1;

    for (int i = 0; i < 3; i++) {
        if (json_object_get(r->root, names[i]) == NULL)
            continue;
        if (given >= 0)
            return bad(r, names[i], "it is given in two ways");
        given = i;
    }
    *ret_given = given;
    if (given < 0)
        return 0;
    if (given == 0) {
        struct span raw;

        if (!raw_member(r->line, r->len, names[0], &raw))
            return bad(r, names[0],
                       "its name must be written without "
                       "escapes");
        *ret_data = raw.p;
        *ret_len = raw.len;
        return 0;
    }
    value = json_object_get(r->root, names[given]);
    if (!json_is_string(value))
        return bad(r, names[given], "it must be a text");
    *ret_data = json_string_value(value);
    *ret_len = json_string_length(value);
    if (given == 1)
        return 0;
    *ret_made = malloc(*ret_len + 1);
    if (*ret_made == NULL)
        return err_sys(r->err, -ENOMEM, "%s", names[given]);
    if (sodium_base642bin((uint8_t *)*ret_made, *ret_len + 1, *ret_data,
                          *ret_len, NULL, ret_len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0)
        return bad(r, names[given], "it is not valid base64");
    *ret_data = *ret_made;
    return 0;
}

static int
get_data(struct reading *r)
{
    static const char *const data[] = { "data", "data_text", "data_base64" };
    static const char *const meta[] = { "meta", "meta_text", "meta_base64" };
    int given, rc;

    rc = get_bytes(r, meta, &r->event.meta, &r->event.meta_len, &r->made_meta,
                   &given);
    if (rc == 0)
        rc = get_bytes(r, data, &r->event.data, &r->event.data_len,
                       &r->made_data, &given);
    r->event.content_type = given < 0 ? "" : line_types[given];
    return rc;
}

static int
get_checks(struct reading *r, struct line_commit *c)
{
    json_t *checks = json_object_get(r->root, "checks"), *value;
    const char *name;

    if (checks == NULL)
        return 0;
    if (!json_is_object(checks))
        return bad(r, "checks",
                   "it must be an object of streams and expectations");
    json_object_foreach(checks, name, value)
    {
        enum expect expect = WIRE_EXPECT_ANY;
        uint64_t version = 0;
        int rc = get_expect(r, "checks", value, &expect, &version);

        if (rc == 0)
            rc = line_add_check(c, name, strlen(name), expect, version, r->err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int
check_fields(struct reading *r)
{
    static const char *const known[] = {
        "stream",      "type",      "data",         "data_text", "data_base64",
        "meta",        "meta_text", "meta_base64",  "tags",      "id",
        "correlation", "causation", "schema",       "expect",    "checks",
        "command",     "more",      "content_type", "position",  "version",
        "time",        "time_us",   "fail_if",
    };
    const char *name;
    json_t *value;

    json_object_foreach(r->root, name, value)
    {
        bool found = false;

        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found = found || strcmp(name, known[i]) == 0;
        if (!found)
            return bad(r, name, "there is no such field");
    }
    return 0;
}

/* What concerns the whole commit: its id, and whether it goes on. */
static int
get_command(struct reading *r, struct line_commit *c)
{
    struct uuid command = { { 0 } };
    json_t *more = json_object_get(r->root, "more");
    int rc = get_uuid(r, "command", &command);

    if (rc < 0)
        return rc;
    if (more != NULL && !json_is_boolean(more))
        return bad(r, "more", "it must be true or false");
    if (c->event_count > 0 && !uuid_equal(command, c->command))
        return bad(r, "command",
                   "it must be the same in all lines of a "
                   "commit (the line before says more)");
    c->command = command;
    c->more = json_is_true(more);
    return 0;
}

static int
read_line(struct reading *r, struct line_commit *c)
{
    json_t *expect = json_object_get(r->root, "expect");
    int rc = check_fields(r);

    if (rc == 0)
        rc = get_command(r, c);
    if (rc == 0)
        rc = get_text(r, "stream", &r->event.stream);
    if (rc == 0)
        rc = get_text(r, "type", &r->event.type);
    if (rc == 0 && r->event.stream == NULL)
        rc = bad(r, "stream", "it is missing");
    if (rc == 0 && r->event.type == NULL)
        rc = bad(r, "type", "it is missing");
    if (rc == 0)
        rc = get_uuid(r, "id", &r->event.id);
    if (rc == 0)
        rc = get_uuid(r, "correlation", &r->event.correlation_id);
    if (rc == 0)
        rc = get_uuid(r, "causation", &r->event.causation_id);
    if (rc == 0)
        rc = get_schema(r);
    if (rc == 0)
        rc = get_tags(r);
    if (rc == 0)
        rc = get_data(r);
    if (rc == 0)
        rc = get_text(r, "content_type", &r->event.content_type);
    if (rc == 0)
        rc = get_expect(r, "expect", expect, &r->expect, &r->version);
    if (rc == 0)
        rc = line_add(c, &r->event, r->err);
    if (rc == 0 && r->expect != WIRE_EXPECT_ANY)
        rc = line_add_check(c, r->event.stream, strlen(r->event.stream),
                            r->expect, r->version, r->err);
    if (rc == 0)
        rc = get_checks(r, c);
    return rc < 0
        ? rc
        : condition_from_json(c, json_object_get(r->root, "fail_if"), r->err);
}

int
line_parse(struct line_commit *commit, const char *line, size_t len,
           struct err *err)
{
    struct reading r = { .line = line, .len = len, .err = err };
    json_error_t error;
    int rc;

    r.root = json_loadb(line, len, LINE_JSON_FLAGS, &error);
    if (r.root == NULL)
        return err_set(err, -EINVAL, "column %d: not valid JSON: %s",
                       error.column, error.text);
    if (!json_is_object(r.root))
        rc = err_set(err, -EINVAL, "a line must be a JSON object");
    else
        rc = read_line(&r, commit);
    free(r.made_data);
    free(r.made_meta);
    json_decref(r.root);
    return rc;
}

struct uuid
line_command(const char *line, size_t len, bool *ret_more)
{
    struct uuid command = { { 0 } };
    json_t *root = json_loadb(line, len, LINE_JSON_FLAGS, NULL);
    json_t *value = json_object_get(root, "command");

    *ret_more = json_is_true(json_object_get(root, "more"));
    if (json_is_string(value) &&
        uuid_parse(json_string_value(value), json_string_length(value),
                   &command) < 0)
        command = (struct uuid){ { 0 } };
    json_decref(root);
    return command;
}
