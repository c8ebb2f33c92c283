/* SPDX-License-Identifier: MPL-2.0 */
#include "gateway/access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
stream_of(const struct wire_event *event)
{
    return (const char *)event->text + event->tag_count;
}

static enum answer_code
deny(char reason[REASON_LEN], const char *what, uint32_t number,
     const char *stream, size_t len)
{
    (void)snprintf(reason, REASON_LEN,
                   "%s %u: your key has no right to this for stream '%.*s'",
                   what, number, (int)len, stream); /* may cut */
    return ANSWER_DENIED;
}

/* Whether the answer to a check may tell what it tells. */
static bool
may_check(const struct principal *principal, const struct wire_check *k,
          bool shows_events)
{
    if (expect_is_condition(k->expect))
        return may_all(principal, RIGHT_READ);
    return may_stream(principal, RIGHT_READ, k->stream, k->stream_len) ||
        (!shows_events &&
         may_stream(principal, RIGHT_APPEND, k->stream, k->stream_len));
}

enum answer_code
access_check(const struct principal *principal, const struct wire_command *c,
             char reason[REASON_LEN])
{
    if (principal == NULL)
        return ANSWER_ACCEPTED;
    for (uint32_t i = 0; i < c->event_count; i++) {
        const struct wire_event *e = &c->events[i];

        if (!may_stream(principal, RIGHT_APPEND, stream_of(e), e->stream_len))
            return deny(reason, "event", i, stream_of(e), e->stream_len);
    }
    for (uint32_t i = 0; i < c->check_count; i++) {
        const struct wire_check *k = &c->checks[i];

        if (may_check(principal, k, c->show > 0))
            continue;
        if (!expect_is_condition(k->expect))
            return deny(reason, "check", i, k->stream, k->stream_len);
        (void)snprintf(reason, REASON_LEN,
                       "check %u: a condition takes the right to read "
                       "everything, which your key has not",
                       i);
        return ANSWER_DENIED;
    }
    return ANSWER_ACCEPTED;
}

/* ---- counting streams -------------------------------------------------- */

static int
compare(const void *a, const void *b)
{
    const struct wire_event *x = *(const struct wire_event *const *)a;
    const struct wire_event *y = *(const struct wire_event *const *)b;

    if (x->stream_len != y->stream_len)
        return x->stream_len < y->stream_len ? -1 : 1;
    return memcmp(stream_of(x), stream_of(y), x->stream_len);
}

uint32_t
command_streams(const struct wire_command *c)
{
    const struct wire_event **events =
        malloc((c->event_count + 1) * sizeof *events);
    uint32_t count = 0;

    if (events == NULL)
        return c->event_count; /* not less than the truth */
    for (uint32_t i = 0; i < c->event_count; i++)
        events[i] = &c->events[i];
    qsort(events, c->event_count, sizeof *events, compare);
    for (uint32_t i = 0; i < c->event_count; i++)
        count += i == 0 || compare(&events[i - 1], &events[i]) != 0;
    free(events);
    return count;
}
