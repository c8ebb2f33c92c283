/* SPDX-License-Identifier: MPL-2.0 */
#include "c/query_client.h"

#include <poll.h>

#include "base/log.h"

#define RESEND_MS 1000u
#define BACKOFF_MIN_MS 50u
#define BACKOFF_MAX_MS 1000u
#define QUEUE_MAX 16u

int
query_client_open(struct query_client *client, const char *endpoint,
                  uint32_t deadline_ms, struct err *err)
{
    struct peer_options options = { .endpoint = endpoint };

    return query_client_open_peer(client, &options, deadline_ms, err);
}

int
query_client_open_peer(struct query_client *client,
                       const struct peer_options *options, uint32_t deadline_ms,
                       struct err *err)
{
    struct peer_options peer = *options;

    *client = (struct query_client){ .endpoint = options->endpoint,
                                     .deadline_ms = deadline_ms };
    peer.queue_max = QUEUE_MAX;
    return peer_open(&client->peer, &peer, err);
}

void
query_client_close(struct query_client *client)
{
    peer_close(&client->peer);
}

/* How a request is written, and how its answer is recognised. */
struct call {
    int (*encode)(const void *request, uint64_t number,
                  struct message *message);
    /* 1: the answer; 0: something else. */
    int (*match)(struct message *message, uint64_t number, void *answer);
    const void *request;
    void *answer;
    uint32_t extra_ms; /* that the answerer may take its time */
};

/* -EAGAIN if there is no connection yet: libzmq might take it for the one
 * before. */
static int
send_call(struct query_client *c, const struct call *call)
{
    struct message message = { .count = 0 };
    int rc;

    if (!c->peer.connected)
        return -EAGAIN;
    rc = call->encode(call->request, c->request, &message);

    if (rc == 0)
        rc = message_send(&c->peer.sock, &message);
    message_clear(&message);
    return rc;
}

/* 0: the message is no refusal; -EAGAIN: one that only puts the call off. */
static int
refusal(struct message *message, struct err *err)
{
    uint16_t code;
    int rc;

    if (refused_decode(&message->frames[0], &code) < 0)
        return 0;
    rc = err_set(err, -CAIRN_EREFUSED, "%s: %.*s", answer_name(code),
                 message->count > 1 ? (int)message_len(message, 1) : 0,
                 message->count > 1 ? (const char *)message_data(message, 1)
                                    : "");
    return code == ANSWER_BUSY || code == ANSWER_STOPPING ? -EAGAIN : rc;
}

/* Takes the news in: whether what was sent is lost, or has not been sent over
 * this connection, or that we are denied. */
static int
take_news(struct query_client *c, bool *ret_lost, struct err *err)
{
    enum peer_news news;

    *ret_lost = false;
    while ((news = peer_news(&c->peer)) != PEER_NOTHING) {
        if (news == PEER_DENIED)
            return err_set(err, -CAIRN_EREFUSED,
                           "denied: the server at %s does not know this key",
                           c->endpoint);
        *ret_lost = true;
    }
    return 0;
}

/* What became of the connection since it was last used; if our key was not
 * known, it may be by now. */
static void
begin_call(struct query_client *c)
{
    c->request++;
    while (peer_news(&c->peer) != PEER_NOTHING)
        ;
    if (c->peer.denied)
        peer_reconnect(&c->peer);
}

/* The back-off after this one. */
static uint64_t
longer(uint64_t backoff)
{
    return backoff < BACKOFF_MAX_MS / 2 ? 2 * backoff : BACKOFF_MAX_MS;
}

static uint64_t
earliest(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t first = a < b ? a : b;

    return first < c ? first : c;
}

static int
run_call(struct query_client *c, const struct call *call,
         struct message *ret_message, struct err *err)
{
    uint64_t deadline = clock_ms() + c->deadline_ms + call->extra_ms;
    uint64_t silence = peer_silence_ms(c->deadline_ms) + call->extra_ms;
    uint64_t resend = 0, silent = deadline, backoff = BACKOFF_MIN_MS;
    bool put_off = false;

    /* One number for all tries: whichever is answered will do. */
    begin_call(c);
    for (;;) {
        uint64_t now = clock_ms();
        bool has_message, has_news, lost = false;
        int rc;

        if (now >= deadline)
            return put_off ? -CAIRN_EREFUSED /* as err says */
                           : err_set(err, -CAIRN_EUNREACHABLE,
                                     "nobody answers at %s", c->endpoint);
        if (now >= silent) { /* it may be dead */
            peer_reconnect(&c->peer);
            resend = 0;
            silent = deadline;
        }
        if (now >= resend) {
            rc = send_call(c, call);
            if (rc < 0 && rc != -EAGAIN)
                return err_sys(err, rc, "%s", c->endpoint);
            if (rc == 0 && silent == deadline)
                silent = now + silence;
            /* Not connected yet: again soon; else when it may be lost. */
            resend = now + (rc < 0 ? 10 : RESEND_MS + call->extra_ms);
        }
        peer_wait(&c->peer, earliest(resend, silent, deadline) - now,
                  &has_message, &has_news);
        while (message_receive(&c->peer.sock, ret_message) > 0) {
            if (call->match(ret_message, c->request, call->answer) > 0)
                return 0;
            rc = refusal(ret_message, err);
            message_clear(ret_message);
            if (rc < 0 && rc != -EAGAIN)
                return rc;
            if (rc == -EAGAIN) {
                put_off = true;
                resend = clock_ms() + backoff;
                backoff = longer(backoff);
            }
            silent = clock_ms() + silence; /* somebody is there */
        }
        /* What was asked over a connection that is gone is asked again. */
        rc = has_news ? take_news(c, &lost, err) : 0;
        if (rc < 0)
            return rc;
        if (lost) {
            resend = 0;
            silent = deadline;
        }
    }
}

/* ---- reading ----------------------------------------------------------- */

static int
encode_read(const void *request, uint64_t number, struct message *message)
{
    struct read_request r = *(const struct read_request *)request;

    r.request = number;
    return read_encode(&r, message);
}

static int
match_events(struct message *message, uint64_t number, void *answer)
{
    struct read_answer *a = answer;

    return events_decode(&message->frames[0], a) == 0 && a->request == number;
}

int
query_read(struct query_client *client, struct read_request *request,
           struct query_result *ret_result, struct err *err)
{
    struct call call = {
        .encode = encode_read,
        .match = match_events,
        .request = request,
        .answer = &ret_result->answer,
        .extra_ms = request->wait_ms,
    };
    uint64_t deadline = clock_ms() + client->deadline_ms;
    uint64_t backoff = BACKOFF_MIN_MS;

    for (;; backoff = longer(backoff)) {
        struct message *m = &ret_result->message;
        int rc = run_call(client, &call, m, err);
        uint64_t now;

        if (rc < 0)
            return rc;
        ret_result->frame = 1;
        ret_result->at = 0;
        ret_result->events = 0;
        if (ret_result->answer.code == ANSWER_OK)
            return 0;
        rc =
            err_set(err,
                    ret_result->answer.code == ANSWER_DAMAGED ? -CAIRN_EDAMAGED
                                                              : -CAIRN_EREFUSED,
                    "%s: %.*s", answer_name(ret_result->answer.code),
                    m->count > 1 ? (int)message_len(m, 1) : 0,
                    m->count > 1 ? (const char *)message_data(m, 1) : "");
        message_clear(m);
        now = clock_ms();
        if ((ret_result->answer.code != ANSWER_BUSY &&
             ret_result->answer.code != ANSWER_STOPPING) ||
            now >= deadline)
            return rc;
        (void)poll(NULL, 0,
                   (int)(backoff < deadline - now ? backoff : deadline - now));
    }
}

int
query_next(struct query_result *r, struct event *ret_event, struct err *err)
{
    while (r->frame < r->message.count) {
        const uint8_t *data = message_data(&r->message, r->frame);
        size_t len = message_len(&r->message, r->frame);
        enum record_kind kind;
        uint32_t record_len;

        if (r->at == len) {
            r->frame++;
            r->at = 0;
            continue;
        }
        data += r->at;
        len -= r->at;
        if (record_check(data, len, &kind, &record_len) < 0 ||
            (kind == RECORD_EVENT &&
             event_decode_whole(data, len, ret_event) < 0))
            return err_set(err, -CAIRN_EDAMAGED,
                           "the answer holds a record that does not pass its "
                           "checksum, in frame %d at byte %zu",
                           r->frame, r->at);
        r->at += record_len;
        if (kind == RECORD_EVENT) {
            r->events++;
            return 1;
        }
    }
    if (r->events != r->answer.event_count)
        return err_set(err, -CAIRN_EDAMAGED,
                       "the answer holds %u events, and says that it has %u",
                       r->events, r->answer.event_count);
    return 0;
}

void
query_result_free(struct query_result *result)
{
    message_clear(&result->message);
}

/* ---- the rest ---------------------------------------------------------- */

static int
encode_ping(const void *request, uint64_t number, struct message *message)
{
    (void)request;
    return ping_encode(number, message);
}

static int
match_pong(struct message *message, uint64_t number, void *answer)
{
    struct pong *pong = answer;

    return message->count == 2 && pong_decode(&message->frames[0], pong) == 0 &&
        pong->request == number;
}

/* Copies a frame as a string; cut if it is too long. */
static void
frame_text(struct message *message, int frame, char *text, size_t room)
{
    size_t len = message_len(message, frame);

    if (len >= room)
        len = room - 1;
    memcpy(text, message_data(message, frame), len);
    text[len] = '\0';
}

int
query_ping(struct query_client *client, struct pong *ret_pong, char name[64],
           struct err *err)
{
    struct call call = {
        .encode = encode_ping,
        .match = match_pong,
        .answer = ret_pong,
    };
    struct message message;
    int rc = run_call(client, &call, &message, err);

    if (rc < 0)
        return rc;
    frame_text(&message, 1, name, 64);
    message_clear(&message);
    return 0;
}

static int
encode_projection(const void *request, uint64_t number, struct message *message)
{
    struct projection_request r = *(const struct projection_request *)request;

    r.request = number;
    return projection_encode(&r, message);
}

static int
match_projected(struct message *message, uint64_t number, void *answer)
{
    struct projection_answer *a = answer;

    return message->count == 3 &&
        projected_decode(&message->frames[0], a) == 0 && a->request == number;
}

int
query_projection(struct query_client *client,
                 struct projection_request *request,
                 struct projection_answer *ret_answer, char name[256],
                 char text[1024], struct err *err)
{
    struct call call = {
        .encode = encode_projection,
        .match = match_projected,
        .request = request,
        .answer = ret_answer,
        .extra_ms = request->wait_ms,
    };
    struct message message;
    int rc = run_call(client, &call, &message, err);

    if (rc < 0)
        return rc;
    frame_text(&message, 1, name, 256);
    frame_text(&message, 2, text, 1024);
    message_clear(&message);
    return 0;
}
