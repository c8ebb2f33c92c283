/* SPDX-License-Identifier: MPL-2.0 */
#include "gateway/gateway.h"

#include <errno.h>
#include <inttypes.h>

#include <sodium.h>

#include "base/crc32c.h"
#include "gateway/access.h"
#include "wire/image.h"

#define MESSAGES_PER_TURN 256
#define COMMANDS_PER_TURN 8192u /* more: other things are due as well */
#define TURN_MS 20u             /* likewise, of large ones */
#define BODY_LEN_FLUSH ((size_t)4 << 20) /* of one message to the writer */
#define RECONNECT_MS 20
#define BUSY_RETRY_MS 20u    /* room comes with the next outcomes */
#define WRITER_RETRY_MS 100u /* it has to start first */
#define HELLO_MS 250u
#define STOP_WAIT_MS 3000u
#define WAITING_LOG_MS 5000u

const struct conf_key gateway_keys[] = {
    { "commands.endpoint", CONF_ENDPOINT, "ipc:///run/cairn/commands",
      "where clients connect; bound here", 0, 0, NULL },
    { "commands.tcp", CONF_ENDPOINT, "-",
      "a second endpoint for clients, tcp with CURVE, as in "
      "tcp://0.0.0.0:4890",
      0, 0, NULL },
    { "commands.in_flight_max", CONF_COUNT, "65536",
      "commands of all clients on their way; a client may have as many as are "
      "free; above: busy",
      1, 1 << 20, NULL },
    { "commands.bytes_max", CONF_BYTES, "256M",
      "bytes of all commits on their way; shared out likewise; above: busy",
      1 << 20, UINT64_C(1) << 36, NULL },
    { "client.in_flight_max", CONF_COUNT, "16384",
      "commands of one client on their way; above: busy", 1, 1 << 20, NULL },
    { "client.queue", CONF_COUNT, "1000",
      "messages that may wait for a client that does not read", 1, 1 << 20,
      NULL },
    { "commit.events_max", CONF_COUNT, "4096", "events in one commit", 1,
      EVENTS_PER_MESSAGE_MAX, NULL },
    { "commit.streams_max", CONF_COUNT, "2048",
      "streams that one commit writes", 1, EVENTS_PER_MESSAGE_MAX, NULL },
    { "commit.checks_max", CONF_COUNT, "4096",
      "streams whose version one command checks, and conditions", 1,
      CHECKS_PER_MESSAGE_MAX, NULL },
    { "commit.max", CONF_BYTES, "8M", "bytes of one commit in the log", 1024,
      1 << 27, NULL },
    { "condition.items_max", CONF_COUNT, "64",
      "alternatives in the conditions of one command", 1, ITEMS_PER_MESSAGE_MAX,
      NULL },
    { "condition.types_max", CONF_COUNT, "256",
      "event types in the conditions of one command", 1, CONDITION_NAMES_MAX,
      NULL },
    { "condition.tags_max", CONF_COUNT, "256",
      "tags in the conditions of one command", 1, CONDITION_NAMES_MAX, NULL },
    { "conflict.events_max", CONF_COUNT, "100",
      "events that are shown with a conflict, however many are asked for", 0,
      UINT16_MAX, NULL },
    { "event.data_max", CONF_BYTES, "1M", "bytes of data of one event", 0,
      1 << 26, NULL },
    { "event.meta_max", CONF_BYTES, "64K", "bytes of metadata of one event", 0,
      1 << 26, NULL },
    { "writer.endpoint", CONF_ENDPOINT, "ipc:///run/cairn/writer",
      "the writer's private endpoint", 0, 0, NULL },
    DOOR_KEYS,
    { 0 },
};

/* ---- the writer -------------------------------------------------------- */

static void
say_hello(struct gateway *g)
{
    const char *endpoint =
        conf_text(daemon_conf(g->daemon), "commands.endpoint");
    /* One gateway at a time holds the lock of this endpoint. */
    struct hello hello = { g->instance, crc32c(endpoint, strlen(endpoint)) };
    struct message message = { .count = 0 };

    if (hello_encode(&hello, &message) == 0)
        (void)message_send(&g->back, &message); /* again after HELLO_MS */
    message_clear(&message);
}

/* The writer that had these commands is not there any more. */
static void
lose_writer(struct gateway *g)
{
    if (g->clients.flight_count > 0)
        log_warn("the writer went away: %u commands are answered 'unknown', "
                 "their senders ask again",
                 g->clients.flight_count);
    else if (g->writer.writer != 0)
        log_warn("the writer went away: clients are told 'busy' until it is "
                 "back");
    clients_land_all(&g->clients, ANSWER_UNKNOWN,
                     "the writer went away; ask again with the same command "
                     "id");
    clients_send(&g->clients, &g->door.sock, &g->door.peers);
    g->writer.writer = 0;
}

static void
on_welcome(struct gateway *g, const struct welcome *welcome)
{
    if (g->writer.writer == welcome->writer)
        return;
    if (g->writer.writer != 0)
        lose_writer(g);
    g->writer = *welcome;
    g->last_position = welcome->watermark;
    g->waiting_since_ms = 0;
    if (welcome->commit_len_max < g->limits.commit_max + SECTOR_LEN)
        log_warn("commit.max is %u, but the writer takes commits of %u bytes "
                 "at most (its log.group_max)",
                 g->limits.commit_max, welcome->commit_len_max);
    log_info("the writer is there, at position %" PRIu64, welcome->watermark);
}

/*
 * The writer stops, and nothing comes behind this.  It keeps the connection
 * until it hears that this was read: what has been received and not been read
 * is lost with a connection.
 */
static void
on_farewell(struct gateway *g, const struct farewell *farewell)
{
    struct message message = { .count = 0 };

    if (g->writer.writer == farewell->writer) {
        if (farewell->complete)
            clients_land_all(&g->clients, ANSWER_STOPPING,
                             "the writer is stopping; nothing was stored");
        lose_writer(g);
        g->waiting_since_ms = clock_ms();
    }
    if (farewell_encode(farewell, &message) == 0)
        (void)message_send(&g->back, &message); /* it waits a second */
    message_clear(&message);
}

static void
on_outcomes(struct gateway *g, struct message *message)
{
    if (message->count != 2 ||
        appended_decode(&message->frames[0], &message->frames[1], KIND_OUTCOMES,
                        &g->outcomes) < 0) {
        log_error("the writer sent a message that does not fit the protocol; "
                  "is it of the same version?");
        return;
    }
    for (uint32_t i = 0; i < g->outcomes.outcome_count; i++) {
        struct wire_outcome *o = &g->outcomes.outcomes[i];

        if (o->last_position > g->last_position && !o->dry_run)
            g->last_position = o->last_position;
        /* A token that is not in flight belongs to an earlier life. */
        (void)clients_land(&g->clients, uuid_high(o->id), o);
    }
}

static void
read_back(struct gateway *g)
{
    struct message message;

    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        uint16_t version, kind;
        struct welcome welcome;
        struct farewell farewell;

        if (message_receive(&g->back, &message) <= 0)
            break;
        if (image_kind(message_data(&message, 0), message_len(&message, 0),
                       &version, &kind) < 0)
            kind = 0;
        if (kind == KIND_WELCOME &&
            welcome_decode(&message.frames[0], &welcome) == 0)
            on_welcome(g, &welcome);
        else if (kind == KIND_FAREWELL &&
                 farewell_decode(&message.frames[0], &farewell) == 0)
            on_farewell(g, &farewell);
        else
            on_outcomes(g, &message);
        message_clear(&message);
    }
    clients_send(&g->clients, &g->door.sock, &g->door.peers);
}

static void
take_monitor_event(struct gateway *g)
{
    zmsg_t *event = zmsg_recv(g->monitor);
    char *name = event == NULL ? NULL : zmsg_popstr(event);

    if (name != NULL && strcmp(name, "HANDSHAKE_SUCCEEDED") == 0) {
        g->connected = true;
        say_hello(g);
    } else if (name != NULL && strcmp(name, "DISCONNECTED") == 0) {
        g->connected = false;
        g->waiting_since_ms = clock_ms();
        read_back(g); /* what it still said */
        lose_writer(g);
    }
    freen(name);
    zmsg_destroy(&event);
}

static int
on_monitor(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    struct gateway *g = arg;

    (void)loop;
    (void)item;
    while (zsock_events(g->monitor) & ZMQ_POLLIN)
        take_monitor_event(g);
    ready_run(&g->ready);
    return 0;
}

/* Until the writer has answered: hello again, and a line now and then. */
static int
on_hello_timer(zloop_t *loop, int timer, void *arg)
{
    struct gateway *g = arg;
    uint64_t now = clock_ms();

    (void)loop;
    (void)timer;
    clients_tidy(&g->clients, now);
    if (g->writer.writer != 0)
        return 0;
    if (g->connected)
        say_hello(g);
    if (now - g->waiting_since_ms >= WAITING_LOG_MS) {
        g->waiting_since_ms = now;
        log_warn("waiting for the writer at %s; clients are told 'busy'",
                 conf_text(daemon_conf(g->daemon), "writer.endpoint"));
    }
    ready_run(&g->ready);
    return 0;
}

/* ---- clients ----------------------------------------------------------- */

static void
flush_submit(struct gateway *g)
{
    struct message message = { .count = 0 };
    int rc;

    if (g->submit.command_count == 0)
        return;
    rc = submit_builder_finish(&g->submit, g->instance, &message);
    if (rc == 0)
        rc = message_send(&g->back, &message);
    if (rc < 0) {
        /* Only these are lost, but which they were is known to the flights
         * alone; the writer takes too long or is just going away. */
        log_warn("the writer does not take commands: %s", err_text(rc));
        read_back(g); /* what it still said */
        lose_writer(g);
    }
    message_clear(&message);
}

static void
refuse(struct gateway *g, struct client *client, struct uuid id,
       enum answer_code code, const char *detail)
{
    struct wire_outcome outcome = {
        .id = id,
        .code = (uint16_t)code,
        .detail = detail,
        .detail_len = (uint32_t)strlen(detail),
    };

    clients_answer(&g->clients, client, &outcome);
}

/* Room in the message to the writer, whose arrays are bounded. */
static void
make_room(struct gateway *g, const struct wire_command *command)
{
    const struct check_list *list = &g->submit.checks;
    uint64_t items = list->item_count;

    for (uint32_t i = 0; i < command->check_count; i++)
        items += command->checks[i].item_count;
    if ((uint64_t)list->count + command->check_count > CHECKS_PER_MESSAGE_MAX ||
        items > ITEMS_PER_MESSAGE_MAX)
        flush_submit(g);
}

/* What command_check() does not look at. */
static enum answer_code
check_more(struct gateway *g, const struct principal *principal,
           const struct wire_command *command, char reason[REASON_LEN])
{
    enum answer_code code = access_check(principal, command, reason);
    uint32_t streams;

    if (code == ANSWER_DENIED)
        door_log_denied(&g->door, principal, reason);
    if (code != ANSWER_ACCEPTED || command->event_count <= g->streams_max)
        return code;
    streams = command_streams(command);
    if (streams <= g->streams_max)
        return ANSWER_ACCEPTED;
    (void)snprintf(reason, REASON_LEN,
                   "commit: it writes %u streams, at most %u may be", streams,
                   g->streams_max);
    return ANSWER_TOO_LARGE;
}

static void
take_command(struct gateway *g, struct client *client,
             const struct principal *principal, struct wire_command *command)
{
    char reason[REASON_LEN];
    const char *wait = "the writer is not there; nothing was stored";
    uint32_t commit_len;
    uint64_t token;
    uint8_t *commit;
    enum answer_code code =
        command_check(command, &g->limits, &commit_len, reason);

    g->commands++;
    if (code == ANSWER_ACCEPTED)
        code = check_more(g, principal, command, reason);
    if (code != ANSWER_ACCEPTED) {
        refuse(g, client, command->id, code, reason);
        return;
    }
    if (g->writer.writer != 0)
        wait = clients_launch(&g->clients, client, command->id, commit_len,
                              &token);
    if (wait != NULL) {
        clients_put_off(&g->clients, client, command->id, wait,
                        g->writer.writer != 0 ? BUSY_RETRY_MS
                                              : WRITER_RETRY_MS);
        return;
    }
    make_room(g, command);
    if (command->show > g->show_max)
        command->show = g->show_max;
    if (submit_builder_add(&g->submit, token, command, commit_len, &commit) <
        0) {
        static const char detail[] = "no memory";
        struct wire_outcome outcome = { .code = ANSWER_BUSY,
                                        .retry_ms = BUSY_RETRY_MS,
                                        .detail = detail,
                                        .detail_len = sizeof detail - 1 };

        (void)clients_land(&g->clients, token, &outcome);
        return;
    }
    command_encode(command, commit_len, commit);
    if (g->submit.body_len >= BODY_LEN_FLUSH ||
        g->submit.command_count == COMMANDS_PER_MESSAGE_MAX)
        flush_submit(g);
}

/* Tells the sender of an odd message what was wrong with it. */
static void
refuse_message(struct gateway *g, const struct address *from,
               enum answer_code code, const char *text)
{
    uint64_t suppressed;

    if (log_limited(&g->odd_messages, &suppressed))
        log_warn("a client sent a message that was refused: %s (%" PRIu64
                 " more since the last such line)",
                 text, suppressed);
    front_refuse(&g->door.sock, from, code, text);
}

static void
take_ping(struct gateway *g, const struct address *from, uint64_t request)
{
    const struct pong pong = {
        .request = request,
        .instance = g->instance,
        .log_id = g->writer.log_id,
        .watermark = g->last_position,
    };

    front_pong(&g->door.sock, from, &pong, "cairn-gateway " CAIRN_VERSION);
}

static void
take_commands(struct gateway *g, const struct address *from)
{
    struct client *client;

    if (g->batch.command_count == 0) {
        refuse_message(g, from, ANSWER_INVALID, "there is no command in it");
        return;
    }
    if (g->batch.command_count > COMMANDS_PER_MESSAGE_MAX) {
        refuse_message(g, from, ANSWER_TOO_LARGE,
                       "there are more than 4096 commands in it");
        return;
    }
    if (g->batch.event_count > EVENTS_PER_MESSAGE_MAX ||
        g->batch.checks.count > CHECKS_PER_MESSAGE_MAX ||
        g->batch.checks.item_count > ITEMS_PER_MESSAGE_MAX) {
        refuse_message(g, from, ANSWER_TOO_LARGE,
                       "there are more than 65536 events, checks or items in "
                       "it");
        return;
    }
    client = clients_get(&g->clients, from);
    if (client == NULL) {
        refuse_message(g, from, ANSWER_BUSY, "there are too many clients");
        return;
    }
    for (uint32_t i = 0; i < g->batch.command_count; i++)
        take_command(g, client, from->principal, &g->batch.commands[i]);
    clients_release(&g->clients, client);
}

static void
take_append(struct gateway *g, const struct address *from, zmq_msg_t *header,
            zmq_msg_t *body)
{
    int rc = append_decode(header, body, &g->batch);

    if (rc == 0)
        take_commands(g, from);
    else if (rc == -EMSGSIZE)
        refuse_message(g, from, ANSWER_TOO_LARGE, front_excess);
    else
        refuse_message(g, from, ANSWER_INVALID, front_misfit);
}

/* A message from a client; frame `at` is its header. */
static void
take_message(struct gateway *g, const struct address *from,
             struct message *message, int at)
{
    uint64_t request;
    uint16_t kind;
    const char *fault = front_fault(message, at, &kind);

    if (fault != NULL)
        refuse_message(g, from, ANSWER_INVALID, fault);
    else if (kind == KIND_PING && message->count == at + 1 &&
             ping_decode(&message->frames[at], &request) == 0)
        take_ping(g, from, request);
    else if (kind == KIND_APPEND && message->count == at + 2)
        take_append(g, from, &message->frames[at], &message->frames[at + 1]);
    else
        refuse_message(g, from, ANSWER_INVALID, front_misfit);
}

static void
read_front(struct gateway *g)
{
    uint64_t before = g->commands, until = clock_ms() + TURN_MS;

    for (int i = 0; i < MESSAGES_PER_TURN &&
         g->commands - before < COMMANDS_PER_TURN && clock_ms() < until;
         i++) {
        struct message message;
        struct address from;
        int at, rc = door_receive(&g->door, &message, &from, &at);

        if (rc == 0)
            break;
        if (rc > 0)
            take_message(g, &from, &message, at);
        message_clear(&message);
    }
    flush_submit(g);
    clients_send(&g->clients, &g->door.sock, &g->door.peers);
}

/* What has come from either side goes to the other. */
static void
turn(void *arg)
{
    struct gateway *g = arg;

    if (!g->back.drained)
        read_back(g);
    if (!g->door.sock.drained)
        read_front(g);
}

/* ---- starting and stopping --------------------------------------------- */

static int
open_back(struct gateway *g, const struct conf *conf, struct err *err)
{
    const struct sock_options options = {
        .type = ZMQ_DEALER,
        .queue_max = (uint32_t)conf_number(conf, "commands.in_flight_max"),
        .frame_max = FRAME_LEN_MAX,
        .only_connected = true,
    };
    int reconnect_ms = RECONNECT_MS;
    int rc = sock_open(&g->back, &options, err);

    if (rc < 0)
        return rc;
    (void)zmq_setsockopt(g->back.handle, ZMQ_RECONNECT_IVL, &reconnect_ms,
                         sizeof reconnect_ms);
    g->monitor = zactor_new(zmonitor, g->back.zsock);
    if (g->monitor == NULL)
        return err_sys(err, -ENOMEM, "cannot watch the writer's socket");
    (void)zstr_sendx(g->monitor, "LISTEN", "HANDSHAKE_SUCCEEDED",
                     "DISCONNECTED", NULL);
    (void)zstr_send(g->monitor, "START");
    (void)zsock_wait(g->monitor);
    return sock_connect(&g->back, conf_text(conf, "writer.endpoint"), err);
}

int
gateway_start(void *self, struct daemon *daemon, struct err *err)
{
    struct gateway *g = self;
    const struct conf *conf = daemon_conf(daemon);
    zloop_t *loop = daemon_loop(daemon);
    const struct clients_limits limits = {
        .flight_max = (uint32_t)conf_number(conf, "commands.in_flight_max"),
        .client_flight_max =
            (uint32_t)conf_number(conf, "client.in_flight_max"),
        .bytes_max = conf_number(conf, "commands.bytes_max"),
    };
    const struct door_options door = {
        .endpoint_key = "commands.endpoint",
        .tcp_key = "commands.tcp",
        .sockets = 1,
        .queue_max = (uint32_t)conf_number(conf, "client.queue"),
        .frame_max = FRAME_LEN_MAX,
    };
    zmq_pollitem_t item = { .events = ZMQ_POLLIN };
    int rc = 0;

    g->daemon = daemon;
    g->odd_messages.every_ms = 60000;
    g->waiting_since_ms = clock_ms();
    randombytes_buf(&g->instance, sizeof g->instance);
    g->streams_max = (uint32_t)conf_number(conf, "commit.streams_max");
    g->limits = (struct command_limits){
        .events_max = (uint32_t)conf_number(conf, "commit.events_max"),
        .checks_max = (uint32_t)conf_number(conf, "commit.checks_max"),
        .items_max = (uint32_t)conf_number(conf, "condition.items_max"),
        .types_max = (uint32_t)conf_number(conf, "condition.types_max"),
        .tags_max = (uint32_t)conf_number(conf, "condition.tags_max"),
        .data_max = (uint32_t)conf_number(conf, "event.data_max"),
        .meta_max = (uint32_t)conf_number(conf, "event.meta_max"),
        .commit_max = (uint32_t)conf_number(conf, "commit.max"),
    };
    g->show_max = (uint16_t)conf_number(conf, "conflict.events_max");
    if (clients_init(&g->clients, &limits) < 0)
        rc = err_sys(err, -ENOMEM, "commands.in_flight_max");
    if (rc == 0)
        rc = door_open(&g->door, conf, &door, err);
    if (rc == 0)
        rc = open_back(g, conf, err);
    if (rc < 0)
        return rc;
    rc = ready_start(&g->ready, loop,
                     (struct sock *[]){ &g->back, &g->door.sock, NULL }, turn,
                     g, err);
    if (rc < 0)
        return rc;
    item.fd = zsock_fd(g->monitor);
    (void)zloop_poller(loop, &item, on_monitor, g);
    (void)on_monitor(loop, NULL, g); /* what came before it was watched */
    (void)zloop_timer(loop, HELLO_MS, 0, on_hello_timer, g);
    return door_attach(&g->door, loop);
}

/* Waits a while for the outcomes of what has been handed over. */
static void
finish_flights(struct gateway *g)
{
    uint64_t deadline = clock_ms() + STOP_WAIT_MS;

    while (g->clients.flight_count > 0 && clock_ms() < deadline) {
        zmq_pollitem_t item = { .socket = g->back.handle,
                                .events = ZMQ_POLLIN };

        (void)zmq_poll(&item, 1, 50);
        door_watch(&g->door);
        read_back(g);
    }
    clients_land_all(&g->clients, ANSWER_UNKNOWN,
                     "the gateway is stopping; ask again with the same "
                     "command id");
    clients_send(&g->clients, &g->door.sock, &g->door.peers);
}

void
gateway_stop(void *self, struct daemon *daemon)
{
    struct gateway *g = self;

    (void)daemon;
    if (g->back.zsock != NULL)
        finish_flights(g);
    zactor_destroy(&g->monitor);
    ready_stop(&g->ready);
    sock_close(&g->back);
    door_close(&g->door);
    clients_free(&g->clients);
    append_batch_free(&g->batch);
    submit_builder_free(&g->submit);
    outcome_batch_free(&g->outcomes);
}

void
gateway_reload(void *self)
{
    struct gateway *g = self;

    door_reload(&g->door);
}

void
gateway_status(void *self, char *text, size_t len)
{
    struct gateway *g = self;
    char door[DOOR_STATUS_LEN];

    door_status(&g->door, door, sizeof door);
    if (g->writer.writer == 0)
        (void)snprintf(text, len, "waiting for the writer%s", door);
    else
        (void)snprintf(text, len,
                       "serving; %" PRIu64 " commands so far, %u in flight%s",
                       g->commands, g->clients.flight_count, door);
}
