/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The bytes of protocol version 1: what common/wire makes is
 * tests/data/protocol-1/vectors, which tests/unit/test_protocol.py makes
 * from doc/PROTOCOL.md, and what stands there is understood.
 */
#include "lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "lib/guard.h"
#include "wire/append.h"
#include "wire/hop.h"
#include "wire/projection.h"
#include "wire/query.h"

#define VECTORS "tests/data/protocol-1/vectors"
#define LINE_LEN 8192

static const struct uuid id = { { 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, 0x70, 0,
                                  0x80, 0, 0, 0, 0, 0, 0, 1 } };
static const struct uuid second_id = { { 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, 0x70,
                                         0, 0x80, 0, 0, 0, 0, 0, 0, 2 } };
static const struct uuid log_id = { { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x46,
                                      0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
                                      0xee, 0xff } };

/* ---- the file ---------------------------------------------------------- */

static uint8_t
digit(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void
add_hex(struct message *message, const char *hex)
{
    uint8_t bytes[LINE_LEN];
    size_t len = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    assert_int_equal(message_add(message, bytes, len), 0);
}

/* The frames of the vector with this name. */
static void
load(const char *name, struct message *message)
{
    char line[LINE_LEN];
    FILE *file = fopen(VECTORS, "r");

    assert_non_null(file);
    *message = (struct message){ .count = 0 };
    while (message->count == 0 && fgets(line, sizeof line, file) != NULL) {
        char *rest, *word = strtok_r(line, " \n", &rest);

        if (word == NULL || strcmp(word, name) != 0)
            continue;
        while ((word = strtok_r(NULL, " \n", &rest)) != NULL)
            add_hex(message, word);
    }
    (void)fclose(file);
    if (message->count == 0)
        fail_msg("there is no vector %s", name);
}

/* The message is the vector, byte for byte; empties it. */
static void
same(const char *name, struct message *made)
{
    struct message vector;

    load(name, &vector);
    assert_int_equal(made->count, vector.count);
    for (int i = 0; i < made->count; i++) {
        assert_int_equal(message_len(made, i), message_len(&vector, i));
        assert_memory_equal(message_data(made, i), message_data(&vector, i),
                            message_len(made, i));
    }
    message_clear(&vector);
    message_clear(made);
}

/* ---- commands ---------------------------------------------------------- */

static const char first_text[] =
    "\x0a\x06order-1Placedapplication/jsoncustomer:7shop:1{}{\"total\":12}";
static const char second_text[] = "stock-1Reserved";

static const struct wire_event events[] = {
    { .id = { { 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0,
                0, 1 } },
      .correlation_id = { { [15] = 1 } },
      .causation_id = { { [15] = 2 } },
      .schema = 2,
      .stream_len = 7,
      .type_len = 6,
      .content_type_len = 16,
      .tag_count = 2,
      .tags_len = 16,
      .meta_len = 2,
      .data_len = 12,
      .text = (const uint8_t *)first_text },
    { .schema = 1,
      .stream_len = 7,
      .type_len = 8,
      .text = (const uint8_t *)second_text },
};

static const struct wire_check checks[] = {
    { "order-1", 7, WIRE_EXPECT_EXACT, 4, NULL, 0 },
    { "customer-7", 10, WIRE_EXPECT_EXISTS, 0, NULL, 0 },
};

static const struct wire_item items[] = {
    { 2, 1, 20, (const uint8_t *)"\x06\x04\x0aPlacedPaidcustomer:7" },
    { 0, 2, 11, (const uint8_t *)"\x06\x05shop:1day:3" },
    { 1, 0, 6,
      (const uint8_t *)"\x06"
                       "Closed" },
};

static const struct wire_check conditions[] = {
    { NULL, 0, WIRE_EXPECT_NO_MATCH, 12, items, 3 },
    { "stock-1", 7, WIRE_EXPECT_NONE, 0, NULL, 0 },
    { NULL, 0, WIRE_EXPECT_NO_EVENT, 15, NULL, 0 },
};

static void
append(void **state)
{
    const struct wire_command commands[] = {
        { id, checks, 2, events, 2, 0, 0 },
        { second_id, NULL, 0, events + 1, 1, 0, 0 },
    };
    struct append_builder builder = { 0 };
    struct append_batch batch = { 0 };
    struct message made = { .count = 0 }, vector;

    (void)state;
    assert_int_equal(append_builder_add(&builder, &commands[0]), 0);
    assert_int_equal(append_builder_add(&builder, &commands[1]), 0);
    assert_int_equal(append_builder_finish(&builder, &made), 0);
    same("append", &made);
    load("append", &vector);
    assert_int_equal(
        append_decode(&vector.frames[0], &vector.frames[1], &batch), 0);
    assert_int_equal(batch.command_count, 2);
    assert_true(uuid_equal(batch.commands[0].id, id));
    assert_true(uuid_equal(batch.commands[1].id, second_id));
    assert_int_equal(batch.commands[0].check_count, 2);
    assert_int_equal(batch.commands[0].checks[0].version, 4);
    assert_int_equal(batch.commands[0].checks[1].expect, WIRE_EXPECT_EXISTS);
    assert_memory_equal(batch.commands[0].checks[1].stream, "customer-7", 10);
    assert_int_equal(batch.commands[0].event_count, 2);
    assert_true(uuid_equal(batch.commands[0].events[0].id, events[0].id));
    assert_memory_equal(batch.commands[0].events[0].text, first_text,
                        sizeof first_text - 1);
    assert_memory_equal(batch.commands[1].events[0].text, second_text,
                        sizeof second_text - 1);
    append_builder_free(&builder);
    append_batch_free(&batch);
    message_clear(&vector);
}

static void
append_with_conditions(void **state)
{
    const struct wire_command commands[] = {
        { id, conditions, 3, events + 1, 1, 0, 10 },
        { second_id, conditions + 2, 1, events + 1, 1, COMMAND_FLAG_DRY_RUN,
          0 },
    };
    struct append_builder builder = { 0 };
    struct append_batch batch = { 0 };
    struct message made = { .count = 0 }, vector;
    const struct wire_check *got;
    uint32_t index = 0, at = 0;
    struct wire_name name;

    (void)state;
    assert_int_equal(append_builder_add(&builder, &commands[0]), 0);
    assert_int_equal(append_builder_add(&builder, &commands[1]), 0);
    assert_int_equal(append_builder_finish(&builder, &made), 0);
    same("append-conditions", &made);
    load("append-conditions", &vector);
    assert_int_equal(
        append_decode(&vector.frames[0], &vector.frames[1], &batch), 0);
    assert_int_equal(batch.commands[0].show, 10);
    assert_int_equal(batch.commands[0].flags, 0);
    assert_int_equal(batch.commands[1].flags, COMMAND_FLAG_DRY_RUN);
    got = batch.commands[0].checks;
    assert_int_equal(got[0].item_count, 3);
    assert_int_equal(got[0].version, 12);
    assert_int_equal(got[1].item_count, 0);
    assert_memory_equal(got[1].stream, "stock-1", 7);
    assert_int_equal(batch.commands[1].checks[0].expect, WIRE_EXPECT_NO_EVENT);
    assert_int_equal(batch.commands[1].checks[0].version, 15);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(got[0].items[i].type_count, items[i].type_count);
        assert_int_equal(got[0].items[i].tag_count, items[i].tag_count);
        assert_memory_equal(got[0].items[i].text, items[i].text,
                            wire_item_text_len(&items[i]));
    }
    while (wire_item_next(&got[0].items[0], &index, &at, &name))
        assert_memory_equal(name.p,
                            ((const char *const[]){ "Placed", "Paid",
                                                    "customer:7" })[index - 1],
                            name.len);
    assert_int_equal(index, 3);
    append_builder_free(&builder);
    append_batch_free(&batch);
    message_clear(&vector);
}

static void
appended_with_verdicts_and_records(void **state)
{
    static const uint64_t versions[] = { 3 };
    static const struct wire_verdict verdicts[] = {
        { 0, false, WIRE_EXPECT_NO_MATCH, 12, 16 },
        { 1, false, WIRE_EXPECT_NONE, 0, 2 },
        { 0, true, WIRE_EXPECT_NO_EVENT, 15, 0 },
    };
    struct wire_outcome outcomes[] = {
        { .id = id,
          .code = ANSWER_CONFLICT,
          .verdicts = verdicts,
          .verdict_count = 2,
          .more = true },
        { .id = second_id,
          .dry_run = true,
          .first_position = 17,
          .last_position = 17,
          .versions = versions,
          .version_count = 1,
          .verdicts = verdicts + 2,
          .verdict_count = 1 },
    };
    struct appended_builder builder = { 0 };
    struct outcome_batch batch = { 0 };
    struct message made = { .count = 0 }, vector;

    (void)state;
    load("appended-conditions", &vector);
    assert_int_equal(appended_decode(&vector.frames[0], &vector.frames[1],
                                     KIND_APPENDED, &batch),
                     0);
    assert_true(batch.outcomes[0].more);
    assert_true(batch.outcomes[1].dry_run);
    assert_int_equal(batch.outcomes[0].records_len, message_len(&vector, 1));
    assert_memory_equal(batch.outcomes[0].records, message_data(&vector, 1),
                        message_len(&vector, 1));
    assert_int_equal(batch.outcomes[0].verdicts[0].expected, 12);
    assert_int_equal(batch.outcomes[0].verdicts[1].actual, 2);
    assert_true(batch.outcomes[1].verdicts[0].holds);
    outcomes[0].records = message_data(&vector, 1);
    outcomes[0].records_len = (uint32_t)message_len(&vector, 1);
    assert_int_equal(appended_builder_add(&builder, &outcomes[0]), 0);
    assert_int_equal(appended_builder_add(&builder, &outcomes[1]), 0);
    assert_int_equal(appended_builder_finish(&builder, KIND_APPENDED, &made),
                     0);
    same("appended-conditions", &made);
    appended_builder_free(&builder);
    outcome_batch_free(&batch);
    message_clear(&vector);
}

static void
what_does_not_fit_into_an_answer_is_left_out_or_asked_later(void **state)
{
    const uint8_t *records = calloc(1, SHOWN_PER_MESSAGE_MAX);
    const struct wire_verdict *verdicts =
        calloc(VERDICTS_PER_MESSAGE_MAX, sizeof *verdicts);
    struct wire_outcome outcome = {
        .id = id,
        .code = ANSWER_CONFLICT,
        .records = records,
        .records_len = SHOWN_PER_MESSAGE_MAX - 8,
        .verdicts = verdicts,
        .verdict_count = VERDICTS_PER_MESSAGE_MAX - 1,
    };
    struct appended_builder builder = { 0 };
    struct outcome_batch batch = { 0 };
    struct message made = { .count = 0 };

    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(appended_builder_add(&builder, &outcome), 0);
        outcome.records_len = i == 0 ? 16 : 8;
        outcome.verdict_count = 1;
    }
    assert_int_equal(appended_builder_finish(&builder, KIND_APPENDED, &made),
                     0);
    assert_int_equal(appended_decode(&made.frames[0], &made.frames[1],
                                     KIND_APPENDED, &batch),
                     0);
    assert_false(batch.outcomes[0].more);
    assert_int_equal(batch.outcomes[1].records_len, 0);
    assert_true(batch.outcomes[1].more); /* 16 bytes too many */
    assert_int_equal(batch.outcomes[1].verdict_count, 1);
    for (int i = 2; i < 4; i++) {
        assert_int_equal(batch.outcomes[i].code, ANSWER_BUSY);
        assert_int_equal(batch.outcomes[i].verdict_count, 0);
        assert_true(batch.outcomes[i].retry_ms > 0);
    }
    message_clear(&made);
    appended_builder_free(&builder);
    outcome_batch_free(&batch);
    free((void *)(uintptr_t)records);
    free((void *)(uintptr_t)verdicts);
}

static void
appended(void **state)
{
    static const uint64_t versions[] = { 5, 1 };
    static const struct wire_verdict verdicts[] = {
        { 0, false, WIRE_EXPECT_EXACT, 4, 9 }
    };
    const struct wire_outcome outcomes[] = {
        { .id = id,
          .repeated = true,
          .first_position = 7,
          .last_position = 8,
          .time_us = UINT64_C(1700000000000000),
          .versions = versions,
          .version_count = 2 },
        { .id = second_id,
          .code = ANSWER_CONFLICT,
          .verdicts = verdicts,
          .verdict_count = 1,
          .detail = "why",
          .detail_len = 3 },
    };
    struct appended_builder builder = { 0 };
    struct outcome_batch batch = { 0 };
    struct message made = { .count = 0 }, vector;

    (void)state;
    assert_int_equal(appended_builder_add(&builder, &outcomes[0]), 0);
    assert_int_equal(appended_builder_add(&builder, &outcomes[1]), 0);
    assert_int_equal(appended_builder_finish(&builder, KIND_APPENDED, &made),
                     0);
    same("appended", &made);
    load("appended", &vector);
    assert_int_equal(appended_decode(&vector.frames[0], &vector.frames[1],
                                     KIND_APPENDED, &batch),
                     0);
    assert_int_equal(batch.outcome_count, 2);
    assert_true(batch.outcomes[0].repeated);
    assert_int_equal(batch.outcomes[0].last_position, 8);
    assert_int_equal(batch.outcomes[0].versions[1], 1);
    assert_int_equal(batch.outcomes[1].verdicts[0].actual, 9);
    assert_memory_equal(batch.outcomes[1].detail, "why", 3);
    message_clear(&vector);

    assert_int_equal(
        appended_builder_add(&builder,
                             &(struct wire_outcome){ .id = id,
                                                     .code = ANSWER_BUSY,
                                                     .retry_ms = 250,
                                                     .detail = "full",
                                                     .detail_len = 4 }),
        0);
    assert_int_equal(appended_builder_finish(&builder, KIND_APPENDED, &made),
                     0);
    same("busy", &made);
    appended_builder_free(&builder);
    outcome_batch_free(&batch);
}

/* ---- reading ----------------------------------------------------------- */

static void
reading(void **state)
{
    const struct read_request request = {
        .request = 7,
        .direction = READ_BACKWARD,
        .from_kind = READ_FROM_NUMBER,
        .from = 100,
        .event_max = 10,
        .len_max = 65536,
        .wait_ms = 1000,
        .selectors = { { SELECT_CATEGORY, 5, "order" },
                       { SELECT_TYPE, 6, "Placed" } },
        .selector_count = 2,
    };
    const struct read_request end = {
        .request = 8, .from_kind = READ_FROM_END, .from = 20, .wait_ms = 60000
    };
    const struct read_request moment = {
        .request = 9,
        .from_kind = READ_FROM_TIME,
        .from = 1700000000000000,
        .selectors = { { SELECT_STREAM, 7, "order-1" },
                       { SELECT_STREAM, 7, "order-2" },
                       { SELECT_TAG, 6, "shop:1" } },
        .selector_count = 3,
    };
    const struct read_answer refused = { .request = 7, .code = ANSWER_INVALID };
    const struct read_answer answer = { .request = 7,
                                        .at_end = true,
                                        .next = 9,
                                        .watermark = 8,
                                        .event_count = 2 };
    struct message made = { .count = 0 }, vector;
    struct read_request got;
    struct read_answer got_answer;

    (void)state;
    assert_int_equal(read_encode(&request, &made), 0);
    same("read", &made);
    assert_int_equal(read_encode(&end, &made), 0);
    same("read-end", &made);
    assert_int_equal(read_encode(&moment, &made), 0);
    same("read-time", &made);
    load("read", &vector);
    assert_int_equal(read_decode(&vector.frames[0], &vector.frames[1], &got),
                     0);
    assert_int_equal(got.from, 100);
    assert_int_equal(got.selector_count, 2);
    assert_memory_equal(got.selectors[1].text, "Placed", 6);
    message_clear(&vector);
    assert_int_equal(events_encode(&refused, "from: ...", &made), 0);
    same("events-refused", &made);
    assert_int_equal(events_encode(&answer, NULL, &made), 0);
    same("events", &made);
    load("events", &vector);
    assert_int_equal(events_decode(&vector.frames[0], &got_answer), 0);
    assert_true(got_answer.at_end && got_answer.event_count == 2);
    message_clear(&vector);
}

/* ---- all the others ---------------------------------------------------- */

static void
small_ones(void **state)
{
    const struct pong pong = { 7, 42, log_id, 8 };
    const struct projection_request projection = {
        .request = 7, .op = PROJECTION_WAIT, .position = 8, .wait_ms = 5000
    };
    const struct projection_answer projected = {
        .request = 7,
        .state = PROJECTION_LIVE,
        .checkpoint = 8,
        .watermark = 8,
        .events = 8,
        .transactions = 1,
        .time_us = UINT64_C(1700000000000000),
    };
    const struct welcome welcome = { 42, log_id, 8388608, 8 };
    struct message made = { .count = 0 }, vector;
    struct pong got;

    (void)state;
    assert_int_equal(ping_encode(7, &made), 0);
    same("ping", &made);
    assert_int_equal(pong_encode(&pong, "cairn-gateway 0.1", &made), 0);
    same("pong", &made);
    assert_int_equal(refused_encode(ANSWER_INVALID, "no message", &made), 0);
    same("refused", &made);
    assert_int_equal(projection_encode(&projection, &made), 0);
    same("projection", &made);
    assert_int_equal(projected_encode(&projected, "files", "", &made), 0);
    same("projected", &made);
    assert_int_equal(hello_encode(&(struct hello){ 41, 43 }, &made), 0);
    same("hello", &made);
    assert_int_equal(welcome_encode(&welcome, &made), 0);
    same("welcome", &made);
    assert_int_equal(doorbell_encode(&(struct doorbell){ 8, 42 }, &made), 0);
    same("doorbell", &made);
    assert_int_equal(farewell_encode(&(struct farewell){ 42, true }, &made), 0);
    same("farewell", &made);
    load("pong", &vector);
    assert_int_equal(pong_decode(&vector.frames[0], &got), 0);
    assert_true(uuid_equal(got.log_id, log_id) && got.instance == 42);
    message_clear(&vector);
}

/* ---- what is not quite a message --------------------------------------- */

static int
decode_append(const uint8_t *header, size_t header_len, const uint8_t *body,
              size_t body_len)
{
    static struct append_batch batch;
    struct message message = { .count = 0 };
    int rc;

    assert_int_equal(
        message_add(&message, guarded(header, header_len), header_len), 0);
    assert_int_equal(message_add(&message, body, body_len), 0);
    rc = append_decode(&message.frames[0], &message.frames[1], &batch);
    message_clear(&message);
    return rc;
}

static void
cut_and_bend(const char *name)
{
    struct message vector;
    uint8_t header[1024];
    const uint8_t *body;
    size_t len, body_len, fixed;

    load(name, &vector);
    len = message_len(&vector, 0);
    body = message_data(&vector, 1);
    body_len = message_len(&vector, 1);
    memcpy(header, message_data(&vector, 0), len);
    assert_int_equal(decode_append(header, len, body, body_len), 0);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(decode_append(header, n, body, body_len),
                         -CAIRN_EMESSAGE);
    for (size_t n = 0; n < body_len; n++)
        assert_int_equal(decode_append(header, len, body, n), -CAIRN_EMESSAGE);
    fixed = 8 + strlen((const char *)header + 8) + 1 + 4; /* version, kind */
    for (size_t i = 0; i < fixed * 8; i++) {
        header[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(decode_append(header, len, body, body_len),
                         -CAIRN_EMESSAGE);
        header[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    message_clear(&vector);
}

static void
what_is_cut_or_bent_is_refused(void **state)
{
    (void)state;
    cut_and_bend("append");
    cut_and_bend("append-conditions");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append),
        cmocka_unit_test(append_with_conditions),
        cmocka_unit_test(appended_with_verdicts_and_records),
        cmocka_unit_test(
            what_does_not_fit_into_an_answer_is_left_out_or_asked_later),
        cmocka_unit_test(appended),
        cmocka_unit_test(reading),
        cmocka_unit_test(small_ones),
        cmocka_unit_test(what_is_cut_or_bent_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
