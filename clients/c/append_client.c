/* SPDX-License-Identifier: MPL-2.0 */
#include "c/append_client.h"

#include "base/log.h"
#include "wire/array.h"
#include "wire/image.h"
#include "wire/query.h"

#define SEND_COMMANDS 64u              /* queued: a message is worth it, */
#define SEND_COMMANDS_MAX 256u         /* or a quarter of the window */
#define SEND_BYTES ((size_t)256 << 10) /* likewise */
#define BACKOFF_MIN_MS 20u
#define BACKOFF_MAX_MS 1000u
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
    struct peer peer;
    struct pending *ring; /* of options.window places, oldest first */
    uint32_t first, count;
    uint32_t unsent;
    uint32_t send_commands; /* so many unsent ones are worth a message */
    uint32_t sent_to;       /* all before this one have been sent */
    size_t unsent_bytes;
    uint64_t resume_ms; /* nothing is sent before */
    uint32_t backoff_ms;
    uint64_t heard_ms; /* the last answer, or the first command after it */
    uint32_t silence_ms;
    uint64_t resent;
    struct append_builder builder;
    struct outcome_batch outcomes;
};

static struct pending *
pending_at(struct append_client *c, uint32_t index)
{
    uint64_t place = (uint64_t)c->first + index;

    return &c->ring[place < c->options.window ? place
                                              : place - c->options.window];
}

static void watch_connection(struct append_client *c);

int
append_client_open(const struct append_client_options *options,
                   append_outcome_fn *on_outcome, void *arg,
                   struct append_client **ret_client, struct err *err)
{
    const struct peer_options peer = {
        .endpoint = options->endpoint,
        .context = options->context,
        .keys = options->keys,
        .queue_max = QUEUE_MAX,
    };
    struct append_client *c = calloc(1, sizeof *c);
    int rc;

    if (c == NULL)
        return err_sys(err, -ENOMEM, "client");
    c->options = *options;
    c->silence_ms = peer_silence_ms(options->deadline_ms);
    c->on_outcome = on_outcome;
    c->arg = arg;
    c->backoff_ms = BACKOFF_MIN_MS;
    c->send_commands = options->window / 4;
    if (c->send_commands < SEND_COMMANDS)
        c->send_commands = SEND_COMMANDS;
    if (c->send_commands > SEND_COMMANDS_MAX)
        c->send_commands = SEND_COMMANDS_MAX;
    c->ring = calloc(options->window, sizeof *c->ring);
    rc = c->ring == NULL ? err_sys(err, -ENOMEM, "client")
                         : peer_open(&c->peer, &peer, err);
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
    peer_close(&c->peer);
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
        c->sent_to -= c->sent_to > 0;
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
    c->sent_to = 0;
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
        rc = message_send(&c->peer.sock, &message);
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

/* Whether a command would be too many for the message that is being made. */
static bool
overflows(const struct append_builder *b, const struct wire_command *command)
{
    uint64_t items = b->checks.item_count;

    for (uint32_t i = 0; i < command->check_count; i++)
        items += command->checks[i].item_count;
    return b->command_count == COMMANDS_PER_MESSAGE_MAX ||
        (uint64_t)b->event_count + command->event_count >
        EVENTS_PER_MESSAGE_MAX ||
        (uint64_t)b->checks.count + command->check_count >
        CHECKS_PER_MESSAGE_MAX ||
        items > ITEMS_PER_MESSAGE_MAX || b->body_len >= SEND_BYTES;
}

/* Sends everything that is not on its way, as few messages as it takes. */
static int
send_unsent(struct append_client *c)
{
    uint32_t from = c->sent_to;
    int rc = 0;

    if (c->unsent == 0 || !c->peer.connected || clock_ms() < c->resume_ms)
        return 0;
    if (c->unsent == c->count)
        c->heard_ms = clock_ms();
    for (uint32_t i = from; rc == 0 && i < c->count; i++) {
        struct pending *p = pending_at(c, i);

        if (p->memory == NULL || p->sent)
            continue;
        if (c->builder.command_count > 0 &&
            overflows(&c->builder, &p->command)) {
            rc = send_message(c, from, i);
            from = i;
        }
        if (rc == 0)
            rc = append_builder_add(&c->builder, &p->command);
    }
    if (rc == 0 && c->builder.command_count > 0)
        rc = send_message(c, from, c->count);
    if (rc == 0)
        c->sent_to = c->count;
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

/* Gives everything that is on its way the same outcome. */
static void
finish_all(struct append_client *c, struct wire_outcome *outcome)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct pending *p = pending_at(c, i);

        if (p->memory == NULL || !p->sent)
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
    finish_all(c, &outcome);
}

static void
receive(struct append_client *c)
{
    struct message message;

    while (message_receive(&c->peer.sock, &message) > 0) {
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

/* The server does not know our key, and said so: libzmq does not try again.
 * What was sent while it knew it may have taken effect. */
static void
take_denial(struct append_client *c)
{
    static const char detail[] = "the server does not know this key";
    struct wire_outcome outcome = {
        .detail = detail,
        .detail_len = sizeof detail - 1,
    };

    for (uint32_t i = 0; i < c->count; i++) {
        struct pending *p = pending_at(c, i);

        if (p->memory == NULL)
            continue;
        outcome.id = p->command.id;
        outcome.code = p->reached ? ANSWER_UNKNOWN : ANSWER_DENIED;
        finish_one(c, p, &outcome);
    }
    shift(c);
}

static void
watch_connection(struct append_client *c)
{
    enum peer_news news;

    while ((news = peer_news(&c->peer)) != PEER_NOTHING) {
        if (news == PEER_CONNECTED) {
            c->resume_ms = 0;
        } else if (news == PEER_DENIED) {
            take_denial(c);
        } else {
            receive(c); /* what it still said */
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
    peer_reconnect(&c->peer);
}

/* Gives up what is past its deadline. */
static void
give_up(struct append_client *c, uint64_t now)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct pending *p = pending_at(c, i);
        struct wire_outcome outcome = { .code = ANSWER_UNKNOWN };

        if (now < p->deadline_ms)
            break; /* those behind it were queued later */
        if (p->memory == NULL)
            continue;
        outcome.id = p->command.id;
        finish_one(c, p, &outcome);
    }
    shift(c);
}

/* How long to wait for a socket: not beyond the next thing to do. */
static uint64_t
poll_ms(const struct append_client *c, uint64_t now, uint64_t until)
{
    uint64_t next = until;

    if (c->unsent > 0 && c->peer.connected && c->resume_ms < next)
        next = c->resume_ms;
    if (next > now + 100) /* deadlines and silences */
        next = now + 100;
    return next > now ? next - now : 0;
}

static void
wait_for_news(struct append_client *c, uint64_t wait_ms)
{
    bool message, news;

    peer_wait(&c->peer, wait_ms, &message, &news);
    if (message)
        receive(c);
    if (news)
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
        if (c->count > c->unsent && now - c->heard_ms > c->silence_ms)
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
    if (c->count == 0)
        watch_connection(c); /* what became of it meanwhile */
    if (c->peer.denied)
        peer_reconnect(&c->peer); /* it may know the key by now */
    p->deadline_ms = clock_rough_ms() + c->options.deadline_ms;
    if (c->count++ == 0)
        c->heard_ms = clock_ms();
    c->unsent++;
    for (uint32_t i = 0; i < command->event_count; i++)
        c->unsent_bytes += (size_t)wire_event_text_len(&command->events[i]);
    if (c->unsent >= c->send_commands || c->unsent_bytes >= SEND_BYTES)
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
