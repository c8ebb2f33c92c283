/* SPDX-License-Identifier: MPL-2.0 */
#include "c/append_client.h"

#include <poll.h>

#include "base/log.h"
#include "wire/array.h"
#include "wire/image.h"
#include "wire/query.h"

#define SEND_COMMANDS 64u              /* queued: a message is worth it */
#define SEND_BYTES ((size_t)256 << 10) /* likewise */
#define BACKOFF_MIN_MS 20u
#define BACKOFF_MAX_MS 1000u
#define RECONNECT_MS 20
#define QUEUE_MAX 10000u

/* A command without an outcome.  Its parts lie in one piece of memory. */
struct pending {
    struct wire_command command;
    uint64_t tag;
    uint64_t deadline_ms;
    bool sent;    /* and no reason to send it again */
    bool reached; /* was sent once */
    void *memory;
};

struct append_client {
    struct append_client_options options;
    append_outcome_fn *on_outcome;
    void *arg;
    struct sock sock;
    struct sock_monitor monitor;
    bool connected;
    bool denied;          /* the server does not know our key */
    struct pending *ring; /* of options.window places, oldest first */
    uint32_t first, count;
    uint32_t unsent;
    size_t unsent_bytes;
    uint64_t resume_ms; /* nothing is sent before */
    uint32_t backoff_ms;
    uint64_t heard_ms; /* the last answer, or the first command after it */
    uint64_t resent;
    struct append_builder builder;
    struct outcome_batch outcomes;
};

static struct pending *
pending_at(struct append_client *c, uint32_t index)
{
    return &c->ring[(c->first + index) % c->options.window];
}

static void watch_connection(struct append_client *c);

int
append_client_open(const struct append_client_options *options,
                   append_outcome_fn *on_outcome, void *arg,
                   struct append_client **ret_client, struct err *err)
{
    const struct sock_options sock = {
        .type = ZMQ_DEALER,
        .queue_max = QUEUE_MAX,
        .frame_max = FRAME_LEN_MAX,
        .linger_ms = 0,
        .only_connected = true,
    };
    struct append_client *c = calloc(1, sizeof *c);
    int reconnect_ms = RECONNECT_MS, rc;

    if (c == NULL)
        return err_sys(err, -ENOMEM, "client");
    c->options = *options;
    if (c->options.silence_ms == 0)
        c->options.silence_ms = APPEND_SILENCE_MS_DEFAULT;
    c->on_outcome = on_outcome;
    c->arg = arg;
    c->backoff_ms = BACKOFF_MIN_MS;
    c->ring = calloc(options->window, sizeof *c->ring);
    rc = c->ring == NULL ? err_sys(err, -ENOMEM, "client")
                         : sock_open(&c->sock, &sock, err);
    if (rc == 0 && options->curve != NULL)
        rc = curve_join(&c->sock, options->curve, err);
    if (rc == 0)
        rc = sock_monitor_open(&c->sock, &c->monitor, err);
    if (rc == 0) {
        (void)zmq_setsockopt(c->sock.handle, ZMQ_RECONNECT_IVL, &reconnect_ms,
                             sizeof reconnect_ms);
        rc = sock_connect(&c->sock, options->endpoint, err);
    }
    if (rc == 0)
        watch_connection(c); /* what came, nobody would tell of again */
    if (rc < 0)
        append_client_close(&c);
    else
        *ret_client = c;
    return rc;
}

void
append_client_close(struct append_client **client)
{
    struct append_client *c = *client;

    *client = NULL;
    if (c == NULL)
        return;
    sock_monitor_close(&c->monitor);
    sock_close(&c->sock);
    for (uint32_t i = 0; i < c->count; i++)
        free(pending_at(c, i)->memory);
    free(c->ring);
    append_builder_free(&c->builder);
    outcome_batch_free(&c->outcomes);
    free(c);
}

uint32_t
append_client_pending(const struct append_client *client)
{
    return client->count;
}

uint64_t
append_client_resent(const struct append_client *client)
{
    return client->resent;
}

/* ---- the queue --------------------------------------------------------- */

/* Copies checks, their items behind them, and their texts to *text. */
static void
copy_checks(const struct wire_command *command, struct wire_check *checks,
            uint8_t **text)
{
    struct wire_item *items = (void *)(checks + command->check_count);

    for (uint32_t i = 0; i < command->check_count; i++) {
        const struct wire_check *from = &command->checks[i];
        uint8_t *start = *text;

        *text = wire_check_put_text(start, from);
        checks[i] = *from;
        checks[i].stream = (char *)start;
        checks[i].items = items;
        start += from->stream_len;
        for (uint32_t k = 0; k < from->item_count; k++) {
            *items = from->items[k];
            items++->text = start;
            start += wire_item_text_len(&from->items[k]);
        }
    }
}

/* Copies a command into memory of its own. */
static int
copy_command(const struct wire_command *command, struct pending *pending)
{
    size_t items_len = 0, text_len = 0;
    struct wire_check *checks;
    struct wire_event *events;
    uint8_t *text;

    for (uint32_t i = 0; i < command->check_count; i++) {
        items_len += command->checks[i].item_count * sizeof(struct wire_item);
        text_len += (size_t)wire_check_text_len(&command->checks[i]);
    }
    for (uint32_t i = 0; i < command->event_count; i++)
        text_len += (size_t)wire_event_text_len(&command->events[i]);
    pending->memory =
        malloc(command->check_count * sizeof *checks + items_len +
               command->event_count * sizeof *events + text_len + 1);
    if (pending->memory == NULL)
        return -ENOMEM;
    checks = pending->memory;
    events = (void *)((uint8_t *)(checks + command->check_count) + items_len);
    text = (uint8_t *)(events + command->event_count);
    copy_checks(command, checks, &text);
    for (uint32_t i = 0; i < command->event_count; i++) {
        size_t len = (size_t)wire_event_text_len(&command->events[i]);

        events[i] = command->events[i];
        memcpy(text, events[i].text, len);
        events[i].text = text;
        text += len;
    }
    pending->command = *command;
    pending->command.checks = checks;
    pending->command.events = events;
    return 0;
}

/* Drops the places at the front that are done. */
static void
shift(struct append_client *c)
{
    while (c->count > 0 && pending_at(c, 0)->memory == NULL) {
        c->first = (c->first + 1) % c->options.window;
        c->count--;
    }
}

static void
finish_one(struct append_client *c, struct pending *pending,
           const struct wire_outcome *outcome)
{
    if (!pending->sent)
        c->unsent--;
    c->on_outcome(c->arg, pending->tag, &pending->command, outcome,
                  pending->reached);
    free(pending->memory);
    pending->memory = NULL;
}

/* Sends a command again, not before a while. */
static void
send_again(struct append_client *c, struct pending *pending, uint32_t retry_ms)
{
    uint64_t now = clock_ms();

    if (!pending->sent)
        return;
    pending->sent = false;
    c->unsent++;
    c->resent++;
    if (now < c->resume_ms)
        return; /* one failure for many commands: one wait */
    c->resume_ms = now + (retry_ms > c->backoff_ms ? retry_ms : c->backoff_ms);
    c->backoff_ms =
        c->backoff_ms * 2 < BACKOFF_MAX_MS ? c->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void
send_all_again(struct append_client *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (pending_at(c, i)->memory != NULL)
            send_again(c, pending_at(c, i), 0);
}

/* ---- sending ----------------------------------------------------------- */

static int
send_message(struct append_client *c, uint32_t from, uint32_t to)
{
    struct message message = { .count = 0 };
    int rc = append_builder_finish(&c->builder, &message);

    if (rc == 0)
        rc = message_send(&c->sock, &message);
    message_clear(&message);
    if (rc < 0)
        return rc;
    for (uint32_t i = from; i < to; i++) {
        struct pending *p = pending_at(c, i);

        if (p->memory == NULL || p->sent)
            continue;
        p->sent = p->reached = true;
        c->unsent--;
    }
    return 0;
}

/* Sends everything that is not on its way, as few messages as it takes. */
static int
send_unsent(struct append_client *c)
{
    uint32_t from = 0;
    int rc = 0;

    if (c->unsent == 0 || !c->connected || clock_ms() < c->resume_ms)
        return 0;
    if (c->unsent == c->count)
        c->heard_ms = clock_ms();
    for (uint32_t i = 0; rc == 0 && i < c->count; i++) {
        struct pending *p = pending_at(c, i);

        if (p->memory == NULL || p->sent)
            continue;
        rc = append_builder_add(&c->builder, &p->command);
        if (rc == 0 &&
            (c->builder.command_count == COMMANDS_PER_MESSAGE_MAX ||
             c->builder.body_len >= SEND_BYTES)) {
            rc = send_message(c, from, i + 1);
            from = i + 1;
        }
    }
    if (rc == 0 && c->builder.command_count > 0)
        rc = send_message(c, from, c->count);
    append_builder_clear(&c->builder);
    c->unsent_bytes = 0;
    return rc == -EAGAIN ? 0 : rc; /* just disconnected, or full: later */
}

/* ---- receiving --------------------------------------------------------- */

static void
take_outcome(struct append_client *c, const struct wire_outcome *outcome)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct pending *p = pending_at(c, i);

        if (p->memory == NULL || !uuid_equal(p->command.id, outcome->id))
            continue;
        if (outcome->code == ANSWER_BUSY || outcome->code == ANSWER_UNKNOWN ||
            outcome->code == ANSWER_STOPPING) {
            send_again(c, p, outcome->retry_ms);
        } else {
            c->backoff_ms = BACKOFF_MIN_MS;
            finish_one(c, p, outcome);
        }
        break; /* an id that was queued twice has two outcomes */
    }
    shift(c);
}

/* Gives everything that is on its way, or even all, the same outcome. */
static void
finish_all(struct append_client *c, struct wire_outcome *outcome, bool unsent)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct pending *p = pending_at(c, i);

        if (p->memory == NULL || (!p->sent && !unsent))
            continue;
        outcome->id = p->command.id;
        finish_one(c, p, outcome);
    }
    shift(c);
}

/*
 * A whole message was refused.  If the gateway did not understand us, there is
 * no use in sending it again; if it has no time for us, there is.
 */
static void
take_refusal(struct append_client *c, struct message *message)
{
    struct wire_outcome outcome = { .code = ANSWER_INVALID };

    if (refused_decode(&message->frames[0], &outcome.code) < 0)
        return;
    if (outcome.code == ANSWER_BUSY || outcome.code == ANSWER_STOPPING) {
        send_all_again(c);
        return;
    }
    if (message->count > 1) {
        outcome.detail = (const char *)message_data(message, 1);
        outcome.detail_len = (uint32_t)message_len(message, 1);
    }
    finish_all(c, &outcome, false);
}

static void
receive(struct append_client *c)
{
    struct message message;

    while (message_receive(&c->sock, &message) > 0) {
        c->heard_ms = clock_ms();
        if (message.count == 2 &&
            appended_decode(&message.frames[0], &message.frames[1],
                            KIND_APPENDED, &c->outcomes) == 0)
            for (uint32_t i = 0; i < c->outcomes.outcome_count; i++)
                take_outcome(c, &c->outcomes.outcomes[i]);
        else
            take_refusal(c, &message);
        message_clear(&message);
    }
}

/* The server does not know our key, and said so: libzmq does not try again. */
static void
take_denial(struct append_client *c)
{
    static const char detail[] = "the server does not know this key";
    struct wire_outcome outcome = {
        .code = ANSWER_DENIED,
        .detail = detail,
        .detail_len = sizeof detail - 1,
    };

    finish_all(c, &outcome, true);
    c->denied = true;
}

static void
watch_connection(struct append_client *c)
{
    struct sock_event event;

    while (sock_monitor_next(&c->monitor, &event)) {
        if (event.what == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            c->connected = true;
            c->resume_ms = 0;
        } else if (event.what == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) {
            take_denial(c);
        } else if (event.what == ZMQ_EVENT_DISCONNECTED) {
            receive(c); /* what it still said */
            c->connected = false;
            send_all_again(c);
        }
    }
}

/* Nobody has answered for long: a connection over tcp may be dead. */
static void
connect_anew(struct append_client *c, uint64_t now)
{
    c->heard_ms = now;
    send_all_again(c);
    if (!c->sock.curve)
        return; /* the kernel tells when an ipc peer goes */
    c->connected = false;
    (void)sock_reconnect(&c->sock, c->options.endpoint, NULL);
}

/* Gives up what is past its deadline. */
static void
give_up(struct append_client *c, uint64_t now)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct pending *p = pending_at(c, i);
        struct wire_outcome outcome = { .code = ANSWER_UNKNOWN };

        if (p->memory == NULL || now < p->deadline_ms)
            continue;
        outcome.id = p->command.id;
        finish_one(c, p, &outcome);
    }
    shift(c);
}

/* How long to wait for a socket: not beyond the next thing to do. */
static int
poll_ms(const struct append_client *c, uint64_t now, uint64_t until)
{
    uint64_t next = until;

    if (c->unsent > 0 && c->connected && c->resume_ms < next)
        next = c->resume_ms;
    if (next > now + 100) /* deadlines and silences */
        next = now + 100;
    return next > now ? (int)(next - now) : 0;
}

/*
 * Waits until something may have come.  zmq_poll() would ask both sockets
 * before and after, with two system calls each.
 */
static void
wait_for_news(struct append_client *c, int timeout_ms)
{
    struct pollfd fds[2] = {
        { .fd = c->sock.fd, .events = POLLIN },
        { .fd = zsock_fd(c->monitor.zsock), .events = POLLIN },
    };

    (void)poll(fds, 2, c->sock.drained ? timeout_ms : 0);
    if (fds[0].revents != 0)
        receive(c);
    if (fds[1].revents != 0)
        watch_connection(c);
}

int
append_client_pump(struct append_client *c, uint32_t wait_ms)
{
    uint64_t until = clock_ms() + wait_ms;
    uint32_t before;

    do {
        int rc = send_unsent(c);
        uint64_t now = clock_ms();

        if (rc < 0)
            return rc;
        before = c->count;
        receive(c);
        if (c->count == before)
            wait_for_news(c, poll_ms(c, now, until));
        now = clock_ms();
        if (c->count > c->unsent && now - c->heard_ms > c->options.silence_ms)
            connect_anew(c, now);
        give_up(c, now);
    } while (c->count > 0 && c->count == before && clock_ms() < until);
    return 0;
}

int
append_client_queue(struct append_client *c, const struct wire_command *command,
                    uint64_t tag)
{
    struct pending *p;
    int rc = 0;

    while (rc == 0 && c->count == c->options.window)
        rc = append_client_pump(c, 1000);
    if (rc < 0)
        return rc;
    p = pending_at(c, c->count);
    *p = (struct pending){ .tag = tag };
    rc = copy_command(command, p);
    if (rc < 0)
        return rc;
    if (c->denied) { /* it may know the key by now */
        c->denied = false;
        (void)sock_reconnect(&c->sock, c->options.endpoint, NULL);
    }
    p->deadline_ms = clock_ms() + c->options.deadline_ms;
    if (c->count++ == 0)
        c->heard_ms = clock_ms();
    c->unsent++;
    for (uint32_t i = 0; i < command->event_count; i++)
        c->unsent_bytes += (size_t)wire_event_text_len(&command->events[i]);
    if (c->unsent >= SEND_COMMANDS || c->unsent_bytes >= SEND_BYTES)
        rc = append_client_pump(c, 0);
    return rc;
}

int
append_client_finish(struct append_client *c)
{
    int rc = 0;

    while (rc == 0 && c->count > 0)
        rc = append_client_pump(c, 1000);
    return rc;
}
