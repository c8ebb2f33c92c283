/* SPDX-License-Identifier: MPL-2.0 */
#include "publisher/reads.h"

#include <errno.h>

/* ---- answers ----------------------------------------------------------- */

static void
refuse_read(struct publisher *p, const struct address *to, uint64_t request,
            enum answer_code code, uint64_t next, const char *text)
{
    struct read_answer answer = {
        .request = request,
        .code = (uint16_t)code,
        .next = next,
    };
    struct message head = { .count = 0 };

    if (events_encode(&answer, text, &head) == 0)
        front_reply(&p->door.sock, to, &head, NULL);
    message_clear(&head);
}

static enum answer_code
code_of(int rc)
{
    switch (-rc) {
    case CAIRN_EDAMAGED:
    case CAIRN_EOTHERLOG:
    case CAIRN_EFORMAT:
    case CAIRN_ENOTLOG:
        return ANSWER_DAMAGED;
    default:
        return ANSWER_UNKNOWN;
    }
}

/* ---- one read ---------------------------------------------------------- */

/*
 * Answers a read; false: there is nothing for it yet, and it may wait for
 * something.
 */
static bool
answer_read(struct publisher *p, struct waiting_read *read, bool may_wait)
{
    const struct address at = waiting_address(read, &p->door.peers), *to = &at;
    struct message head = { .count = 0 }, frames = { .count = 0 };
    struct read_request *request = &read->request;
    struct read_answer answer;
    uint64_t watermark;
    struct err err;
    int rc;

    if (!door_has_room(&p->door)) {
        refuse_read(p, to, request->request, ANSWER_BUSY, 0,
                    "memory.max: too much was asked for and not taken");
        return true;
    }
    if (!publisher_watermark(p, &watermark, &err)) {
        refuse_read(p, to, request->request, ANSWER_BUSY, 0, err.text);
        return true;
    }
    rc = query_run(p->reader, request, watermark, &p->scratch, &answer, &frames,
                   &err);
    if (rc < 0) {
        message_clear(&frames);
        publisher_log_damage(p, &err);
        refuse_read(p, to, request->request, code_of(rc),
                    rc == -CAIRN_EDAMAGED ? answer.next : 0, err.text);
        return true;
    }
    if (may_wait && answer.event_count == 0 && answer.at_end &&
        request->direction == READ_FORWARD) {
        query_go_on(request, &answer);
        return false;
    }
    p->events += answer.event_count;
    for (int i = 0; i < frames.count; i++)
        door_sent(&p->door, message_len(&frames, i));
    if (events_encode(&answer, "", &head) == 0)
        front_reply(&p->door.sock, to, &head, &frames);
    message_clear(&head);
    message_clear(&frames);
    return true;
}

void
reads_look_at_polls(struct publisher *p, bool news)
{
    struct waiting_read *read, *next;
    uint64_t now = clock_ms();

    /* Whoever has gone shall not take the place of another. */
    waiting_drop_gone(&p->polls, &p->door.peers);
    for (read = TAILQ_FIRST(&p->polls.list); read != NULL; read = next) {
        bool expired = now >= read->deadline_ms;

        next = TAILQ_NEXT(read, link);
        if ((!news && !expired) || !answer_read(p, read, !expired))
            continue;
        waiting_remove(&p->polls, read);
        waiting_read_free(read);
    }
}

/* Tells a read that waits that it is not answered, and drops it. */
static void
dismiss(struct publisher *p, struct waiting *waiting, struct waiting_read *read,
        enum answer_code code, const char *why)
{
    const struct address to = waiting_address(read, &p->door.peers);

    refuse_read(p, &to, read->request.request, code, 0, why);
    waiting_remove(waiting, read);
    waiting_read_free(read);
}

static void
judge(struct publisher *p, struct waiting *waiting)
{
    struct waiting_read *read, *next;

    for (read = TAILQ_FIRST(&waiting->list); read != NULL; read = next) {
        const char *fault = "this key has no rights here any more";
        const struct principal *principal;

        next = TAILQ_NEXT(read, link);
        if (door_find(&p->door, read->key, &principal))
            fault = query_denied(principal, &read->request);
        if (fault != NULL)
            dismiss(p, waiting, read, ANSWER_DENIED, fault);
    }
}

void
reads_judge(void *arg)
{
    struct publisher *p = arg;

    judge(p, &p->reads);
    judge(p, &p->polls);
}

/* A read that found nothing becomes a long poll, if there is a place for it. */
static void
park(struct publisher *p, struct waiting_read *read)
{
    const struct address to = waiting_address(read, &p->door.peers);
    const char *fault;

    if (waiting_of(&p->polls, read->connection) >= p->client_poll_max) {
        fault = "queries.client_polls_max long polls of yours are waiting";
    } else if (waiting_is_full(&p->polls, read->share, read->connection)) {
        fault = "queries.polls_max: your share of the long polls is waiting";
    } else {
        waiting_add(&p->polls, read);
        return;
    }
    refuse_read(p, &to, read->request.request, ANSWER_BUSY, 0, fault);
    waiting_read_free(read);
}

bool
reads_answer_next(struct publisher *p)
{
    struct waiting_read *read = waiting_next(&p->reads);

    if (read == NULL)
        return false;
    if (peers_has(&p->door.peers, read->connection) &&
        !answer_read(p, read, clock_ms() < read->deadline_ms))
        park(p, read);
    else
        waiting_read_free(read);
    return true;
}

void
reads_take(struct publisher *p, const struct address *to,
           struct read_request *request)
{
    enum answer_code code;
    const char *fault = query_check(request, &code);
    struct waiting_read *read;

    p->requests++;
    if (fault != NULL) {
        refuse_read(p, to, request->request, code, 0, fault);
        return;
    }
    fault = query_denied(to->principal, request);
    if (fault != NULL) {
        door_log_denied(&p->door, to->principal, fault);
        refuse_read(p, to, request->request, ANSWER_DENIED, 0, fault);
        return;
    }
    if (waiting_is_full(&p->reads, to->share, to->connection)) {
        refuse_read(p, to, request->request, ANSWER_BUSY, 0,
                    "queries.in_flight_max: your share of the reads is "
                    "waiting");
        return;
    }
    read = waiting_read_new(to, request);
    if (read == NULL) {
        refuse_read(p, to, request->request, ANSWER_BUSY, 0, "no memory");
        return;
    }
    if (request->wait_ms > 0)
        read->deadline_ms = clock_ms() + request->wait_ms;
    waiting_add(&p->reads, read);
}

static void
tell_stopping(struct publisher *p, struct waiting *waiting)
{
    struct waiting_read *read;

    while ((read = TAILQ_FIRST(&waiting->list)) != NULL)
        dismiss(p, waiting, read, ANSWER_STOPPING,
                "the publisher is stopping; ask again");
}

void
reads_stop(struct publisher *p)
{
    tell_stopping(p, &p->reads);
    tell_stopping(p, &p->polls);
}
