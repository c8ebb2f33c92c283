/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What the writer holds in memory of its own does not grow with the number of
 * streams: counted in bytes of allocations, for what it maps are files.
 */
#include "lib/cmocka.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/failalloc.h"
#include "lib/logfix.h"
#include "lib/tmpdir.h"

#define EVENTS 40000u
#define EVENTS_PER_COMMIT 100u
#define FEW_STREAMS 100u

static const struct appender_options options = {
    .segment_len = UINT64_C(16) << 20, /* one holds them all */
    .group_len_max = 64 << 10,
    .checkpoint_bytes = 256 << 10,
    .table_slots = TABLE_SLOTS_MIN,
};

/* Which version table is in use: the first, or a larger one. */
static uint64_t
table_in_use(const struct logfix *fix)
{
    struct reader *reader;
    uint64_t generation;
    struct err err;

    assert_int_equal(reader_open(&sys_real, logfix_dir(fix),
                                 logfix_control(fix), &reader, &err),
                     0);
    generation = control_table_generation(reader_control(reader));
    reader_close(&reader);
    return generation;
}

/* What an appender holds after EVENTS events in `streams` streams. */
static uint64_t
held_after(uint32_t streams, uint64_t *ret_generation)
{
    struct logfix fix;
    uint64_t held;

    logfix_open(&fix, &sys_real, &options);
    for (uint32_t n = 0; n < EVENTS;) {
        struct event_text events[EVENTS_PER_COMMIT];
        char names[EVENTS_PER_COMMIT][16];
        struct append_result result;
        struct uuid id = uuid_derive((struct uuid){ { 1 } }, n);

        for (uint32_t i = 0; i < EVENTS_PER_COMMIT; i++, n++) {
            (void)snprintf(names[i], sizeof names[i], "s-%05u", n % streams);
            events[i] = (struct event_text){ .stream = names[i], .type = "T" };
        }
        result = logfix_append(&fix, id, NULL, 0, events, EVENTS_PER_COMMIT);
        assert_int_equal(result.code, APPEND_ACCEPTED);
        if (n % (4 * EVENTS_PER_COMMIT) == 0)
            logfix_sync(&fix);
    }
    logfix_sync(&fix);
    logfix_jobs(&fix);
    assert_int_equal(appender_watermark(fix.appender), EVENTS);
    held = failalloc_held();
    *ret_generation = table_in_use(&fix);
    logfix_close(&fix);
    assert_int_equal(failalloc_held(), 0);
    return held;
}

static void
memory_of_the_writer_does_not_grow_with_streams(void **state)
{
    uint64_t few_table, many_table;
    uint64_t few = held_after(FEW_STREAMS, &few_table);
    uint64_t many = held_after(EVENTS, &many_table);

    (void)state;
    print_message("%" PRIu64 " bytes with %u streams, %" PRIu64 " with %u\n",
                  few, FEW_STREAMS, many, EVENTS);
    assert_true(many_table > few_table + 5); /* it has grown, in its file */
    assert_int_equal(few, many);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_of_the_writer_does_not_grow_with_streams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
