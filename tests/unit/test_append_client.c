/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include <stdio.h>

#include "c/append_client.h"
#include "c/command_id.h"
#include "lib/tmpdir.h"

#define PUMPS_MAX 1000
#define PUMP_MS 10u
#define DEADLINE_MS 60000u

/* A client, and a gateway that never answers. */
struct fixture {
    char *dir;
    void *context, *gateway;
    char endpoint[128];
    struct append_client *client;
    struct append_batch batch;
    uint32_t unknown;
    uint64_t last_tag;
};

static void
on_outcome(void *arg, uint64_t tag, const struct wire_command *command,
           const struct wire_outcome *outcome, bool reached)
{
    struct fixture *f = arg;

    (void)command;
    (void)reached;
    assert_int_equal(outcome->code, ANSWER_UNKNOWN);
    f->last_tag = tag;
    f->unknown++;
}

static void
open_fixture(struct fixture *f, uint32_t window, uint32_t deadline_ms)
{
    const struct append_client_options options = {
        .endpoint = f->endpoint,
        .window = window,
        .deadline_ms = deadline_ms,
    };
    struct err err;

    *f = (struct fixture){ .dir = tmpdir_make() };
    (void)snprintf(f->endpoint, sizeof f->endpoint, "ipc://%s/commands",
                   f->dir);
    f->context = zmq_ctx_new();
    f->gateway = zmq_socket(f->context, ZMQ_ROUTER);
    assert_int_equal(zmq_bind(f->gateway, f->endpoint), 0);
    assert_int_equal(
        append_client_open(&options, on_outcome, f, &f->client, &err), 0);
}

static void
close_fixture(struct fixture *f)
{
    append_client_close(&f->client);
    append_batch_free(&f->batch);
    (void)zmq_close(f->gateway);
    (void)zmq_ctx_term(f->context);
    tmpdir_remove(&f->dir);
}

static void
queue(struct fixture *f, uint64_t tag)
{
    static const uint8_t text[] = "stream-1Happened";
    struct wire_event event = {
        .schema = 1, .stream_len = 8, .type_len = 8, .text = text
    };
    struct wire_command command = {
        .id = command_id_new(),
        .events = &event,
        .event_count = 1,
    };

    assert_int_equal(append_client_queue(f->client, &command, tag), 0);
}

/* Commands in the next message that has come by now; 0: there is none. */
static uint32_t
next_message(struct fixture *f)
{
    zmq_msg_t frames[3];
    int count = 0, more = 1;
    uint32_t commands = 0;

    while (more && count < 3) {
        (void)zmq_msg_init(&frames[count]);
        if (zmq_msg_recv(&frames[count], f->gateway, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(&frames[count]);
            break;
        }
        more = zmq_msg_more(&frames[count++]);
    }
    if (count == 3) {
        assert_int_equal(append_decode(&frames[1], &frames[2], &f->batch), 0);
        commands = f->batch.command_count;
    }
    for (int i = 0; i < count; i++)
        (void)zmq_msg_close(&frames[i]);
    return commands;
}

static uint32_t
wait_message(struct fixture *f)
{
    uint32_t commands = 0;

    for (int i = 0; commands == 0 && i < PUMPS_MAX; i++) {
        assert_int_equal(append_client_pump(f->client, PUMP_MS), 0);
        commands = next_message(f);
    }
    return commands;
}

/* Fills a window, and sees what the messages hold. */
static void
fill_window(uint32_t window, uint32_t per_message)
{
    struct fixture f = { 0 };
    uint32_t sent = 0;

    open_fixture(&f, window, DEADLINE_MS);
    queue(&f, 0); /* goes when the connection is there */
    assert_int_equal(wait_message(&f), 1);
    for (uint32_t i = 1; i < window; i++)
        queue(&f, i);
    while (sent + per_message < window) {
        assert_int_equal(wait_message(&f), per_message);
        sent += per_message;
    }
    assert_int_equal(wait_message(&f), window - 1 - sent);
    assert_int_equal(next_message(&f), 0);
    close_fixture(&f);
}

static void
a_message_has_a_quarter_of_the_window_within_bounds(void **state)
{
    (void)state;
    fill_window(100, 64);
    fill_window(512, 128);
    fill_window(4096, 256);
}

/* The client looks for them only from the oldest on. */
static void
every_command_past_its_deadline_is_given_up(void **state)
{
    struct fixture f = { 0 };

    (void)state;
    open_fixture(&f, 512, 50);
    for (uint32_t i = 0; i < 300; i++)
        queue(&f, i);
    assert_int_equal(append_client_pending(f.client) + f.unknown, 300);
    for (int i = 0; i < PUMPS_MAX && f.unknown < 300; i++)
        assert_int_equal(append_client_pump(f.client, PUMP_MS), 0);
    assert_int_equal(f.unknown, 300);
    assert_int_equal(f.last_tag, 299);
    assert_int_equal(append_client_pending(f.client), 0);
    close_fixture(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_has_a_quarter_of_the_window_within_bounds),
        cmocka_unit_test(every_command_past_its_deadline_is_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
