/* SPDX-License-Identifier: MPL-2.0 */
/* What the writer spends on a command, counted and not timed. */
#include "lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/countalloc.h"
#include "lib/logfix.h"
#include "store/control.h"
#include "wire/hop.h"
#include "writer/outbox.h"

#define COMMANDS 256u /* in a group */
#define GROUPS 120u
#define WARM_UP 20u /* groups before anything is counted */
#define STREAMS 1000u
#define DATA_LEN 256u

/* The kernel's calls, counted. */
struct counted {
    struct sys sys;
    uint64_t syncs, bytes;
};

static int
count_write(void *self, int fd, const void *buf, size_t len, uint64_t offset)
{
    struct counted *c = self;

    c->bytes += len;
    return sys_real.write(sys_real.self, fd, buf, len, offset);
}

static int
count_sync(void *self, int fd)
{
    struct counted *c = self;

    c->syncs++;
    return sys_real.sync(sys_real.self, fd);
}

struct fixture {
    struct counted counted;
    struct logfix log;
    struct submit_builder builder;
    struct submit_batch batch;
    struct outbox outbox;
    struct message submit;
    uint64_t token;
};

static int
setup(void **state)
{
    static const struct appender_options options = {
        .segment_len = 64 << 20,
        .group_len_max = 4 << 20,
        .checkpoint_bytes = UINT64_C(1) << 40,
        .table_slots = 1 << 16,
    };
    struct fixture *f = calloc(1, sizeof *f);

    f->counted.sys = sys_real;
    f->counted.sys.self = &f->counted;
    f->counted.sys.write = count_write;
    f->counted.sys.sync = count_sync;
    logfix_open(&f->log, &f->counted.sys, &options);
    logfix_jobs(&f->log);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    message_clear(&f->submit);
    submit_builder_free(&f->builder);
    submit_batch_free(&f->batch);
    outbox_free(&f->outbox);
    logfix_close(&f->log);
    free(f);
    return 0;
}

/* What a gateway sends: commands that each expect any version. */
static void
make_submit(struct fixture *f, uint32_t commands)
{
    static char data[DATA_LEN + 1];

    memset(data, 'x', DATA_LEN);
    message_clear(&f->submit);
    for (uint32_t i = 0; i < commands; i++) {
        char stream[32];
        struct event_text event = { stream, "Measured", data, NULL, { NULL } };
        struct wire_check check = { .stream = stream,
                                    .expect = WIRE_EXPECT_ANY };
        const struct wire_command command = { .checks = &check,
                                              .check_count = 1,
                                              .event_count = 1 };
        uint8_t *commit, *place;
        uint32_t len;

        (void)snprintf(stream, sizeof stream, "bench-%04u",
                       (unsigned)(f->token++ % STREAMS));
        check.stream_len = (uint16_t)strlen(stream);
        commit = commit_make(uuid_v4(), &event, 1, &len);
        assert_int_equal(
            submit_builder_add(&f->builder, f->token, &command, len, &place),
            0);
        memcpy(place, commit, len);
        free(commit);
    }
    assert_int_equal(submit_builder_finish(&f->builder, 1, &f->submit), 0);
}

/* Decides what was submitted, the way of the writer; its outcomes wait. */
static void
decide_all(struct fixture *f)
{
    zmq_msg_t gateway;

    assert_int_equal(zmq_msg_init_size(&gateway, ROUTING_ID_LEN), 0);
    memset(zmq_msg_data(&gateway), 1, ROUTING_ID_LEN);
    assert_int_equal(
        submit_decode(&f->submit.frames[0], &f->submit.frames[1], &f->batch),
        0);
    for (uint32_t i = 0; i < f->batch.command_count; i++) {
        const struct submit_command *c = &f->batch.commands[i];
        const struct append_request request = { .commit = c->commit,
                                                .commit_len = c->commit_len };
        struct append_result result;
        struct wire_outcome outcome = {
            .id = uuid_of_halves(c->token, 0),
        };

        assert_int_equal(
            appender_append(f->log.appender, &request, &result, &f->log.err),
            0);
        assert_int_equal(result.code, APPEND_ACCEPTED);
        outcome.versions = result.versions;
        outcome.version_count = result.version_count;
        assert_int_equal(outbox_add(&f->outbox, &gateway, &outcome), 0);
    }
    (void)zmq_msg_close(&gateway);
}

/* Makes the group durable, without the housekeeper's work. */
static void
make_durable(struct fixture *f)
{
    appender_close_group(f->log.appender);
    assert_int_equal(appender_sync(f->log.appender, &f->log.err), 0);
    assert_int_equal(appender_settle(f->log.appender, &f->log.err), 0);
}

/* Allocations from the message to the outcomes of one group. */
static uint64_t
allocations_of_group(struct fixture *f, uint32_t commands)
{
    struct message outcomes = { .count = 0 };
    uint64_t allocations;

    make_submit(f, commands);
    countalloc_begin();
    decide_all(f);
    make_durable(f);
    for (uint32_t i = 0; i < f->outbox.count; i++)
        assert_int_equal(appended_builder_finish(&f->outbox.parts[i].builder,
                                                 KIND_OUTCOMES, &outcomes),
                         0);
    f->outbox.count = 0;
    allocations = countalloc_end();
    message_clear(&outcomes);
    logfix_jobs(&f->log);
    return allocations;
}

static void
after_warm_up_no_command_allocates(void **state)
{
    struct fixture *f = *state;
    uint64_t total = 0, smallest = UINT64_MAX;
    uint32_t doublings = 0;

    if (!countalloc_works()) {
        print_message("SKIP: a sanitizer counts allocations itself\n");
        return;
    }
    for (uint32_t i = 0; i < WARM_UP; i++)
        (void)allocations_of_group(f, 2 * COMMANDS);
    for (uint32_t i = 0; i < GROUPS; i++) {
        uint64_t some = allocations_of_group(f, COMMANDS);

        smallest = some < smallest ? some : smallest;
        total += some;
    }
    for (uint32_t n = (WARM_UP + GROUPS) * 2 * COMMANDS; n > 1; n /= 2)
        doublings++;
    print_message("%llu allocations for %u commands in %u groups\n",
                  (unsigned long long)total, GROUPS * COMMANDS, GROUPS);
    /* The frame of the outcomes is one, whatever it holds. */
    assert_in_range(smallest, 0, 2);
    assert_int_equal(allocations_of_group(f, 1), smallest);
    /* What is kept for the whole segment, the index and the command ids,
     * doubles now and then. */
    assert_in_range(total, 0, smallest * GROUPS + 2 * doublings);
}

static void
each_group_costs_one_sync_and_its_own_bytes(void **state)
{
    struct fixture *f = *state;
    struct control *control;

    assert_int_equal(
        control_open(&sys_real, logfix_control(&f->log), &control, NULL), 0);
    for (uint32_t commands = 1; commands <= 2 * COMMANDS; commands *= 2) {
        struct event_shape shape = { .stream_len = 10,
                                     .type_len = 8,
                                     .content_type_len = 4,
                                     .data_len = DATA_LEN };
        uint64_t len = align_up(
            sizeof(struct group_header) +
                commands *
                    (sizeof(struct commit_record) + event_record_len(&shape)),
            SECTOR_LEN);
        uint64_t bytes = control_counter(control, COUNT_BYTES);
        uint64_t data = control_counter(control, COUNT_DATA_BYTES);
        uint64_t syncs = control_counter(control, COUNT_SYNCS);

        make_submit(f, commands);
        decide_all(f);
        f->counted.syncs = f->counted.bytes = 0;
        make_durable(f);
        assert_int_equal(f->counted.syncs, 1);
        assert_int_equal(f->counted.bytes, len);
        assert_int_equal(control_counter(control, COUNT_SYNCS) - syncs, 1);
        bytes = control_counter(control, COUNT_BYTES) - bytes;
        data = control_counter(control, COUNT_DATA_BYTES) - data;
        assert_int_equal(bytes, len);
        assert_int_equal(data, commands * DATA_LEN);
        /* Of 256 bytes of data each: alone a commit takes four times that at
         * most, for it fills whole sectors, and with others 1.9 times. */
        assert_true(bytes <= 4 * data);
        assert_true(commands < 16 || bytes * 10 <= data * 19);
        outbox_free(&f->outbox);
    }
    control_close(&control);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(after_warm_up_no_command_allocates,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            each_group_costs_one_sync_and_its_own_bytes, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
