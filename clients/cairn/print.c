/* SPDX-License-Identifier: MPL-2.0 */
/* print - events and texts as JSON, going out; see line.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include <sodium.h>

#include "base/text.h"
#include "cairn/condition.h"

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

/*
 * Whether bytes can stand in a line of JSON as they are, and are read from it
 * as they were: space around a value would get lost, and a value may be nested
 * so deeply that it cannot stand inside another.
 */
static bool
is_json_line(struct span data)
{
    char *inside;
    json_t *value;
    bool one;

    if (data.len == 0 || strchr(" \t", data.p[0]) != NULL ||
        strchr(" \t", data.p[data.len - 1]) != NULL ||
        memchr(data.p, '\n', data.len) != NULL ||
        memchr(data.p, '\r', data.len) != NULL || !utf8_valid(data.p, data.len))
        return false;
    inside = malloc((size_t)data.len + 2);
    if (inside == NULL)
        abort();
    inside[0] = '[';
    memcpy(inside + 1, data.p, data.len);
    inside[data.len + 1] = ']';
    value = json_loadb(inside, (size_t)data.len + 2, LINE_JSON_FLAGS, NULL);
    free(inside);
    one = json_array_size(value) == 1; /* "1,2" is no value, "[1,2]" is */
    json_decref(value);
    return one;
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
    int form = form_of(e->data, is_type(e->content_type, line_types[0]));

    if (e->data.len > 0 ? !is_type(e->content_type, line_types[form])
                        : e->content_type.len > 0) {
        fputs(",\"content_type\":", out);
        json_print_text(out, e->content_type.p, e->content_type.len);
    }
    if (e->data.len > 0)
        print_bytes(out, "data", e->data, form);
}

/* All of it but the end. */
static void
print_event(FILE *out, const struct event *e)
{
    char time[32];

    fprintf(out, "{\"position\":%" PRIu64 ",\"stream\":", e->position);
    json_print_text(out, e->stream.p, e->stream.len);
    fprintf(out, ",\"version\":%" PRIu64 ",\"type\":", e->version);
    json_print_text(out, e->type.p, e->type.len);
    fprintf(out, ",\"time\":\"%s\",\"time_us\":%" PRIu64,
            time_format(e->time_us, time), e->time_us);
    print_uuid(out, "id", event_head(e)->id);
    print_uuid(out, "correlation", event_head(e)->correlation_id);
    print_uuid(out, "causation", event_head(e)->causation_id);
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
}

void
json_print_event(FILE *out, const struct event *e)
{
    print_event(out, e);
    putc('}', out);
}

void
line_print(FILE *out, const struct event *e)
{
    json_print_event(out, e);
    putc('\n', out);
}

void
line_print_part(FILE *out, const struct event *e, struct uuid command)
{
    print_event(out, e);
    print_uuid(out, "command", command);
}

void
line_print_end(FILE *out, bool more)
{
    fputs(more ? ",\"more\":true}\n" : "}\n", out);
}
