/* SPDX-License-Identifier: MPL-2.0 */
/*
 * conformance - a driver for the conformance kit: conformance RUN
 * [NAME=VALUE...].
 *
 * Reads requests as lines of JSON on standard input and writes the answers as
 * lines of JSON on standard output; tests/conformance/README.md tells both.
 * It uses nothing of Cairn but the public headers.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cairn/cairn.h>
#include <jansson.h>

#define SAFE (UINT64_C(1) << 53) /* beyond it numbers travel as text */
#define ID_TEXT_LEN 36

static const char *const expectations[] = { "any",   "none",     "exists",
                                            "exact", "no_event", "no_match" };

#define EXPECTATIONS (sizeof expectations / sizeof *expectations)

/* ---- JSON -------------------------------------------------------------- */

static const char *
text_of(const json_t *object, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text == NULL ? fallback : text;
}

static uint64_t
number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_string(value) ? strtoull(json_string_value(value), NULL, 10)
                                 : (uint64_t)json_integer_value(value);
}

static json_t *
number_json(uint64_t number)
{
    char text[24];

    if (number < SAFE)
        return json_integer((json_int_t)number);
    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    return json_string(text);
}

static void
set_number(json_t *object, const char *key, uint64_t number)
{
    (void)json_object_set_new(object, key, number_json(number));
}

static void
set_text(json_t *object, const char *key, const char *text)
{
    (void)json_object_set_new(object, key, json_string(text));
}

static void
set_bytes(json_t *object, const char *key, const void *data, size_t len)
{
    (void)json_object_set_new(object, key,
                              json_stringn(data == NULL ? "" : data, len));
}

/* An id out of 32 hexadecimal digits with dashes between; false: none. */
static int
id_of(const char *text, uint8_t id[CAIRN_ID_LEN])
{
    int count = 0;

    if (text == NULL)
        return 0;
    for (; *text != '\0' && count < CAIRN_ID_LEN; text++) {
        char pair[3] = { text[0], text[1], '\0' }, *end;

        if (*text == '-')
            continue;
        id[count++] = (uint8_t)strtoul(pair, &end, 16);
        if (end != pair + 2)
            return 0;
        text++;
    }
    return count == CAIRN_ID_LEN;
}

/* Zeros: null. */
static void
set_id(json_t *object, const char *key, const uint8_t *id)
{
    static const uint8_t nil[CAIRN_ID_LEN];
    char text[ID_TEXT_LEN + 1], *p = text;

    if (memcmp(id, nil, sizeof nil) == 0) {
        (void)json_object_set_new(object, key, json_null());
        return;
    }
    for (int i = 0; i < CAIRN_ID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        p += snprintf(p, 3, "%02x", id[i]);
    }
    set_text(object, key, text);
}

static json_t *
failure(int rc, const char *detail)
{
    static const char *const names[] = {
        "ok",      "argument", "memory",  "unreachable",
        "refused", "damaged",  "timeout", "system",
    };
    json_t *answer = json_object();
    const char *colon = strstr(detail, ": ");

    if (rc == CAIRN_ERR_REFUSED && colon != NULL) { /* "invalid: the field" */
        set_bytes(answer, "error", detail, (size_t)(colon - detail));
        set_text(answer, "detail", colon + 2);
    } else {
        set_text(answer, "error", names[-rc]);
        set_text(answer, "detail", detail);
    }
    return answer;
}

/* ---- events ------------------------------------------------------------ */

static json_t *
event_json(const struct cairn_event *e)
{
    json_t *event = json_object(), *tags = json_array();
    const void *data;
    size_t len;

    set_number(event, "position", cairn_event_position(e));
    set_number(event, "version", cairn_event_version(e));
    set_number(event, "time", cairn_event_time(e));
    set_id(event, "id", cairn_event_id(e));
    set_id(event, "correlation_id", cairn_event_correlation_id(e));
    set_id(event, "causation_id", cairn_event_causation_id(e));
    set_number(event, "schema", cairn_event_schema(e));
    set_text(event, "stream", cairn_event_stream(e));
    set_text(event, "type", cairn_event_type(e));
    set_text(event, "content_type", cairn_event_content_type(e));
    for (uint32_t i = 0; i < cairn_event_tag_count(e); i++)
        (void)json_array_append_new(tags, json_string(cairn_event_tag(e, i)));
    (void)json_object_set_new(event, "tags", tags);
    data = cairn_event_meta(e, &len);
    set_bytes(event, "meta", data, len);
    data = cairn_event_data(e, &len);
    set_bytes(event, "data", data, len);
    return event;
}

/* ---- commands ---------------------------------------------------------- */

static int
add_condition(struct cairn_command *command, const json_t *spec)
{
    const json_t *items = json_object_get(spec, "items"), *item, *name;
    uint64_t after = number_of(spec, "after");
    size_t i, k;
    int rc;

    if (items == NULL)
        return cairn_command_expect_no_event(command, after);
    rc = cairn_command_expect_no_match(command, after);
    json_array_foreach(items, i, item)
    {
        if (rc == 0)
            rc = cairn_command_match_item(command);
        json_array_foreach(json_object_get(item, "types"), k, name) if (rc == 0)
            rc = cairn_command_match_type(command, json_string_value(name));
        json_array_foreach(json_object_get(item, "tags"), k, name) if (rc == 0)
            rc = cairn_command_match_tag(command, json_string_value(name));
    }
    return rc;
}

static int
add_check(struct cairn_command *command, const json_t *spec)
{
    const json_t *condition = json_object_get(spec, "condition");
    const char *word = text_of(spec, "expect", "any");
    unsigned expect = 0;

    if (condition != NULL)
        return add_condition(command, condition);
    while (expect < EXPECTATIONS - 1 && strcmp(word, expectations[expect]) != 0)
        expect++;
    return cairn_command_expect(command, text_of(spec, "stream", ""),
                                (enum cairn_expect)expect,
                                number_of(spec, "version"));
}

static int
add_event(struct cairn_command *command, const json_t *spec)
{
    const char *data = text_of(spec, "data", "");
    const char *meta = text_of(spec, "meta", "");
    const json_t *tag;
    uint8_t ids[3][CAIRN_ID_LEN];
    size_t i;
    int rc = cairn_command_event(command, text_of(spec, "stream", ""),
                                 text_of(spec, "type", ""), data, strlen(data));

    if (rc == 0)
        rc = cairn_command_event_meta(command, meta, strlen(meta));
    if (rc == 0)
        rc = cairn_command_event_content_type(
            command, text_of(spec, "content_type", ""));
    if (rc == 0 && json_object_get(spec, "schema") != NULL)
        rc = cairn_command_event_schema(command,
                                        (uint32_t)number_of(spec, "schema"));
    if (rc == 0)
        rc = cairn_command_event_ids(
            command, id_of(text_of(spec, "id", NULL), ids[0]) ? ids[0] : NULL,
            id_of(text_of(spec, "correlation_id", NULL), ids[1]) ? ids[1]
                                                                 : NULL,
            id_of(text_of(spec, "causation_id", NULL), ids[2]) ? ids[2] : NULL);
    json_array_foreach(json_object_get(spec, "tags"), i, tag) if (rc == 0) rc =
        cairn_command_event_tag(command, json_string_value(tag));
    return rc;
}

static int
make_command(const json_t *spec, struct cairn_command **ret_command)
{
    uint8_t id[CAIRN_ID_LEN];
    const json_t *part;
    size_t i;
    int rc = cairn_command_new(ret_command);

    if (rc < 0)
        return rc;
    if (id_of(text_of(spec, "id", NULL), id))
        cairn_command_set_id(*ret_command, id);
    cairn_command_dry_run(*ret_command,
                          json_is_true(json_object_get(spec, "dry_run")));
    cairn_command_show(*ret_command, (uint16_t)number_of(spec, "show"));
    json_array_foreach(json_object_get(spec, "checks"), i, part) if (rc == 0)
        rc = add_check(*ret_command, part);
    json_array_foreach(json_object_get(spec, "events"), i, part) if (rc == 0)
        rc = add_event(*ret_command, part);
    return rc;
}

static json_t *
verdicts_json(const struct cairn_outcome *o)
{
    json_t *verdicts = json_array();

    for (uint32_t i = 0; i < cairn_outcome_verdict_count(o); i++) {
        json_t *verdict = json_object();
        int expect = cairn_outcome_verdict_expect(o, i);

        set_number(verdict, "check", cairn_outcome_verdict_check(o, i));
        (void)json_object_set_new(
            verdict, "holds", json_boolean(cairn_outcome_verdict_holds(o, i)));
        set_text(verdict, "expect",
                 (unsigned)expect < EXPECTATIONS ? expectations[expect] : "?");
        set_number(verdict, "expected", cairn_outcome_verdict_expected(o, i));
        set_number(verdict, "actual", cairn_outcome_verdict_actual(o, i));
        (void)json_array_append_new(verdicts, verdict);
    }
    return verdicts;
}

static json_t *
outcome_json(struct cairn_outcome *o)
{
    json_t *answer = json_object(), *versions = json_array();
    json_t *events = json_array();
    const struct cairn_event *event = NULL;

    set_text(answer, "code", cairn_code_name(cairn_outcome_code(o)));
    (void)json_object_set_new(answer, "repeated",
                              json_boolean(cairn_outcome_repeated(o)));
    (void)json_object_set_new(answer, "dry_run",
                              json_boolean(cairn_outcome_dry_run(o)));
    (void)json_object_set_new(answer, "more",
                              json_boolean(cairn_outcome_more(o)));
    set_number(answer, "first", cairn_outcome_first_position(o));
    set_number(answer, "last", cairn_outcome_last_position(o));
    set_number(answer, "time", cairn_outcome_time(o));
    for (uint32_t i = 0; i < cairn_outcome_version_count(o); i++)
        (void)json_array_append_new(versions,
                                    number_json(cairn_outcome_version(o, i)));
    (void)json_object_set_new(answer, "versions", versions);
    (void)json_object_set_new(answer, "verdicts", verdicts_json(o));
    set_text(answer, "detail", cairn_outcome_detail(o));
    while (cairn_outcome_next_event(o, &event) > 0)
        (void)json_array_append_new(events, event_json(event));
    (void)json_object_set_new(answer, "events", events);
    return answer;
}

/* Takes outcomes in; the tag is the place in the list. */
static int
receive(struct cairn *cairn, json_t *outcomes)
{
    while (cairn_in_flight(cairn) > 0) {
        struct cairn_outcome *outcome = NULL;
        int rc = cairn_receive(cairn, 1000, &outcome);

        if (rc < 0)
            return rc;
        if (rc == 0)
            continue;
        (void)json_array_set_new(outcomes, (size_t)cairn_outcome_tag(outcome),
                                 outcome_json(outcome));
        cairn_outcome_free(&outcome);
    }
    return 0;
}

static json_t *
answer_append(struct cairn *cairn, const json_t *request)
{
    const json_t *commands = json_object_get(request, "commands");
    json_t *outcomes = json_array(), *answer = json_object();
    const json_t *spec;
    size_t i;
    int rc = 0;

    (void)json_object_set_new(answer, "outcomes", outcomes);
    if (json_array_size(commands) == 1) { /* the simple way as well */
        struct cairn_command *command = NULL;
        struct cairn_outcome *outcome = NULL;

        rc = make_command(json_array_get(commands, 0), &command);
        if (rc == 0)
            rc = cairn_append(cairn, command, &outcome);
        if (rc == 0)
            (void)json_array_append_new(outcomes, outcome_json(outcome));
        cairn_outcome_free(&outcome);
        cairn_command_free(&command);
    } else {
        json_array_foreach(commands, i, spec)
        {
            struct cairn_command *command = NULL;

            (void)json_array_append_new(outcomes, json_null());
            if (rc == 0)
                rc = make_command(spec, &command);
            if (rc == 0)
                rc = cairn_send(cairn, command, i);
            cairn_command_free(&command);
        }
        if (rc == 0)
            rc = receive(cairn, outcomes);
    }
    if (rc == 0)
        return answer;
    json_decref(answer);
    return failure(rc, cairn_error(cairn));
}

/* ---- reading ----------------------------------------------------------- */

typedef int add_name(struct cairn_query *query, const char *name);

static int
add_names(struct cairn_query *query, const json_t *names, add_name *add)
{
    const json_t *name;
    size_t i;
    int rc = 0;

    json_array_foreach(names, i, name) if (rc == 0) rc =
        add(query, json_string_value(name));
    return rc;
}

static int
make_query(const json_t *spec, struct cairn_query **ret_query)
{
    int rc = cairn_query_new(ret_query);
    struct cairn_query *q = *ret_query;

    if (rc == 0)
        rc = add_names(q, json_object_get(spec, "streams"), cairn_query_stream);
    if (rc == 0)
        rc = add_names(q, json_object_get(spec, "categories"),
                       cairn_query_category);
    if (rc == 0)
        rc = add_names(q, json_object_get(spec, "types"), cairn_query_type);
    if (rc == 0)
        rc = add_names(q, json_object_get(spec, "tags"), cairn_query_tag);
    if (rc < 0)
        return rc;
    cairn_query_from(q, number_of(spec, "from"));
    if (json_object_get(spec, "from_end") != NULL)
        cairn_query_from_end(q, number_of(spec, "from_end"));
    if (json_object_get(spec, "from_time") != NULL)
        cairn_query_from_time(q, number_of(spec, "from_time"));
    if (json_is_true(json_object_get(spec, "backward")))
        cairn_query_backward(q);
    cairn_query_page(q, (uint32_t)number_of(spec, "events"),
                     (uint32_t)number_of(spec, "bytes"));
    cairn_query_wait(q, (uint32_t)number_of(spec, "wait_ms"));
    return 0;
}

static json_t *
answer_read(struct cairn *cairn, const json_t *request)
{
    struct cairn_query *query = NULL;
    struct cairn_page *page = NULL;
    const struct cairn_event *event = NULL;
    json_t *answer = json_object(), *events = json_array();
    int rc = make_query(request, &query);

    (void)json_object_set_new(answer, "events", events);
    if (rc == 0)
        rc = cairn_read(cairn, query, &page);
    if (rc == 0)
        while ((rc = cairn_page_next(page, &event)) > 0)
            (void)json_array_append_new(events, event_json(event));
    if (rc == 0) {
        (void)json_object_set_new(answer, "at_end",
                                  json_boolean(cairn_page_at_end(page)));
        set_number(answer, "next", cairn_page_next_from(page));
        set_number(answer, "watermark", cairn_page_watermark(page));
        set_number(answer, "stream_version", cairn_page_stream_version(page));
    }
    cairn_page_free(&page);
    cairn_query_free(&query);
    if (rc == 0)
        return answer;
    json_decref(answer);
    return failure(rc, cairn_error(cairn));
}

struct taken {
    json_t *events;
    size_t wanted; /* 0: all */
};

#define ENOUGH 1

static int
take(void *arg, const struct cairn_event *event)
{
    struct taken *taken = arg;

    (void)json_array_append_new(taken->events, event_json(event));
    return json_array_size(taken->events) == taken->wanted ? ENOUGH : 0;
}

static json_t *
answer_all(struct cairn *cairn, const json_t *request, int follow)
{
    struct cairn_query *query = NULL;
    struct taken taken = { json_array(), 0 };
    json_t *answer = json_object();
    int rc = make_query(request, &query);

    (void)json_object_set_new(answer, "events", taken.events);
    if (follow)
        taken.wanted = (size_t)number_of(request, "count");
    if (rc == 0)
        rc = follow ? cairn_follow(cairn, query, take, &taken)
                    : cairn_read_all(cairn, query, take, &taken);
    cairn_query_free(&query);
    if (rc >= 0)
        return answer;
    json_decref(answer);
    return failure(rc, cairn_error(cairn));
}

static json_t *
answer_wait(struct cairn *cairn, const json_t *request)
{
    json_t *answer;
    uint64_t checkpoint;
    int rc = cairn_wait(cairn, text_of(request, "projection", ""),
                        number_of(request, "position"),
                        (uint32_t)number_of(request, "wait_ms"), &checkpoint);

    if (rc < 0)
        return failure(rc, cairn_error(cairn));
    answer = json_object();
    set_number(answer, "checkpoint", checkpoint);
    return answer;
}

/* ---- the loop ---------------------------------------------------------- */

static json_t *
answer_line(struct cairn *cairn, const char *line)
{
    json_t *request = json_loads(line, 0, NULL), *answer = NULL;
    const char *op = text_of(request, "op", "");

    if (strcmp(op, "append") == 0)
        answer = answer_append(cairn, request);
    else if (strcmp(op, "read") == 0)
        answer = answer_read(cairn, request);
    else if (strcmp(op, "read_all") == 0)
        answer = answer_all(cairn, request, 0);
    else if (strcmp(op, "follow") == 0)
        answer = answer_all(cairn, request, 1);
    else if (strcmp(op, "wait") == 0)
        answer = answer_wait(cairn, request);
    json_decref(request);
    return answer;
}

/* RUN, and NAME=VALUE of any number of options. */
static int
set_options(struct cairn *cairn, int argc, char **argv)
{
    int rc = argc < 2 ? CAIRN_ERR_ARGUMENT : cairn_set(cairn, "run", argv[1]);

    for (int i = 2; rc == 0 && i < argc; i++) {
        char *value = strchr(argv[i], '=');

        if (value == NULL)
            return CAIRN_ERR_ARGUMENT;
        *value = '\0';
        rc = cairn_set(cairn, argv[i], value + 1);
    }
    return rc;
}

int
main(int argc, char **argv)
{
    struct cairn *cairn = NULL;
    char *line = NULL;
    size_t room = 0;
    int rc = 1;

    if (cairn_new(&cairn) < 0 || set_options(cairn, argc, argv) < 0) {
        fprintf(stderr, "usage: conformance RUN [NAME=VALUE...]\n");
        cairn_free(&cairn);
        return 64;
    }
    while (getline(&line, &room, stdin) > 0) {
        json_t *answer = answer_line(cairn, line);

        if (answer == NULL) {
            fprintf(stderr, "conformance: not a request: %s", line);
            goto out;
        }
        (void)json_dumpf(answer, stdout, JSON_COMPACT);
        (void)printf("\n");
        (void)fflush(stdout);
        json_decref(answer);
    }
    rc = 0;
out:
    free(line);
    cairn_free(&cairn);
    return rc;
}
