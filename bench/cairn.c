/* SPDX-License-Identifier: MPL-2.0 */
#include "cairn.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "c/append_client.h"
#include "lib/pipeline.h"
#include "measure.h"

#define DEADLINE_MS 30000u

/* What is outstanding on one connection. */
struct run {
    uint64_t accepted, failed;
    double sent[APPEND_WINDOW_MAX]; /* by tag modulo the window */
    uint32_t window;
};

static void
on_outcome(void *arg, uint64_t tag, const struct wire_command *command,
           const struct wire_outcome *outcome, bool reached)
{
    struct run *run = arg;

    (void)command;
    (void)reached;
    if (outcome->code == ANSWER_ACCEPTED)
        run->accepted++;
    else
        run->failed++;
    load_latency(seconds_now() - run->sent[tag % APPEND_WINDOW_MAX]);
}

/* The text of an event on stream "bench-NNNN": names and 256 bytes. */
static void
make_event(struct wire_event *event, uint8_t *text, uint32_t stream)
{
    int len = snprintf((char *)text, 64, "bench-%04uMeasured", stream);

    memset(text + len, 'x', LOAD_DATA_LEN);
    *event = (struct wire_event){ .schema = 1,
                                  .stream_len = 10,
                                  .type_len = 8,
                                  .data_len = LOAD_DATA_LEN,
                                  .text = text };
}

uint64_t
cairn_run(void *self, const struct load *load, uint32_t connection)
{
    const struct pipeline *p = self;
    struct append_client_options options = {
        p->commands, load->outstanding / load->connections, DEADLINE_MS
    };
    uint8_t(*texts)[64 + LOAD_DATA_LEN] = calloc(LOAD_BATCH_MAX, sizeof *texts);
    struct wire_event events[LOAD_BATCH_MAX];
    struct run *run = calloc(1, sizeof *run);
    struct append_client *client;
    uint32_t stream = connection * 7919;
    uint64_t tag = 0;
    struct err err;
    double began;

    if (run == NULL || texts == NULL ||
        append_client_open(&options, on_outcome, run, &client, &err) < 0)
        exit(1);
    began = seconds_now();
    do {
        struct wire_command command = { .events = events,
                                        .event_count = load->batch };
        struct timespec now;

        (void)clock_gettime(CLOCK_REALTIME, &now);
        command.id = uuid_v7((uint64_t)now.tv_sec * 1000 +
                             (uint64_t)now.tv_nsec / 1000000);
        for (uint32_t i = 0; i < load->batch; i++)
            make_event(&events[i], texts[i], stream++ % LOAD_STREAMS);
        run->sent[tag % APPEND_WINDOW_MAX] = seconds_now();
        if (append_client_queue(client, &command, tag++) < 0)
            exit(1);
    } while (seconds_now() - began < load->seconds);
    if (append_client_finish(client) < 0 || run->failed > 0) {
        fprintf(stderr, "%llu commands were not accepted\n",
                (unsigned long long)run->failed);
        exit(1);
    }
    append_client_close(&client);
    tag = run->accepted;
    free(run);
    free(texts);
    return tag;
}
