/* SPDX-License-Identifier: MPL-2.0 */
#include "projector/source.h"

#include <inttypes.h>

#include "base/log.h"
#include "wire/image.h"
#include "wire/tcp.h"

#define QUEUE_MAX 16u
#define WAIT_MS 5000u               /* of a long poll */
#define ANSWER_MS (WAIT_MS + 5000u) /* no answer for so long: ask again */
#define PONG_MS 500u                /* likewise, to a ping */
#define SILENCE_MS ANSWER_MS /* of a connection over tcp that may be dead */

struct source {
    const struct selector *selectors; /* borrowed */
    uint32_t selector_count;
    struct source_state state;
    bool state_known;

    struct reader *reader; /* mapped; NULL when read through a publisher */

    const char *endpoint;        /* borrowed */
    struct sock sock;            /* DEALER */
    struct sock_monitor monitor; /* says when the publisher comes and goes */
    bool connected;              /* what it said last */
    uint64_t request;            /* number of the one that is under way */
    uint64_t asked_ms;           /* when; 0: none is under way */
    uint64_t instance;           /* of the publisher that told the state */
    uint64_t silent_ms;          /* since when it has said nothing */
    struct message held;         /* an answer, until it is known of which log */
    bool held_marked;            /* the mark of its last position is known */
    struct source_mark held_mark;
    struct read_answer answer;
};

static int
open_source(const struct selector *selectors, uint32_t selector_count,
            struct source **ret_source, struct err *err)
{
    struct source *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_sys(err, -ENOMEM, "source");
    s->selectors = selectors;
    s->selector_count = selector_count;
    *ret_source = s;
    return 0;
}

int
source_open_mapped(const char *dir, const char *control_path,
                   const struct selector *selectors, uint32_t selector_count,
                   struct source **ret_source, struct err *err)
{
    struct source *s = NULL;
    int rc = open_source(selectors, selector_count, &s, err);

    if (rc < 0)
        return rc;
    rc = reader_open(&sys_real, dir, control_path, &s->reader, err);
    if (rc < 0)
        source_close(&s);
    else
        *ret_source = s;
    return rc;
}

int
source_open_publisher(const char *endpoint, const struct curve_client *curve,
                      const struct selector *selectors, uint32_t selector_count,
                      struct source **ret_source, struct err *err)
{
    const struct sock_options options = {
        .type = ZMQ_DEALER,
        .queue_max = QUEUE_MAX,
        .frame_max = FRAME_LEN_MAX,
        .only_connected = true,
    };
    struct source *s = NULL;
    int rc = open_source(selectors, selector_count, &s, err);

    if (rc < 0)
        return rc;
    s->endpoint = endpoint;
    rc = sock_open(&s->sock, &options, err);
    if (rc == 0 && curve != NULL)
        rc = curve_join(&s->sock, curve, err);
    if (rc == 0)
        rc = sock_monitor_open(&s->sock, &s->monitor, err);
    if (rc == 0)
        rc = sock_connect(&s->sock, endpoint, err);
    if (rc < 0)
        source_close(&s);
    else
        *ret_source = s;
    return rc;
}

void
source_close(struct source **source)
{
    struct source *s = *source;

    *source = NULL;
    if (s == NULL)
        return;
    reader_close(&s->reader);
    message_clear(&s->held);
    sock_monitor_close(&s->monitor);
    sock_close(&s->sock);
    free(s);
}

struct sock *
source_sock(struct source *source)
{
    return source->reader == NULL ? &source->sock : NULL;
}

int
source_ahead(uint64_t position, uint64_t watermark, struct err *err)
{
    return err_set(err, -CAIRN_EPROJECTION,
                   "the read model is at position %" PRIu64
                   ", ahead of the log, which ends at %" PRIu64
                   ": the log has lost events, or was restored: reset the "
                   "projection",
                   position, watermark);
}

/* ---- marks ------------------------------------------------------------- */

void
source_mark_of(const struct event *event, struct source_mark *ret_mark)
{
    char id[UUID_TEXT_LEN + 1];

    uuid_format(event_head(event)->id, id);
    (void)snprintf(ret_mark->text, sizeof ret_mark->text,
                   "%" PRIu64 " %s %" PRIu64, event->position, id,
                   event->time_us);
}

int
source_check_mark(uint64_t position, const struct source_mark *taken_in,
                  const struct source_mark *found, struct err *err)
{
    if (taken_in->text[0] == '\0' || found->text[0] == '\0' ||
        strcmp(taken_in->text, found->text) == 0)
        return 0;
    return err_set(err, -CAIRN_EPROJECTION,
                   "position %" PRIu64
                   " holds another event now than the one that the read model "
                   "has taken in: the log has lost its end and grown again, or "
                   "was restored: reset the projection",
                   position);
}

/* ---- the mapped log ---------------------------------------------------- */

static int
mapped_state(struct source *s, struct source_state *ret_state, struct err *err)
{
    int rc = reader_watermark(s->reader, &ret_state->watermark, err);

    if (rc < 0)
        return rc;
    uuid_format(evlog_id(reader_log(s->reader)), ret_state->log_id);
    return 1;
}

static int
mapped_mark(struct source *s, uint64_t position, struct source_mark *ret_mark,
            struct err *err)
{
    struct event event = { .position = 0 };
    struct cursor cursor;
    int rc =
        evlog_seek(reader_log(s->reader), position, position, &cursor, err);

    if (rc == 0)
        rc = evlog_next(reader_log(s->reader), &cursor, position, &event, err);
    ret_mark->text[0] = '\0';
    if (rc > 0 && event.position == position)
        source_mark_of(&event, ret_mark);
    return rc < 0 && rc != -CAIRN_EDAMAGED ? rc : 1;
}

static int
mapped_next(struct source *s, uint64_t position, uint32_t event_max,
            struct source_batch *batch, struct err *err)
{
    int rc = reader_watermark(s->reader, &batch->watermark, err);

    if (rc < 0 || position == batch->watermark)
        return rc;
    if (position > batch->watermark)
        return source_ahead(position, batch->watermark, err);
    rc = evlog_seek(reader_log(s->reader), position + 1, batch->watermark,
                    &batch->cursor, err);
    batch->last = batch->watermark - position > event_max ? position + event_max
                                                          : batch->watermark;
    return rc < 0 ? rc : mapped_mark(s, batch->last, &batch->mark, err);
}

static int
mapped_event(struct source *s, struct source_batch *batch,
             struct event *ret_event, struct err *err)
{
    for (;;) {
        int rc = evlog_next(reader_log(s->reader), &batch->cursor, batch->last,
                            ret_event, err);

        if (rc <= 0 ||
            selectors_pass(s->selectors, s->selector_count, ret_event))
            return rc;
    }
}

/* ---- the publisher ----------------------------------------------------- */

static int
send_message(struct source *s, struct message *message)
{
    /* What is sent before may still go to the connection before. */
    int rc = s->connected ? message_send(&s->sock, message) : -EAGAIN;
    uint64_t now = clock_ms();

    message_clear(message);
    if (rc < 0)
        return rc;
    if (s->asked_ms == 0)
        s->silent_ms = now;
    s->asked_ms = now;
    return 0;
}

static int
send_read(struct source *s, const struct read_request *request)
{
    struct message message = { .count = 0 };
    int rc = read_encode(request, &message);

    return rc < 0 ? rc : send_message(s, &message);
}

static int
ask(struct source *s, uint64_t position, uint32_t event_max)
{
    struct read_request request = {
        .request = ++s->request,
        .from = position + 1,
        .event_max = event_max,
        .wait_ms = WAIT_MS,
        .selector_count = s->selector_count,
    };

    for (uint32_t i = 0; i < s->selector_count; i++)
        request.selectors[i] = (struct read_selector){
            .kind = (uint8_t)s->selectors[i].kind,
            .len = (uint16_t)s->selectors[i].text.len,
            .text = s->selectors[i].text.p,
        };
    /* One stream alone would be read by its versions, not by positions; the
     * same one twice is a filter. */
    if (request.selector_count == 1 &&
        request.selectors[0].kind == SELECT_STREAM)
        request.selectors[request.selector_count++] = request.selectors[0];
    return send_read(s, &request);
}

static bool
must_ask(const struct source *s)
{
    return s->asked_ms == 0 || clock_ms() - s->asked_ms > ANSWER_MS;
}

/*
 * What was asked over a connection that is gone is not answered any more; nor
 * over one that is dead without a word, as behind a router that forgot it.
 */
static void
notice_loss(struct source *s)
{
    struct sock_event event;
    struct err err;

    while (sock_monitor_next(&s->monitor, &event)) {
        if (event.what == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            s->connected = true;
        if (event.what == ZMQ_EVENT_DISCONNECTED) {
            s->connected = false;
            s->asked_ms = 0;
        }
    }
    if (s->asked_ms == 0 || !tcp_endpoint(s->endpoint) ||
        clock_ms() - s->silent_ms <= SILENCE_MS)
        return;
    if (sock_reconnect(&s->sock, s->endpoint, &err) < 0)
        log_warn("the publisher is silent: %s", err.text);
    s->connected = false;
    s->asked_ms = 0;
}

static int
not_connected(struct err *err)
{
    (void)err_set(err, -EAGAIN, "the publisher does not answer");
    return 0;
}

/* Receives the answer to the request that is under way: 1; or 0. */
static int
receive(struct source *s, struct message *message,
        struct read_answer *ret_answer)
{
    while (message_receive(&s->sock, message) > 0) {
        s->silent_ms = clock_ms();
        if (events_decode(&message->frames[0], ret_answer) == 0 &&
            ret_answer->request == s->request) {
            s->asked_ms = 0;
            return 1;
        }
        message_clear(message);
    }
    return 0;
}

/*
 * Asks which log the publisher serves: 1, and the answer to this very question
 * in *ret_pong; 0 if there is none yet.
 */
static int
ask_log(struct source *s, struct pong *ret_pong)
{
    struct message message = { .count = 0 };
    bool found = false;

    while (!found && message_receive(&s->sock, &message) > 0) {
        s->silent_ms = clock_ms();
        found = pong_decode(&message.frames[0], ret_pong) == 0 &&
            ret_pong->request == s->request;
        message_clear(&message);
    }
    if (found) {
        s->asked_ms = 0;
        return 1;
    }
    if (s->asked_ms == 0 || clock_ms() - s->asked_ms > PONG_MS) {
        if (ping_encode(++s->request, &message) == 0)
            (void)send_message(s, &message); /* again later */
        message_clear(&message);
    }
    return 0;
}

static int
publisher_state(struct source *s, struct source_state *ret_state,
                struct err *err)
{
    struct pong pong;

    notice_loss(s);
    if (!s->state_known && ask_log(s, &pong) > 0) {
        s->state.watermark = pong.watermark;
        uuid_format(pong.log_id, s->state.log_id);
        s->instance = pong.instance;
        s->state_known = !uuid_is_nil(pong.log_id);
    }
    if (!s->state_known)
        return not_connected(err);
    *ret_state = s->state;
    return 1;
}

/*
 * Whether the answer that is held is of our log: 1; 0 if it is not known yet.
 * An answer does not say so.  The publisher may have been given another log
 * before, but not one and back: what it serves afterwards is what it read.
 * Another publisher may read our log without the end that we have seen.
 */
static int
check_log(struct source *s, struct err *err)
{
    char log_id[UUID_TEXT_LEN + 1];
    struct pong pong;

    if (ask_log(s, &pong) == 0 || uuid_is_nil(pong.log_id))
        return 0;
    uuid_format(pong.log_id, log_id);
    if (strcmp(log_id, s->state.log_id) != 0)
        return err_set(err, -ESTALE,
                       "the publisher serves another log now (%s)", log_id);
    if (pong.instance != s->instance)
        return err_set(err, -ESTALE, "the publisher has begun anew");
    return 1;
}

/*
 * What an answer that gives no events means.  Only damage and our own mistakes
 * stay as they are; all else, as too many open files, may pass.
 */
static int
take_refusal(struct source *s, struct err *err)
{
    int len = s->held.count > 1 ? (int)message_len(&s->held, 1) : 0;
    int rc = 0;

    if (s->answer.code == ANSWER_BUSY || s->answer.code == ANSWER_STOPPING)
        (void)not_connected(err);
    else
        rc = err_set(
            err, s->answer.code == ANSWER_UNKNOWN ? -EAGAIN : -CAIRN_EDAMAGED,
            "the publisher says: %.*s", len,
            len == 0 ? "" : (const char *)message_data(&s->held, 1));
    message_clear(&s->held);
    return rc;
}

static int
publisher_event(struct source_batch *batch, struct event *ret_event,
                struct err *err)
{
    while (batch->frame < batch->frames.count) {
        const uint8_t *data = message_data(&batch->frames, batch->frame);
        size_t len = message_len(&batch->frames, batch->frame);
        enum record_kind kind;
        uint32_t record_len;

        if (batch->at == len) {
            batch->frame++;
            batch->at = 0;
            continue;
        }
        data += batch->at;
        len -= batch->at;
        if (record_check(data, len, &kind, &record_len) < 0)
            return err_set(err, -CAIRN_EDAMAGED,
                           "the publisher sent a damaged record behind "
                           "position %" PRIu64,
                           batch->watermark);
        batch->at += record_len;
        if (kind != RECORD_EVENT)
            continue;
        if (event_decode_whole(data, len, ret_event) < 0)
            return err_set(err, -CAIRN_EDAMAGED,
                           "the publisher sent a damaged event, at position "
                           "%" PRIu64,
                           ret_event->position);
        return 1;
    }
    return 0;
}

/* Takes the event at `position` out of an answer, if it is there. */
static void
find_mark(struct message *answer, uint64_t position,
          struct source_mark *ret_mark)
{
    struct source_batch batch = { .frame = 1 };
    struct event event;
    struct err ignored;

    for (int i = 0; i < answer->count; i++)
        message_move(&batch.frames, &answer->frames[i]);
    message_clear(answer);
    while (publisher_event(&batch, &event, &ignored) > 0)
        if (event.position == position)
            source_mark_of(&event, ret_mark);
    message_clear(&batch.frames);
}

static int
publisher_mark(struct source *s, uint64_t position,
               struct source_mark *ret_mark)
{
    struct message message = { .count = 0 };
    struct read_answer answer;

    ret_mark->text[0] = '\0';
    if (receive(s, &message, &answer) > 0) {
        if (answer.code == ANSWER_BUSY || answer.code == ANSWER_STOPPING) {
            message_clear(&message);
            s->asked_ms = clock_ms(); /* again later */
            return 0;
        }
        find_mark(&message, position, ret_mark);
        return 1;
    }
    if (s->asked_ms == 0 || clock_ms() - s->asked_ms > PONG_MS)
        (void)send_read(s,
                        &(struct read_request){ .request = ++s->request,
                                                .from = position,
                                                .event_max = 1 });
    return 0;
}

static int
publisher_next(struct source *s, uint64_t position, uint32_t event_max,
               struct source_batch *batch, struct err *err)
{
    int rc;

    notice_loss(s);
    if (s->held.count == 0 && receive(s, &s->held, &s->answer) > 0) {
        if (s->answer.code != ANSWER_OK)
            return take_refusal(s, err);
        if (s->answer.next == position + 1 && position <= s->answer.watermark)
            message_clear(&s->held); /* a long poll that found nothing */
    }
    if (s->held.count > 0) {
        /* In this order: what comes before the check is covered by it. */
        if (!s->held_marked &&
            publisher_mark(s, s->answer.next - 1, &s->held_mark) == 0)
            return 0;
        s->held_marked = true;
        rc = check_log(s, err);
        if (rc > 0 && position > s->answer.watermark)
            rc = source_ahead(position, s->answer.watermark, err);
        if (rc > 0) {
            for (int i = 0; i < s->held.count; i++)
                message_move(&batch->frames, &s->held.frames[i]);
            batch->watermark = s->answer.watermark;
            batch->last = s->answer.next - 1;
            batch->mark = s->held_mark;
            batch->frame = 1;
            batch->at = 0;
        }
        if (rc != 0) {
            message_clear(&s->held);
            s->held_marked = false;
        }
        return rc;
    }
    if (must_ask(s) && ask(s, position, event_max) < 0)
        return not_connected(err);
    return 0;
}

/* ---- either ------------------------------------------------------------ */

int
source_state(struct source *source, struct source_state *ret_state,
             struct err *err)
{
    return source->reader != NULL ? mapped_state(source, ret_state, err)
                                  : publisher_state(source, ret_state, err);
}

int
source_find_mark(struct source *source, uint64_t position,
                 struct source_mark *ret_mark, struct err *err)
{
    return source->reader != NULL ? mapped_mark(source, position, ret_mark, err)
                                  : publisher_mark(source, position, ret_mark);
}

int
source_next(struct source *source, uint64_t position, uint32_t event_max,
            struct source_batch *ret_batch, struct err *err)
{
    *ret_batch = (struct source_batch){ .event_max = event_max };
    err->text[0] = '\0';
    return source->reader != NULL
        ? mapped_next(source, position, event_max, ret_batch, err)
        : publisher_next(source, position, event_max, ret_batch, err);
}

int
source_event(struct source *source, struct source_batch *batch,
             struct event *ret_event, struct err *err)
{
    return source->reader != NULL ? mapped_event(source, batch, ret_event, err)
                                  : publisher_event(batch, ret_event, err);
}

int
source_still(struct source *source, struct err *err)
{
    uint64_t watermark;

    /* An answer of a publisher is of one moment. */
    return source->reader != NULL
        ? reader_watermark(source->reader, &watermark, err)
        : 0;
}

void
source_done(struct source_batch *batch)
{
    message_clear(&batch->frames);
}

void
source_restart(struct source *source)
{
    message_clear(&source->held);
    source->held_marked = false;
    source->asked_ms = 0;
    source->request++;
}
