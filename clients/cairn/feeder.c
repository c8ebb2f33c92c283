/* SPDX-License-Identifier: MPL-2.0 */
#include "cairn/feeder.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "c/append_client.h"
#include "c/command_id.h"
#include "cairn/timings.h"

#define STOP_LOOK_MS 100u /* how soon an interrupt is noticed */
#define CLOCK_EVERY 16u   /* commands */

#define NUMBER_LEN 7          /* digits at the end of a stream's name */
#define STRIDE UINT64_C(7919) /* a prime: every stream has its turn */

static const char type[] = "Measured";

struct run {
    struct feeder *feeder;
    struct append_client *client;
    double *sent; /* by tag modulo the window */
    char *stream; /* its name, at the beginning of text */
    uint32_t stream_len;
    uint8_t *text; /* which the events share: it is copied when queued */
    struct wire_event *events;
};

static void
on_outcome(void *arg, uint64_t tag, const struct wire_command *command,
           const struct wire_outcome *outcome, bool reached)
{
    struct run *run = arg;
    struct feeder *f = run->feeder;

    (void)command;
    (void)reached;
    if (outcome->code == ANSWER_ACCEPTED) {
        f->accepted++;
    } else {
        f->refused++;
        f->refused_code = outcome->code;
    }
    /* Commands of one window may be answered in any order, but a place is
     * taken again only after its answer. */
    f->on_latency(f->arg, timings_now() - run->sent[tag % f->window]);
}

static int
run_open(struct run *run, struct err *err)
{
    struct feeder *f = run->feeder;
    const struct append_client_options options = {
        .endpoint = f->endpoint,
        .window = f->window,
        .deadline_ms = f->deadline_ms,
        .keys = f->keys,
    };
    size_t name_len = strlen(f->prefix) + 1 + NUMBER_LEN;
    size_t text_len = name_len + sizeof type - 1 + f->data_len;

    assert(name_len <= FEEDER_PREFIX_MAX && f->batch <= FEEDER_BATCH_MAX);
    run->sent = calloc(f->window, sizeof *run->sent);
    run->text = malloc(text_len + 1);
    run->events = calloc(f->batch, sizeof *run->events);
    if (run->sent == NULL || run->text == NULL || run->events == NULL)
        return err_sys(err, -ENOMEM, "events");
    memset(run->text, 'x', text_len);
    memcpy(run->text, f->prefix, strlen(f->prefix));
    run->text[name_len - NUMBER_LEN - 1] = '-';
    memcpy(run->text + name_len, type, sizeof type - 1);
    run->stream = (char *)run->text;
    run->stream_len = (uint32_t)name_len;
    for (uint32_t i = 0; i < f->batch; i++)
        run->events[i] = (struct wire_event){
            .schema = 1,
            .stream_len = (uint16_t)name_len,
            .type_len = sizeof type - 1,
            .data_len = f->data_len,
            .text = run->text,
        };
    return append_client_open(&options, on_outcome, run, &run->client, err);
}

static void
write_number(char *digits, uint32_t number)
{
    for (int i = NUMBER_LEN - 1; i >= 0; i--, number /= 10)
        digits[i] = (char)('0' + number % 10);
}

static int
queue_one(struct run *run, uint64_t tag, double now)
{
    struct feeder *f = run->feeder;
    uint32_t number = f->stream_first +
        (uint32_t)(tag * STRIDE % f->stream_count) * f->stream_step;
    struct wire_check check = { .stream = run->stream,
                                .stream_len = (uint16_t)run->stream_len,
                                .expect = WIRE_EXPECT_EXACT,
                                .version = f->versions[number] };
    struct wire_command command = {
        .id = command_id_new(),
        .events = run->events,
        .event_count = f->batch,
        .checks = &check,
        .check_count = 1,
    };

    write_number(run->stream + run->stream_len - NUMBER_LEN, number);
    f->versions[number] += f->batch;
    run->sent[tag % f->window] = now;
    return append_client_queue(run->client, &command, tag);
}

static bool
is_stopped(const struct feeder *f)
{
    return f->stopped != NULL && f->stopped();
}

/* Waits for the outcomes, or for the interrupt. */
static int
drain(struct run *run)
{
    int rc = 0;

    while (rc == 0 && append_client_pending(run->client) > 0 &&
           !is_stopped(run->feeder))
        rc = append_client_pump(run->client, STOP_LOOK_MS);
    return rc;
}

int
feeder_run(struct feeder *f, struct err *err)
{
    struct run run = { .feeder = f };
    double now = timings_now(), until = now + f->seconds;
    int rc = run_open(&run, err);

    for (uint64_t tag = 0; rc == 0 && tag < f->commits_max; tag++) {
        bool full = append_client_pending(run.client) == f->window;

        /* Room first, so that a latency begins when a command is queued; or
         * when a few before it were: the clock is a tenth of the work. */
        while (rc == 0 && append_client_pending(run.client) == f->window &&
               !is_stopped(f))
            rc = append_client_pump(run.client, STOP_LOOK_MS);
        if (full || tag % CLOCK_EVERY == 0)
            now = timings_now();
        if (f->refused > 0 || is_stopped(f) || now > until)
            break;
        if (rc == 0)
            rc = queue_one(&run, tag, now);
        if (rc < 0)
            (void)err_sys(err, rc, "sending");
    }
    if (rc == 0) {
        rc = drain(&run);
        if (rc < 0)
            (void)err_sys(err, rc, "sending");
    }
    append_client_close(&run.client);
    free(run.sent);
    free(run.text);
    free(run.events);
    return rc;
}
