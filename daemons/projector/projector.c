/* SPDX-License-Identifier: MPL-2.0 */
#include "projector/projector.h"

#include <inttypes.h>

#include <sodium.h>

#define TICK_MS 100u
#define RETRY_MS 1000u /* after a source or database that is not there */
#define TELL_MS 10000u /* between two lines that say the same */
#define LINGER_MS 500u
#define IDLE_STEP 10000u /* positions without an event of ours */
#define TURN_MS 50u      /* work, then look at the control endpoint */
#define WAIT_MS_MAX 600000u

const struct conf_key projector_keys[] = {
    { "projection.file", CONF_PATH, "/etc/cairn/projections/%i.sql",
      "the SQL of the projection; %i: what --name says", 0, 0, NULL },
    { "target.sqlite", CONF_PATH, "/var/lib/cairn/models/%i.db",
      "the database of the read model; made if it is not there", 0, 0, NULL },
    { "source.kind", CONF_CHOICE, "mapped",
      "where events come from: the log of this machine, or a publisher", 0, 0,
      "mapped publisher" },
    { "source.endpoint", CONF_ENDPOINT, "ipc:///run/cairn/queries",
      "the publisher, if events come from it", 0, 0, NULL },
    { "source.server_key", CONF_TEXT, "-",
      "for a publisher on tcp: its public key, or the file of it", 0, 0, NULL },
    { "source.key", CONF_TEXT, "-",
      "for a publisher on tcp: the file of this projector's own key, of mode "
      "0600, or credential:NAME for one that systemd loads",
      0, 0, NULL },
    { "log.directory", CONF_PATH, "/var/lib/cairn/log",
      "where the log lies, if it is mapped", 0, 0, NULL },
    { "log.control", CONF_PATH, "/run/cairn/log.control",
      "the writer's control page, if the log is mapped", 0, 0, NULL },
    { "doorbell.endpoint", CONF_ENDPOINT, "ipc:///run/cairn/doorbell",
      "the writer's doorbell, if the log is mapped", 0, 0, NULL },
    { "batch.max", CONF_COUNT, "5000",
      "most positions in one transaction, when the projection is behind", 1,
      10000, NULL },
    { "control.endpoint", CONF_ENDPOINT, "ipc:///run/cairn/projections/%i",
      "where 'cairn projection' speaks to this projector; bound here", 0, 0,
      NULL },
    { 0 },
};

/* ---- what it says ------------------------------------------------------ */

/* Logs the reason, but the same one only now and then. */
static void
tell(struct projector *p, const struct err *err, const char *next)
{
    uint64_t now = clock_ms();

    if (strcmp(p->reason.text, err->text) != 0 || now - p->told_ms >= TELL_MS) {
        p->told_ms = now;
        log_warn("projection %s: %s; %s", p->definition.name, err->text, next);
    }
    p->reason = *err;
}

/* Tries again in a while. */
static void
wait_for(struct projector *p, const struct err *err)
{
    tell(p, err, "waiting");
    p->state = PROJECTION_WAITING;
    p->retry_ms = clock_ms() + RETRY_MS;
}

/* Gives up until somebody resets or restarts it. */
static void
stop_at(struct projector *p, const struct err *err)
{
    p->reason = *err;
    p->state = PROJECTION_FAILED;
    log_error("projection %s: stopped behind position %" PRIu64 ": %s.  "
              "Repair the cause and restart this projector, or change the "
              "projection and reset it",
              p->definition.name, p->position, err->text);
}

/* ---- source and model -------------------------------------------------- */

static int on_source(zloop_t *loop, zsock_t *reader, void *arg);

/* The text of a key, NULL for "-". */
static const char *
given(const struct conf *conf, const char *name)
{
    const char *text = conf_text(conf, name);

    return strcmp(text, "-") == 0 ? NULL : text;
}

static int
open_publisher(struct projector *p, struct err *err)
{
    const struct definition *d = &p->definition;
    struct curve_client curve;
    bool with_curve;
    int rc = curve_client_load(given(p->conf, "source.server_key"),
                               given(p->conf, "source.key"), &curve,
                               &with_curve, err);

    if (rc == 0)
        rc = source_open_publisher(conf_text(p->conf, "source.endpoint"),
                                   with_curve ? &curve : NULL, d->selectors,
                                   d->selector_count, &p->source, err);
    explicit_bzero(&curve, sizeof curve);
    return rc;
}

static int
open_source(struct projector *p, struct err *err)
{
    const struct definition *d = &p->definition;
    struct sock *sock;
    int rc;

    if (strcmp(conf_text(p->conf, "source.kind"), "mapped") == 0)
        rc = source_open_mapped(conf_text(p->conf, "log.directory"),
                                conf_text(p->conf, "log.control"), d->selectors,
                                d->selector_count, &p->source, err);
    else
        rc = open_publisher(p, err);
    if (rc < 0)
        return rc;
    sock = source_sock(p->source);
    if (sock != NULL)
        (void)zloop_reader(daemon_loop(p->daemon), sock->zsock, on_source, p);
    return 0;
}

static void
close_source(struct projector *p)
{
    struct sock *sock = p->source == NULL ? NULL : source_sock(p->source);

    if (sock != NULL)
        zloop_reader_end(daemon_loop(p->daemon), sock->zsock);
    source_close(&p->source);
}

/*
 * Whether the log still holds what the read model has taken in: 1; 0 if it
 * cannot be told yet.
 */
static int
check_history(struct projector *p, struct err *err)
{
    struct source_mark found;
    int rc = 1;

    if (p->position > 0 && p->mark.text[0] != '\0') {
        err->text[0] = '\0';
        rc = source_find_mark(p->source, p->position, &found, err);
        if (rc > 0 && source_check_mark(p->position, &p->mark, &found, err) < 0)
            rc = err->code;
    }
    p->checked = rc > 0;
    return rc;
}

/* Opens what is not open; true if there is work that can be done. */
static bool
is_ready(struct projector *p)
{
    struct source_state state;
    struct err err;
    int rc = 0;

    if (p->state == PROJECTION_FAILED || clock_ms() < p->retry_ms)
        return false;
    if (p->source == NULL)
        rc = open_source(p, &err);
    if (rc == 0 && p->model == NULL) {
        rc = source_state(p->source, &state, &err);
        if (rc > 0) {
            p->watermark = state.watermark;
            rc = model_open(conf_text(p->conf, "target.sqlite"), &p->definition,
                            state.log_id, &p->model, &err);
            if (rc == 0) {
                p->position = model_position(p->model);
                p->mark = *model_mark(p->model);
                p->checked = false;
                log_info("projection %s: at position %" PRIu64
                         ", the log is at %" PRIu64,
                         p->definition.name, p->position, p->watermark);
                if (p->position > p->watermark)
                    rc = source_ahead(p->position, p->watermark, &err);
            }
        } else if (rc == 0) {
            p->state = PROJECTION_WAITING;
            p->reason = err;
            return false; /* it will say when it is there */
        }
    }
    if (rc == 0 && !p->checked) {
        rc = check_history(p, &err);
        if (rc == 0) {
            p->state = PROJECTION_WAITING;
            return false; /* it will say when it is there */
        }
        rc = rc > 0 ? 0 : rc;
    }
    if (rc == -CAIRN_EPROJECTION)
        stop_at(p, &err);
    else if (rc < 0)
        wait_for(p, &err);
    if (rc == -ESTALE) {
        close_source(p);
        model_close(&p->model);
    }
    return rc == 0;
}

/* ---- projecting -------------------------------------------------------- */

/* What an error while projecting means. */
static void
handle_failure(struct projector *p, int rc, const struct err *err,
               uint64_t bad_position)
{
    model_roll_back(p->model);
    p->position = model_position(p->model);
    p->mark = *model_mark(p->model);
    source_restart(p->source);
    if (rc == -CAIRN_EPROJECTION && bad_position > p->position + 1) {
        p->stop_before = bad_position; /* keep what lies before it */
    } else if (rc == -CAIRN_EPROJECTION || rc == -CAIRN_EDAMAGED) {
        stop_at(p, err);
    } else if (rc == -ESTALE) {
        close_source(p);
        model_close(&p->model);
        wait_for(p, err);
    } else {
        wait_for(p, err);
    }
}

/* Applies one batch in one transaction. */
static int
apply_batch(struct projector *p, struct source_batch *batch,
            uint64_t *ret_bad_position, struct err *err)
{
    struct event event;
    struct source_mark before = { "" };
    uint64_t applied = 0, time_us = p->time_us;
    bool begun = false;
    int rc;

    while ((rc = source_event(p->source, batch, &event, err)) > 0) {
        if (event.position == p->stop_before &&
            event.position > p->position + 1) {
            batch->last = event.position - 1;
            batch->mark = before;
            rc = 0;
            break;
        }
        if (!begun) {
            rc = model_begin(p->model, err);
            if (rc < 0)
                return rc;
            begun = true;
        }
        *ret_bad_position = event.position;
        rc = model_apply(p->model, &event, err);
        if (rc < 0)
            return rc;
        applied++;
        time_us = event.time_us;
        source_mark_of(&event, &before);
    }
    if (rc == 0)
        rc = source_still(p->source, err);
    if (rc < 0)
        return rc;
    /* Positions without an event of ours are written down now and then, or
     * when the end is reached. */
    if (!begun && p->stop_before == 0 && batch->last < batch->watermark &&
        batch->last - model_position(p->model) < IDLE_STEP) {
        p->position = batch->last;
        p->mark = batch->mark;
        return 0;
    }
    if (!begun)
        rc = model_begin(p->model, err);
    if (rc == 0)
        rc = model_commit(p->model, batch->last, &batch->mark, err);
    if (rc < 0)
        return rc;
    p->position = batch->last;
    p->mark = batch->mark;
    p->events += applied;
    p->time_us = time_us;
    p->transactions++;
    return 0;
}

/* Takes one batch in; true if there may be more at once. */
static bool
step(struct projector *p)
{
    struct source_batch batch;
    struct err err;
    uint64_t bad_position = 0;
    int rc = source_next(p->source, p->position, p->batch_max, &batch, &err);

    if (rc > 0) {
        p->watermark = batch.watermark;
        rc = apply_batch(p, &batch, &bad_position, &err);
        source_done(&batch);
        if (rc == 0) {
            p->state = p->position >= p->watermark ? PROJECTION_LIVE
                                                   : PROJECTION_CATCHING_UP;
            p->reason.text[0] = '\0';
            return true;
        }
    }
    if (rc == 0) {
        if (err.text[0] != '\0') {
            tell(p, &err, "waiting");
            p->state = PROJECTION_WAITING;
        } else if (p->position >= p->watermark) {
            p->state = PROJECTION_LIVE;
            p->reason.text[0] = '\0';
        }
        return false;
    }
    handle_failure(p, rc, &err, bad_position);
    return p->state != PROJECTION_FAILED && p->state != PROJECTION_WAITING;
}

/* ---- the control endpoint ---------------------------------------------- */

static void
answer(struct projector *p, const struct address *to, uint64_t request,
       enum answer_code code, const char *text)
{
    struct projection_answer a = {
        .request = request,
        .code = (uint16_t)code,
        .state = (uint16_t)p->state,
        .checkpoint = p->position,
        .watermark = p->watermark,
        .events = p->events,
        .transactions = p->transactions,
        .time_us = p->time_us,
    };
    struct message head = { .count = 0 };

    if (projected_encode(&a, p->definition.name, text, &head) == 0)
        front_reply(&p->control, to, &head, NULL);
    message_clear(&head);
}

static void
serve_waiters(struct projector *p)
{
    uint64_t now = clock_ms();
    uint32_t kept = 0;

    for (uint32_t i = 0; i < p->waiter_count; i++) {
        struct waiter *w = &p->waiters[i];
        const struct address to = { .routing_id = w->routing_id,
                                    .delimiter = w->delimiter };

        if (p->position >= w->position)
            answer(p, &to, w->request, ANSWER_OK, "");
        else if (p->state == PROJECTION_FAILED || now >= w->deadline_ms)
            answer(p, &to, w->request, ANSWER_BUSY, p->reason.text);
        else
            p->waiters[kept++] = *w;
    }
    p->waiter_count = kept;
}

static void
reset(struct projector *p, const struct address *from, uint64_t request)
{
    struct definition definition;
    struct err err;
    int rc;

    /* The file may have been changed: that is what a reset is for. */
    rc = definition_load(conf_text(p->conf, "projection.file"), &definition,
                         &err);
    if (rc == 0 && strcmp(definition.name, p->definition.name) != 0) {
        rc = err_set(&err, -CAIRN_EPROJECTION,
                     "the file is now called projection %s; restart the "
                     "projector to rename it",
                     definition.name);
        definition_free(&definition);
    }
    if (rc == 0) {
        model_close(&p->model);
        close_source(p); /* it borrows the selectors */
        definition_free(&p->definition);
        p->definition = definition;
        rc = model_reset(conf_text(p->conf, "target.sqlite"), &p->definition,
                         &err);
    }
    if (rc < 0) {
        log_error("projection %s: cannot be reset: %s", p->definition.name,
                  err.text);
        answer(p, from, request, ANSWER_INVALID, err.text);
        return;
    }
    p->state = PROJECTION_WAITING;
    p->reason.text[0] = '\0';
    p->position = p->stop_before = p->events = p->transactions = p->time_us =
        p->retry_ms = 0;
    log_info("projection %s: reset; building the read model again",
             p->definition.name);
    answer(p, from, request, ANSWER_OK, "");
}

static void
wait_until(struct projector *p, const struct address *from,
           const struct projection_request *r)
{
    uint32_t wait_ms = r->wait_ms < WAIT_MS_MAX ? r->wait_ms : WAIT_MS_MAX;
    struct waiter *w = &p->waiters[p->waiter_count];

    if (p->waiter_count == WAITERS_MAX) {
        answer(p, from, r->request, ANSWER_BUSY, "too many are waiting");
        return;
    }
    p->waiter_count++;
    memcpy(w->routing_id, from->routing_id, ROUTING_ID_LEN);
    w->delimiter = from->delimiter;
    w->request = r->request;
    w->position = r->position;
    w->deadline_ms = clock_ms() + wait_ms;
    serve_waiters(p);
}

static void
take_request(struct projector *p, const struct address *from,
             const struct projection_request *r)
{
    switch (r->op) {
    case PROJECTION_INFO:
        answer(p, from, r->request, ANSWER_OK, p->reason.text);
        break;
    case PROJECTION_WAIT:
        wait_until(p, from, r);
        break;
    case PROJECTION_RESET:
        reset(p, from, r->request);
        break;
    default:
        answer(p, from, r->request, ANSWER_INVALID,
               "the operation is none of 0, 1, 2");
    }
}

/* A message from a client; frame `at` is its header. */
static void
take_message(struct projector *p, const struct address *from,
             struct message *message, int at)
{
    struct projection_request request;
    struct pong pong = { .instance = p->instance, .watermark = p->watermark };
    uint16_t kind;
    const char *fault = front_fault(message, at, &kind);

    if (fault != NULL)
        front_refuse(&p->control, from, ANSWER_INVALID, fault);
    else if (kind == KIND_PING && message->count == at + 1 &&
             ping_decode(&message->frames[at], &pong.request) == 0)
        front_pong(&p->control, from, &pong, "cairn-projector " CAIRN_VERSION);
    else if (kind == KIND_PROJECTION && message->count == at + 1 &&
             projection_decode(&message->frames[at], &request) == 0)
        take_request(p, from, &request);
    else
        front_refuse(&p->control, from, ANSWER_INVALID, front_misfit);
}

/* ---- the loop ---------------------------------------------------------- */

static int on_more(zloop_t *loop, int timer, void *arg);

/* Works for a while; if there is more, comes back after the other sockets. */
static void
work(struct projector *p)
{
    uint64_t until = clock_ms() + TURN_MS;
    bool more = is_ready(p);

    while (more && clock_ms() < until)
        more = is_ready(p) && step(p);
    serve_waiters(p);
    if (more && !p->more_scheduled) {
        p->more_scheduled = true;
        (void)zloop_timer(daemon_loop(p->daemon), 0, 1, on_more, p);
    }
}

static int
on_more(zloop_t *loop, int timer, void *arg)
{
    struct projector *p = arg;

    (void)loop;
    (void)timer;
    p->more_scheduled = false;
    work(p);
    return 0;
}

static int
on_source(zloop_t *loop, zsock_t *reader, void *arg)
{
    (void)loop;
    (void)reader;
    work(arg);
    return 0;
}

static int
on_doorbell(zloop_t *loop, zsock_t *reader, void *arg)
{
    struct projector *p = arg;
    struct message message;

    (void)loop;
    (void)reader;
    while (message_receive(&p->doorbell, &message) > 0)
        message_clear(&message); /* the control page says what is true */
    work(p);
    return 0;
}

static int
on_control(zloop_t *loop, zsock_t *reader, void *arg)
{
    struct projector *p = arg;
    struct message message;
    struct address from;
    int at, rc;

    (void)loop;
    (void)reader;
    while ((rc = front_receive(&p->control, &message, &from, &at)) != 0) {
        if (rc > 0)
            take_message(p, &from, &message, at);
        message_clear(&message);
    }
    work(p);
    return 0;
}

static int
on_tick(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    work(arg);
    return 0;
}

/* ---- starting and stopping --------------------------------------------- */

static int
open_sockets(struct projector *p, struct err *err)
{
    const struct sock_options control = {
        .type = ZMQ_ROUTER,
        .queue_max = 100,
        .frame_max = 4096,
        .linger_ms = LINGER_MS,
    };
    const struct sock_options doorbell = {
        .type = ZMQ_SUB,
        .queue_max = 1000,
        .frame_max = 1024,
    };
    int rc = sock_open(&p->control, &control, err);

    if (rc == 0 && intake_read_along(UINT64_MAX) < 0) /* no names */
        rc = err_sys(err, -ENOMEM, "connections");
    if (rc == 0)
        rc =
            sock_bind(&p->control, conf_text(p->conf, "control.endpoint"), err);
    if (rc == 0)
        rc = sock_open(&p->doorbell, &doorbell, err);
    if (rc < 0)
        return rc;
    (void)zmq_setsockopt(p->doorbell.handle, ZMQ_SUBSCRIBE, "", 0);
    return sock_connect(&p->doorbell, conf_text(p->conf, "doorbell.endpoint"),
                        err);
}

int
projector_start(void *self, struct daemon *daemon, struct err *err)
{
    struct projector *p = self;
    zloop_t *loop = daemon_loop(daemon);
    int rc;

    p->daemon = daemon;
    p->conf = daemon_conf(daemon);
    randombytes_buf(&p->instance, sizeof p->instance);
    p->batch_max = (uint32_t)conf_number(p->conf, "batch.max");
    p->waiters = calloc(WAITERS_MAX, sizeof *p->waiters);
    if (p->waiters == NULL)
        return err_sys(err, -ENOMEM, "projector");
    rc = definition_load(conf_text(p->conf, "projection.file"), &p->definition,
                         err);
    if (rc == 0)
        rc = model_check(&p->definition, err);
    if (rc == -CAIRN_EPROJECTION || rc == -ENOENT)
        return err->code = -CAIRN_ECONFIG; /* another try finds the same */
    if (rc == 0)
        rc = open_sockets(p, err);
    if (rc < 0)
        return rc;
    (void)zloop_reader(loop, p->control.zsock, on_control, p);
    if (strcmp(conf_text(p->conf, "source.kind"), "mapped") == 0)
        (void)zloop_reader(loop, p->doorbell.zsock, on_doorbell, p);
    (void)zloop_timer(loop, TICK_MS, 0, on_tick, p);
    return 0;
}

void
projector_stop(void *self, struct daemon *daemon)
{
    struct projector *p = self;
    struct err err;

    (void)daemon;
    /* Positions without an event of ours, which were not written down. */
    if (p->model != NULL && p->position > model_position(p->model) &&
        model_begin(p->model, &err) == 0 &&
        model_commit(p->model, p->position, &p->mark, &err) < 0)
        log_warn("projection %s: %s", p->definition.name, err.text);
    model_close(&p->model);
    source_close(&p->source);
    sock_close(&p->control);
    sock_close(&p->doorbell);
    definition_free(&p->definition);
    free(p->waiters);
}

void
projector_status(void *self, char *text, size_t len)
{
    struct projector *p = self;

    (void)snprintf(
        text, len, "%s: %s at position %" PRIu64 " of %" PRIu64 "%s%s",
        p->definition.name, projection_state_name(p->state), p->position,
        p->watermark, p->reason.text[0] != '\0' ? ": " : "", p->reason.text);
}
