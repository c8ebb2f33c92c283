/* SPDX-License-Identifier: MPL-2.0 */
/* request - the part of query that looks at a request before its answer. */
#include "base/text.h"
#include "publisher/query.h"
#include "store/select.h"

const char *
query_check(struct read_request *r, enum answer_code *ret_code)
{
    *ret_code = ANSWER_INVALID;
    if (r->direction > READ_BACKWARD)
        return "direction: it is 0 (forward) or 1 (backward)";
    if (r->from_kind > READ_FROM_TIME)
        return "from: it is a number (0), from the end (1) or a time (2)";
    if (r->direction == READ_BACKWARD && r->from_kind == READ_FROM_END)
        return "from: reading backward begins at a number or a time";
    for (uint32_t i = 0; i < r->selector_count; i++) {
        const struct read_selector *s = &r->selectors[i];

        if (s->kind != SELECT_STREAM && s->kind != SELECT_CATEGORY &&
            s->kind != SELECT_TYPE && s->kind != SELECT_TAG)
            return "selector: its kind is one of s, c, t, g";
        *ret_code = s->len > NAME_LEN_MAX ? ANSWER_TOO_LARGE : ANSWER_INVALID;
        if (name_fault(s->text, s->len) != NULL)
            return "selector: its text is no name: 1 to 255 bytes of UTF-8 "
                   "without control characters";
    }
    if (r->event_max == 0 || r->event_max > ANSWER_EVENTS_MAX)
        r->event_max = ANSWER_EVENTS_MAX;
    if (r->len_max == 0 || r->len_max > ANSWER_LEN_MAX)
        r->len_max = ANSWER_LEN_MAX;
    if (r->wait_ms > WAIT_MS_MAX)
        r->wait_ms = WAIT_MS_MAX;
    return NULL;
}

const char *
query_denied(const struct principal *principal, const struct read_request *r)
{
    uint32_t places = 0;

    if (principal == NULL)
        return NULL;
    for (uint32_t i = 0; i < r->selector_count; i++) {
        const struct read_selector *s = &r->selectors[i];

        if (s->kind != SELECT_STREAM && s->kind != SELECT_CATEGORY)
            continue;
        places++;
        if (s->kind == SELECT_STREAM
                ? !may_stream(principal, RIGHT_READ, s->text, s->len)
                : !may_category(principal, RIGHT_READ, s->text, s->len))
            return "your key has no right to read a stream or category that "
                   "this request names";
    }
    return places > 0 || may_all(principal, RIGHT_READ)
        ? NULL
        : "your key has no right to read everything; name the streams or "
          "categories that it may read";
}

void
query_go_on(struct read_request *request, const struct read_answer *answer)
{
    request->from = answer->next;
    request->from_kind = READ_FROM_NUMBER;
}
