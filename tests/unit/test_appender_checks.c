/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/cmocka.h"

#include "lib/logfix.h"

static int
setup(void **state)
{
    struct logfix *fix = calloc(1, sizeof *fix);

    logfix_open(fix, &sys_real, &logfix_small);
    *state = fix;
    return 0;
}

static int
teardown(void **state)
{
    struct logfix *fix = *state;

    logfix_close(fix);
    free(fix);
    return 0;
}

static void
must(struct logfix *fix, int rc)
{
    if (rc < 0)
        fail_msg("%s", fix->err.text);
}

static struct span
span_of(const char *text)
{
    return (struct span){ text, (uint32_t)strlen(text) };
}

/* The group on which an answer hangs that looks at all that is there. */
static uint64_t
newest_group(struct logfix *fix)
{
    uint64_t settled = appender_settled_group(fix->appender);
    bool in_flight = appender_in_flight(fix->appender);

    if (appender_open_commits(fix->appender) > 0)
        return settled + (in_flight ? 2 : 1);
    return in_flight ? settled + 1 : 0;
}

/* Makes the closed group durable, and then the open one. */
static void
settle_all(struct logfix *fix)
{
    if (appender_in_flight(fix->appender)) {
        must(fix, appender_sync(fix->appender, &fix->err));
        must(fix, appender_settle(fix->appender, &fix->err));
    }
    logfix_sync(fix);
}

static void
put_events(struct logfix *fix, const char *stream, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        (void)logfix_put(fix, stream, 20);
}

/* A stream with so many events durable, in flight, and in the open group. */
static void
put_stream(struct logfix *fix, const char *stream, uint32_t durable,
           uint32_t closed, uint32_t open)
{
    put_events(fix, stream, durable);
    logfix_sync(fix);
    put_events(fix, stream, closed);
    if (closed > 0)
        appender_close_group(fix->appender);
    put_events(fix, stream, open);
}

/* Sends one event to a stream of its own, with a check of another. */
static struct append_result
probe(struct logfix *fix, const char *stream, enum expect_kind kind,
      uint64_t version)
{
    struct append_check check = { span_of(stream), kind, version, NULL, 0 };
    struct event_text text = { "probe", "T", "", NULL, { NULL } };

    return logfix_append(fix, uuid_v4(), &check, 1, &text, 1);
}

static void
assert_decision(struct logfix *fix, const char *stream, uint64_t actual,
                enum expect_kind kind, uint64_t version, bool passes)
{
    uint64_t group = newest_group(fix);
    struct append_result r = probe(fix, stream, kind, version);

    if (passes) {
        assert_int_equal(r.code, APPEND_ACCEPTED);
        assert_int_equal(r.verdict_count, 0);
        assert_int_equal(r.group, newest_group(fix));
        return;
    }
    assert_int_equal(r.code, APPEND_CONFLICT);
    assert_int_equal(r.verdict_count, 1);
    assert_int_equal(r.verdicts[0].check, 0);
    assert_int_equal(r.verdicts[0].actual, actual);
    assert_int_equal(r.group, group);
}

/* Every expectation, against a stream that has `actual` events. */
static void
assert_all_decisions(struct logfix *fix, const char *stream, uint64_t actual)
{
    assert_decision(fix, stream, actual, EXPECT_ANY, 0, true);
    assert_decision(fix, stream, actual, EXPECT_NONE, 0, actual == 0);
    assert_decision(fix, stream, actual, EXPECT_EXISTS, 0, actual > 0);
    for (uint64_t version = 0; version <= actual + 2; version++)
        assert_decision(fix, stream, actual, EXPECT_EXACT, version,
                        version == actual);
    assert_decision(fix, stream, actual, EXPECT_EXACT, UINT64_MAX, false);
    /* The expected version is of EXPECT_EXACT alone. */
    assert_decision(fix, stream, actual, EXPECT_ANY, 99, true);
    assert_decision(fix, stream, actual, EXPECT_NONE, 99, actual == 0);
    assert_decision(fix, stream, actual, EXPECT_EXISTS, 99, actual > 0);
}

static void
every_expectation_is_held_against_every_state_of_a_stream(void **state)
{
    struct logfix *fix = *state;
    char stream[24];

    for (uint32_t durable = 0; durable < 3; durable++)
        for (uint32_t closed = 0; closed < 3; closed++)
            for (uint32_t open = 0; open < 3; open++) {
                snprintf(stream, sizeof stream, "s-%u%u%u", durable, closed,
                         open);
                put_stream(fix, stream, durable, closed, open);
                assert_all_decisions(fix, stream, durable + closed + open);
                settle_all(fix);
                assert_all_decisions(fix, stream, durable + closed + open);
                settle_all(fix);
            }
}

static void
a_refusal_names_the_group_it_hangs_on(void **state)
{
    struct logfix *fix = *state;

    /* Nothing pending: it may be told at once. */
    assert_int_equal(probe(fix, "s", EXPECT_EXISTS, 0).group, 0);
    (void)logfix_put(fix, "s", 10);
    assert_int_equal(probe(fix, "s", EXPECT_NONE, 0).group, 1);
    appender_close_group(fix->appender);
    assert_int_equal(probe(fix, "s", EXPECT_NONE, 0).group, 1);
    (void)logfix_put(fix, "s", 10);
    assert_int_equal(probe(fix, "s", EXPECT_NONE, 0).group, 2);
    must(fix, appender_sync(fix->appender, &fix->err));
    must(fix, appender_settle(fix->appender, &fix->err));
    assert_int_equal(probe(fix, "s", EXPECT_NONE, 0).group, 2);
    settle_all(fix);
    assert_int_equal(probe(fix, "s", EXPECT_NONE, 0).group, 0);
}

static void
every_failed_check_is_reported_with_the_actual_version(void **state)
{
    struct logfix *fix = *state;
    struct event_text text = { "s", "T", "", NULL, { NULL } };
    const struct append_check checks[] = {
        { span_of("none"), EXPECT_EXISTS, 0, NULL, 0 },
        { span_of("two"), EXPECT_EXACT, 2, NULL, 0 },
        { span_of("two"), EXPECT_EXACT, 1, NULL, 0 },
        { span_of("any"), EXPECT_ANY, 0, NULL, 0 },
        { span_of("two"), EXPECT_NONE, 0, NULL, 0 },
        { span_of("three"), EXPECT_EXACT, 4, NULL, 0 },
        { span_of("three"), EXPECT_EXISTS, 0, NULL, 0 },
        { span_of("none"), EXPECT_EXACT, 7, NULL, 0 },
    };
    static const struct append_verdict expected[] = {
        { 0, false, EXPECT_EXISTS, 0, 0 }, { 2, false, EXPECT_EXACT, 1, 2 },
        { 4, false, EXPECT_NONE, 0, 2 },   { 5, false, EXPECT_EXACT, 4, 3 },
        { 7, false, EXPECT_EXACT, 7, 0 },
    };
    struct append_result r;

    put_stream(fix, "two", 1, 0, 0);
    put_stream(fix, "three", 1, 1, 1);
    put_events(fix, "two", 1);
    r = logfix_append(fix, uuid_v4(), checks, 8, &text, 1);
    assert_int_equal(r.code, APPEND_CONFLICT);
    assert_int_equal(r.verdict_count, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(r.verdicts[i].check, expected[i].check);
        assert_int_equal(r.verdicts[i].actual, expected[i].actual);
        assert_int_equal(r.verdicts[i].kind, expected[i].kind);
        assert_int_equal(r.verdicts[i].expected, expected[i].expected);
        assert_false(r.verdicts[i].holds);
    }
    assert_int_equal(r.version_count, 0);
    settle_all(fix);
}

static void
a_hundred_failed_checks_are_all_reported(void **state)
{
    struct logfix *fix = *state;
    struct event_text text = { "s", "T", "", NULL, { NULL } };
    struct append_check checks[100];
    struct append_result r;

    for (int i = 0; i < 100; i++)
        checks[i] =
            (struct append_check){ span_of("x"), EXPECT_EXISTS, 0, NULL, 0 };
    r = logfix_append(fix, uuid_v4(), checks, 100, &text, 1);
    assert_int_equal(r.verdict_count, 100);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(r.verdicts[i].check, i);
}

static void
a_refused_command_changes_nothing(void **state)
{
    struct logfix *fix = *state;
    struct append_result r;

    put_stream(fix, "s", 1, 1, 1);
    assert_int_equal(probe(fix, "s", EXPECT_EXACT, 2).code, APPEND_CONFLICT);
    assert_int_equal(appender_open_commits(fix->appender), 1);
    assert_int_equal(probe(fix, "probe", EXPECT_NONE, 0).code, APPEND_ACCEPTED);
    r = logfix_put(fix, "s", 10);
    assert_int_equal(r.first_position, 5);
    assert_int_equal(r.versions[0], 4);
    settle_all(fix);
    assert_int_equal(appender_watermark(fix->appender), 5);
}

static void
only_one_of_two_commands_with_the_same_expectation_passes(void **state)
{
    struct logfix *fix = *state;
    struct event_text text = { "s", "T", "", NULL, { NULL } };
    struct append_check check = { span_of("s"), EXPECT_EXACT, 0, NULL, 0 };

    for (uint64_t version = 0; version < 30; version++) {
        check.version = version;
        assert_int_equal(
            logfix_append(fix, uuid_v4(), &check, 1, &text, 1).code,
            APPEND_ACCEPTED);
        if (version % 3 == 1 && !appender_in_flight(fix->appender))
            appender_close_group(fix->appender);
        assert_int_equal(
            logfix_append(fix, uuid_v4(), &check, 1, &text, 1).code,
            APPEND_CONFLICT);
        if (version % 5 == 4)
            settle_all(fix);
    }
    settle_all(fix);
}

static void
checks_are_made_before_the_events_of_the_command(void **state)
{
    struct logfix *fix = *state;
    struct event_text texts[2] = { { "s", "T", "", NULL, { NULL } },
                                   { "s", "T", "", NULL, { NULL } } };
    struct append_check check = { span_of("s"), EXPECT_NONE, 0, NULL, 0 };
    struct append_result r = logfix_append(fix, uuid_v4(), &check, 1, texts, 2);

    assert_int_equal(r.code, APPEND_ACCEPTED);
    assert_int_equal(r.version_count, 1);
    assert_int_equal(r.versions[0], 2);
}

static void
versions_come_in_the_order_in_which_streams_first_appear(void **state)
{
    struct logfix *fix = *state;
    static const char *const order[] = { "a", "b", "a", "c", "b", "a" };
    static const uint64_t versions[] = { 4, 1, 5, 3, 2, 6 };
    struct event_text texts[6];
    struct append_result r;
    struct cursor cursor;
    struct event event;

    put_stream(fix, "a", 1, 1, 1);
    put_events(fix, "c", 2);
    for (int i = 0; i < 6; i++)
        texts[i] = (struct event_text){ order[i], "T", "", NULL, { NULL } };
    r = logfix_append(fix, uuid_v4(), NULL, 0, texts, 6);
    assert_int_equal(r.code, APPEND_ACCEPTED);
    assert_int_equal(r.first_position, 6);
    assert_int_equal(r.last_position, 11);
    assert_int_equal(r.version_count, 3);
    assert_int_equal(r.versions[0], 6); /* a */
    assert_int_equal(r.versions[1], 2); /* b */
    assert_int_equal(r.versions[2], 3); /* c */
    settle_all(fix);
    must(fix,
         evlog_seek(appender_log(fix->appender), 6, 11, &cursor, &fix->err));
    for (int i = 0; i < 6; i++) {
        assert_int_equal(evlog_next(appender_log(fix->appender), &cursor, 11,
                                    &event, &fix->err),
                         1);
        assert_true(span_equal(event.stream, span_of(order[i])));
        assert_int_equal(event.version, versions[i]);
        assert_int_equal(event.position, 6 + i);
    }
}

static void
a_commit_of_many_streams_numbers_each_of_them(void **state)
{
    enum { STREAMS = 800 };
    struct logfix *fix = *state;
    struct append_check *checks = calloc(STREAMS, sizeof *checks);
    struct event_text *texts = calloc(STREAMS, sizeof *texts);
    char(*names)[16] = calloc(STREAMS, sizeof *names);

    const struct appender_options options = {
        .segment_len = 1 << 20,
        .group_len_max = 512 << 10,
        .checkpoint_bytes = 1 << 20,
        .table_slots = appender_defaults.table_slots,
    };

    logfix_close(fix);
    logfix_open(fix, &sys_real, &options);
    for (uint32_t i = 0; i < STREAMS; i++) {
        snprintf(names[i], sizeof names[i], "s-%u", i);
        texts[i] = (struct event_text){ names[i], "T", "", NULL, { NULL } };
        checks[i] = (struct append_check){ span_of(names[i]), EXPECT_EXACT, 0,
                                           NULL, 0 };
    }
    for (uint64_t round = 0; round < 4; round++) {
        struct append_result r =
            logfix_append(fix, uuid_v4(), checks, STREAMS, texts, STREAMS);

        assert_int_equal(r.code, APPEND_ACCEPTED);
        assert_int_equal(r.last_position, (round + 1) * STREAMS);
        assert_int_equal(r.version_count, STREAMS);
        for (uint32_t i = 0; i < STREAMS; i++) {
            assert_int_equal(r.versions[i], round + 1);
            checks[i].version = round + 1;
        }
        if (round == 1)
            logfix_sync(fix);
    }
    checks[3].version = 3;
    checks[STREAMS - 1].version = 5;
    assert_int_equal(
        logfix_append(fix, uuid_v4(), checks, STREAMS, texts, STREAMS)
            .verdict_count,
        2);
    logfix_sync(fix);
    free(checks);
    free(texts);
    free(names);
}

static void
versions_are_right_after_a_restart(void **state)
{
    struct logfix *fix = *state;

    put_stream(fix, "s", 2, 1, 1);
    settle_all(fix);
    logfix_stop(fix);
    must(fix, logfix_reopen(fix));
    assert_all_decisions(fix, "s", 4);
    assert_all_decisions(fix, "t", 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_expectation_is_held_against_every_state_of_a_stream),
        TEST(a_refusal_names_the_group_it_hangs_on),
        TEST(every_failed_check_is_reported_with_the_actual_version),
        TEST(a_hundred_failed_checks_are_all_reported),
        TEST(a_refused_command_changes_nothing),
        TEST(only_one_of_two_commands_with_the_same_expectation_passes),
        TEST(checks_are_made_before_the_events_of_the_command),
        TEST(versions_come_in_the_order_in_which_streams_first_appear),
        TEST(a_commit_of_many_streams_numbers_each_of_them),
        TEST(versions_are_right_after_a_restart),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
