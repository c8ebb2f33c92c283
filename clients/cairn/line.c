/* SPDX-License-Identifier: MPL-2.0 */
#include "cairn/line.h"

#include <inttypes.h>
#include <time.h>

#include <jansson.h>
#include <sodium.h>

#include "base/text.h"
#include "wire/array.h"

#define PARSE_FLAGS \
    (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL)

/* Doubles hold every whole number up to here. */
#define WHOLE_MAX 9007199254740992.0

/* Content types of data that was given as JSON, as a text, in base64. */
static const char *const default_types[] = {
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

struct wire_command
line_finish(struct line_commit *c)
{
    for (uint32_t i = 0; i < c->check_count; i++)
        c->checks[i].stream =
            (const char *)c->text + (uintptr_t)c->checks[i].stream;
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
    c->check_count = c->event_count = 0;
    c->text_len = 0;
}

void
line_free(struct line_commit *c)
{
    free(c->checks);
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

static int
get_whole(json_t *value, uint64_t *ret_number)
{
    double number = json_real_value(value);

    if (!json_is_real(value) || number < 0 || number > WHOLE_MAX ||
        number != (double)(uint64_t)number)
        return -EINVAL;
    *ret_number = (uint64_t)number;
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
    if (json_is_real(value) && get_whole(value, ret_version) == 0) {
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

    if (value != NULL && (get_whole(value, &number) < 0 || number > UINT32_MAX))
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
    r->event.content_type = given < 0 ? "" : default_types[given];
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
        "stream",       "type",     "data",    "data_text",   "data_base64",
        "meta",         "tags",     "id",      "correlation", "causation",
        "schema",       "expect",   "checks",  "command",     "more",
        "content_type", "position", "version", "time",        "time_us",
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
    return rc < 0 ? rc : get_checks(r, c);
}

int
line_parse(struct line_commit *commit, const char *line, size_t len,
           struct err *err)
{
    struct reading r = { .line = line, .len = len, .err = err };
    json_error_t error;
    int rc;

    r.root = json_loadb(line, len, PARSE_FLAGS, &error);
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
    json_t *root = json_loadb(line, len, PARSE_FLAGS, NULL);
    json_t *value = json_object_get(root, "command");

    *ret_more = json_is_true(json_object_get(root, "more"));
    if (json_is_string(value) &&
        uuid_parse(json_string_value(value), json_string_length(value),
                   &command) < 0)
        command = (struct uuid){ { 0 } };
    json_decref(root);
    return command;
}

/* ---- writing ----------------------------------------------------------- */

void
json_print_text(FILE *out, const char *text, size_t len)
{
    const char *start = text, *end = text + len;
    bool valid = utf8_valid(text, len);

    putc('"', out);
    for (const char *p = text; p < end; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = c >= 0x20 && c != '"' && c != '\\' && (c < 0x80 || valid);

        if (plain)
            continue;
        fwrite(start, 1, (size_t)(p - start), out);
        start = p + 1;
        if (c >= 0x80)
            fputs("\xef\xbf\xbd", out);
        else if (c == '\n')
            fputs("\\n", out);
        else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else
            fprintf(out, "\\u%04x", c);
    }
    fwrite(start, 1, (size_t)(end - start), out);
    putc('"', out);
}

char *
time_format(uint64_t time_us, char buf[32])
{
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm tm;
    size_t len;

    if (gmtime_r(&seconds, &tm) == NULL) {
        (void)snprintf(buf, 32, "?");
        return buf;
    }
    len = strftime(buf, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(buf + len, 32 - len, ".%06uZ",
                   (unsigned)(time_us % 1000000));
    return buf;
}

static void
print_uuid(FILE *out, const char *name, struct uuid id)
{
    char text[UUID_TEXT_LEN + 1];

    if (uuid_is_nil(id))
        return;
    uuid_format(id, text);
    fprintf(out, ",\"%s\":\"%s\"", name, text);
}

/* Whether bytes can stand in a line of JSON as they are. */
static bool
is_json_line(struct span data)
{
    json_t *value;

    if (data.len == 0 || memchr(data.p, '\n', data.len) != NULL ||
        memchr(data.p, '\r', data.len) != NULL || !utf8_valid(data.p, data.len))
        return false;
    value = json_loadb(data.p, data.len, PARSE_FLAGS | JSON_DECODE_ANY, NULL);
    json_decref(value);
    return value != NULL;
}

static void
print_base64(FILE *out, struct span data)
{
    size_t room =
        sodium_base64_encoded_len(data.len, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(room);

    if (text == NULL)
        abort();
    (void)sodium_bin2base64(text, room, (const uint8_t *)data.p, data.len,
                            sodium_base64_VARIANT_ORIGINAL);
    fprintf(out, "\"%s\"", text);
    free(text);
}

/* How bytes are written: 0 as JSON, 1 as a text, 2 in base64. */
static int
form_of(struct span data, bool may_be_json)
{
    if (may_be_json && is_json_line(data))
        return 0;
    return utf8_valid(data.p, data.len) ? 1 : 2;
}

static void
print_bytes(FILE *out, const char *name, struct span data, int form)
{
    static const char *const suffixes[] = { "", "_text", "_base64" };

    fprintf(out, ",\"%s%s\":", name, suffixes[form]);
    if (form == 0)
        fwrite(data.p, 1, data.len, out);
    else if (form == 1)
        json_print_text(out, data.p, data.len);
    else
        print_base64(out, data);
}

static bool
is_type(struct span content_type, const char *name)
{
    return content_type.len == strlen(name) &&
        memcmp(content_type.p, name, content_type.len) == 0;
}

/* Data, and its content type unless reading the line would give the same. */
static void
print_data(FILE *out, const struct event *e)
{
    int form = form_of(e->data, is_type(e->content_type, default_types[0]));

    if (e->data.len > 0 ? !is_type(e->content_type, default_types[form])
                        : e->content_type.len > 0) {
        fputs(",\"content_type\":", out);
        json_print_text(out, e->content_type.p, e->content_type.len);
    }
    if (e->data.len > 0)
        print_bytes(out, "data", e->data, form);
}

void
line_print(FILE *out, const struct event *e)
{
    char time[32];

    fprintf(out, "{\"position\":%" PRIu64 ",\"stream\":", e->position);
    json_print_text(out, e->stream.p, e->stream.len);
    fprintf(out, ",\"version\":%" PRIu64 ",\"type\":", e->version);
    json_print_text(out, e->type.p, e->type.len);
    fprintf(out, ",\"time\":\"%s\",\"time_us\":%" PRIu64,
            time_format(e->time_us, time), e->time_us);
    print_uuid(out, "id", e->id);
    print_uuid(out, "correlation", e->correlation_id);
    print_uuid(out, "causation", e->causation_id);
    if (e->schema != 1)
        fprintf(out, ",\"schema\":%u", e->schema);
    for (uint32_t i = 0; i < e->tag_count; i++) {
        struct span tag = event_tag_link(e, i).name;

        fputs(i == 0 ? ",\"tags\":[" : ",", out);
        json_print_text(out, tag.p, tag.len);
        if (i + 1 == e->tag_count)
            putc(']', out);
    }
    if (e->meta.len > 0)
        print_bytes(out, "meta", e->meta, form_of(e->meta, true));
    print_data(out, e);
    fputs("}\n", out);
}
