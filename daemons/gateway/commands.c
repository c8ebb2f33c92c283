/* SPDX-License-Identifier: MPL-2.0 */
#include "gateway/commands.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

static enum answer_code refuse(char reason[REASON_LEN], enum answer_code code,
                               const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum answer_code
refuse(char reason[REASON_LEN], enum answer_code code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(reason, REASON_LEN, format, args); /* may cut */
    va_end(args);
    return code;
}

/* What a name is, of which there is something to say. */
static enum answer_code
code_of_name(size_t len)
{
    return len > NAME_LEN_MAX ? ANSWER_TOO_LARGE : ANSWER_INVALID;
}

static enum answer_code
check_tags(const struct wire_event *event, uint32_t number,
           char reason[REASON_LEN])
{
    const uint8_t *lens = event->text;
    const char *text = (const char *)event->text + event->tag_count +
        event->stream_len + event->type_len + event->content_type_len;
    const char *tags[TAGS_MAX];
    uint32_t total = 0;

    if (event->tag_count > TAGS_MAX)
        return refuse(reason, ANSWER_TOO_LARGE,
                      "event %u: tags: %u of them, at most %u may be", number,
                      event->tag_count, TAGS_MAX);
    for (uint32_t i = 0; i < event->tag_count; i++)
        total += lens[i];
    if (total != event->tags_len)
        return refuse(reason, ANSWER_INVALID,
                      "event %u: tags: their lengths do not add up", number);
    for (uint32_t i = 0; i < event->tag_count; i++) {
        const char *fault = name_fault(text, lens[i]);

        if (fault != NULL)
            return refuse(reason, ANSWER_INVALID, "event %u: tag %u: it %s",
                          number, i, fault);
        for (uint32_t k = 0; k < i; k++)
            if (lens[k] == lens[i] && memcmp(tags[k], text, lens[i]) == 0)
                return refuse(reason, ANSWER_INVALID,
                              "event %u: tag %u: it is there twice", number, i);
        tags[i] = text;
        text += lens[i];
    }
    return ANSWER_ACCEPTED;
}

static enum answer_code
check_event(const struct wire_event *event, uint32_t number,
            const struct command_limits *limits, char reason[REASON_LEN])
{
    const char *text = (const char *)event->text + event->tag_count;
    const char *fault;

    if (event->data_len > limits->data_max)
        return refuse(reason, ANSWER_TOO_LARGE,
                      "event %u: data: %u bytes, at most %u may be", number,
                      event->data_len, limits->data_max);
    if (event->meta_len > limits->meta_max)
        return refuse(reason, ANSWER_TOO_LARGE,
                      "event %u: meta: %u bytes, at most %u may be", number,
                      event->meta_len, limits->meta_max);
    fault = stream_fault(text, event->stream_len);
    if (fault != NULL)
        return refuse(reason, code_of_name(event->stream_len),
                      "event %u: stream: it %s", number, fault);
    text += event->stream_len;
    fault = name_fault(text, event->type_len);
    if (fault != NULL)
        return refuse(reason, code_of_name(event->type_len),
                      "event %u: type: it %s", number, fault);
    text += event->type_len;
    fault = event->content_type_len == 0
        ? NULL
        : name_fault(text, event->content_type_len);
    if (fault != NULL)
        return refuse(reason, code_of_name(event->content_type_len),
                      "event %u: content type: it %s", number, fault);
    return check_tags(event, number, reason);
}

static struct event_shape
shape_of(const struct wire_event *e)
{
    return (struct event_shape){
        .id = e->id,
        .correlation_id = e->correlation_id,
        .causation_id = e->causation_id,
        .schema = e->schema,
        .meta_len = e->meta_len,
        .data_len = e->data_len,
        .stream_len = (uint8_t)e->stream_len,
        .type_len = (uint8_t)e->type_len,
        .content_type_len = (uint8_t)e->content_type_len,
        .tag_count = (uint8_t)e->tag_count,
        .tags_len = e->tags_len,
    };
}

/* Items, types and tags of the conditions of a command so far. */
struct query_size {
    uint32_t items, types, tags;
};

static enum answer_code
check_size(const struct query_size *size, const struct command_limits *limits,
           uint32_t number, char reason[REASON_LEN])
{
    const struct {
        const char *what;
        uint32_t count, max;
    } sizes[] = {
        { "items", size->items, limits->items_max },
        { "types", size->types, limits->types_max },
        { "tags", size->tags, limits->tags_max },
    };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].count > sizes[i].max)
            return refuse(reason, ANSWER_TOO_LARGE,
                          "check %u: %s: the conditions of a command may have "
                          "%u in all",
                          number, sizes[i].what, sizes[i].max);
    return ANSWER_ACCEPTED;
}

/* Types or tags of an item: names, each once. */
static enum answer_code
check_names(const struct wire_name *names, uint32_t count, const char *what,
            uint32_t check, uint32_t item, char reason[REASON_LEN])
{
    for (uint32_t i = 0; i < count; i++) {
        const char *fault = name_fault(names[i].p, names[i].len);

        if (fault != NULL)
            return refuse(reason, ANSWER_INVALID,
                          "check %u: item %u: %s %u: it %s", check, item, what,
                          i, fault);
        for (uint32_t k = 0; k < i; k++)
            if (names[k].len == names[i].len &&
                memcmp(names[k].p, names[i].p, names[i].len) == 0)
                return refuse(reason, ANSWER_INVALID,
                              "check %u: item %u: %s %u: it is there twice",
                              check, item, what, i);
    }
    return ANSWER_ACCEPTED;
}

static enum answer_code
check_item(const struct wire_item *item, uint32_t check, uint32_t number,
           char reason[REASON_LEN])
{
    struct wire_name names[2 * CONDITION_NAMES_MAX];
    uint32_t count = (uint32_t)item->type_count + item->tag_count;
    uint32_t index = 0, at = 0;
    enum answer_code code;

    if (count == 0)
        return refuse(reason, ANSWER_INVALID,
                      "check %u: item %u: it has neither types nor tags", check,
                      number);
    while (wire_item_next(item, &index, &at, &names[index]))
        continue;
    if (index != count)
        return refuse(reason, ANSWER_INVALID,
                      "check %u: item %u: the lengths of its types and tags "
                      "do not add up",
                      check, number);
    code = check_names(names, item->type_count, "type", check, number, reason);
    return code != ANSWER_ACCEPTED
        ? code
        : check_names(names + item->type_count, item->tag_count, "tag", check,
                      number, reason);
}

static enum answer_code
check_condition(const struct wire_check *c, uint32_t number,
                const struct command_limits *limits, struct query_size *size,
                char reason[REASON_LEN])
{
    enum answer_code code;

    if (c->expect == WIRE_EXPECT_NO_EVENT) {
        size->items++; /* showing what is in its way costs a search, too */
        return c->item_count == 0
            ? check_size(size, limits, number, reason)
            : refuse(reason, ANSWER_INVALID,
                     "check %u: items: where no event at all may be there are "
                     "none",
                     number);
    }
    if (c->item_count == 0)
        return refuse(reason, ANSWER_INVALID,
                      "check %u: items: there are none; that no event at all "
                      "may be is another expectation",
                      number);
    size->items += c->item_count;
    for (uint32_t i = 0; i < c->item_count; i++) {
        size->types += c->items[i].type_count;
        size->tags += c->items[i].tag_count;
    }
    code = check_size(size, limits, number, reason);
    for (uint32_t i = 0; code == ANSWER_ACCEPTED && i < c->item_count; i++)
        code = check_item(&c->items[i], number, i, reason);
    return code;
}

static enum answer_code
check_checks(const struct wire_command *c, const struct command_limits *limits,
             char reason[REASON_LEN])
{
    struct query_size size = { 0 };

    if (c->check_count > limits->checks_max)
        return refuse(reason, ANSWER_TOO_LARGE,
                      "checks: %u of them, at most %u may be", c->check_count,
                      limits->checks_max);
    for (uint32_t i = 0; i < c->check_count; i++) {
        const struct wire_check *check = &c->checks[i];
        enum answer_code code = ANSWER_ACCEPTED;

        if (check->expect > WIRE_EXPECT_NO_MATCH)
            return refuse(reason, ANSWER_INVALID,
                          "check %u: expectation: %u is none", i,
                          check->expect);
        if (expect_is_condition(check->expect)) {
            code = check_condition(check, i, limits, &size, reason);
        } else {
            const char *fault = stream_fault(check->stream, check->stream_len);

            if (fault != NULL)
                code = refuse(reason, code_of_name(check->stream_len),
                              "check %u: stream: it %s", i, fault);
        }
        if (code != ANSWER_ACCEPTED)
            return code;
    }
    return ANSWER_ACCEPTED;
}

enum answer_code
command_check(const struct wire_command *c, const struct command_limits *limits,
              uint32_t *ret_commit_len, char reason[REASON_LEN])
{
    uint64_t len = sizeof(struct commit_record);
    enum answer_code code;

    if (uuid_is_nil(c->id))
        return refuse(reason, ANSWER_INVALID, "command id: it is missing");
    if ((c->flags & ~COMMAND_FLAG_DRY_RUN) != 0)
        return refuse(reason, ANSWER_INVALID, "flags: there is no flag %u",
                      c->flags & ~COMMAND_FLAG_DRY_RUN);
    if (c->event_count == 0)
        return refuse(reason, ANSWER_INVALID,
                      "events: there are none; a command stores at least one");
    if (c->event_count > limits->events_max)
        return refuse(reason, ANSWER_TOO_LARGE,
                      "events: %u of them, at most %u may be", c->event_count,
                      limits->events_max);
    code = check_checks(c, limits, reason);
    for (uint32_t i = 0; code == ANSWER_ACCEPTED && i < c->event_count; i++) {
        struct event_shape shape = shape_of(&c->events[i]);

        code = check_event(&c->events[i], i, limits, reason);
        len += event_record_len(&shape);
    }
    if (code == ANSWER_ACCEPTED && len > limits->commit_max)
        return refuse(reason, ANSWER_TOO_LARGE,
                      "commit: %llu bytes in the log, at most %u may be",
                      (unsigned long long)len, limits->commit_max);
    *ret_commit_len = (uint32_t)len;
    return code;
}

void
command_encode(const struct wire_command *c, uint32_t commit_len, uint8_t *out)
{
    commit_encode(out, c->id, c->event_count, commit_len);
    out += sizeof(struct commit_record);
    for (uint32_t i = 0; i < c->event_count; i++) {
        struct event_shape shape = shape_of(&c->events[i]);

        if (uuid_is_nil(shape.id))
            shape.id = uuid_derive(c->id, i);
        event_encode(out, &shape, c->events[i].text);
        out += event_record_len(&shape);
    }
}
