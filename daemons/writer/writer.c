/* SPDX-License-Identifier: MPL-2.0 */
#include "writer/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include <sodium.h>

#include "wire/array.h"
#include "wire/image.h"
#include "writer/farewell.h"

/* Beside the sync of a group the next can be decided, but then another thread
 * must do the sync, and two wake-ups cost as much as deciding so many bytes. */
#define OVERLAP_LEN_MIN (64u << 10)

#define LINGER_MS 1000u
#define FAREWELL_MS 1000u /* for gateways to read what there is for them */
#define DOORBELL_QUEUE 16u
#define PROGRESS_MS 1000u    /* between lines of a start that takes long */
#define RETRY_MS 1000u       /* between tries while the disk is full */
#define SYNC_STALL_MS 60000u /* longer: the watchdog is not fed */
#define MESSAGES_PER_TURN 256
#define CLOCK_EVERY 16u /* commands: about as many microseconds */

const struct conf_key writer_keys[] = {
    { "log.directory", CONF_PATH, "/var/lib/cairn/log",
      "where the log lives; made if it is not there", 0, 0, NULL },
    { "log.control", CONF_PATH, "/run/cairn/log.control",
      "the page through which readers see the watermark", 0, 0, NULL },
    { "log.segment", CONF_BYTES, "128M",
      "length of new segment files, a multiple of 4096", SEGMENT_LEN_MIN,
      SEGMENT_LEN_MAX, NULL },
    { "log.group_max", CONF_BYTES, "16M",
      "most bytes that one sync covers; no commit can be longer", 4096, 1 << 28,
      NULL },
    { "table.checkpoint", CONF_BYTES, "64M",
      "bytes of log between two checkpoints of the version table, or eight "
      "times its length if that is more; as much is read again after a crash",
      4096, UINT64_C(1) << 40, NULL },
    { "table.checkpoint_max", CONF_BYTES, "1G",
      "a long table takes no more between them than this, or than "
      "table.checkpoint if that is more",
      4096, UINT64_C(1) << 40, NULL },
    { "table.slots", CONF_COUNT, "65536",
      "slots of a new version table, a power of two; it grows by itself",
      TABLE_SLOTS_MIN, UINT64_C(1) << 32, NULL },
    { "condition.scan_max", CONF_COUNT, "10000",
      "events that the writer looks at for the conditions of one command; "
      "above: too large",
      1, 1 << 24, NULL },
    { "conflict.bytes_max", CONF_BYTES, "64K",
      "bytes of events that are shown with a conflict", 0,
      SHOWN_PER_MESSAGE_MAX, NULL },
    { "commands.endpoint", CONF_ENDPOINT, "ipc:///run/cairn/writer",
      "where gateways of the same user connect; bound here", 0, 0, NULL },
    { "commands.queue", CONF_COUNT, "1024",
      "messages from one gateway that may wait", 1, 1 << 20, NULL },
    { "doorbell.endpoint", CONF_ENDPOINT, "ipc:///run/cairn/doorbell",
      "where readers of the same user hear that the watermark has moved; bound "
      "here",
      0, 0, NULL },
    { 0 },
};

/* ---- groups ------------------------------------------------------------ */

static struct outbox *
box_of(struct writer *w, uint64_t group)
{
    return group == 0 ? &w->now : &w->boxes[group % 2];
}

static void
send_box(struct writer *w, struct outbox *box)
{
    uint32_t messages = box->count;
    int dropped = outbox_send(box, &w->commands);

    w->dropped |= dropped != 0;
    appender_count_messages(w->appender, messages);
    if (dropped < 0)
        log_error("no memory for outcomes: clients will ask again");
    else if (dropped > 0)
        log_warn("a gateway has gone or does not read: its outcomes were "
                 "dropped, clients will ask again");
}

static void
ring(struct writer *w)
{
    struct doorbell doorbell = { appender_watermark(w->appender), w->instance };
    struct message message = { .count = 0 };

    if (doorbell_encode(&doorbell, &message) == 0)
        (void)message_send(&w->doorbell, &message); /* a hint */
    message_clear(&message);
}

/* A write or sync failed: nothing is acknowledged from here on. */
static void
fail(struct writer *w, const struct err *err)
{
    if (w->failed)
        return;
    w->failed = true;
    ready_pause(&w->ready, true);
    outbox_spoil(&w->boxes[0], ANSWER_UNKNOWN);
    outbox_spoil(&w->boxes[1], ANSWER_UNKNOWN);
    send_box(w, &w->boxes[0]);
    send_box(w, &w->boxes[1]);
    log_error("%s", err->text);
    daemon_end(w->daemon, err_store_exit_code(err->code));
    log_error("stopping; the outcome of commands that were not answered is "
              "unknown, their senders must ask again.  Recovery at the next "
              "start will not trust the page cache");
}

static int
run_job(void *arg, struct err *err)
{
    struct writer *w = arg;

    return appender_run_job(w->appender, w->job, err);
}

static void
start_job(struct writer *w)
{
    if (worker_busy(w->keeper) || w->failed)
        return;
    w->job = appender_next_job(w->appender);
    if (w->job != JOB_NONE)
        worker_give(w->keeper, run_job, w);
}

/* Takes the group in that is on stable storage now: its outcomes may go. */
static void
settle(struct writer *w, int rc, struct err *err)
{
    w->sync_began_ms = 0;
    if (rc == 0)
        rc = appender_settle(w->appender, err);
    if (rc < 0) {
        fail(w, err);
        return;
    }
    send_box(w, box_of(w, appender_settled_group(w->appender)));
    ring(w);
    start_job(w);
}

static int
run_sync(void *arg, struct err *err)
{
    struct writer *w = arg;

    return appender_sync(w->appender, err);
}

/* Makes the open group durable if it can be done now. */
static void
start_group(struct writer *w)
{
    uint32_t len = appender_open_len(w->appender);
    struct err err;
    int rc;

    if (len == 0 || appender_in_flight(w->appender) || w->failed)
        return;
    appender_close_group(w->appender);
    w->sync_began_ms = clock_ms();
    if (w->overlap) {
        worker_give(w->syncer, run_sync, w);
        return;
    }
    rc = appender_sync(w->appender, &err);
    w->overlap = len >= OVERLAP_LEN_MIN && sock_has_input(&w->commands);
    settle(w, rc, &err);
}

/* ---- commands ---------------------------------------------------------- */

static void
answer(struct writer *w, uint64_t group, const struct wire_outcome *outcome)
{
    struct err err;

    if (outbox_add(box_of(w, group), &w->message.frames[0], outcome) < 0) {
        (void)err_sys(&err, -ENOMEM, "outcomes");
        fail(w, &err);
    }
}

static void
answer_refusal(struct writer *w, const struct submit_command *command,
               uint64_t group, enum answer_code code, const char *detail)
{
    struct wire_outcome outcome = {
        .id = uuid_of_halves(command->token, 0),
        .code = (uint16_t)code,
        .dry_run = (command->flags & COMMAND_FLAG_DRY_RUN) != 0,
        .detail = detail,
        .detail_len = (uint32_t)strlen(detail),
    };

    answer(w, group, &outcome);
}

static void
answer_undecided(struct writer *w, const struct submit_command *command,
                 const struct append_result *result)
{
    const struct append_check *check = &w->request.checks[result->bad_check];
    char detail[256];

    if (result->code == APPEND_ABOVE_HEAD) {
        (void)snprintf(detail, sizeof detail,
                       "check %u: after: %" PRIu64
                       " is above the last position of the log",
                       result->bad_check, check->version);
        answer_refusal(w, command, 0, ANSWER_INVALID, detail);
        return;
    }
    (void)snprintf(detail, sizeof detail,
                   "check %u: item %u: to decide it more than %u events behind "
                   "position %" PRIu64
                   " had to be looked at (condition.scan_max); give a later "
                   "position, or a tag that fewer events have",
                   result->bad_check, result->bad_item, w->options.scan_max,
                   check->version);
    answer_refusal(w, command, 0, ANSWER_TOO_LARGE, detail);
}

/* The same fields, kept apart so that store and wire are. */
_Static_assert(sizeof(struct wire_verdict) == sizeof(struct append_verdict) &&
                   offsetof(struct wire_verdict, expect) ==
                       offsetof(struct append_verdict, kind) &&
                   offsetof(struct wire_verdict, actual) ==
                       offsetof(struct append_verdict, actual),
               "layout");

static void
answer_result(struct writer *w, const struct submit_command *command,
              const struct append_result *result)
{
    struct wire_outcome outcome = {
        .id = uuid_of_halves(command->token, 0),
        .repeated = result->repeated,
        .dry_run = result->dry_run,
        .verdicts = (const struct wire_verdict *)result->verdicts,
        .verdict_count = result->verdict_count,
        .records = result->records,
        .records_len = result->records_len,
        .more = result->more,
        .first_position = result->first_position,
        .last_position = result->last_position,
        .time_us = result->time_us,
    };

    switch (result->code) {
    case APPEND_ACCEPTED:
        outcome.code = ANSWER_ACCEPTED;
        outcome.versions = result->versions;
        outcome.version_count = result->version_count;
        answer(w, result->group, &outcome);
        return;
    case APPEND_CONFLICT:
        outcome.code = ANSWER_CONFLICT;
        answer(w, result->group, &outcome);
        return;
    case APPEND_OTHER_CONTENT:
        answer_refusal(w, command, result->group, ANSWER_INVALID,
                       "command id: it has already taken effect with other "
                       "events; take a new id for a new command");
        return;
    case APPEND_ABOVE_HEAD:
    case APPEND_SCAN_TOO_LONG:
        answer_undecided(w, command, result);
        return;
    case APPEND_TOO_LARGE:
        answer_refusal(w, command, 0, ANSWER_TOO_LARGE,
                       "commit: longer than log.group_max or than a segment");
        return;
    case APPEND_NO_SPACE:
    default:
        answer_refusal(w, command, 0, ANSWER_NO_SPACE,
                       "the disk of the log is full; nothing was stored");
        return;
    }
}

/* Decides one command; false if it must be asked again later. */
static bool
decide(struct writer *w, const struct submit_command *command)
{
    struct append_request request;
    struct append_result result;
    struct err err;
    int rc = request_make(&w->request, command, &request);

    request.hint = &w->hints[w->next_command % HINTS];
    request.time_us = w->time_us;
    if (rc == -ENOMEM)
        (void)err_sys(&err, rc, "checks");
    if (rc == 0)
        rc = appender_append(w->appender, &request, &result, &err);
    if (rc == -CAIRN_ERECORD || rc == -CAIRN_EMESSAGE) {
        answer_refusal(w, command, 0, ANSWER_INVALID,
                       "commit or checks: not well formed; this gateway does "
                       "not fit this writer");
        return true;
    }
    if (rc < 0) {
        fail(w, &err);
        return false;
    }
    if (result.code == APPEND_GROUP_FULL || result.code == APPEND_NOT_READY) {
        start_group(w); /* may make room at once */
        start_job(w);
        return false;
    }
    if (result.code == APPEND_NO_SPACE && !w->no_space_logged) {
        w->no_space_logged = true;
        log_error("no space for another segment or a larger version table: "
                  "commands are refused, reading goes on; trying again every "
                  "%u ms",
                  RETRY_MS);
    }
    answer_result(w, command, &result);
    return true;
}

static void
on_hello(struct writer *w, const struct hello *hello)
{
    struct welcome welcome = {
        .writer = w->instance,
        .log_id = evlog_id(appender_log(w->appender)),
        .commit_len_max = w->options.group_len_max,
        .watermark = appender_watermark(w->appender),
    };
    struct message message = { .count = 0 };

    fence_enter(&w->fence, hello->place, message_data(&w->message, 0));
    if (message_add(&message, zmq_msg_data(&w->message.frames[0]),
                    message_len(&w->message, 0)) == 0 &&
        welcome_encode(&welcome, &message) == 0)
        (void)message_send(&w->commands, &message); /* it asks again */
    message_clear(&message);
}

static void
odd_message(struct writer *w, const char *what)
{
    uint64_t suppressed;

    if (log_limited(&w->odd_messages, &suppressed))
        log_warn("%s; ignored (%" PRIu64 " more since the last such line)",
                 what, suppressed);
}

/* Looks at a message; true if it holds commands to work through. */
static bool
take_message(struct writer *w)
{
    uint16_t version, kind;
    struct hello hello;

    w->batch.command_count = w->next_command = 0;
    w->looked_ahead = w->looked_closer = 0;
    if (w->message.count < 2 ||
        image_kind(message_data(&w->message, 1), message_len(&w->message, 1),
                   &version, &kind) < 0) {
        odd_message(w, "a gateway sent what is no message");
        return false;
    }
    if (kind == KIND_HELLO && w->message.count == 2 &&
        message_len(&w->message, 0) == ROUTING_ID_LEN &&
        hello_decode(&w->message.frames[1], &hello) == 0) {
        on_hello(w, &hello);
        return false;
    }
    if (kind == KIND_SUBMIT &&
        !fence_counts(&w->fence, message_data(&w->message, 0),
                      message_len(&w->message, 0))) {
        odd_message(w,
                    "a gateway that is gone has left commands; their "
                    "senders have asked its successor");
        return false;
    }
    if (kind != KIND_SUBMIT || w->message.count != 3 ||
        submit_decode(&w->message.frames[1], &w->message.frames[2], &w->batch) <
            0) {
        w->batch.command_count = 0; /* however far it came */
        odd_message(w,
                    "a gateway sent a message that does not fit the "
                    "protocol");
        return false;
    }
    appender_count_messages(w->appender, 1);
    return true;
}

static uint32_t
at_most(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/*
 * Asks for the memory that the next commands will need, for several together:
 * one by one, each would wait for the tables of its pages.
 */
static void
look_ahead(struct writer *w)
{
    const struct submit_batch *b = &w->batch;
    uint32_t first = w->looked_ahead;
    uint32_t ahead =
        at_most(b->command_count, w->next_command + 3 * LOOK_TOGETHER);
    uint32_t closer =
        at_most(b->command_count, w->next_command + 2 * LOOK_TOGETHER);

    if (w->next_command % LOOK_TOGETHER != 0)
        return;
    for (uint32_t i = first; i < ahead; i++)
        appender_hint(w->appender, b->commands[i].commit,
                      b->commands[i].commit_len, &w->hints[i % HINTS]);
    for (; w->looked_ahead < ahead; w->looked_ahead++)
        appender_look_ahead(w->appender, &w->hints[w->looked_ahead % HINTS]);
    for (; w->looked_closer < closer; w->looked_closer++)
        appender_look_closer(w->appender, &w->hints[w->looked_closer % HINTS]);
}

static void
look_at_clock(struct writer *w)
{
    w->time_us = sys_call(&sys_real, now_us);
}

/* Works through the commands of the message; false if it had to stop. */
static bool
finish_message(struct writer *w)
{
    for (uint32_t i = 0; w->next_command < w->batch.command_count; i++) {
        uint32_t tries = 0;

        if (i % CLOCK_EVERY == 0)
            look_at_clock(w);
        look_ahead(w);
        /* Once more if starting the full group has made room. */
        while (!decide(w, &w->batch.commands[w->next_command])) {
            if (w->failed || ++tries > 1)
                return false;
            look_at_clock(w);
        }
        w->next_command++;
    }
    w->batch.command_count = w->next_command = 0;
    message_clear(&w->message);
    return true;
}

/*
 * One turn: as many commands as are there, then the group if it can go.
 * Without room nothing is read; what waits, waits in ZeroMQ.
 */
static void
work(void *arg)
{
    struct writer *w = arg;

    for (int i = 0; i < MESSAGES_PER_TURN && !w->failed; i++) {
        if (!finish_message(w)) {
            ready_pause(&w->ready, true);
            break;
        }
        ready_pause(&w->ready, false);
        if (message_receive(&w->commands, &w->message) <= 0)
            break;
        if (!take_message(w))
            message_clear(&w->message);
    }
    send_box(w, &w->now);
    start_group(w);
}

static int
on_synced(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    struct writer *w = arg;
    struct err err;
    int rc;

    (void)loop;
    (void)item;
    if (worker_take(w->syncer, false, &rc, &err)) {
        w->overlap = appender_open_len(w->appender) >= OVERLAP_LEN_MIN;
        settle(w, rc, &err);
        if (rc == 0)
            work(w);
        ready_run(&w->ready);
    }
    return 0;
}

static int
on_job_done(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    struct writer *w = arg;
    struct err err;
    int rc;

    (void)loop;
    (void)item;
    if (!worker_take(w->keeper, false, &rc, &err))
        return 0;
    rc = appender_job_done(w->appender, w->job, rc);
    if (rc < 0) {
        fail(w, &err);
        return 0;
    }
    if (w->no_space_logged && !appender_no_space(w->appender)) {
        w->no_space_logged = false;
        log_info("there is space again: commands are accepted");
    }
    start_job(w);
    if (w->ready.paused)
        work(w);
    ready_run(&w->ready);
    return 0;
}

static int
on_retry(zloop_t *loop, int timer, void *arg)
{
    struct writer *w = arg;

    (void)loop;
    (void)timer;
    if (appender_no_space(w->appender) && !worker_busy(w->keeper)) {
        appender_retry_jobs(w->appender);
        start_job(w);
    }
    return 0;
}

/* ---- starting and stopping --------------------------------------------- */

static bool
on_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
    struct writer *w = arg;
    uint64_t now = clock_ms();

    if (daemon_stop_wanted(w->daemon)) {
        log_info("told to stop while %s", what);
        return false;
    }
    if (total == 0 || now < w->next_progress_ms)
        return true;
    w->next_progress_ms = now + PROGRESS_MS;
    daemon_starting(w->daemon, "%s: %" PRIu64 " of %" PRIu64 " events", what,
                    done, total);
    log_info("%s: %" PRIu64 " of %" PRIu64 " events", what, done, total);
    return true;
}

static void
log_recovery(const char *dir, const struct recovery_report *r)
{
    if (r->created)
        log_info("log %s: a new one", dir);
    else
        log_info("log %s: %" PRIu64 " events; %" PRIu64 " of them were read "
                 "again for the version table",
                 dir, r->last_position, r->replayed_events);
    if (r->torn)
        log_warn("log %s: an unfinished group behind position %" PRIu64
                 " was cut off; nobody had been told that it was stored; its "
                 "%" PRIu64 " bytes are kept in %s",
                 dir, r->last_position, r->cut_bytes, r->cut_path);
    if (r->tail_lost)
        log_warn("log %s: the end behind position %" PRIu64 " was given up, "
                 "as --accept-tail-loss asked; read models may be ahead of "
                 "the log: reset them%s%s",
                 dir, r->last_position, r->cut_bytes > 0 ? "; kept in " : "",
                 r->cut_path);
    if (r->table_rebuilt)
        log_info("log %s: the version table was built again", dir);
}

static int
open_log(struct writer *w, const struct conf *conf, struct err *err)
{
    const char *dir = conf_text(conf, "log.directory");
    struct recovery_report report;
    int rc;

    w->options = (struct appender_options){
        .segment_len = conf_number(conf, "log.segment"),
        .group_len_max = (uint32_t)conf_number(conf, "log.group_max") /
            SECTOR_LEN * SECTOR_LEN,
        .checkpoint_bytes = conf_number(conf, "table.checkpoint"),
        .checkpoint_max = conf_number(conf, "table.checkpoint_max"),
        .table_slots = conf_number(conf, "table.slots"),
        .accept_tail_loss = w->accept_tail_loss,
        .scan_max = (uint32_t)conf_number(conf, "condition.scan_max"),
        .show_bytes = (uint32_t)conf_number(conf, "conflict.bytes_max"),
    };
    for (bool waits = false;; waits = true) {
        daemon_starting(w->daemon, "%s %s",
                        waits ? "NO SPACE, waiting, for" : "recovering", dir);
        rc = appender_open(&sys_real, dir, conf_text(conf, "log.control"),
                           &w->options, on_progress, w, &report, &w->appender,
                           err);
        if ((rc != -ENOSPC && rc != -EDQUOT) || daemon_stop_wanted(w->daemon))
            break;
        if (!waits)
            log_error("%s; trying again every %u ms", err->text, RETRY_MS);
        (void)poll(NULL, 0, RETRY_MS);
    }
    if (rc == 0)
        log_recovery(dir, &report);
    return rc;
}

static int
open_sockets(struct writer *w, const struct conf *conf, struct err *err)
{
    const struct sock_options commands = {
        .type = ZMQ_ROUTER,
        .queue_max = (uint32_t)conf_number(conf, "commands.queue"),
        .frame_max = FRAME_LEN_MAX,
        .linger_ms = LINGER_MS,
        .own_user = true,
    };
    const struct sock_options doorbell = {
        .type = ZMQ_PUB,
        .queue_max = DOORBELL_QUEUE,
        .frame_max = 1024,
        .own_user = true,
    };
    int rc = sock_open(&w->commands, &commands, err);

    if (rc == 0)
        rc = sock_bind(&w->commands, conf_text(conf, "commands.endpoint"), err);
    if (rc == 0)
        rc = sock_open(&w->doorbell, &doorbell, err);
    if (rc == 0)
        rc = sock_bind(&w->doorbell, conf_text(conf, "doorbell.endpoint"), err);
    return rc;
}

int
writer_start(void *self, struct daemon *daemon, struct err *err)
{
    struct writer *w = self;
    const struct conf *conf = daemon_conf(daemon);
    zloop_t *loop = daemon_loop(daemon);
    zmq_pollitem_t item = { .events = ZMQ_POLLIN };
    int rc;

    w->daemon = daemon;
    w->odd_messages.every_ms = 60000;
    randombytes_buf(&w->instance, sizeof w->instance);
    rc = open_log(w, conf, err);
    if (rc == 0)
        rc = worker_start(&w->syncer, "sync", err);
    if (rc == 0)
        rc = worker_start(&w->keeper, "housekeeper", err);
    if (rc == 0)
        rc = open_sockets(w, conf, err);
    if (rc < 0)
        return rc;
    item.fd = worker_fd(w->syncer);
    (void)zloop_poller(loop, &item, on_synced, w);
    item.fd = worker_fd(w->keeper);
    (void)zloop_poller(loop, &item, on_job_done, w);
    rc = ready_start(&w->ready, loop, (struct sock *[]){ &w->commands, NULL },
                     work, w, err);
    if (rc < 0)
        return rc;
    (void)zloop_timer(loop, RETRY_MS, 0, on_retry, w);
    start_job(w);
    appender_serve(w->appender);
    return 0;
}

/* Makes durable and answers what was accepted, and sees that the answers
 * arrive; nothing new is read. */
static void
finish_groups(struct writer *w)
{
    struct err err;
    int rc;

    if (worker_take(w->syncer, true, &rc, &err))
        settle(w, rc, &err);
    while (!w->failed && appender_open_commits(w->appender) > 0) {
        start_group(w);
        if (worker_take(w->syncer, true, &rc, &err))
            settle(w, rc, &err);
    }
    farewell_say(&w->commands, &w->fence,
                 &(struct farewell){ w->instance, !w->failed && !w->dropped },
                 FAREWELL_MS);
}

void
writer_stop(void *self, struct daemon *daemon)
{
    struct writer *w = self;
    struct err err;
    int rc;

    (void)daemon;
    if (w->appender != NULL && w->syncer != NULL && w->commands.zsock != NULL)
        finish_groups(w);
    if (w->keeper != NULL && worker_take(w->keeper, true, &rc, &err) &&
        appender_job_done(w->appender, w->job, rc) < 0)
        log_error("%s", err.text);
    worker_stop(&w->syncer);
    worker_stop(&w->keeper);
    ready_stop(&w->ready);
    sock_close(&w->commands);
    sock_close(&w->doorbell);
    if (appender_close(&w->appender, &err) < 0)
        log_error("%s", err.text);
    message_clear(&w->message);
    submit_batch_free(&w->batch);
    outbox_free(&w->now);
    outbox_free(&w->boxes[0]);
    outbox_free(&w->boxes[1]);
    request_memory_free(&w->request);
}

void
writer_status(void *self, char *text, size_t len)
{
    struct writer *w = self;

    (void)snprintf(text, len, "%s at position %" PRIu64,
                   w->no_space_logged ? "NO SPACE, refusing commands"
                                      : "serving",
                   appender_watermark(w->appender));
}

bool
writer_healthy(void *self)
{
    struct writer *w = self;

    return w->sync_began_ms == 0 ||
        clock_ms() - w->sync_began_ms < SYNC_STALL_MS;
}
