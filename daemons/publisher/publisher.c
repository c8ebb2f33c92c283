/* SPDX-License-Identifier: MPL-2.0 */
#include "publisher/reads.h"

#include <errno.h>
#include <inttypes.h>

#include <sodium.h>

#include "wire/array.h"
#include "wire/image.h"

#define MESSAGES_PER_TURN 64
#define READS_PER_TURN 64
#define TURN_MS 20u     /* of requests: then other things are due as well */
#define TICK_MS 50u     /* deadlines of polls, and missed doorbells */
#define LISTEN_MS 1000u /* to the doorbell, after the last one who waited */
#define WAITING_LOG_MS 5000u
#define LIVE_EVENTS_PER_TURN 4096u
#define LIVE_UNREAD_MAX 64u  /* libzmq takes in all that is there at once */
#define LIVE_LAG_MAX 100000u /* events; further behind, they are left out */

const struct conf_key publisher_keys[] = {
    { "log.directory", CONF_PATH, "/var/lib/cairn/log", "where the log lies", 0,
      0, NULL },
    { "log.control", CONF_PATH, "/run/cairn/log.control",
      "the page through which the writer tells the watermark", 0, 0, NULL },
    { "queries.endpoint", CONF_ENDPOINT, "ipc:///run/cairn/queries",
      "where clients read; bound here", 0, 0, NULL },
    { "queries.tcp", CONF_ENDPOINT, "-",
      "a second endpoint for them, tcp with CURVE, as in tcp://0.0.0.0:4891", 0,
      0, NULL },
    { "queries.queue", CONF_COUNT, "100",
      "answers that may wait for a client that does not read", 1, 1 << 20,
      NULL },
    { "queries.in_flight_max", CONF_COUNT, "1024",
      "reads that wait for their turn; a client may have as many as are free; "
      "above: busy",
      1, 1 << 16, NULL },
    { "queries.polls_max", CONF_COUNT, "4096",
      "long polls at a time; a client may have as many as are free; above: "
      "busy",
      1, 1 << 20, NULL },
    { "queries.client_polls_max", CONF_COUNT, "64",
      "long polls of one client at a time; above: busy", 1, 1 << 20, NULL },
    { "live.endpoint", CONF_ENDPOINT, "ipc:///run/cairn/live",
      "where new events are published, topic by stream, on ipc; bound here", 0,
      0, NULL },
    { "live.queue", CONF_COUNT, "10000",
      "events that may wait for a subscriber; above, it misses some", 1,
      1 << 24, NULL },
    { "live.topics_max", CONF_COUNT, "10000",
      "topics that one subscriber has and nobody else; above, its connection "
      "is "
      "closed",
      1, 1 << 24, NULL },
    { "doorbell.endpoint", CONF_ENDPOINT, "ipc:///run/cairn/doorbell",
      "the writer's doorbell", 0, 0, NULL },
    DOOR_KEYS,
    { 0 },
};

/* ---- the log ----------------------------------------------------------- */

/* Opens the log if it is there; says what it waits for if not. */
static bool
have_reader(struct publisher *p)
{
    struct err err;
    uint64_t now;

    if (p->reader != NULL)
        return true;
    if (reader_open(&sys_real, p->log_dir, p->control_path, &p->reader, &err) ==
        0) {
        p->waiting_since_ms = 0;
        p->watermark = 0;
        p->live_at = (struct cursor){ 0 };
        p->live_from = 0;
        log_info("reading log %s", p->log_dir);
        return true;
    }
    now = clock_ms();
    if (p->waiting_since_ms == 0 ||
        now - p->waiting_since_ms >= WAITING_LOG_MS) {
        p->waiting_since_ms = now;
        log_warn("waiting for the log (has the writer been started?): %s",
                 err.text);
    }
    return false;
}

void
publisher_log_damage(struct publisher *p, const struct err *err)
{
    uint64_t suppressed;

    if (log_limited(&p->damage, &suppressed))
        log_error("a request could not be answered: %s (%" PRIu64
                  " more since the last such line)",
                  err->text, suppressed);
}

bool
publisher_watermark(struct publisher *p, uint64_t *ret_watermark,
                    struct err *err)
{
    int rc;

    if (!have_reader(p)) {
        (void)err_set(err, -ENOENT,
                      "waiting for the log; has the writer been "
                      "started?");
        return false;
    }
    rc = reader_watermark(p->reader, ret_watermark, err);
    if (rc == -ESTALE) {
        log_warn("%s; opening it again", err->text);
        reader_close(&p->reader);
        randombytes_buf(&p->instance, sizeof p->instance); /* look anew */
        return have_reader(p) &&
            reader_watermark(p->reader, ret_watermark, err) == 0;
    }
    return rc == 0;
}

/* ---- live -------------------------------------------------------------- */

static int
send_live(struct publisher *p, const struct event *event)
{
    struct message message = { .count = 0 };
    int rc = message_add(&message, event->stream.p, event->stream.len);

    if (rc == 0)
        rc = message_add(&message, event->record, event->record_len);
    if (rc == 0)
        (void)message_send(&p->live, &message); /* a subscriber may miss it */
    message_clear(&message);
    return rc;
}

/* Finds what goes out next: what is new since the last look, or less if that
 * is too much. */
static int
seek_live(struct publisher *p, uint64_t watermark, struct err *err)
{
    uint64_t from = p->live_from;

    if (from == 0 || watermark + 1 - from > LIVE_LAG_MAX)
        from = watermark + 1;
    return evlog_seek(reader_log(p->reader), from, watermark, &p->live_at, err);
}

/* Publishes what has become durable; true if there is more to do. */
static bool
publish_live(struct publisher *p, uint64_t watermark)
{
    struct evlog *log = reader_log(p->reader);
    struct err err;
    int rc = 1;

    if (p->topics == 0) { /* to find the place would be to read it all */
        p->live_at.position = 0;
        return false;
    }
    if (p->live_at.position == 0 ||
        watermark + 1 - p->live_at.position > LIVE_LAG_MAX) {
        if (seek_live(p, watermark, &err) < 0) {
            publisher_log_damage(p, &err);
            return false;
        }
    }
    for (uint32_t i = 0; rc > 0 && i < LIVE_EVENTS_PER_TURN; i++) {
        struct event event;

        rc = evlog_next(log, &p->live_at, watermark, &event, &err);
        if (rc > 0 && send_live(p, &event) < 0)
            rc = 0;
    }
    if (rc < 0) {
        publisher_log_damage(p, &err);
        p->live_at.position = 0; /* leave the damage out */
    }
    return rc > 0;
}

/*
 * A subscriber hears nothing but its topics, so whoever comes when all places
 * are taken finds that out by this one: a byte that begins no name, and why.
 */
static void
look_at_subscribers(struct publisher *p)
{
    static const char full[] = "\0connections.max subscribers are connected; "
                               "come again later";
    bool is_full;

    peers_update(&p->live_peers, clock_ms());
    is_full = peers_are_full(&p->live_peers);
    if (is_full == p->live_full)
        return;
    p->live_full = is_full;
    (void)zmq_setsockopt(p->live.handle, ZMQ_XPUB_WELCOME_MSG, full,
                         is_full ? sizeof full - 1 : 0);
}

/* One byte, 1 for the first subscriber of a topic, 0 after the last. */
static void
count_topic(struct publisher *p, struct message *message)
{
    bool more = message_data(message, 0)[0] == 1;
    uint64_t suppressed;

    p->topics += more ? 1 : p->topics > 0 ? UINT64_MAX : 0;
    if (peers_topic(&p->live_peers,
                    peers_of(&p->live_peers, &message->frames[0]), more,
                    p->topics_max) &&
        log_limited(&p->subscribers, &suppressed))
        log_warn("live.topics_max: a subscriber has more than %u topics of "
                 "its own; its connection was closed (%" PRIu64
                 " more since the last such line)",
                 p->topics_max, suppressed);
}

static void
take_subscriptions(struct publisher *p)
{
    struct message message;

    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        if (message_receive(&p->live, &message) <= 0)
            break;
        look_at_subscribers(p);
        /* libzmq hands over whatever else a peer says, too. */
        if (message_len(&message, 0) > 0 && message_data(&message, 0)[0] <= 1)
            count_topic(p, &message);
        message_clear(&message);
    }
}

/* Says when the log can only be read, and when that is over. */
static void
look_at_writer(struct publisher *p)
{
    bool refused = reader_refused(p->reader);

    if (refused == p->read_only)
        return;
    p->read_only = refused;
    if (refused)
        log_warn("log %s is READ-ONLY: it is damaged, and the writer has "
                 "refused it (its lines say why).  What is whole is served; "
                 "what is not is answered 'damaged'",
                 p->log_dir);
    else
        log_info("log %s: the writer does not refuse it any more", p->log_dir);
}

/* Acts on the watermark if it has moved. */
static void
look_at_watermark(struct publisher *p)
{
    uint64_t watermark;
    struct err err;

    if (!publisher_watermark(p, &watermark, &err))
        return;
    look_at_writer(p);
    if (watermark == p->watermark && p->live_from > 0)
        return;
    p->watermark = watermark;
    reads_look_at_polls(p, true);
    while (publish_live(p, watermark))
        take_subscriptions(p);
    p->live_from = watermark + 1;
}

/*
 * Hears the doorbell while somebody waits for news, and a while longer: else
 * each group would wake this process for nothing.  What becomes durable before
 * the writer knows that it is heard again, a tick finds.
 */
static void
listen_if_awaited(struct publisher *p)
{
    uint64_t now = clock_ms();
    bool listen;

    if (p->topics > 0 || p->polls.count > 0)
        p->listen_until_ms = now + LISTEN_MS;
    listen = now < p->listen_until_ms;
    if (listen == p->listening)
        return;
    p->listening = listen;
    (void)zmq_setsockopt(p->doorbell.handle,
                         listen ? ZMQ_SUBSCRIBE : ZMQ_UNSUBSCRIBE, "", 0);
}

/* ---- the loop ---------------------------------------------------------- */

static int
on_doorbell(zloop_t *loop, zsock_t *reader, void *arg)
{
    struct publisher *p = arg;
    struct message message;

    (void)loop;
    (void)reader;
    /* Only a hint: the control page says what is true. */
    while (message_receive(&p->doorbell, &message) > 0)
        message_clear(&message);
    look_at_watermark(p);
    return 0;
}

static int
on_live(zloop_t *loop, zsock_t *reader, void *arg)
{
    (void)loop;
    (void)reader;
    take_subscriptions(arg);
    listen_if_awaited(arg);
    return 0;
}

static int
on_tick(zloop_t *loop, int timer, void *arg)
{
    struct publisher *p = arg;

    (void)loop;
    (void)timer;
    look_at_subscribers(p);
    look_at_watermark(p);
    reads_look_at_polls(p, false);
    waiting_drop_gone(&p->reads, &p->door.peers);
    listen_if_awaited(p);
    return 0;
}

static void
take_ping(struct publisher *p, const struct address *to, uint64_t request)
{
    struct pong pong = { .request = request, .instance = p->instance };
    struct err err;

    if (publisher_watermark(p, &pong.watermark, &err))
        pong.log_id = evlog_id(reader_log(p->reader));
    front_pong(&p->door.sock, to, &pong, "cairn-publisher " CAIRN_VERSION);
}

static void
refuse_message(struct publisher *p, const struct address *to,
               enum answer_code code, const char *text)
{
    uint64_t suppressed;

    if (log_limited(&p->odd_messages, &suppressed))
        log_warn("a client sent a message that was refused: %s (%" PRIu64
                 " more since the last such line)",
                 text, suppressed);
    front_refuse(&p->door.sock, to, code, text);
}

static void
take_query(struct publisher *p, const struct address *from,
           struct message *message, int at)
{
    struct read_request request;
    int rc =
        read_decode(&message->frames[at], &message->frames[at + 1], &request);

    if (rc == 0)
        reads_take(p, from, &request);
    else if (rc == -EMSGSIZE)
        refuse_message(p, from, ANSWER_TOO_LARGE,
                       "there are more than 64 filters in it");
    else
        refuse_message(p, from, ANSWER_INVALID, front_misfit);
}

/* A message from a client; frame `at` is its header. */
static void
take_message(struct publisher *p, const struct address *from,
             struct message *message, int at)
{
    uint64_t number;
    uint16_t kind;
    const char *fault = front_fault(message, at, &kind);

    if (fault != NULL)
        refuse_message(p, from, ANSWER_INVALID, fault);
    else if (kind == KIND_PING && message->count == at + 1 &&
             ping_decode(&message->frames[at], &number) == 0)
        take_ping(p, from, number);
    else if (kind == KIND_READ && message->count == at + 2)
        take_query(p, from, message, at);
    else
        refuse_message(p, from, ANSWER_INVALID, front_misfit);
}

/*
 * Takes what lies at the socket: PINGs and refusals are answered, reads wait.
 * The `first` time, a read that comes when none waits is as good as all that
 * lie behind it, and has its turn at once.
 */
static void
take_messages(struct publisher *p, bool first, uint64_t until)
{
    bool at_once = first && p->reads.count == 0;

    for (int i = 0; i < MESSAGES_PER_TURN && clock_ms() < until; i++) {
        struct message message;
        struct address from;
        int at, rc = door_receive(&p->door, &message, &from, &at);

        if (rc == 0)
            break;
        if (rc > 0)
            take_message(p, &from, &message, at);
        message_clear(&message);
        if (at_once && p->reads.count > 0)
            break;
    }
}

static int on_reads_left(zloop_t *loop, int timer, void *arg);

/* Takes what has come, answers one read, and again. */
static void
serve(struct publisher *p, zloop_t *loop)
{
    uint64_t until = clock_ms() + TURN_MS;

    for (int i = 0; i < READS_PER_TURN; i++) {
        take_messages(p, i == 0, until);
        if (!reads_answer_next(p) || clock_ms() >= until)
            break;
    }
    listen_if_awaited(p);
    /* Nobody else wakes us for what is left if nothing more comes. */
    if (p->reads.count > 0 && !p->coming_back)
        p->coming_back = zloop_timer(loop, 0, 1, on_reads_left, p) >= 0;
}

static int
on_reads_left(zloop_t *loop, int timer, void *arg)
{
    struct publisher *p = arg;

    (void)timer;
    p->coming_back = false;
    if (!sock_has_input(&p->door.sock)) /* else that wakes us, in its place */
        serve(p, loop);
    return 0;
}

static int
on_query(zloop_t *loop, zsock_t *reader, void *arg)
{
    (void)reader;
    serve(arg, loop);
    return 0;
}

/* ---- starting and stopping --------------------------------------------- */

static int
open_sockets(struct publisher *p, const struct conf *conf, struct err *err)
{
    const char *live = conf_endpoint(conf, "live.endpoint");
    const struct sock_options live_options = {
        .type = ZMQ_XPUB,
        .queue_max = (uint32_t)conf_number(conf, "live.queue"),
        .unread_max = LIVE_UNREAD_MAX,
        /* A subscription to the name of a stream, as ZMTP 3.1 sends it: one
         * byte, "SUBSCRIBE", the name. */
        .frame_max = 1 + 9 + 255,
    };
    const struct sock_options doorbell = {
        .type = ZMQ_SUB,
        .queue_max = 1000,
        .frame_max = 1024,
    };
    const struct door_options door = {
        .endpoint_key = "queries.endpoint",
        .tcp_key = "queries.tcp",
        .sockets = 2, /* and the live one */
        .queue_max = (uint32_t)conf_number(conf, "queries.queue"),
        .frame_max = QUERY_FRAME_MAX,
    };
    const struct peers_options live_peers =
        door_peers_options(conf, door.sockets);
    uint32_t connection_max;
    int rc = door_open(&p->door, conf, &door, err);

    if (rc == 0)
        rc = sock_open(&p->live, &live_options, err);
    if (rc == 0)
        rc = peers_open(&p->live_peers, &p->live, &live_peers, &connection_max,
                        err);
    p->door.also = &p->live_peers;
    if (rc == 0 && live != NULL)
        rc = sock_bind(&p->live, live, err);
    if (rc == 0)
        rc = sock_open(&p->doorbell, &doorbell, err);
    if (rc < 0)
        return rc;
    return sock_connect(&p->doorbell, conf_text(conf, "doorbell.endpoint"),
                        err);
}

int
publisher_start(void *self, struct daemon *daemon, struct err *err)
{
    struct publisher *p = self;
    const struct conf *conf = daemon_conf(daemon);
    zloop_t *loop = daemon_loop(daemon);
    int rc;

    p->daemon = daemon;
    p->log_dir = conf_text(conf, "log.directory");
    p->control_path = conf_text(conf, "log.control");
    p->odd_messages.every_ms = p->damage.every_ms = p->subscribers.every_ms =
        60000;
    p->topics_max = (uint32_t)conf_number(conf, "live.topics_max");
    randombytes_buf(&p->instance, sizeof p->instance);
    waiting_init(&p->reads,
                 (uint32_t)conf_number(conf, "queries.in_flight_max"), false);
    waiting_init(&p->polls, (uint32_t)conf_number(conf, "queries.polls_max"),
                 true);
    p->client_poll_max =
        (uint32_t)conf_number(conf, "queries.client_polls_max");
    rc = open_sockets(p, conf, err);
    if (rc < 0)
        return rc;
    (void)zloop_reader(loop, p->door.sock.zsock, on_query, p);
    (void)zloop_reader(loop, p->live.zsock, on_live, p);
    (void)zloop_reader(loop, p->doorbell.zsock, on_doorbell, p);
    (void)zloop_timer(loop, TICK_MS, 0, on_tick, p);
    (void)have_reader(p);
    return door_attach(&p->door, loop);
}

void
publisher_stop(void *self, struct daemon *daemon)
{
    struct publisher *p = self;

    (void)daemon;
    reads_stop(p);
    door_close(&p->door);
    peers_close(&p->live_peers);
    sock_close(&p->live);
    sock_close(&p->doorbell);
    query_scratch_free(&p->scratch);
    reader_close(&p->reader);
}

void
publisher_reload(void *self)
{
    struct publisher *p = self;

    p->door.on_reload = reads_judge;
    p->door.arg = p;
    door_reload(&p->door);
}

void
publisher_status(void *self, char *text, size_t len)
{
    struct publisher *p = self;
    char door[DOOR_STATUS_LEN];

    door_status(&p->door, door, sizeof door);
    if (p->reader == NULL)
        (void)snprintf(text, len, "waiting for the log%s", door);
    else
        (void)snprintf(text, len,
                       "%sserving up to position %" PRIu64 "; %" PRIu64
                       " requests, %u reads and %u long polls waiting%s",
                       p->read_only ? "READ-ONLY, the log is damaged; " : "",
                       p->watermark, p->requests, p->reads.count,
                       p->polls.count, door);
}
